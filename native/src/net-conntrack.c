/* Forgetting connections that were translated to a backend which no longer serves: without it a UDP client that keeps
 * its port would be sent there for ever. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net-netfilter.h"

/* Of net/netfilter/nf_internals.h: what a filter looks at. */
#define FILTER_SOURCE (1U << 0)
#define FILTER_PROTOCOL (1U << 3)
/* nfgenmsg's version with which the family of a deletion counts. */
#define FAMILY_COUNTS 1
/* So many walks take no longer than a dump. */
#define FEW 2

struct flush {
  uint8_t protocol;
  const cJSON *backends, *ports;
  /* Deletion requests, made while the table is read and sent afterwards. */
  char *requests;
  size_t used, size;
  int error;
};

struct tuple {
  const struct nlattr *source;
  uint16_t destination_port;
  uint8_t protocol;
};

static struct tuple read_tuple(const struct nlattr *nest) {
  struct tuple tuple = {0};
  const struct nlattr *part, *leaf;
  mnl_attr_for_each_nested(part, nest) {
    mnl_attr_for_each_nested(leaf, part) {
      int type = mnl_attr_get_type(leaf);
      if (mnl_attr_get_type(part) == CTA_TUPLE_IP && (type == CTA_IP_V4_SRC || type == CTA_IP_V6_SRC))
        tuple.source = leaf;
      else if (mnl_attr_get_type(part) == CTA_TUPLE_PROTO && type == CTA_PROTO_DST_PORT)
        tuple.destination_port = ntohs(mnl_attr_get_u16(leaf));
      else if (mnl_attr_get_type(part) == CTA_TUPLE_PROTO && type == CTA_PROTO_NUM)
        tuple.protocol = mnl_attr_get_u8(leaf);
    }
  }
  return tuple;
}

static int has_address(const cJSON *list, const struct nlattr *address) {
  char text[INET6_ADDRSTRLEN];
  const cJSON *item;
  if (address == NULL) return 0;
  int family = mnl_attr_get_payload_len(address) == 4 ? AF_INET : AF_INET6;
  if (inet_ntop(family, mnl_attr_get_payload(address), text, sizeof text) == NULL) return 0;
  cJSON_ArrayForEach(item, list) if (cJSON_IsString(item) && strcmp(item->valuestring, text) == 0) return 1;
  return 0;
}

static int has_port(const cJSON *list, uint16_t port) {
  const cJSON *item;
  cJSON_ArrayForEach(item, list) if (cJSON_IsNumber(item) && item->valueint == port) return 1;
  return 0;
}

static int remember(struct flush *flush, uint8_t family, const struct nlattr *original) {
  if (flush->size - flush->used < 1024) {
    size_t size = flush->size ? flush->size * 2 : 65536;
    char *grown = realloc(flush->requests, size);
    if (grown == NULL) return -ENOMEM;
    flush->requests = grown;
    flush->size = size;
  }
  struct nlmsghdr *request = mnl_nlmsg_put_header(flush->requests + flush->used);
  request->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
  struct nfgenmsg *header = mnl_nlmsg_put_extra_header(request, sizeof *header);
  header->nfgen_family = family;
  header->version = NFNETLINK_V0;
  mnl_attr_put(request, CTA_TUPLE_ORIG | NLA_F_NESTED, mnl_attr_get_payload_len(original),
               mnl_attr_get_payload(original));
  flush->used += MNL_ALIGN(request->nlmsg_len);
  return 0;
}

static int visit(const struct nlmsghdr *message, void *arg) {
  struct flush *flush = arg;
  const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
  const struct nlattr *attr, *original = NULL, *reply = NULL;
  uint32_t status = 0;
  mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg)) {
    if (mnl_attr_get_type(attr) == CTA_TUPLE_ORIG)
      original = attr;
    else if (mnl_attr_get_type(attr) == CTA_TUPLE_REPLY)
      reply = attr;
    else if (mnl_attr_get_type(attr) == CTA_STATUS)
      status = ntohl(mnl_attr_get_u32(attr));
  }
  if (original == NULL || reply == NULL) return MNL_CB_OK;
  struct tuple forward = read_tuple(original), back = read_tuple(reply);
  int translated = (status & IPS_DST_NAT) != 0;
  int hit = translated ? has_address(flush->backends, back.source) : has_port(flush->ports, forward.destination_port);
  if (forward.protocol == flush->protocol && hit && !flush->error)
    flush->error = remember(flush, header->nfgen_family, original);
  return MNL_CB_OK;
}

static int delete_remembered(struct flush *flush, struct net_link *link) {
  for (size_t at = 0; at < flush->used;) {
    struct nlmsghdr *request = (struct nlmsghdr *)(flush->requests + at);
    at += MNL_ALIGN(request->nlmsg_len);
    int result = net_link_talk(link, request, NULL, 0);
    if (result && result != -ENOENT) return result;
  }
  return 0;
}

/* A dump walks the table of all namespaces, some 10 ms even when there is nothing to find. */
static int has_connections(void) {
  char text[16] = "";
  int fd = open("/proc/sys/net/netfilter/nf_conntrack_count", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 1;
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  return length <= 0 || strcmp(text, "0\n") != 0;
}

/* All flows of the protocol that were translated to the address, in one walk of the kernel, which passes by empty
 * places without their locks: a third of what a dump takes. Older kernels take it for the name of one flow, and refuse
 * it as incomplete. IPv4 only: of IPv6 the kernel takes all addresses but the one that is named, as its comparison is
 * the wrong way round (ctnetlink_filter_match_tuple). */
static int delete_matching(struct net_link *link, uint8_t protocol, const struct net_address *backend) {
  char buffer[512];
  struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
  request->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
  struct nfgenmsg *header = mnl_nlmsg_put_extra_header(request, sizeof *header);
  header->nfgen_family = AF_INET;
  header->version = FAMILY_COUNTS;
  struct nlattr *tuple = mnl_attr_nest_start(request, CTA_TUPLE_REPLY);
  struct nlattr *part = mnl_attr_nest_start(request, CTA_TUPLE_IP);
  mnl_attr_put(request, CTA_IP_V4_SRC, backend->size, backend->bytes);
  mnl_attr_nest_end(request, part);
  part = mnl_attr_nest_start(request, CTA_TUPLE_PROTO);
  mnl_attr_put_u8(request, CTA_PROTO_NUM, protocol);
  mnl_attr_nest_end(request, part);
  mnl_attr_nest_end(request, tuple);
  part = mnl_attr_nest_start(request, CTA_FILTER);
  mnl_attr_put_u32(request, CTA_FILTER_REPLY_FLAGS, FILTER_SOURCE | FILTER_PROTOCOL);
  mnl_attr_nest_end(request, part);
  mnl_attr_put_u32(request, CTA_STATUS, htonl(IPS_DST_NAT));
  mnl_attr_put_u32(request, CTA_STATUS_MASK, htonl(IPS_DST_NAT));
  return net_link_talk(link, request, NULL, 0);
}

/* 0 where the kernel can not, or a dump is less work. */
static int delete_all_matching(const struct flush *flush, struct net_link *link) {
  struct net_address backends[FEW];
  int count = cJSON_GetArraySize(flush->backends);
  if (flush->ports != NULL || count > FEW) return 0;
  for (int i = 0; i < count; i++) {
    const char *text = cJSON_GetStringValue(cJSON_GetArrayItem(flush->backends, i));
    if (net_parse_address(text, &backends[i]) || backends[i].family != AF_INET) return 0;
  }
  for (int i = 0; i < count; i++)
    if (delete_matching(link, flush->protocol, &backends[i])) return 0;
  return 1;
}

static int flush_there(struct net_netfilter *sockets, void *arg) {
  char buffer[256];
  struct flush *flush = arg;
  if (!has_connections() || delete_all_matching(flush, &sockets->link)) return 0;
  struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
  request->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
  struct nfgenmsg *header = mnl_nlmsg_put_extra_header(request, sizeof *header);
  header->nfgen_family = AF_UNSPEC;
  header->version = NFNETLINK_V0;
  int result = net_link_dump(&sockets->link, request, visit, flush);
  if (!result) result = flush->error ? flush->error : delete_remembered(flush, &sockets->link);
  return result;
}

int net_op_conntrack_flush(struct net_op *op) {
  struct shoal_error err = {0};
  struct flush flush = {.protocol = (uint8_t)net_number(op->json, "protocol", 0),
                        .backends = cJSON_GetObjectItemCaseSensitive(op->json, "backends"),
                        .ports = cJSON_GetObjectItemCaseSensitive(op->json, "ports")};
  int result = net_netfilter(op->netns, flush_there, &flush, &err);
  free(flush.requests);
  return result;
}

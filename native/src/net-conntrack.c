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

#include "net-seen.h"

/* Of net/netfilter/nf_internals.h: what a filter looks at. */
#define FILTER_SOURCE (1U << 0)
#define FILTER_PROTOCOL (1U << 3)
/* nfgenmsg's version with which the family of a deletion counts. */
#define FAMILY_COUNTS 1
/* So many walks take no longer than a dump. */
#define FEW 2
/* So many addresses are noted at most when all are looked for. */
#define MOST 1000

struct flush {
  uint8_t protocol;
  struct net_address *backends;
  size_t count;
  const cJSON *ports;
  struct net_seen seen;
  /* Families of which not all is noted, and where else flows of the protocol were translated to. */
  int unknown4, unknown6;
  struct net_address *others; /* MOST + 1 */
  size_t other_count;
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

static int is_address(const struct net_address *address, const struct nlattr *bytes) {
  return address->size == mnl_attr_get_payload_len(bytes) &&
         memcmp(address->bytes, mnl_attr_get_payload(bytes), address->size) == 0;
}

static int has_address(const struct net_address *list, size_t count, const struct nlattr *bytes) {
  for (size_t i = 0; bytes != NULL && i < count; i++)
    if (is_address(&list[i], bytes)) return 1;
  return 0;
}

/* One too many: what there is of the rest is not known. */
static void note_other(struct flush *flush, const struct nlattr *bytes) {
  if (bytes == NULL || flush->other_count > MOST || has_address(flush->others, flush->other_count, bytes)) return;
  struct net_address *other = &flush->others[flush->other_count++];
  size_t size = mnl_attr_get_payload_len(bytes);
  *other = (struct net_address){.family = size == 4 ? AF_INET : AF_INET6, .size = size};
  memcpy(other->bytes, mnl_attr_get_payload(bytes), size);
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
  int hit = translated ? has_address(flush->backends, flush->count, back.source)
                       : has_port(flush->ports, forward.destination_port);
  if (forward.protocol != flush->protocol) return MNL_CB_OK;
  if (hit && !flush->error) flush->error = remember(flush, header->nfgen_family, original);
  if (translated && !hit && flush->others != NULL) note_other(flush, back.source);
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

/* 0 where the kernel can not, a dump is less work, or all flows are to be seen. */
static int delete_all_matching(const struct flush *flush, struct net_link *link) {
  if (flush->ports != NULL || flush->others != NULL || flush->count > FEW) return 0;
  for (size_t i = 0; i < flush->count; i++)
    if (flush->backends[i].family != AF_INET || delete_matching(link, flush->protocol, &flush->backends[i])) return 0;
  return 1;
}

/* Leaves those backends that there may be flows to. */
static int ask_seen(struct flush *flush, struct net_link *link) {
  size_t left = 0;
  int asked4 = 0, asked6 = 0;
  if (flush->seen.set == NULL) return 0;
  for (size_t i = 0; i < flush->count; i++) {
    const struct net_address *backend = &flush->backends[i];
    int *asked = backend->family == AF_INET ? &asked4 : &asked6;
    int *unknown = backend->family == AF_INET ? &flush->unknown4 : &flush->unknown6;
    if (!*asked) *unknown = !net_seen_knows_all(&flush->seen, link, backend->family);
    *asked = 1;
    if (*unknown || net_seen_may_have(&flush->seen, link, backend)) flush->backends[left++] = *backend;
  }
  flush->count = left;
  if (!flush->unknown4 && !flush->unknown6) return 0;
  flush->others = calloc(MOST + 1, sizeof *flush->others);
  return flush->others == NULL ? -ENOMEM : 0;
}

/* What was not known before is so now; what is forgotten need not be looked for again. */
static void tell_seen(struct flush *flush, struct net_netfilter *sockets) {
  if (flush->seen.set == NULL) return;
  if (flush->others == NULL) return net_seen_forget(&flush->seen, sockets, flush->backends, flush->count);
  if (flush->other_count > MOST) return;
  if (flush->unknown4) net_seen_complete(&flush->seen, sockets, AF_INET, flush->others, flush->other_count);
  if (flush->unknown6) net_seen_complete(&flush->seen, sockets, AF_INET6, flush->others, flush->other_count);
}

static int delete_by_dump(struct flush *flush, struct net_link *link) {
  char buffer[256];
  struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
  request->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
  struct nfgenmsg *header = mnl_nlmsg_put_extra_header(request, sizeof *header);
  header->nfgen_family = AF_UNSPEC;
  header->version = NFNETLINK_V0;
  int result = net_link_dump(link, request, visit, flush);
  if (!result) result = flush->error ? flush->error : delete_remembered(flush, link);
  return result;
}

static int flush_there(struct net_netfilter *sockets, void *arg) {
  struct flush *flush = arg;
  if (!has_connections()) return 0;
  int result = ask_seen(flush, &sockets->link);
  if (result || (flush->count == 0 && flush->ports == NULL)) return result;
  if (!delete_all_matching(flush, &sockets->link)) result = delete_by_dump(flush, &sockets->link);
  if (!result) tell_seen(flush, sockets);
  return result;
}

static int read_backends(struct flush *flush, const cJSON *list) {
  const cJSON *item;
  flush->backends = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *flush->backends);
  if (flush->backends == NULL) return -ENOMEM;
  cJSON_ArrayForEach(item, list) {
    if (net_parse_address(cJSON_GetStringValue(item), &flush->backends[flush->count++])) return -EINVAL;
  }
  return 0;
}

int net_op_conntrack_flush(struct net_op *op) {
  struct shoal_error err = {0};
  struct flush flush = {.protocol = (uint8_t)net_number(op->json, "protocol", 0),
                        .ports = cJSON_GetObjectItemCaseSensitive(op->json, "ports")};
  int result = net_seen_read(&flush.seen, cJSON_GetObjectItemCaseSensitive(op->json, "seen"));
  if (!result) result = read_backends(&flush, cJSON_GetObjectItemCaseSensitive(op->json, "backends"));
  if (!result) result = net_netfilter(op->netns, flush_there, &flush, &err);
  free(flush.backends);
  free(flush.others);
  free(flush.requests);
  return result;
}

/* A container's fast path: the chain of nftables at its device in the sandbox, and its place in the maps that lead to
 * it. By messages of our own: a container's start waits for it, and libnftables, which reads the table before it
 * writes, takes 3 ms for what the kernel does in 0.1. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
/* After those: they define the same. */
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "net-netfilter.h"

/* Of either family. */
#define MOST_WAYS 2
#define NAME_SIZE 64

/* One address of the container, and what is for its family in the table. */
struct way {
  struct net_address address;
  const char *chain, *here, *translated;
};

struct fast_path {
  const char *table, *device;
  uint32_t index; /* the device's; 0 where it is none */
  struct way ways[MOST_WAYS];
  size_t count;
};

/* A transaction in the making. What a fast path takes of it at most is a third. */
struct batch {
  char buffer[4096];
  size_t used; /* without the message that is being made */
  struct nlmsghdr *message;
  struct net_link *link;
  uint32_t first, last; /* sequence numbers of its messages */
};

static const char *name_in(const cJSON *json, const char *field) {
  const char *name = net_text(json, field);
  return name != NULL && name[0] && strlen(name) < NAME_SIZE ? name : NULL;
}

static int read_way(const cJSON *json, struct way *way) {
  *way = (struct way){
      .chain = name_in(json, "chain"), .here = name_in(json, "here"), .translated = name_in(json, "translated")};
  if (way->chain == NULL || way->here == NULL || way->translated == NULL) return -EINVAL;
  return net_parse_address(net_text(json, "address"), &way->address);
}

static int read_path(const cJSON *json, struct fast_path *path) {
  const cJSON *one;
  *path = (struct fast_path){.table = name_in(json, "table"), .device = name_in(json, "dev")};
  if (path->table == NULL || path->device == NULL) return -EINVAL;
  cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(json, "ways")) {
    if (path->count == MOST_WAYS || read_way(one, &path->ways[path->count])) return -EINVAL;
    path->count++;
  }
  return 0;
}

static struct nlmsghdr *put(struct batch *batch, uint16_t type, uint8_t family, uint16_t resource, uint16_t flags) {
  if (batch->message != NULL) batch->used += MNL_ALIGN(batch->message->nlmsg_len);
  batch->message = mnl_nlmsg_put_header(batch->buffer + batch->used);
  batch->message->nlmsg_type = type;
  batch->message->nlmsg_flags = NLM_F_REQUEST | flags;
  batch->message->nlmsg_seq = batch->last = ++batch->link->sequence;
  struct nfgenmsg *header = mnl_nlmsg_put_extra_header(batch->message, sizeof *header);
  header->nfgen_family = family;
  header->version = NFNETLINK_V0;
  header->res_id = htons(resource);
  return batch->message;
}

static struct nlmsghdr *put_nft(struct batch *batch, uint16_t type, uint16_t flags) {
  return put(batch, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), NFPROTO_NETDEV, 0, flags);
}

static void begin(struct batch *batch, struct net_link *link) {
  *batch = (struct batch){.link = link};
  (void)put(batch, NFNL_MSG_BATCH_BEGIN, AF_UNSPEC, NFNL_SUBSYS_NFTABLES, 0);
  batch->first = batch->last;
}

/* The first error of any message, or what the last is answered. */
static int await(const struct batch *batch, uint32_t last) {
  char answers[NET_BUFFER];
  for (int result = 0;;) {
    ssize_t length = mnl_socket_recvfrom(batch->link->socket, answers, sizeof answers);
    if (length < 0) return -errno;
    int left = (int)length;
    for (struct nlmsghdr *answer = (struct nlmsghdr *)answers; mnl_nlmsg_ok(answer, left);
         answer = mnl_nlmsg_next(answer, &left)) {
      if (answer->nlmsg_type != NLMSG_ERROR || answer->nlmsg_seq < batch->first || answer->nlmsg_seq > last) continue;
      const struct nlmsgerr *error = mnl_nlmsg_get_payload(answer);
      if (result == 0) result = error->error;
      if (answer->nlmsg_seq == last || (answer->nlmsg_seq == batch->first && error->error)) return result;
    }
  }
}

static int commit(struct batch *batch) {
  uint32_t last = batch->last;
  batch->message->nlmsg_flags |= NLM_F_ACK;
  struct nlmsghdr *end = put(batch, NFNL_MSG_BATCH_END, AF_UNSPEC, NFNL_SUBSYS_NFTABLES, 0);
  size_t size = batch->used + MNL_ALIGN(end->nlmsg_len);
  return mnl_socket_sendto(batch->link->socket, batch->buffer, size) < 0 ? -errno : await(batch, last);
}

static void put_number(struct nlmsghdr *message, uint16_t type, uint32_t number) {
  mnl_attr_put_u32(message, type, htonl(number));
}

static void put_chain(struct batch *batch, const struct fast_path *path) {
  struct nlmsghdr *message = put_nft(batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
  mnl_attr_put_strz(message, NFTA_CHAIN_TABLE, path->table);
  mnl_attr_put_strz(message, NFTA_CHAIN_NAME, path->device);
  mnl_attr_put_strz(message, NFTA_CHAIN_TYPE, "filter");
  put_number(message, NFTA_CHAIN_POLICY, NF_ACCEPT);
  struct nlattr *hook = mnl_attr_nest_start(message, NFTA_CHAIN_HOOK);
  put_number(message, NFTA_HOOK_HOOKNUM, NF_NETDEV_INGRESS);
  put_number(message, NFTA_HOOK_PRIORITY, 0);
  mnl_attr_put_strz(message, NFTA_HOOK_DEV, path->device);
  mnl_attr_nest_end(message, hook);
}

static struct nlattr *expression_start(struct nlmsghdr *message, const char *name, struct nlattr **data) {
  struct nlattr *element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
  mnl_attr_put_strz(message, NFTA_EXPR_NAME, name);
  *data = mnl_attr_nest_start(message, NFTA_EXPR_DATA);
  return element;
}

static void expression_end(struct nlmsghdr *message, struct nlattr *element, struct nlattr *data) {
  mnl_attr_nest_end(message, data);
  mnl_attr_nest_end(message, element);
}

static void put_equals(struct nlmsghdr *message, const void *value, size_t size) {
  struct nlattr *data, *element = expression_start(message, "cmp", &data);
  put_number(message, NFTA_CMP_SREG, NFT_REG_1);
  put_number(message, NFTA_CMP_OP, NFT_CMP_EQ);
  struct nlattr *nest = mnl_attr_nest_start(message, NFTA_CMP_DATA);
  mnl_attr_put(message, NFTA_DATA_VALUE, size, value);
  mnl_attr_nest_end(message, nest);
  expression_end(message, element, data);
}

/* ADDRESS's protocol, its source ADDRESS: goto CHAIN. What a container sends as another goes the other way, where it
 * is dropped. */
static void put_rule(struct batch *batch, const struct fast_path *path, const struct way *way) {
  struct nlattr *data, *element;
  int is_ipv6 = way->address.family == AF_INET6;
  uint16_t protocol = htons(is_ipv6 ? ETH_P_IPV6 : ETH_P_IP);
  size_t offset = is_ipv6 ? offsetof(struct ip6_hdr, ip6_src) : offsetof(struct ip, ip_src);
  struct nlmsghdr *message = put_nft(batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
  mnl_attr_put_strz(message, NFTA_RULE_TABLE, path->table);
  mnl_attr_put_strz(message, NFTA_RULE_CHAIN, path->device);
  struct nlattr *list = mnl_attr_nest_start(message, NFTA_RULE_EXPRESSIONS);
  element = expression_start(message, "meta", &data);
  put_number(message, NFTA_META_KEY, NFT_META_PROTOCOL);
  put_number(message, NFTA_META_DREG, NFT_REG_1);
  expression_end(message, element, data);
  put_equals(message, &protocol, sizeof protocol);
  element = expression_start(message, "payload", &data);
  put_number(message, NFTA_PAYLOAD_DREG, NFT_REG_1);
  put_number(message, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
  put_number(message, NFTA_PAYLOAD_OFFSET, (uint32_t)offset);
  put_number(message, NFTA_PAYLOAD_LEN, (uint32_t)way->address.size);
  expression_end(message, element, data);
  put_equals(message, way->address.bytes, way->address.size);
  element = expression_start(message, "immediate", &data);
  put_number(message, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  struct nlattr *value = mnl_attr_nest_start(message, NFTA_IMMEDIATE_DATA);
  struct nlattr *verdict = mnl_attr_nest_start(message, NFTA_DATA_VERDICT);
  put_number(message, NFTA_VERDICT_CODE, (uint32_t)NFT_GOTO);
  mnl_attr_put_strz(message, NFTA_VERDICT_CHAIN, way->chain);
  mnl_attr_nest_end(message, verdict);
  mnl_attr_nest_end(message, value);
  expression_end(message, element, data);
  mnl_attr_nest_end(message, list);
}

/* The address in a set, or in a map with the index of the device (0: none, for a set and to delete). */
static void put_element(struct batch *batch, uint16_t type, const char *table, const char *set,
                        const struct net_address *address, uint32_t index) {
  struct nlmsghdr *message = put_nft(batch, type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);
  net_nft_put_element(message, table, set, address, index);
}

static void put_of_device(struct batch *batch, uint16_t type, uint16_t table, uint16_t chain,
                          const struct fast_path *path) {
  struct nlmsghdr *message = put_nft(batch, type, 0);
  mnl_attr_put_strz(message, table, path->table);
  mnl_attr_put_strz(message, chain, path->device);
}

static int add(struct net_netfilter *sockets, void *arg) {
  const struct fast_path *path = arg;
  struct batch batch;
  begin(&batch, &sockets->link);
  put_chain(&batch, path);
  /* Its rules, if it was there. */
  put_of_device(&batch, NFT_MSG_DELRULE, NFTA_RULE_TABLE, NFTA_RULE_CHAIN, path);
  for (size_t i = 0; i < path->count; i++) {
    put_rule(&batch, path, &path->ways[i]);
    put_element(&batch, NFT_MSG_NEWSETELEM, path->table, path->ways[i].here, &path->ways[i].address, path->index);
  }
  int result = commit(&batch);
  return result == -ENOENT ? 0 : result;
}

static int delete_one(struct net_link *link, const struct fast_path *path, const char *set,
                      const struct net_address *address) {
  struct batch batch;
  begin(&batch, link);
  if (address != NULL)
    put_element(&batch, NFT_MSG_DELSETELEM, path->table, set, address, 0);
  else
    put_of_device(&batch, NFT_MSG_DELCHAIN, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, path);
  int result = commit(&batch);
  return result == -ENOENT ? 0 : result;
}

/* In one transaction, where all of it is there; the note of translations mostly is not, and is made to be deleted. */
static int delete (struct net_netfilter *sockets, void *arg) {
  const struct fast_path *path = arg;
  struct batch batch;
  begin(&batch, &sockets->link);
  for (size_t i = 0; i < path->count; i++) {
    const struct way *way = &path->ways[i];
    put_element(&batch, NFT_MSG_DELSETELEM, path->table, way->here, &way->address, 0);
    put_element(&batch, NFT_MSG_NEWSETELEM, path->table, way->translated, &way->address, 0);
    put_element(&batch, NFT_MSG_DELSETELEM, path->table, way->translated, &way->address, 0);
  }
  put_of_device(&batch, NFT_MSG_DELCHAIN, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, path);
  int result = commit(&batch);
  if (result != -ENOENT) return result;
  result = 0;
  for (size_t i = 0; i < path->count; i++) {
    const struct way *way = &path->ways[i];
    if (!result) result = delete_one(&sockets->link, path, way->here, &way->address);
    if (!result) result = delete_one(&sockets->link, path, way->translated, &way->address);
  }
  return result ? result : delete_one(&sockets->link, path, NULL, NULL);
}

static int run(struct net_op *op, net_netfilter_work *work, int needs_device) {
  struct fast_path path;
  struct shoal_error err = {0};
  int result = read_path(op->json, &path);
  if (result) return result;
  if (needs_device && (path.index = if_nametoindex(path.device)) == 0) return -errno;
  result = net_netfilter(op->netns, work, &path, &err);
  if (result) (void)snprintf(op->why, sizeof op->why, "%s", err.detail[0] ? err.detail : strerror(-result));
  return result;
}

int net_op_fast_path_add(struct net_op *op) { return run(op, add, 1); }
int net_op_fast_path_delete(struct net_op *op) { return run(op, delete, 0); }

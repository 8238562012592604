/* The addresses to which flows were translated, as rules in the kernel note them in a set of nftables, so that those of
 * an address to which there was none need not be looked for. The unspecified address among them says that the set has
 * all that there are: who makes a set does not put it in, and the rules take it out when the set is full. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net-seen.h"

#define NAME_SIZE 128
/* An address of either family, a comma and a blank. */
#define TEXT_SIZE (INET6_ADDRSTRLEN + 2)

static const uint8_t families[] = {AF_INET, AF_INET6};

/* 0, -ENOENT when it is not in the set or there is none, or another -errno. */
static int ask(const struct net_seen *seen, struct net_link *link, const struct net_address *address) {
  char buffer[512];
  struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
  request->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM;
  struct nfgenmsg *header = mnl_nlmsg_put_extra_header(request, sizeof *header);
  header->nfgen_family = address->family;
  header->version = NFNETLINK_V0;
  net_nft_put_element(request, seen->table, seen->set, address, 0);
  return net_link_talk(link, request, NULL, 0);
}

static struct net_address unspecified(uint8_t family) {
  return (struct net_address){.family = family, .size = family == AF_INET ? 4 : 16};
}

int net_seen_read(struct net_seen *seen, const cJSON *json) {
  *seen = (struct net_seen){.table = net_text(json, "table"), .set = net_text(json, "set")};
  if (json == NULL) return 0;
  return seen->table != NULL && seen->set != NULL && strlen(seen->table) < NAME_SIZE && strlen(seen->set) < NAME_SIZE
             ? 0
             : -EINVAL;
}

int net_seen_knows_all(const struct net_seen *seen, struct net_link *link, uint8_t family) {
  struct net_address mark = unspecified(family);
  return ask(seen, link, &mark) == 0;
}

int net_seen_may_have(const struct net_seen *seen, struct net_link *link, const struct net_address *address) {
  return ask(seen, link, address) != -ENOENT;
}

/* What can not be done leaves the set as it was: more is looked for than need be. */
static void change(const struct net_seen *seen, struct net_netfilter *sockets, const char *verb, uint8_t family,
                   const struct net_address *addresses, size_t count) {
  size_t size = 512 + (count + 1) * TEXT_SIZE, used = 0;
  char *text = malloc(size);
  const char *before = "";
  if (text == NULL) return;
  used += (size_t)snprintf(text, size, "%s element %s %s %s { ", verb, family == AF_INET ? "ip" : "ip6", seen->table,
                           seen->set);
  size_t empty = used;
  for (size_t i = 0; i < count; i++) {
    char address[INET6_ADDRSTRLEN];
    if (addresses[i].family != family || !inet_ntop(family, addresses[i].bytes, address, sizeof address)) continue;
    used += (size_t)snprintf(text + used, size - used, "%s%s", before, address);
    before = ", ";
  }
  (void)snprintf(text + used, size - used, " }");
  if (used > empty) (void)net_nft_run(sockets, text);
  free(text);
}

void net_seen_forget(const struct net_seen *seen, struct net_netfilter *sockets, const struct net_address *addresses,
                     size_t count) {
  for (size_t i = 0; i < sizeof families; i++)
    change(seen, sockets, "delete", families[i], addresses, count);
}

void net_seen_complete(const struct net_seen *seen, struct net_netfilter *sockets, uint8_t family,
                       struct net_address *addresses, size_t count) {
  addresses[count] = unspecified(family);
  change(seen, sockets, "add", family, addresses, count + 1);
}

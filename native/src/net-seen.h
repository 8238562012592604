/* Addresses that rules in the kernel have noted. */
#ifndef SHOAL_NET_SEEN_H
#define SHOAL_NET_SEEN_H

#include "net-netfilter.h"

/* A set in a table of this name of each family. Without a set nothing is noted. */
struct net_seen {
  const char *table, *set;
};

/* json has both names, or is NULL. 0 or -EINVAL. */
int net_seen_read(struct net_seen *seen, const cJSON *json);
/* Whether the set has all addresses of the family that flows were translated to. */
int net_seen_knows_all(const struct net_seen *seen, struct net_link *link, uint8_t family);
/* False where the set, which has all, has not this one. */
int net_seen_may_have(const struct net_seen *seen, struct net_link *link, const struct net_address *address);
/* Nothing is translated to these any more. */
void net_seen_forget(const struct net_seen *seen, struct net_netfilter *sockets, const struct net_address *addresses,
                     size_t count);
/* These are, besides those that the set has, all of the family. There is room for one more behind them. */
void net_seen_complete(const struct net_seen *seen, struct net_netfilter *sockets, uint8_t family,
                       struct net_address *addresses, size_t count);

#endif

/* Sockets of netfilter, kept from one call to the next. */
#ifndef SHOAL_NET_NETFILTER_H
#define SHOAL_NET_NETFILTER_H

#include <nftables/libnftables.h>

#include "net-internal.h"

/* Of one namespace. */
struct net_netfilter {
  struct nft_ctx *nft;  /* with buffers for its output and its errors */
  struct net_link link; /* NETLINK_NETFILTER */
};

typedef int net_netfilter_work(struct net_netfilter *sockets, void *arg);

/* Runs work with a namespace's sockets on the thread that has them, which is in that namespace meanwhile, and waits for
 * it. After a failure the sockets are made anew. 0 or -errno; err tells of what was before work. */
int net_netfilter(const char *netns, net_netfilter_work *work, void *arg, struct shoal_error *err);
/* net-nft.c: commands for work, one transaction. 0 or -errno. */
int net_nft_run(struct net_netfilter *sockets, const char *commands);
/* Adds one element to a request for a set; for a map, with the number that it leads to (0: none). */
void net_nft_put_element(struct nlmsghdr *request, const char *table, const char *set, const struct net_address *key,
                         uint32_t value);
/* The namespace goes: nothing of it is kept. */
void net_netfilter_forget(const char *netns);

#endif

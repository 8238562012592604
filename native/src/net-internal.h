/* What the net-*.c files share. */
#ifndef SHOAL_NET_INTERNAL_H
#define SHOAL_NET_INTERNAL_H

#include <cjson/cJSON.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdint.h>
#include <sys/stat.h>

#include "shoal-net.h"

/* Marks the routes and rules that Shoal makes (rtm_protocol, FRA_PROTOCOL), to tell them from others'. */
#define SHOAL_RTPROT 183
#define NET_BUFFER 16384

typedef int net_work(void *arg, struct shoal_error *err);

/* net-thread.c: runs work on a new thread and waits for it. */
int net_on_thread(net_work *work, void *arg, struct shoal_error *err);
/* Moves the calling thread into a namespace; NULL or "" is the process's own. */
int net_enter(const char *netns, struct shoal_error *err);
/* The same; is tells which one it is. */
int net_enter_seen(const char *netns, struct stat *is, struct shoal_error *err);
int net_namespace_add(const char *path, struct shoal_error *err);
int net_namespace_delete(const char *path, struct shoal_error *err);

/* net-request.c: a netlink socket, one request at a time. */
struct net_link {
  struct mnl_socket *socket;
  unsigned int port, sequence;
  int holds_keys; /* what is read is wiped from memory */
};
int net_link_open(struct net_link *link, int bus, struct shoal_error *err);
void net_link_close(struct net_link *link);
/* Sends and awaits the acknowledgement. why (may be NULL) takes the kernel's explanation. 0 or -errno. */
int net_link_talk(struct net_link *link, struct nlmsghdr *request, char *why, size_t why_size);
/* Sends a dump request and hands each message to visit. 0 or -errno. */
int net_link_dump(struct net_link *link, struct nlmsghdr *request, mnl_cb_t visit, void *arg);

/* Fields of an operation. net_text is NULL and net_number is fallback where the field is absent. */
const char *net_text(const cJSON *op, const char *field);
double net_number(const cJSON *op, const char *field, double fallback);
int net_flag(const cJSON *op, const char *field);
int net_parse_mac(const char *text, uint8_t mac[6]);
/* "A" or "A/LEN" of IPv4; bits is 32 without a length. */
int net_parse_prefix(const char *text, uint32_t *address, unsigned int *bits);
/* The same of either family. */
struct net_address {
  uint8_t bytes[16];
  uint8_t family;
  size_t size; /* of bytes */
  unsigned int bits;
};
int net_parse_address(const char *text, struct net_address *address);

/* One operation. Each returns 0 or -errno and fills why on failure. */
struct net_op {
  const char *netns;      /* the batch's */
  struct net_link *route; /* rtnetlink in the batch's namespace */
  const cJSON *json;
  char why[128];
};
/* net-link.c: the beginning of a request, name, MTU and MAC address of a link, and the namespace at a path (-1 without
 * one). */
struct ifinfomsg *net_link_start(char *buffer, uint16_t type, uint16_t flags, struct nlmsghdr **request);
int net_link_identity(struct nlmsghdr *request, const cJSON *json);
int net_namespace_open(const char *path, int *fd);
int net_link_exists_in(const char *netns, const char *name);
/* Makes a link that is nothing but its kind, and not up. */
int net_link_plain(struct net_op *op, const char *kind);
int net_link_up(struct net_link *link, const char *name, char *why, size_t why_size);

/* net-wireguard.c: adds publicKey, port and peers of a WireGuard device to what is told of its link. 0 or -errno. */
int net_wireguard_read(const char *name, cJSON *link);
int net_op_wireguard_add(struct net_op *op);
int net_op_wireguard_check(struct net_op *op);
int net_op_wireguard_peer(struct net_op *op, int add);

/* net-outside.c */
int net_op_macvlan_add(struct net_op *op);
int net_op_macvlan_check(struct net_op *op);
int net_op_vlan_add(struct net_op *op);
int net_op_link_move(struct net_op *op);

int net_op_link_add(struct net_op *op);
int net_op_link_set(struct net_op *op);
int net_op_link_delete(struct net_op *op);
int net_op_address(struct net_op *op, int add);
int net_op_route(struct net_op *op, int add);
int net_op_rule(struct net_op *op, int add);
int net_op_neighbour(struct net_op *op, int add);
int net_op_fdb(struct net_op *op, int add);
/* net-qdisc.c: how fast a device sends; rates is what a dump of queues has. */
int net_op_rate(struct net_op *op, int add);
int net_visit_rate(const struct nlmsghdr *message, void *list);
int net_op_sysctl(struct net_op *op);
int net_op_nft(struct net_op *op);
int net_op_fast_path_add(struct net_op *op);
int net_op_fast_path_delete(struct net_op *op);
int net_op_conntrack_flush(struct net_op *op);

#endif

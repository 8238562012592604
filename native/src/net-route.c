/* Addresses, routes, policy rules, neighbours and forwarding entries. */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "net-internal.h"

static void *start(char *buffer, struct nlmsghdr **request, uint16_t type, uint16_t flags, size_t header) {
  *request = mnl_nlmsg_put_header(buffer);
  (*request)->nlmsg_type = type;
  (*request)->nlmsg_flags = flags;
  return mnl_nlmsg_put_extra_header(*request, header);
}

static int talk(struct net_op *op, struct nlmsghdr *request) {
  return net_link_talk(op->route, request, op->why, sizeof op->why);
}

/* On the batch's thread, so in its namespace. */
static int device_index(struct net_op *op, unsigned int *index) {
  const char *name = net_text(op->json, "dev");
  *index = name == NULL ? 0 : if_nametoindex(name);
  if (*index != 0) return 0;
  (void)snprintf(op->why, sizeof op->why, "no device %s", name == NULL ? "named" : name);
  return -ENODEV;
}

static int gone(int result) {
  return result == -ENODEV || result == -ESRCH || result == -ENOENT || result == -EADDRNOTAVAIL ? 0 : result;
}

/* Whose addresses are unique is known, and which way their subnets are: routes say it. */
static uint32_t ipv6_flags(const struct net_address *address) {
  struct in6_addr bytes;
  memcpy(&bytes, address->bytes, sizeof bytes);
  return IFA_F_NODAD | (IN6_IS_ADDR_LINKLOCAL(&bytes) ? 0 : IFA_F_NOPREFIXROUTE);
}

int net_op_address(struct net_op *op, int add) {
  char buffer[512];
  struct nlmsghdr *request;
  struct net_address address;
  unsigned int index;
  int result = device_index(op, &index);
  if (result) return add ? result : gone(result);
  if (net_parse_address(net_text(op->json, "address"), &address)) return -EINVAL;
  struct ifaddrmsg *header =
      start(buffer, &request, add ? RTM_NEWADDR : RTM_DELADDR, add ? NLM_F_CREATE | NLM_F_EXCL : 0, sizeof *header);
  header->ifa_family = address.family;
  header->ifa_prefixlen = (uint8_t)address.bits;
  header->ifa_index = index;
  mnl_attr_put(request, IFA_LOCAL, address.size, address.bytes);
  mnl_attr_put(request, IFA_ADDRESS, address.size, address.bytes);
  if (add && address.family == AF_INET6) mnl_attr_put_u32(request, IFA_FLAGS, ipv6_flags(&address));
  result = talk(op, request);
  return add ? (result == -EEXIST ? 0 : result) : gone(result);
}

/* An address of the route's own family. */
static int put_address(struct net_op *op, struct nlmsghdr *request, const char *field, uint16_t type, uint8_t family) {
  struct net_address address;
  if (net_parse_address(net_text(op->json, field), &address) || address.family != family) return -EINVAL;
  mnl_attr_put(request, type, address.size, address.bytes);
  return 0;
}

static int put_route(struct net_op *op, struct nlmsghdr *request, struct rtmsg *header) {
  unsigned int index;
  int result = device_index(op, &index);
  if (result) return result;
  mnl_attr_put_u32(request, RTA_OIF, index);
  if (net_text(op->json, "via") != NULL) {
    if (put_address(op, request, "via", RTA_GATEWAY, header->rtm_family)) return -EINVAL;
  } else {
    header->rtm_scope = RT_SCOPE_LINK;
  }
  if (net_text(op->json, "src") != NULL && put_address(op, request, "src", RTA_PREFSRC, header->rtm_family))
    return -EINVAL;
  if (net_flag(op->json, "onlink")) header->rtm_flags |= RTNH_F_ONLINK;
  return 0;
}

int net_op_route(struct net_op *op, int add) {
  char buffer[512];
  struct nlmsghdr *request;
  struct net_address address;
  if (net_parse_address(net_text(op->json, "dst"), &address)) return -EINVAL;
  struct rtmsg *header = start(buffer, &request, add ? RTM_NEWROUTE : RTM_DELROUTE,
                               add ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof *header);
  header->rtm_family = address.family;
  header->rtm_dst_len = (uint8_t)address.bits;
  header->rtm_table = RT_TABLE_COMPAT;
  header->rtm_protocol = SHOAL_RTPROT;
  int is_local = net_flag(op->json, "local");
  double metric = net_number(op->json, "metric", 0);
  header->rtm_type = is_local ? RTN_LOCAL : add ? RTN_UNICAST : RTN_UNSPEC;
  header->rtm_scope = add ? RT_SCOPE_UNIVERSE : RT_SCOPE_NOWHERE;
  mnl_attr_put_u32(request, RTA_TABLE, (uint32_t)net_number(op->json, "table", RT_TABLE_MAIN));
  if (address.bits > 0) mnl_attr_put(request, RTA_DST, address.size, address.bytes);
  if (metric > 0) mnl_attr_put_u32(request, RTA_PRIORITY, (uint32_t)metric);
  /* The kernel's own local routes are there as well: one that goes is told by its device. */
  int result = add || is_local ? put_route(op, request, header) : 0;
  if (!result) result = talk(op, request);
  return add ? result : gone(result);
}

int net_op_rule(struct net_op *op, int add) {
  char buffer[512];
  struct nlmsghdr *request;
  struct net_address address = {.family = AF_INET};
  const char *from = net_text(op->json, "from");
  double mark = net_number(op->json, "fwmark", 0);
  struct fib_rule_hdr *header =
      start(buffer, &request, add ? RTM_NEWRULE : RTM_DELRULE, add ? NLM_F_CREATE | NLM_F_EXCL : 0, sizeof *header);
  if (from != NULL && net_parse_address(from, &address)) return -EINVAL;
  header->family = net_flag(op->json, "ipv6") ? AF_INET6 : address.family;
  header->action = FR_ACT_TO_TBL;
  mnl_attr_put_u32(request, FRA_TABLE, (uint32_t)net_number(op->json, "table", 0));
  mnl_attr_put_u32(request, FRA_PRIORITY, (uint32_t)net_number(op->json, "priority", 0));
  mnl_attr_put_u8(request, FRA_PROTOCOL, SHOAL_RTPROT);
  if (mark > 0) mnl_attr_put_u32(request, FRA_FWMARK, (uint32_t)mark);
  if (from != NULL) {
    header->src_len = (uint8_t)address.bits;
    mnl_attr_put(request, FRA_SRC, address.size, address.bytes);
  }
  int result = talk(op, request);
  return add ? (result == -EEXIST ? 0 : result) : gone(result);
}

static int neighbour(struct net_op *op, int add, int is_bridge, const char *address_field) {
  char buffer[512];
  struct nlmsghdr *request;
  uint8_t mac[6];
  struct net_address address;
  unsigned int index;
  const char *mac_text = net_text(op->json, "mac");
  int result = device_index(op, &index);
  if (result) return add ? result : gone(result);
  if (net_parse_address(net_text(op->json, address_field), &address)) return -EINVAL;
  if ((add || mac_text != NULL || is_bridge) && net_parse_mac(mac_text, mac)) return -EINVAL;
  struct ndmsg *header = start(buffer, &request, add ? RTM_NEWNEIGH : RTM_DELNEIGH,
                               add ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof *header);
  header->ndm_family = is_bridge ? AF_BRIDGE : address.family;
  header->ndm_ifindex = (int)index;
  header->ndm_state = is_bridge ? NUD_NOARP | NUD_PERMANENT : NUD_PERMANENT;
  header->ndm_flags = is_bridge ? NTF_SELF : 0;
  mnl_attr_put(request, NDA_DST, address.size, address.bytes);
  if (mac_text != NULL) mnl_attr_put(request, NDA_LLADDR, sizeof mac, mac);
  result = talk(op, request);
  return add ? result : gone(result);
}

int net_op_neighbour(struct net_op *op, int add) { return neighbour(op, add, 0, "address"); }

int net_op_fdb(struct net_op *op, int add) { return neighbour(op, add, 1, "dst"); }

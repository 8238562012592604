/* Addresses, routes, policy rules, neighbours and forwarding entries. */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
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

int net_op_address(struct net_op *op, int add) {
  char buffer[512];
  struct nlmsghdr *request;
  uint32_t address;
  unsigned int bits, index;
  int result = device_index(op, &index);
  if (result) return add ? result : gone(result);
  if (net_parse_prefix(net_text(op->json, "address"), &address, &bits)) return -EINVAL;
  struct ifaddrmsg *header =
      start(buffer, &request, add ? RTM_NEWADDR : RTM_DELADDR, add ? NLM_F_CREATE | NLM_F_EXCL : 0, sizeof *header);
  header->ifa_family = AF_INET;
  header->ifa_prefixlen = (uint8_t)bits;
  header->ifa_index = index;
  mnl_attr_put_u32(request, IFA_LOCAL, address);
  mnl_attr_put_u32(request, IFA_ADDRESS, address);
  result = talk(op, request);
  return add ? (result == -EEXIST ? 0 : result) : gone(result);
}

static int put_route(struct net_op *op, struct nlmsghdr *request, struct rtmsg *header) {
  uint32_t address;
  unsigned int bits, index;
  int result = device_index(op, &index);
  if (result) return result;
  mnl_attr_put_u32(request, RTA_OIF, index);
  if (net_text(op->json, "via") != NULL) {
    if (net_parse_prefix(net_text(op->json, "via"), &address, &bits)) return -EINVAL;
    mnl_attr_put_u32(request, RTA_GATEWAY, address);
  } else {
    header->rtm_scope = RT_SCOPE_LINK;
  }
  if (net_text(op->json, "src") != NULL) {
    if (net_parse_prefix(net_text(op->json, "src"), &address, &bits)) return -EINVAL;
    mnl_attr_put_u32(request, RTA_PREFSRC, address);
  }
  if (net_flag(op->json, "onlink")) header->rtm_flags |= RTNH_F_ONLINK;
  return 0;
}

int net_op_route(struct net_op *op, int add) {
  char buffer[512];
  struct nlmsghdr *request;
  uint32_t address;
  unsigned int bits;
  if (net_parse_prefix(net_text(op->json, "dst"), &address, &bits)) return -EINVAL;
  struct rtmsg *header = start(buffer, &request, add ? RTM_NEWROUTE : RTM_DELROUTE,
                               add ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof *header);
  header->rtm_family = AF_INET;
  header->rtm_dst_len = (uint8_t)bits;
  header->rtm_table = RT_TABLE_COMPAT;
  header->rtm_protocol = SHOAL_RTPROT;
  header->rtm_type = add ? RTN_UNICAST : RTN_UNSPEC;
  header->rtm_scope = add ? RT_SCOPE_UNIVERSE : RT_SCOPE_NOWHERE;
  mnl_attr_put_u32(request, RTA_TABLE, (uint32_t)net_number(op->json, "table", RT_TABLE_MAIN));
  if (bits > 0) mnl_attr_put_u32(request, RTA_DST, address);
  int result = add ? put_route(op, request, header) : 0;
  if (!result) result = talk(op, request);
  return add ? result : gone(result);
}

int net_op_rule(struct net_op *op, int add) {
  char buffer[512];
  struct nlmsghdr *request;
  uint32_t address;
  unsigned int bits;
  double mark = net_number(op->json, "fwmark", 0);
  struct fib_rule_hdr *header =
      start(buffer, &request, add ? RTM_NEWRULE : RTM_DELRULE, add ? NLM_F_CREATE | NLM_F_EXCL : 0, sizeof *header);
  header->family = AF_INET;
  header->action = FR_ACT_TO_TBL;
  mnl_attr_put_u32(request, FRA_TABLE, (uint32_t)net_number(op->json, "table", 0));
  mnl_attr_put_u32(request, FRA_PRIORITY, (uint32_t)net_number(op->json, "priority", 0));
  mnl_attr_put_u8(request, FRA_PROTOCOL, SHOAL_RTPROT);
  if (mark > 0) mnl_attr_put_u32(request, FRA_FWMARK, (uint32_t)mark);
  if (net_text(op->json, "from") != NULL) {
    if (net_parse_prefix(net_text(op->json, "from"), &address, &bits)) return -EINVAL;
    header->src_len = (uint8_t)bits;
    mnl_attr_put_u32(request, FRA_SRC, address);
  }
  int result = talk(op, request);
  return add ? (result == -EEXIST ? 0 : result) : gone(result);
}

static int neighbour(struct net_op *op, int add, uint8_t family, const char *address_field) {
  char buffer[512];
  struct nlmsghdr *request;
  uint8_t mac[6];
  uint32_t address;
  unsigned int bits, index;
  const char *mac_text = net_text(op->json, "mac");
  int result = device_index(op, &index);
  if (result) return add ? result : gone(result);
  if (net_parse_prefix(net_text(op->json, address_field), &address, &bits)) return -EINVAL;
  if ((add || mac_text != NULL || family == AF_BRIDGE) && net_parse_mac(mac_text, mac)) return -EINVAL;
  struct ndmsg *header = start(buffer, &request, add ? RTM_NEWNEIGH : RTM_DELNEIGH,
                               add ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof *header);
  header->ndm_family = family;
  header->ndm_ifindex = (int)index;
  header->ndm_state = family == AF_BRIDGE ? NUD_NOARP | NUD_PERMANENT : NUD_PERMANENT;
  header->ndm_flags = family == AF_BRIDGE ? NTF_SELF : 0;
  mnl_attr_put_u32(request, NDA_DST, address);
  if (mac_text != NULL) mnl_attr_put(request, NDA_LLADDR, sizeof mac, mac);
  result = talk(op, request);
  return add ? result : gone(result);
}

int net_op_neighbour(struct net_op *op, int add) { return neighbour(op, add, AF_INET, "address"); }

int net_op_fdb(struct net_op *op, int add) { return neighbour(op, add, AF_BRIDGE, "dst"); }

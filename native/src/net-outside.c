/* Links of networks that are not Shoal's own: macvlan devices, born in a container on top of a device of the host; the
 * VLAN devices below them; and devices that another program made on the host, which move into a container. */
#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net-internal.h"

static const struct {
  const char *name;
  uint32_t mode;
} modes[] = {
    {"bridge", MACVLAN_MODE_BRIDGE},
    {"private", MACVLAN_MODE_PRIVATE},
    {"vepa", MACVLAN_MODE_VEPA},
    {"passthru", MACVLAN_MODE_PASSTHRU},
};

static int mode_of(const char *name, uint32_t *mode) {
  for (size_t i = 0; name != NULL && i < sizeof modes / sizeof modes[0]; i++) {
    if (strcmp(modes[i].name, name) != 0) continue;
    *mode = modes[i].mode;
    return 0;
  }
  return -EINVAL;
}

/* On the batch's thread, so in its namespace. */
static int put_below(struct net_op *op, struct nlmsghdr *request, const char *name) {
  unsigned int index = name == NULL ? 0 : if_nametoindex(name);
  if (index == 0) {
    (void)snprintf(op->why, sizeof op->why, "there is no device %s on this node", name == NULL ? "named" : name);
    return -ENODEV;
  }
  mnl_attr_put_u32(request, IFLA_LINK, index);
  return 0;
}

/* A parent that is down would be a network that says nothing of it. */
int net_op_macvlan_add(struct net_op *op) {
  char buffer[1024];
  struct nlmsghdr *request;
  uint32_t mode;
  int fd;
  const char *into = net_text(op->json, "into"), *parent = net_text(op->json, "parent");
  if (into == NULL || parent == NULL || mode_of(net_text(op->json, "mode"), &mode)) return -EINVAL;
  int result = net_namespace_open(into, &fd);
  if (result) return result;
  net_link_start(buffer, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &request);
  result = net_link_identity(request, op->json);
  if (!result) result = put_below(op, request, parent);
  mnl_attr_put_u32(request, IFLA_NET_NS_FD, (uint32_t)fd);
  struct nlattr *info = mnl_attr_nest_start(request, IFLA_LINKINFO);
  mnl_attr_put_strz(request, IFLA_INFO_KIND, "macvlan");
  struct nlattr *data = mnl_attr_nest_start(request, IFLA_INFO_DATA);
  mnl_attr_put_u32(request, IFLA_MACVLAN_MODE, mode);
  mnl_attr_nest_end(request, data);
  mnl_attr_nest_end(request, info);
  if (!result) result = net_link_up(op->route, parent, op->why, sizeof op->why);
  if (!result) result = net_link_talk(op->route, request, op->why, sizeof op->why);
  close(fd);
  if (result == -EOPNOTSUPP) (void)snprintf(op->why, sizeof op->why, "this kernel has no macvlan");
  return result == -EEXIST && net_link_exists_in(into, net_text(op->json, "name")) ? 0 : result;
}

/* The kernel loads its module, if there is one, and then misses the device below. */
int net_op_macvlan_check(struct net_op *op) {
  char buffer[512];
  struct nlmsghdr *request;
  net_link_start(buffer, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &request);
  struct nlattr *info = mnl_attr_nest_start(request, IFLA_LINKINFO);
  mnl_attr_put_strz(request, IFLA_INFO_KIND, "macvlan");
  mnl_attr_nest_end(request, info);
  int result = net_link_talk(op->route, request, NULL, 0);
  if (result != -EOPNOTSUPP) return 0;
  (void)snprintf(op->why, sizeof op->why, "this kernel has no macvlan");
  return result;
}

/* An alias is not taken when a device is made. */
static int name_owner(struct net_op *op, const char *name, const char *alias) {
  char buffer[512];
  struct nlmsghdr *request;
  struct ifinfomsg *header = net_link_start(buffer, RTM_NEWLINK, 0, &request);
  header->ifi_flags = header->ifi_change = IFF_UP;
  mnl_attr_put_strz(request, IFLA_IFNAME, name);
  mnl_attr_put_strz(request, IFLA_IFALIAS, alias);
  return net_link_talk(op->route, request, op->why, sizeof op->why);
}

static int create_vlan(struct net_op *op, uint16_t id) {
  char buffer[1024];
  struct nlmsghdr *request;
  const char *below = net_text(op->json, "link");
  net_link_start(buffer, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &request);
  int result = net_link_identity(request, op->json);
  if (!result) result = put_below(op, request, below);
  struct nlattr *info = mnl_attr_nest_start(request, IFLA_LINKINFO);
  mnl_attr_put_strz(request, IFLA_INFO_KIND, "vlan");
  struct nlattr *data = mnl_attr_nest_start(request, IFLA_INFO_DATA);
  mnl_attr_put_u16(request, IFLA_VLAN_ID, id);
  mnl_attr_nest_end(request, data);
  mnl_attr_nest_end(request, info);
  if (!result) result = net_link_up(op->route, below, op->why, sizeof op->why);
  return result ? result : net_link_talk(op->route, request, op->why, sizeof op->why);
}

/* The alias says whose it is. One that is there stays whose it was. */
int net_op_vlan_add(struct net_op *op) {
  double id = net_number(op->json, "id", 0);
  const char *name = net_text(op->json, "name"), *alias = net_text(op->json, "alias");
  if (id < 1 || id > 4094 || name == NULL || alias == NULL || strlen(alias) > 200) return -EINVAL;
  int result = create_vlan(op, (uint16_t)id);
  if (result == 0) return name_owner(op, name, alias);
  if (result == -EOPNOTSUPP) (void)snprintf(op->why, sizeof op->why, "this kernel has no VLAN devices (8021q)");
  if (result != -EEXIST || !net_link_exists_in(op->netns, name)) return result;
  return net_link_up(op->route, name, op->why, sizeof op->why);
}

/* Under its new name at once, so that it meets none of its old name there. One that is there already has moved. */
int net_op_link_move(struct net_op *op) {
  char buffer[1024];
  struct nlmsghdr *request;
  uint8_t mac[6];
  int fd;
  const char *name = net_text(op->json, "name"), *into = net_text(op->json, "into"), *as = net_text(op->json, "as");
  const char *mac_text = net_text(op->json, "mac");
  if (name == NULL || into == NULL || as == NULL || as[0] == 0 || strlen(as) >= IFNAMSIZ) return -EINVAL;
  if (mac_text != NULL && net_parse_mac(mac_text, mac)) return -EINVAL;
  unsigned int index = if_nametoindex(name);
  if (index == 0) {
    (void)snprintf(op->why, sizeof op->why, "there is no device %s on this node", name);
    return net_link_exists_in(into, as) ? 0 : -ENODEV;
  }
  int result = net_namespace_open(into, &fd);
  if (result) return result;
  struct ifinfomsg *header = net_link_start(buffer, RTM_NEWLINK, 0, &request);
  header->ifi_index = (int)index;
  header->ifi_change = IFF_UP; /* down: one that is up can not be renamed */
  mnl_attr_put_u32(request, IFLA_NET_NS_FD, (uint32_t)fd);
  mnl_attr_put_strz(request, IFLA_IFNAME, as);
  if (mac_text != NULL) mnl_attr_put(request, IFLA_ADDRESS, sizeof mac, mac);
  result = net_link_talk(op->route, request, op->why, sizeof op->why);
  close(fd);
  return result;
}

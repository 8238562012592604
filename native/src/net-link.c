/* Links: veth pairs whose far end is born in another namespace, and vxlan devices likewise. Those of WireGuard are in
 * net-wireguard.c, those of networks outside of Shoal in net-outside.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net-internal.h"

struct ifinfomsg *net_link_start(char *buffer, uint16_t type, uint16_t flags, struct nlmsghdr **request) {
  *request = mnl_nlmsg_put_header(buffer);
  (*request)->nlmsg_type = type;
  (*request)->nlmsg_flags = flags;
  return mnl_nlmsg_put_extra_header(*request, sizeof(struct ifinfomsg));
}

/* Name, MTU and address; both optional ones are left to the kernel when absent. */
int net_link_identity(struct nlmsghdr *request, const cJSON *json) {
  const char *name = net_text(json, "name"), *mac_text = net_text(json, "mac");
  double mtu = net_number(json, "mtu", 0);
  uint8_t mac[6];
  if (name == NULL || name[0] == 0 || strlen(name) >= IFNAMSIZ) return -EINVAL;
  if (mac_text != NULL && net_parse_mac(mac_text, mac)) return -EINVAL;
  mnl_attr_put_strz(request, IFLA_IFNAME, name);
  if (mtu > 0) mnl_attr_put_u32(request, IFLA_MTU, (uint32_t)mtu);
  if (mac_text != NULL) mnl_attr_put(request, IFLA_ADDRESS, sizeof mac, mac);
  return 0;
}

int net_namespace_open(const char *path, int *fd) {
  *fd = path == NULL ? -1 : open(path[0] ? path : "/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  return path != NULL && *fd < 0 ? -errno : 0;
}

/* Without these a veth has one queue each way as well: but the kernel first makes one a processor, and waits for all
 * processors when it takes the others away. */
static void put_one_queue(struct nlmsghdr *request) {
  mnl_attr_put_u32(request, IFLA_NUM_TX_QUEUES, 1);
  mnl_attr_put_u32(request, IFLA_NUM_RX_QUEUES, 1);
}

static int put_veth(struct nlmsghdr *request, const cJSON *json, int peer_fd) {
  put_one_queue(request);
  const cJSON *peer = cJSON_GetObjectItemCaseSensitive(json, "peer");
  struct nlattr *info = mnl_attr_nest_start(request, IFLA_LINKINFO);
  mnl_attr_put_strz(request, IFLA_INFO_KIND, "veth");
  struct nlattr *data = mnl_attr_nest_start(request, IFLA_INFO_DATA);
  struct nlattr *far = mnl_attr_nest_start(request, VETH_INFO_PEER);
  /* Not IFF_UP yet: the kernel configures the far end before it knows its peer, and opening it is then ENOTCONN. */
  mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
  int result = net_link_identity(request, peer);
  put_one_queue(request);
  if (peer_fd >= 0) mnl_attr_put_u32(request, IFLA_NET_NS_FD, (uint32_t)peer_fd);
  mnl_attr_nest_end(request, far);
  mnl_attr_nest_end(request, data);
  mnl_attr_nest_end(request, info);
  return result;
}

/* Without a local address each packet has the one of the route that it takes. */
static int put_vxlan(struct nlmsghdr *request, const cJSON *json, int into_fd) {
  uint32_t local;
  unsigned int bits;
  const char *local_text = net_text(json, "local");
  if (local_text != NULL && net_parse_prefix(local_text, &local, &bits)) return -EINVAL;
  if (into_fd >= 0) mnl_attr_put_u32(request, IFLA_NET_NS_FD, (uint32_t)into_fd);
  struct nlattr *info = mnl_attr_nest_start(request, IFLA_LINKINFO);
  mnl_attr_put_strz(request, IFLA_INFO_KIND, "vxlan");
  struct nlattr *data = mnl_attr_nest_start(request, IFLA_INFO_DATA);
  mnl_attr_put_u32(request, IFLA_VXLAN_ID, (uint32_t)net_number(json, "id", 0));
  mnl_attr_put_u16(request, IFLA_VXLAN_PORT, htons((uint16_t)net_number(json, "port", 4789)));
  if (local_text != NULL) mnl_attr_put_u32(request, IFLA_VXLAN_LOCAL, local);
  mnl_attr_put_u8(request, IFLA_VXLAN_LEARNING, 0);
  mnl_attr_nest_end(request, data);
  mnl_attr_nest_end(request, info);
  return 0;
}

static int link_exists(struct net_link *link, const char *name) {
  char buffer[1024];
  struct nlmsghdr *request;
  struct ifinfomsg *header = net_link_start(buffer, RTM_GETLINK, 0, &request);
  header->ifi_family = AF_UNSPEC;
  mnl_attr_put_strz(request, IFLA_IFNAME, name);
  char answer[NET_BUFFER];
  request->nlmsg_flags = NLM_F_REQUEST;
  request->nlmsg_seq = ++link->sequence;
  if (mnl_socket_sendto(link->socket, request, request->nlmsg_len) < 0) return 0;
  ssize_t length = mnl_socket_recvfrom(link->socket, answer, sizeof answer);
  return length > 0 && ((struct nlmsghdr *)answer)->nlmsg_type == RTM_NEWLINK;
}

int net_link_plain(struct net_op *op, const char *kind) {
  char buffer[1024];
  struct nlmsghdr *request;
  net_link_start(buffer, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &request);
  int result = net_link_identity(request, op->json);
  struct nlattr *info = mnl_attr_nest_start(request, IFLA_LINKINFO);
  mnl_attr_put_strz(request, IFLA_INFO_KIND, kind);
  mnl_attr_nest_end(request, info);
  return result ? result : net_link_talk(op->route, request, op->why, sizeof op->why);
}

int net_link_up(struct net_link *link, const char *name, char *why, size_t why_size) {
  char buffer[512];
  struct nlmsghdr *request;
  struct ifinfomsg *header = net_link_start(buffer, RTM_NEWLINK, 0, &request);
  header->ifi_flags = header->ifi_change = IFF_UP;
  mnl_attr_put_strz(request, IFLA_IFNAME, name);
  return net_link_talk(link, request, why, why_size);
}

struct look {
  const char *netns, *name;
  int found;
};

static int raise_there(void *arg, struct shoal_error *err) {
  struct look *look = arg;
  struct net_link link;
  if (net_enter(look->netns, err) || net_link_open(&link, NETLINK_ROUTE, err)) return -err->code;
  int result = net_link_up(&link, look->name, NULL, 0);
  net_link_close(&link);
  return result ? shoal_fail(err, -result, "link-add", "%s up", look->name) : 0;
}

/* Brings the far end of a veth up, where it is. */
static int raise_far(const char *netns, const char *name) {
  struct look look = {.netns = netns, .name = name};
  struct shoal_error ignored;
  return net_on_thread(raise_there, &look, &ignored);
}

static int look_there(void *arg, struct shoal_error *err) {
  struct look *look = arg;
  struct net_link link;
  if (net_enter(look->netns, err) || net_link_open(&link, NETLINK_ROUTE, err)) return -err->code;
  look->found = link_exists(&link, look->name);
  net_link_close(&link);
  return 0;
}

int net_link_exists_in(const char *netns, const char *name) {
  struct look look = {.netns = netns, .name = name};
  struct shoal_error ignored;
  return net_on_thread(look_there, &look, &ignored) == 0 && look.found;
}

static int create_link(struct net_op *op, int is_vxlan, int far_fd) {
  char buffer[2048];
  struct nlmsghdr *request;
  struct ifinfomsg *header = net_link_start(buffer, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &request);
  header->ifi_flags = header->ifi_change = IFF_UP;
  int result = net_link_identity(request, op->json);
  if (!result) result = is_vxlan ? put_vxlan(request, op->json, far_fd) : put_veth(request, op->json, far_fd);
  return result ? result : net_link_talk(op->route, request, op->why, sizeof op->why);
}

/* What has the name already is accepted if it is whole: a veth whose far end is gone is made anew. */
int net_op_link_add(struct net_op *op) {
  const char *kind = net_text(op->json, "kind"), *name = net_text(op->json, "name");
  const cJSON *peer = cJSON_GetObjectItemCaseSensitive(op->json, "peer");
  int is_vxlan = kind != NULL && strcmp(kind, "vxlan") == 0;
  if (kind != NULL && name != NULL && strcmp(kind, "wireguard") == 0) return net_op_wireguard_add(op);
  if (kind != NULL && strcmp(kind, "macvlan") == 0) return net_op_macvlan_add(op);
  if (kind != NULL && strcmp(kind, "vlan") == 0) return net_op_vlan_add(op);
  if (kind == NULL || name == NULL || (!is_vxlan && (strcmp(kind, "veth") != 0 || !cJSON_IsObject(peer))))
    return -EINVAL;
  const char *far = net_text(is_vxlan ? op->json : peer, is_vxlan ? "into" : "netns");
  int far_fd, result = net_namespace_open(far, &far_fd);
  if (result) {
    (void)snprintf(op->why, sizeof op->why, "%s", far);
    return result;
  }
  result = create_link(op, is_vxlan, far_fd);
  if (result == -EEXIST && is_vxlan && net_link_exists_in(far, name))
    result = 0;
  else if (result == -EEXIST && !is_vxlan && link_exists(op->route, name)) {
    if (net_link_exists_in(far, net_text(peer, "name")))
      result = 0;
    else if (!(result = net_op_link_delete(op)))
      result = create_link(op, 0, far_fd);
  }
  int stays_down = cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(peer, "up"));
  if (result == 0 && !is_vxlan && far != NULL && !stays_down) result = raise_far(far, net_text(peer, "name"));
  if (far_fd >= 0) close(far_fd);
  return result;
}

int net_op_link_set(struct net_op *op) {
  char buffer[1024];
  struct nlmsghdr *request;
  struct ifinfomsg *header = net_link_start(buffer, RTM_NEWLINK, 0, &request);
  const cJSON *up = cJSON_GetObjectItemCaseSensitive(op->json, "up");
  if (cJSON_IsBool(up)) {
    header->ifi_change = IFF_UP;
    header->ifi_flags = cJSON_IsTrue(up) ? IFF_UP : 0;
  }
  int result = net_link_identity(request, op->json);
  return result ? result : net_link_talk(op->route, request, op->why, sizeof op->why);
}

int net_op_link_delete(struct net_op *op) {
  char buffer[512];
  struct nlmsghdr *request;
  const char *name = net_text(op->json, "name");
  if (name == NULL || strlen(name) >= IFNAMSIZ) return -EINVAL;
  net_link_start(buffer, RTM_DELLINK, 0, &request);
  mnl_attr_put_strz(request, IFLA_IFNAME, name);
  int result = net_link_talk(op->route, request, op->why, sizeof op->why);
  return result == -ENODEV ? 0 : result;
}

/* Reads a namespace back. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net-internal.h"

/* The family is told by the length. */
static void add_address(cJSON *to, const char *name, const struct nlattr *attr, int bits) {
  char text[INET6_ADDRSTRLEN + 12];
  size_t length = attr == NULL ? 0 : mnl_attr_get_payload_len(attr);
  if (length != 4 && length != 16) return;
  if (inet_ntop(length == 4 ? AF_INET : AF_INET6, mnl_attr_get_payload(attr), text, INET6_ADDRSTRLEN) == NULL) return;
  if (bits >= 0) (void)snprintf(text + strlen(text), 12, "/%d", bits);
  cJSON_AddStringToObject(to, name, text);
}

static void add_mac(cJSON *to, const struct nlattr *attr) {
  char text[18];
  if (attr == NULL || mnl_attr_get_payload_len(attr) != 6) return;
  const uint8_t *m = mnl_attr_get_payload(attr);
  (void)snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
  cJSON_AddStringToObject(to, "mac", text);
}

/* Of very many routes nearly all go by one device: its name is asked for once. A dump has a thread of its own. */
static void add_device(cJSON *to, unsigned int index) {
  static _Thread_local char name[IFNAMSIZ];
  static _Thread_local unsigned int known;
  if (index != known) known = if_indextoname(index, name) == NULL ? 0 : index;
  cJSON_AddStringToObject(to, "dev", known == 0 ? "" : name);
}

/* Collects attributes by type, up to a maximum; others are skipped. */
struct attrs {
  const struct nlattr **table;
  int max;
};

static int collect(const struct nlattr *attr, void *arg) {
  struct attrs *attrs = arg;
  int type = mnl_attr_get_type(attr);
  if (type <= attrs->max) attrs->table[type] = attr;
  return MNL_CB_OK;
}

static void add_vxlan(cJSON *link, const struct nlattr *data) {
  const struct nlattr *table[IFLA_VXLAN_MAX + 1] = {0};
  struct attrs attrs = {table, IFLA_VXLAN_MAX};
  mnl_attr_parse_nested(data, collect, &attrs);
  if (table[IFLA_VXLAN_ID]) cJSON_AddNumberToObject(link, "id", mnl_attr_get_u32(table[IFLA_VXLAN_ID]));
  if (table[IFLA_VXLAN_PORT]) cJSON_AddNumberToObject(link, "port", ntohs(mnl_attr_get_u16(table[IFLA_VXLAN_PORT])));
  add_address(link, "local", table[IFLA_VXLAN_LOCAL], -1);
}

/* Of a VLAN its number; other kinds say nothing more. */
static void add_vlan(cJSON *link, const struct nlattr *data) {
  const struct nlattr *table[IFLA_VLAN_MAX + 1] = {0};
  struct attrs attrs = {table, IFLA_VLAN_MAX};
  mnl_attr_parse_nested(data, collect, &attrs);
  if (table[IFLA_VLAN_ID]) cJSON_AddNumberToObject(link, "id", mnl_attr_get_u16(table[IFLA_VLAN_ID]));
}

static int visit_link(const struct nlmsghdr *message, void *list) {
  const struct ifinfomsg *header = mnl_nlmsg_get_payload(message);
  const struct nlattr *table[IFLA_MAX + 1] = {0}, *info[IFLA_INFO_MAX + 1] = {0};
  struct attrs attrs = {table, IFLA_MAX}, inner = {info, IFLA_INFO_MAX};
  mnl_attr_parse(message, sizeof *header, collect, &attrs);
  cJSON *link = cJSON_CreateObject();
  cJSON_AddItemToArray(list, link);
  cJSON_AddNumberToObject(link, "index", header->ifi_index);
  cJSON_AddBoolToObject(link, "up", (header->ifi_flags & IFF_UP) != 0);
  if (table[IFLA_IFNAME]) cJSON_AddStringToObject(link, "name", mnl_attr_get_str(table[IFLA_IFNAME]));
  if (table[IFLA_MTU]) cJSON_AddNumberToObject(link, "mtu", mnl_attr_get_u32(table[IFLA_MTU]));
  add_mac(link, table[IFLA_ADDRESS]);
  if (table[IFLA_LINK]) cJSON_AddNumberToObject(link, "below", mnl_attr_get_u32(table[IFLA_LINK]));
  if (table[IFLA_MASTER]) cJSON_AddNumberToObject(link, "master", mnl_attr_get_u32(table[IFLA_MASTER]));
  if (table[IFLA_IFALIAS]) cJSON_AddStringToObject(link, "alias", mnl_attr_get_str(table[IFLA_IFALIAS]));
  if (table[IFLA_LINKINFO]) mnl_attr_parse_nested(table[IFLA_LINKINFO], collect, &inner);
  if (info[IFLA_INFO_KIND]) {
    const char *kind = mnl_attr_get_str(info[IFLA_INFO_KIND]);
    cJSON_AddStringToObject(link, "kind", kind);
    if (strcmp(kind, "vxlan") == 0 && info[IFLA_INFO_DATA]) add_vxlan(link, info[IFLA_INFO_DATA]);
    if (strcmp(kind, "vlan") == 0 && info[IFLA_INFO_DATA]) add_vlan(link, info[IFLA_INFO_DATA]);
  }
  return MNL_CB_OK;
}

static int visit_address(const struct nlmsghdr *message, void *list) {
  const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);
  const struct nlattr *table[IFA_MAX + 1] = {0};
  struct attrs attrs = {table, IFA_MAX};
  mnl_attr_parse(message, sizeof *header, collect, &attrs);
  cJSON *address = cJSON_CreateObject();
  cJSON_AddItemToArray(list, address);
  add_device(address, header->ifa_index);
  /* Of IPv6 the kernel says IFA_LOCAL only where there is a peer. */
  int is_ipv6 = header->ifa_family == AF_INET6;
  add_address(address, "address", is_ipv6 && !table[IFA_LOCAL] ? table[IFA_ADDRESS] : table[IFA_LOCAL],
              header->ifa_prefixlen);
  return MNL_CB_OK;
}

static int visit_route(const struct nlmsghdr *message, void *list) {
  const struct rtmsg *header = mnl_nlmsg_get_payload(message);
  const struct nlattr *table[RTA_MAX + 1] = {0};
  struct attrs attrs = {table, RTA_MAX};
  mnl_attr_parse(message, sizeof *header, collect, &attrs);
  uint32_t number = table[RTA_TABLE] ? mnl_attr_get_u32(table[RTA_TABLE]) : header->rtm_table;
  int is_local = header->rtm_type == RTN_LOCAL && header->rtm_protocol == SHOAL_RTPROT;
  if (!is_local && (number == RT_TABLE_LOCAL || header->rtm_type != RTN_UNICAST)) return MNL_CB_OK;
  cJSON *route = cJSON_CreateObject();
  cJSON_AddItemToArray(list, route);
  if (table[RTA_DST])
    add_address(route, "dst", table[RTA_DST], header->rtm_dst_len);
  else
    cJSON_AddStringToObject(route, "dst", header->rtm_family == AF_INET6 ? "::/0" : "0.0.0.0/0");
  cJSON_AddNumberToObject(route, "table", number);
  cJSON_AddNumberToObject(route, "protocol", header->rtm_protocol);
  add_address(route, "via", table[RTA_GATEWAY], -1);
  add_address(route, "src", table[RTA_PREFSRC], -1);
  cJSON_AddBoolToObject(route, "onlink", (header->rtm_flags & RTNH_F_ONLINK) != 0);
  if (is_local) cJSON_AddTrueToObject(route, "local");
  if (is_local && table[RTA_PRIORITY]) cJSON_AddNumberToObject(route, "metric", mnl_attr_get_u32(table[RTA_PRIORITY]));
  if (table[RTA_OIF]) add_device(route, mnl_attr_get_u32(table[RTA_OIF]));
  return MNL_CB_OK;
}

static int visit_rule(const struct nlmsghdr *message, void *list) {
  const struct fib_rule_hdr *header = mnl_nlmsg_get_payload(message);
  const struct nlattr *table[FRA_MAX + 1] = {0};
  struct attrs attrs = {table, FRA_MAX};
  mnl_attr_parse(message, sizeof *header, collect, &attrs);
  cJSON *rule = cJSON_CreateObject();
  cJSON_AddItemToArray(list, rule);
  cJSON_AddNumberToObject(rule, "priority", table[FRA_PRIORITY] ? mnl_attr_get_u32(table[FRA_PRIORITY]) : 0);
  cJSON_AddNumberToObject(rule, "table", table[FRA_TABLE] ? mnl_attr_get_u32(table[FRA_TABLE]) : header->table);
  cJSON_AddNumberToObject(rule, "protocol", table[FRA_PROTOCOL] ? mnl_attr_get_u8(table[FRA_PROTOCOL]) : 0);
  if (table[FRA_FWMARK]) cJSON_AddNumberToObject(rule, "fwmark", mnl_attr_get_u32(table[FRA_FWMARK]));
  add_address(rule, "from", table[FRA_SRC], header->src_len);
  if (header->family == AF_INET6) cJSON_AddTrueToObject(rule, "ipv6");
  return MNL_CB_OK;
}

/* Only what is permanent: the rest is the kernel's own cache. */
static int visit_neighbour(const struct nlmsghdr *message, void *list) {
  const struct ndmsg *header = mnl_nlmsg_get_payload(message);
  const struct nlattr *table[NDA_MAX + 1] = {0};
  struct attrs attrs = {table, NDA_MAX};
  if (!(header->ndm_state & NUD_PERMANENT)) return MNL_CB_OK;
  mnl_attr_parse(message, sizeof *header, collect, &attrs);
  if (table[NDA_DST] == NULL) return MNL_CB_OK;
  cJSON *entry = cJSON_CreateObject();
  cJSON_AddItemToArray(list, entry);
  add_device(entry, (unsigned int)header->ndm_ifindex);
  add_address(entry, header->ndm_family == AF_BRIDGE ? "dst" : "address", table[NDA_DST], -1);
  add_mac(entry, table[NDA_LLADDR]);
  return MNL_CB_OK;
}

static const struct {
  const char *name;
  uint16_t type;
  uint8_t family;
  size_t header;
  mnl_cb_t visit;
} subjects[] = {
    {"links", RTM_GETLINK, AF_UNSPEC, sizeof(struct ifinfomsg), visit_link},
    {"addresses", RTM_GETADDR, AF_INET, sizeof(struct ifaddrmsg), visit_address},
    {"addresses", RTM_GETADDR, AF_INET6, sizeof(struct ifaddrmsg), visit_address},
    {"routes", RTM_GETROUTE, AF_INET, sizeof(struct rtmsg), visit_route},
    {"routes", RTM_GETROUTE, AF_INET6, sizeof(struct rtmsg), visit_route},
    {"rules", RTM_GETRULE, AF_INET, sizeof(struct fib_rule_hdr), visit_rule},
    {"rules", RTM_GETRULE, AF_INET6, sizeof(struct fib_rule_hdr), visit_rule},
    {"neighbours", RTM_GETNEIGH, AF_INET, sizeof(struct ndmsg), visit_neighbour},
    {"neighbours", RTM_GETNEIGH, AF_INET6, sizeof(struct ndmsg), visit_neighbour},
    {"fdb", RTM_GETNEIGH, AF_BRIDGE, sizeof(struct ndmsg), visit_neighbour},
    {"rates", RTM_GETQDISC, AF_UNSPEC, sizeof(struct tcmsg), net_visit_rate},
};

static void read_sysctl(const char *path, cJSON *into) {
  char value[128];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? -1 : read(fd, value, sizeof value - 1);
  if (fd >= 0) close(fd);
  if (length < 0) return;
  value[length] = 0;
  value[strcspn(value, "\n")] = 0;
  cJSON_AddStringToObject(into, path + strlen("/proc/sys/net/"), value);
}

static void read_sysctls(const char *list, cJSON *into) {
  char *copy = list == NULL ? NULL : strdup(list), *rest = NULL;
  for (char *name = copy == NULL ? NULL : strtok_r(copy, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
    char path[256];
    glob_t found;
    (void)snprintf(path, sizeof path, "/proc/sys/net/%s", name);
    if (glob(path, GLOB_NOSORT, NULL, &found) == 0) {
      for (size_t i = 0; i < found.gl_pathc; i++)
        read_sysctl(found.gl_pathv[i], into);
      globfree(&found);
    }
  }
  free(copy);
}

/* Only of those that have Shoal's name: other programs' peers are their own affair. */
static int read_wireguard(cJSON *links) {
  cJSON *link;
  cJSON_ArrayForEach(link, links) {
    const char *kind = net_text(link, "kind"), *name = net_text(link, "name");
    if (kind == NULL || name == NULL || strcmp(kind, "wireguard") != 0 || strncmp(name, "sw", 2) != 0) continue;
    int result = net_wireguard_read(name, link);
    /* It went while it was read. */
    if (result && result != -ENODEV) return result;
  }
  return 0;
}

struct dump {
  const char *netns, *sysctls;
  cJSON *root;
};

static int dump_there(void *arg, struct shoal_error *err) {
  struct dump *dump = arg;
  struct net_link link;
  char buffer[256];
  int result = net_enter(dump->netns, err);
  if (!result) result = net_link_open(&link, NETLINK_ROUTE, err);
  if (result) return result;
  for (size_t i = 0; !result && i < sizeof subjects / sizeof subjects[0]; i++) {
    struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
    request->nlmsg_type = subjects[i].type;
    /* The family is the first byte of every one of these headers. */
    *(uint8_t *)mnl_nlmsg_put_extra_header(request, subjects[i].header) = subjects[i].family;
    cJSON *list = cJSON_GetObjectItemCaseSensitive(dump->root, subjects[i].name);
    if (list == NULL) list = cJSON_AddArrayToObject(dump->root, subjects[i].name);
    result = net_link_dump(&link, request, subjects[i].visit, list);
    /* A kernel without IPv6 has nothing to tell of it. */
    if (result == -EOPNOTSUPP && subjects[i].family == AF_INET6) result = 0;
    if (result) shoal_fail(err, -result, "dump", "%s", subjects[i].name);
  }
  net_link_close(&link);
  if (!result && (result = read_wireguard(cJSON_GetObjectItemCaseSensitive(dump->root, "links"))))
    shoal_fail(err, -result, "dump", "wireguard");
  read_sysctls(dump->sysctls, cJSON_AddObjectToObject(dump->root, "sysctls"));
  return result;
}

int shoal_net_dump(const char *netns, const char *sysctls, char **json, struct shoal_error *err) {
  struct dump dump = {.netns = netns, .sysctls = sysctls, .root = cJSON_CreateObject()};
  int result = net_on_thread(dump_there, &dump, err);
  /* EINTR: the table changed while it was read, and what was read may be torn. */
  for (int again = 0; result == -EINTR && again < 10; again++) {
    cJSON_Delete(dump.root);
    dump.root = cJSON_CreateObject();
    result = net_on_thread(dump_there, &dump, err);
  }
  if (!result) {
    *json = cJSON_PrintUnformatted(dump.root);
    if (*json == NULL) result = shoal_fail(err, ENOMEM, "dump", "print");
  }
  cJSON_Delete(dump.root);
  return result;
}

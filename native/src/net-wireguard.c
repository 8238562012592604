/* WireGuard devices: made, given their key and peers, and read back, over generic netlink (linux/wireguard.h). A
 * private key is read from its file here and nowhere else: it is in no request's text, and in no answer. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <netinet/in.h>
#include <nettle/base64.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net-internal.h"

#define KEY_TEXT BASE64_ENCODE_RAW_LENGTH(WG_KEY_LEN)

/* A socket, and the number that the kernel gave to the family: it differs from boot to boot. */
struct wire {
  struct net_link link;
  uint16_t family;
};

static int visit_family(const struct nlmsghdr *message, void *arg) {
  const struct nlattr *attr;
  mnl_attr_for_each(attr, message, sizeof(struct genlmsghdr)) {
    if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID) *(uint16_t *)arg = mnl_attr_get_u16(attr);
  }
  return MNL_CB_OK;
}

static struct nlmsghdr *start(char *buffer, uint16_t type, uint8_t command, uint8_t version) {
  struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
  request->nlmsg_type = type;
  request->nlmsg_flags = NLM_F_REQUEST;
  struct genlmsghdr *header = mnl_nlmsg_put_extra_header(request, sizeof *header);
  header->cmd = command;
  header->version = version;
  return request;
}

/* Asking for the family loads the kernel's module, if there is one. */
static int find_family(struct wire *wire) {
  char buffer[NET_BUFFER];
  struct nlmsghdr *request = start(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
  mnl_attr_put_strz(request, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
  request->nlmsg_seq = ++wire->link.sequence;
  if (mnl_socket_sendto(wire->link.socket, request, request->nlmsg_len) < 0) return -errno;
  ssize_t length = mnl_socket_recvfrom(wire->link.socket, buffer, sizeof buffer);
  if (length < 0) return -errno;
  if (mnl_cb_run(buffer, (size_t)length, wire->link.sequence, wire->link.port, visit_family, &wire->family) < 0)
    return errno == ENOENT ? -EOPNOTSUPP : -errno;
  return wire->family == 0 ? -EOPNOTSUPP : 0;
}

static int wire_open(struct wire *wire) {
  struct shoal_error err = {0};
  wire->family = 0;
  if (net_link_open(&wire->link, NETLINK_GENERIC, &err)) return -err.code;
  wire->link.holds_keys = 1;
  int result = find_family(wire);
  if (result) net_link_close(&wire->link);
  return result;
}

static int decode_key(const char *text, uint8_t key[WG_KEY_LEN]) {
  struct base64_decode_ctx context;
  uint8_t decoded[BASE64_DECODE_LENGTH(KEY_TEXT)];
  size_t length = sizeof decoded;
  if (text == NULL || strlen(text) != KEY_TEXT) return -EINVAL;
  base64_decode_init(&context);
  int good = base64_decode_update(&context, &length, decoded, KEY_TEXT, text) && base64_decode_final(&context) &&
             length == WG_KEY_LEN;
  if (good) memcpy(key, decoded, WG_KEY_LEN);
  explicit_bzero(decoded, sizeof decoded);
  return good ? 0 : -EINVAL;
}

/* One line, as wg-genkey(8) writes it. */
static int read_key(const char *path, uint8_t key[WG_KEY_LEN]) {
  char text[KEY_TEXT + 2] = "";
  int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return path == NULL ? -EINVAL : -errno;
  ssize_t length = read(fd, text, sizeof text - 1);
  int result = length < 0 ? -errno : 0;
  close(fd);
  text[strcspn(text, "\n")] = 0;
  if (!result) result = decode_key(text, key);
  explicit_bzero(text, sizeof text);
  return result;
}

/* Port and private key; the same ones again change nothing. */
static int configure(struct net_op *op, const char *name) {
  char buffer[512];
  struct wire wire;
  uint8_t key[WG_KEY_LEN];
  int result = read_key(net_text(op->json, "keyFile"), key);
  if (result) {
    (void)snprintf(op->why, sizeof op->why, "its key: %s", strerror(-result));
    return result;
  }
  result = wire_open(&wire);
  if (!result) {
    struct nlmsghdr *request = start(buffer, wire.family, WG_CMD_SET_DEVICE, WG_GENL_VERSION);
    mnl_attr_put_strz(request, WGDEVICE_A_IFNAME, name);
    mnl_attr_put(request, WGDEVICE_A_PRIVATE_KEY, sizeof key, key);
    mnl_attr_put_u16(request, WGDEVICE_A_LISTEN_PORT, (uint16_t)net_number(op->json, "port", 0));
    result = net_link_talk(&wire.link, request, op->why, sizeof op->why);
    net_link_close(&wire.link);
  }
  explicit_bzero(buffer, sizeof buffer);
  explicit_bzero(key, sizeof key);
  return result;
}

int net_op_wireguard_add(struct net_op *op) {
  const char *name = net_text(op->json, "name");
  int result = net_link_plain(op, "wireguard");
  if (result == -EOPNOTSUPP) (void)snprintf(op->why, sizeof op->why, "this kernel has no WireGuard");
  if (result && result != -EEXIST) return result;
  result = configure(op, name);
  return result ? result : net_link_up(op->route, name, op->why, sizeof op->why);
}

/* Whether there is WireGuard at all. */
int net_op_wireguard_check(struct net_op *op) {
  struct wire wire;
  int result = wire_open(&wire);
  if (!result) net_link_close(&wire.link);
  if (result == -EOPNOTSUPP) (void)snprintf(op->why, sizeof op->why, "this kernel has no WireGuard");
  return result;
}

static int put_allowed(struct nlmsghdr *request, const char *text) {
  uint32_t address;
  unsigned int bits;
  if (net_parse_prefix(text, &address, &bits)) return -EINVAL;
  struct nlattr *list = mnl_attr_nest_start(request, WGPEER_A_ALLOWEDIPS);
  struct nlattr *one = mnl_attr_nest_start(request, 0);
  mnl_attr_put_u16(request, WGALLOWEDIP_A_FAMILY, AF_INET);
  mnl_attr_put(request, WGALLOWEDIP_A_IPADDR, sizeof address, &address);
  mnl_attr_put_u8(request, WGALLOWEDIP_A_CIDR_MASK, (uint8_t)bits);
  mnl_attr_nest_end(request, one);
  mnl_attr_nest_end(request, list);
  return 0;
}

static int put_peer(struct nlmsghdr *request, const cJSON *json, int add) {
  uint8_t key[WG_KEY_LEN];
  unsigned int bits;
  struct sockaddr_in endpoint = {.sin_family = AF_INET, .sin_port = htons((uint16_t)net_number(json, "port", 0))};
  if (decode_key(net_text(json, "publicKey"), key)) return -EINVAL;
  struct nlattr *list = mnl_attr_nest_start(request, WGDEVICE_A_PEERS);
  struct nlattr *one = mnl_attr_nest_start(request, 0);
  mnl_attr_put(request, WGPEER_A_PUBLIC_KEY, sizeof key, key);
  mnl_attr_put_u32(request, WGPEER_A_FLAGS, add ? WGPEER_F_REPLACE_ALLOWEDIPS : WGPEER_F_REMOVE_ME);
  if (add) {
    if (net_parse_prefix(net_text(json, "address"), &endpoint.sin_addr.s_addr, &bits)) return -EINVAL;
    mnl_attr_put(request, WGPEER_A_ENDPOINT, sizeof endpoint, &endpoint);
    if (put_allowed(request, net_text(json, "allowed"))) return -EINVAL;
  }
  mnl_attr_nest_end(request, one);
  mnl_attr_nest_end(request, list);
  return 0;
}

int net_op_wireguard_peer(struct net_op *op, int add) {
  char buffer[1024];
  struct wire wire;
  const char *dev = net_text(op->json, "dev");
  if (dev == NULL || strlen(dev) >= IFNAMSIZ) return -EINVAL;
  int result = wire_open(&wire);
  /* Where there is no WireGuard, there is no peer of it. */
  if (result) return add || result != -EOPNOTSUPP ? result : 0;
  struct nlmsghdr *request = start(buffer, wire.family, WG_CMD_SET_DEVICE, WG_GENL_VERSION);
  mnl_attr_put_strz(request, WGDEVICE_A_IFNAME, dev);
  result = put_peer(request, op->json, add);
  if (!result) result = net_link_talk(&wire.link, request, op->why, sizeof op->why);
  net_link_close(&wire.link);
  return !add && result == -ENODEV ? 0 : result;
}

static void add_key(cJSON *to, const struct nlattr *attr) {
  char text[KEY_TEXT + 1] = "";
  if (mnl_attr_get_payload_len(attr) != WG_KEY_LEN) return;
  base64_encode_raw(text, WG_KEY_LEN, mnl_attr_get_payload(attr));
  cJSON_AddStringToObject(to, "publicKey", text);
}

static void add_endpoint(cJSON *to, const struct nlattr *attr) {
  char text[INET_ADDRSTRLEN];
  struct sockaddr_in endpoint;
  if (mnl_attr_get_payload_len(attr) < sizeof endpoint) return;
  memcpy(&endpoint, mnl_attr_get_payload(attr), sizeof endpoint);
  if (endpoint.sin_family != AF_INET || inet_ntop(AF_INET, &endpoint.sin_addr, text, sizeof text) == NULL) return;
  cJSON_AddStringToObject(to, "address", text);
  cJSON_AddNumberToObject(to, "port", ntohs(endpoint.sin_port));
}

static void add_allowed(cJSON *list, const struct nlattr *nest) {
  char text[INET_ADDRSTRLEN + 4] = "";
  const struct nlattr *attr;
  unsigned int bits = 0;
  mnl_attr_for_each_nested(attr, nest) {
    int type = mnl_attr_get_type(attr);
    if (type == WGALLOWEDIP_A_IPADDR && mnl_attr_get_payload_len(attr) == 4)
      inet_ntop(AF_INET, mnl_attr_get_payload(attr), text, INET_ADDRSTRLEN);
    else if (type == WGALLOWEDIP_A_CIDR_MASK)
      bits = mnl_attr_get_u8(attr);
  }
  if (text[0] == 0) return;
  (void)snprintf(text + strlen(text), 4, "/%u", bits & 63);
  cJSON_AddItemToArray(list, cJSON_CreateString(text));
}

static void add_peer(cJSON *peers, const struct nlattr *nest) {
  const struct nlattr *attr, *one;
  cJSON *peer = cJSON_CreateObject(), *allowed = cJSON_AddArrayToObject(peer, "allowed");
  cJSON_AddItemToArray(peers, peer);
  mnl_attr_for_each_nested(attr, nest) {
    int type = mnl_attr_get_type(attr);
    if (type == WGPEER_A_PUBLIC_KEY)
      add_key(peer, attr);
    else if (type == WGPEER_A_ENDPOINT)
      add_endpoint(peer, attr);
    else if (type == WGPEER_A_ALLOWEDIPS) {
      mnl_attr_for_each_nested(one, attr) { add_allowed(allowed, one); }
    }
  }
}

/* A device with many peers comes in several messages; the first alone tells of the device itself. */
static int visit_device(const struct nlmsghdr *message, void *link) {
  const struct nlattr *attr, *one;
  mnl_attr_for_each(attr, message, sizeof(struct genlmsghdr)) {
    int type = mnl_attr_get_type(attr);
    if (type == WGDEVICE_A_PUBLIC_KEY)
      add_key(link, attr);
    else if (type == WGDEVICE_A_LISTEN_PORT)
      cJSON_AddNumberToObject(link, "port", mnl_attr_get_u16(attr));
    else if (type == WGDEVICE_A_PEERS) {
      mnl_attr_for_each_nested(one, attr) { add_peer(cJSON_GetObjectItemCaseSensitive(link, "peers"), one); }
    }
  }
  return MNL_CB_OK;
}

int net_wireguard_read(const char *name, cJSON *link) {
  char buffer[256];
  struct wire wire;
  int result = wire_open(&wire);
  if (result) return result;
  cJSON_AddArrayToObject(link, "peers");
  struct nlmsghdr *request = start(buffer, wire.family, WG_CMD_GET_DEVICE, WG_GENL_VERSION);
  mnl_attr_put_strz(request, WGDEVICE_A_IFNAME, name);
  result = net_link_dump(&wire.link, request, visit_device, link);
  net_link_close(&wire.link);
  return result;
}

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net-internal.h"

int net_link_open(struct net_link *link, int bus, struct shoal_error *err) {
  int on = 1;
  *link = (struct net_link){.socket = mnl_socket_open2(bus, SOCK_CLOEXEC)};
  if (link->socket == NULL) return shoal_fail(err, errno, "netlink", "open");
  if (mnl_socket_bind(link->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
    int code = errno;
    net_link_close(link);
    return shoal_fail(err, code, "netlink", "bind");
  }
  mnl_socket_setsockopt(link->socket, NETLINK_EXT_ACK, &on, sizeof on);
  mnl_socket_setsockopt(link->socket, NETLINK_CAP_ACK, &on, sizeof on);
  link->port = mnl_socket_get_portid(link->socket);
  return 0;
}

void net_link_close(struct net_link *link) {
  if (link->socket != NULL) mnl_socket_close(link->socket);
  link->socket = NULL;
}

/* The kernel's explanation sits behind the error header (capped, so the request is not repeated). */
static void explain(const struct nlmsghdr *answer, char *why, size_t why_size) {
  size_t offset = sizeof(struct nlmsgerr);
  if (why == NULL || !(answer->nlmsg_flags & NLM_F_ACK_TLVS)) return;
  if (!(answer->nlmsg_flags & NLM_F_CAPPED)) {
    const struct nlmsgerr *error = mnl_nlmsg_get_payload(answer);
    offset += error->msg.nlmsg_len - sizeof(struct nlmsghdr);
  }
  const struct nlattr *attr;
  mnl_attr_for_each(attr, answer, offset) {
    if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG)
      (void)snprintf(why, why_size, "%.*s", (int)mnl_attr_get_payload_len(attr), mnl_attr_get_str(attr));
  }
}

int net_link_talk(struct net_link *link, struct nlmsghdr *request, char *why, size_t why_size) {
  char buffer[NET_BUFFER];
  request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
  request->nlmsg_seq = ++link->sequence;
  if (mnl_socket_sendto(link->socket, request, request->nlmsg_len) < 0) return -errno;
  for (;;) {
    ssize_t length = mnl_socket_recvfrom(link->socket, buffer, sizeof buffer);
    if (length < 0) return -errno;
    int left = (int)length;
    for (struct nlmsghdr *answer = (struct nlmsghdr *)buffer; mnl_nlmsg_ok(answer, left);
         answer = mnl_nlmsg_next(answer, &left)) {
      if (answer->nlmsg_seq != request->nlmsg_seq || answer->nlmsg_type != NLMSG_ERROR) continue;
      const struct nlmsgerr *error = mnl_nlmsg_get_payload(answer);
      if (error->error) explain(answer, why, why_size);
      return error->error;
    }
  }
}

int net_link_dump(struct net_link *link, struct nlmsghdr *request, mnl_cb_t visit, void *arg) {
  size_t size = 65536;
  char *buffer = malloc(size);
  int result = buffer == NULL ? -ENOMEM : 0;
  request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_DUMP;
  request->nlmsg_seq = ++link->sequence;
  if (!result && mnl_socket_sendto(link->socket, request, request->nlmsg_len) < 0) result = -errno;
  for (int more = MNL_CB_OK; !result && more == MNL_CB_OK;) {
    ssize_t length = mnl_socket_recvfrom(link->socket, buffer, size);
    more = length < 0 ? MNL_CB_ERROR : mnl_cb_run(buffer, (size_t)length, link->sequence, link->port, visit, arg);
    if (more == MNL_CB_ERROR) result = -errno;
  }
  /* The kernel tells of a WireGuard device with its private key. */
  if (buffer != NULL && link->holds_keys) explicit_bzero(buffer, size);
  free(buffer);
  return result;
}

const char *net_text(const cJSON *op, const char *field) {
  return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(op, field));
}

double net_number(const cJSON *op, const char *field, double fallback) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(op, field);
  return cJSON_IsNumber(item) ? item->valuedouble : fallback;
}

int net_flag(const cJSON *op, const char *field) { return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(op, field)); }

int net_parse_mac(const char *text, uint8_t mac[6]) {
  unsigned int part[6];
  char rest;
  if (text == NULL ||
      sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &part[0], &part[1], &part[2], &part[3], &part[4], &part[5], &rest) != 6)
    return -EINVAL;
  for (int i = 0; i < 6; i++)
    mac[i] = (uint8_t)part[i];
  return 0;
}

int net_parse_address(const char *text, struct net_address *address) {
  char copy[INET6_ADDRSTRLEN + 4];
  if (text == NULL || strlen(text) >= sizeof copy) return -EINVAL;
  strcpy(copy, text);
  char *slash = strchr(copy, '/');
  int is_ipv6 = strchr(copy, ':') != NULL;
  unsigned int most = is_ipv6 ? 128 : 32;
  *address = (struct net_address){.family = is_ipv6 ? AF_INET6 : AF_INET, .size = is_ipv6 ? 16 : 4, .bits = most};
  if (slash != NULL) {
    char *end;
    *slash = 0;
    unsigned long value = strtoul(slash + 1, &end, 10);
    if (end == slash + 1 || *end != 0 || value > most) return -EINVAL;
    address->bits = (unsigned int)value;
  }
  return inet_pton(address->family, copy, address->bytes) == 1 ? 0 : -EINVAL;
}

int net_parse_prefix(const char *text, uint32_t *address, unsigned int *bits) {
  struct net_address parsed;
  if (net_parse_address(text, &parsed) || parsed.family != AF_INET) return -EINVAL;
  memcpy(address, parsed.bytes, sizeof *address);
  *bits = parsed.bits;
  return 0;
}

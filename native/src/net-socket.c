#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net-internal.h"

struct wanted {
  const char *netns, *address;
  int type;
  unsigned int port;
};

static int open_there(void *arg, struct shoal_error *err) {
  const struct wanted *wanted = arg;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)wanted->port)};
  struct sockaddr_in6 at6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)wanted->port)};
  int on = 1, is_ipv6 = wanted->address != NULL && strchr(wanted->address, ':') != NULL;
  int family = is_ipv6 ? AF_INET6 : AF_INET;
  void *bytes = is_ipv6 ? (void *)&at6.sin6_addr : (void *)&at.sin_addr;
  const struct sockaddr *place = is_ipv6 ? (struct sockaddr *)&at6 : (struct sockaddr *)&at;
  socklen_t size = is_ipv6 ? sizeof at6 : sizeof at;
  if (wanted->address == NULL || inet_pton(family, wanted->address, bytes) != 1)
    return shoal_fail(err, EINVAL, "address", "%s", wanted->address == NULL ? "" : wanted->address);
  int result = net_enter(wanted->netns, err);
  if (result) return result;
  int fd = socket(family, wanted->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return shoal_fail(err, errno, "socket", "type %d", wanted->type);
  /* A connection in TIME_WAIT from before an agent restart must not keep the port. */
  if (wanted->type == SOCK_STREAM) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (is_ipv6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  /* Without a port it is one to connect with. */
  int listens = wanted->type == SOCK_STREAM && wanted->port != 0;
  if (bind(fd, place, size) || (listens && listen(fd, 128))) {
    int code = errno;
    close(fd);
    return shoal_fail(err, code, "bind", "%s:%u", wanted->address, wanted->port);
  }
  return fd;
}

int shoal_net_socket(const char *netns, int type, const char *address, unsigned int port, struct shoal_error *err) {
  struct wanted wanted = {.netns = netns, .address = address, .type = type, .port = port};
  if ((type != SOCK_STREAM && type != SOCK_DGRAM) || port > 65535)
    return shoal_fail(err, EINVAL, "socket", "type %d port %u", type, port);
  return net_on_thread(open_there, &wanted, err);
}

void shoal_net_free(char *text) { free(text); }

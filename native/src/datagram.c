#include "shoal-datagram.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int open_socket(const char *path, struct shoal_error *err) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return shoal_fail(err, ENAMETOOLONG, "connect", "%s", path);
  memcpy(address.sun_path, path, strlen(path) + 1);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return shoal_fail(err, errno, "socket", "%s", path);
  if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) return fd;
  int code = errno;
  close(fd);
  return shoal_fail(err, code, "connect", "%s", path);
}

int shoal_datagrams_send(const char *path, const uint8_t *data, const uint32_t *lengths, uint32_t count, uint32_t *sent,
                         struct shoal_error *err) {
  *sent = 0;
  int fd = open_socket(path, err);
  if (fd < 0) return fd;
  int rc = 0;
  while (rc == 0 && *sent < count) {
    uint32_t length = lengths[*sent];
    if (send(fd, data, length, MSG_NOSIGNAL) < 0) {
      if (errno != EINTR) rc = shoal_fail(err, errno, "send", "%s", path);
      continue;
    }
    data += length;
    *sent += 1;
  }
  close(fd);
  return rc;
}

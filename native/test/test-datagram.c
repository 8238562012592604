/* shoal_datagrams_send to sockets that take, that are full, that are of another kind and that are not there. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "shoal-datagram.h"

static int listen_at(const char *path, int type) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  (void)unlink(path);
  int fd = socket(AF_UNIX, type, 0);
  CHECK(fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0);
  return fd;
}

int main(void) {
  char dir[] = "/tmp/shoal-datagram-XXXXXX", path[64], text[16];
  struct shoal_error err = {0};
  uint32_t sent = 9, lengths[1000];
  static uint8_t bytes[4u << 20];

  CHECK(mkdtemp(dir) != NULL);
  (void)snprintf(path, sizeof path, "%s/socket", dir);
  int fd = listen_at(path, SOCK_DGRAM);
  CHECK(shoal_datagrams_send(path, (const uint8_t *)"onethree", (uint32_t[]){3, 0, 5}, 3, &sent, &err) == 0);
  CHECK(sent == 3);
  CHECK(recv(fd, text, sizeof text, 0) == 3 && memcmp(text, "one", 3) == 0);
  CHECK(recv(fd, text, sizeof text, 0) == 0);
  CHECK(recv(fd, text, sizeof text, 0) == 5 && memcmp(text, "three", 5) == 0);

  /* Nobody reads: the call comes back, and says how far it came. */
  for (int i = 0; i < 1000; i++)
    lengths[i] = 1000;
  CHECK(shoal_datagrams_send(path, bytes, lengths, 1000, &sent, &err) == -EAGAIN);
  CHECK(sent > 0 && sent < 1000);
  uint32_t taken = 0;
  while (recv(fd, text, sizeof text, MSG_DONTWAIT | MSG_TRUNC) == 1000)
    taken++;
  CHECK(taken == sent);
  CHECK(shoal_datagrams_send(path, bytes, (uint32_t[]){sizeof bytes}, 1, &sent, &err) == -EMSGSIZE);
  CHECK(sent == 0);
  CHECK(close(fd) == 0);
  CHECK(shoal_datagrams_send(path, bytes, lengths, 1, &sent, &err) == -ECONNREFUSED);
  CHECK(strcmp(err.step, "connect") == 0);

  fd = listen_at(path, SOCK_STREAM);
  CHECK(listen(fd, 1) == 0);
  CHECK(shoal_datagrams_send(path, bytes, lengths, 1, &sent, &err) == -EPROTOTYPE);
  CHECK(close(fd) == 0 && unlink(path) == 0 && rmdir(dir) == 0);
  CHECK(shoal_datagrams_send(path, bytes, lengths, 1, &sent, &err) == -ENOENT);
  char longer[200];
  memset(longer, 'x', sizeof longer - 1);
  longer[sizeof longer - 1] = '\0';
  CHECK(shoal_datagrams_send(longer, bytes, lengths, 1, &sent, &err) == -ENAMETOOLONG);
  int left = open("/dev/null", O_RDONLY);
  CHECK(left == 3);
  return 0;
}

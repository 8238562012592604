/* Mode "ready": a monitor that is there before its container. It has nothing but its end of a socket, and waits for
 * what a monitor in mode "create" is born with. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor/monitor.h"

#define GIVEN_MIN 4
#define GIVEN_MAX 5

int ready_begin(void) {
  if (sys_close_range(MONITOR_FD_PLAN, MONITOR_FD_CONTROL - 1, 0) < 0) return -1;
  return sys_close_range(MONITOR_FD_CONTROL + 1, ~0u, 0);
}

/* How many came; 0: whoever could have sent some is gone. */
static size_t receive(int fds[GIVEN_MAX]) {
  char go;
  struct iovec part = {.iov_base = &go, .iov_len = 1};
  union {
    char bytes[CMSG_SPACE(GIVEN_MAX * sizeof(int))];
    struct cmsghdr align;
  } control;
  struct msghdr head = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  ssize_t n;
  while ((n = recvmsg(MONITOR_FD_CONTROL, &head, 0)) < 0 && errno == EINTR)
    continue;
  struct cmsghdr *rights = n == 1 ? CMSG_FIRSTHDR(&head) : NULL;
  if (rights == NULL || rights->cmsg_type != SCM_RIGHTS) return 0;
  size_t count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  memcpy(fds, CMSG_DATA(rights), count * sizeof(int));
  return count;
}

/* The kernel gives them the lowest numbers that are free, which are theirs; the last one takes the socket's. */
bool ready_await(void) {
  int fds[GIVEN_MAX];
  size_t count = receive(fds);
  if (count < GIVEN_MIN) return false;
  for (int i = 0; i < GIVEN_MIN; i++) {
    if (fds[i] != MONITOR_FD_PLAN + i) return false;
  }
  if (count == GIVEN_MIN) return close(MONITOR_FD_CONTROL) == 0;
  return dup2(fds[GIVEN_MIN], MONITOR_FD_START_WORD) >= 0 && close(fds[GIVEN_MIN]) == 0;
}

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "monitor-spawn.h"
#include "oci/oci.h"

int socket_connect(const char *path, const char *step, struct shoal_error *err) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return shoal_fail(err, ENAMETOOLONG, step, "%s", path);
  memcpy(address.sun_path, path, strlen(path));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  int rc = shoal_fail(err, errno, step, "%s", path);
  if (fd >= 0) close(fd);
  return rc;
}

/* The monitor lies beside this program. */
static int monitor_path(char out[PATH_MAX + 32], struct shoal_error *err) {
  ssize_t n = readlink("/proc/self/exe", out, PATH_MAX);
  if (n <= 0) return shoal_fail(err, errno, "monitor", "/proc/self/exe");
  out[n] = '\0';
  (void)strcpy(strrchr(out, '/') + 1, "shoal-monitor");
  return 0;
}

int monitor_start(struct call *call, const char *mode, int console_fd, struct shoal_error *err) {
  char path[PATH_MAX + 32];
  int rc = monitor_path(path, err);
  if (rc < 0) return rc;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, call->result) < 0)
    return shoal_fail(err, errno, "monitor", "socketpair");
  struct monitor_spawn request = {.path = path,
                                  .mode = mode,
                                  .plan_fd = call->plan_fd,
                                  .result_fd = call->result[1],
                                  .dir_fd = call->target_fd >= 0 ? call->target_fd : call->dir_fd,
                                  .socket_fd = call->socket_fd,
                                  .stderr_fd = console_fd,
                                  .inherit = true,
                                  .preserved = (int)call->preserved};
  rc = monitor_spawn(&request, err);
  close(call->result[1]);
  call->result[1] = -1;
  return rc;
}

ssize_t report_receive(int fd, struct report *report, int *passed) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  struct iovec part = {.iov_base = report, .iov_len = sizeof *report};
  struct msghdr head = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  ssize_t n;
  *passed = -1;
  while ((n = recvmsg(fd, &head, MSG_CMSG_CLOEXEC | MSG_WAITALL)) < 0 && errno == EINTR)
    continue;
  struct cmsghdr *rights = n < 0 ? NULL : CMSG_FIRSTHDR(&head);
  if (rights != NULL && rights->cmsg_type == SCM_RIGHTS && rights->cmsg_len == CMSG_LEN(sizeof(int)))
    memcpy(passed, CMSG_DATA(rights), sizeof *passed);
  return n;
}

int monitor_report(struct call *call, struct report *report, int *passed, struct shoal_error *err) {
  ssize_t n = report_receive(call->result[0], report, passed);
  if (n != (ssize_t)sizeof *report) return shoal_fail(err, EPIPE, "monitor", "ended before it reported");
  if (report->kind != REPORT_FAILED) return 0;
  *err = report->error;
  return err->code > 0 ? -err->code : -EIO;
}

int write_pid_file(const char *path, pid_t pid) {
  char text[16];
  if (path == NULL) return 0;
  (void)snprintf(text, sizeof text, "%d", (int)pid);
  int rc = file_replace(path, text);
  return rc < 0 ? log_failure("--pid-file: write %s: %s", path, strerror(-rc)) : 0;
}

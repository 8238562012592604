#include <errno.h>
#include <sys/socket.h>

#include "monitor/monitor.h"

static void send_report(int fd, const struct report *report) {
  while (send(fd, report, sizeof *report, MSG_NOSIGNAL) < 0 && errno == EINTR)
    continue;
}

void report_ready(int fd, pid_t pid) {
  struct report report = {.kind = REPORT_READY, .pid = pid};
  send_report(fd, &report);
}

void report_starting(int fd) {
  struct report report = {.kind = REPORT_STARTING};
  send_report(fd, &report);
}

void report_started(int fd, pid_t pid, int64_t at_ms) {
  struct report report = {.kind = REPORT_STARTED, .pid = pid, .at_ms = at_ms};
  send_report(fd, &report);
}

void report_failure(int fd, const struct shoal_error *error) {
  struct report report = {.kind = REPORT_FAILED, .error = *error};
  send_report(fd, &report);
}

bool library_agrees(int fd) {
  char go;
  ssize_t n;
  while ((n = recv(fd, &go, 1, 0)) < 0 && errno == EINTR)
    continue;
  return n == 1;
}

int report_hooks(pid_t pid, int init_fd, struct shoal_error *err) {
  struct report report = {.kind = REPORT_HOOKS, .pid = pid};
  const char go = 0;
  send_report(MONITOR_FD_RESULT, &report);
  if (!library_agrees(MONITOR_FD_RESULT) || send(init_fd, &go, 1, MSG_NOSIGNAL) != 1)
    return shoal_fail(err, ECANCELED, "hooks", "a hook failed");
  return 0;
}

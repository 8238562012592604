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

void report_failure(int fd, const struct shoal_error *error) {
  struct report report = {.kind = REPORT_FAILED, .error = *error};
  send_report(fd, &report);
}

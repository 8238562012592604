#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

int join_pid_namespace(const struct plan *plan, struct shoal_error *err) {
  const struct plan_join *joins = plan_items(plan, plan->joins);
  for (uint32_t i = 0; i < plan->joins.count; i++) {
    if (joins[i].flag != CLONE_NEWPID) continue;
    int fd = open(plan_string(plan, joins[i].path), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWPID) < 0)
      return shoal_fail(err, errno, "namespace", "join %s", plan_string(plan, joins[i].path));
    close(fd);
  }
  return 0;
}

pid_t clone_into(uint64_t flags, const char *cgroup, int *pidfd) {
  int cgroup_fd = cgroup == NULL ? -1 : open(cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (cgroup != NULL && cgroup_fd < 0) return -1;
  struct clone3_request request = {.flags = flags, .cgroup_fd = cgroup_fd, .pidfd = pidfd};
  pid_t pid = sys_clone3(&request);
  int code = errno;
  if (cgroup_fd >= 0) close(cgroup_fd);
  errno = code;
  return pid;
}

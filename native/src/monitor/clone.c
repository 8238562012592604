/* How a container's init, and a further process of a container, come to be. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor/monitor.h"

/* Joins the pid namespace that the plan names, if any, for the children to come. */
static int join_pid_namespace(const struct plan *plan, struct shoal_error *err) {
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

/* Both clocks are fixed for the first process in a new time namespace, so the namespace is made before. */
static int make_time_namespace(const struct plan *plan, struct shoal_error *err) {
  char text[128];
  if ((plan->namespaces & CLONE_NEWTIME) == 0) return 0;
  if (unshare(CLONE_NEWTIME) < 0) return shoal_fail(err, errno, "namespace", "time");
  int n = snprintf(text, sizeof text, "monotonic %lld %u\nboottime %lld %u\n", (long long)plan->monotonic.seconds,
                   plan->monotonic.nanoseconds, (long long)plan->boottime.seconds, plan->boottime.nanoseconds);
  int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
  int rc = fd < 0 || write(fd, text, (size_t)n) != n ? shoal_fail(err, errno, "namespace", "time offsets") : 0;
  if (fd >= 0) close(fd);
  return rc;
}

/* The groups are root's of the node, which an init with other ids is not. */
static int open_cgroups(const struct plan *plan, struct shoal_error *err) {
  const uint32_t *files = plan_items(plan, plan->cgroup_tasks);
  init_cgroup_fds[0] = -1;
  if (!userns_own(plan)) return 0;
  if (plan->cgroup_tasks.count > CGROUP_FDS_MAX) return shoal_fail(err, E2BIG, "cgroup", "too many hierarchies");
  for (uint32_t i = 0; i < plan->cgroup_tasks.count; i++) {
    const char *path = plan_string(plan, files[i]);
    init_cgroup_fds[i] = open(path, O_WRONLY | O_CLOEXEC);
    init_cgroup_fds[i + 1] = -1;
    if (init_cgroup_fds[i] < 0) return shoal_fail(err, errno, "cgroup", "open %s", path);
  }
  return 0;
}

int clone_container(const struct plan *plan, const int stdio[3], struct cloned *out, struct shoal_error *err) {
  int sync[2];
  int rc = join_pid_namespace(plan, err);
  if (rc == 0) rc = make_time_namespace(plan, err);
  if (rc == 0) rc = open_cgroups(plan, err);
  if (rc < 0) return rc;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync) < 0)
    return shoal_fail(err, errno, "stdio", "socketpair");
  /* The cgroup namespace comes later, when the init is in its cgroups. */
  uint64_t flags = plan->namespaces & ~(uint64_t)(CLONE_NEWCGROUP | CLONE_NEWTIME);
  pid_t pid = clone_into(flags, plan_string(plan, plan->cgroup_v2), &out->pidfd);
  if (pid < 0) return shoal_fail(err, errno, "namespace", "clone3");
  if (pid == 0) init_main(plan, sync[1], stdio);
  close(sync[1]);
  for (int i = 0; i < CGROUP_FDS_MAX && init_cgroup_fds[i] >= 0; i++)
    close(init_cgroup_fds[i]);
  out->pid = pid;
  out->sync_fd = sync[0];
  return userns_own(plan) ? userns_supply(plan, pid, sync[0], err) : 0;
}

/* Modes "detached" and "detached-exec": for who collects the exit of the child itself, as container engines do. The
 * monitor stays only until the container's init is ready, or until a further command runs. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/monitor.h"
#include "monitor/terminal.h"

/* On failure the child goes, too, and is not left to others. */
static _Noreturn void give_up(const struct cloned *child, const struct shoal_error *error) {
  if (child->pid > 0) {
    (void)kill(child->pid, SIGKILL);
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
      continue;
  }
  report_failure(MONITOR_FD_RESULT, error);
  _exit(1);
}

static const int inherited[3] = {-1, -1, -1};

/* One more command of a container. */
static int start_command(struct cloned *child, const struct plan *plan, struct shoal_error *err) {
  int sync[2];
  /* The child is born in its cgroup of v2. */
  if (schedule_on(&plan->process.initial_cpus, err) < 0) return -1;
  if (setns(MONITOR_FD_TARGET, CLONE_NEWPID) < 0) return shoal_fail(err, errno, "namespace", "pid");
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync) < 0)
    return shoal_fail(err, errno, "stdio", "socketpair");
  child->pid = clone_into(0, plan_string(plan, plan->cgroup_v2), &child->pidfd);
  if (child->pid < 0) return shoal_fail(err, errno, "namespace", "clone3");
  if (child->pid == 0) exec_child(plan, sync[1], inherited);
  close(sync[1]);
  child->sync_fd = sync[0];
  return 0;
}

static int start(struct cloned *child, const struct plan *plan, bool container, struct shoal_error *err) {
  return container ? clone_container(plan, inherited, child, err) : start_command(child, plan, err);
}

/* Who gets the master side expects it to block. */
static int pass_terminal(int master_fd, struct shoal_error *err) {
  (void)fcntl(master_fd, F_SETFL, fcntl(master_fd, F_GETFL) & ~O_NONBLOCK);
  int rc = terminal_pass(MONITOR_FD_STDERR, master_fd);
  close(master_fd);
  return rc < 0 ? shoal_fail(err, -rc, "terminal", "console socket") : 0;
}

/* Of a further command's filter. */
static int pass_listener(int fd, pid_t pid, struct shoal_error *err) {
  (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  int rc = terminal_send_of(MONITOR_FD_RESULT, REPORT_SECCOMP, pid, fd);
  close(fd);
  return rc < 0 ? shoal_fail(err, errno, "seccomp", "hand over") : 0;
}

/* Until the child is ready, or, where it never says so, until its execve closes the socket. */
static int await_child(const struct cloned *child, bool container, struct shoal_error *err) {
  for (;;) {
    struct report report = {0};
    int master_fd = -1, rc = 0;
    ssize_t n = terminal_receive(child->sync_fd, &report, &master_fd);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0 && !container) return 0;
    if (n != (ssize_t)sizeof report) return shoal_fail(err, EPIPE, "init", "ended before it was ready");
    if (master_fd >= 0 && report.kind == REPORT_SECCOMP) {
      rc = pass_listener(master_fd, child->pid, err);
    } else if (master_fd >= 0) {
      rc = pass_terminal(master_fd, err);
    } else if (report.kind == REPORT_HOOKS) {
      rc = report_hooks(child->pid, child->sync_fd, err);
    } else if (report.kind == REPORT_READY) {
      return 0;
    } else {
      *err = report.error;
      rc = -1;
    }
    if (rc < 0) return rc;
  }
}

static _Noreturn void run(const struct plan *plan, bool container) {
  struct cloned child = {.pid = -1, .pidfd = -1, .sync_fd = -1};
  struct shoal_error error = {0};
  if (container && listen(MONITOR_FD_SOCKET, 8) < 0) {
    (void)shoal_fail(&error, errno, "control socket", "listen");
    give_up(&child, &error);
  }
  if (start(&child, plan, container, &error) < 0 || await_child(&child, container, &error) < 0) give_up(&child, &error);
  report_ready(MONITOR_FD_RESULT, child.pid);
  _exit(0);
}

void detached_container_main(const struct plan *plan) { run(plan, true); }

void detached_exec_main(const struct plan *plan) { run(plan, false); }

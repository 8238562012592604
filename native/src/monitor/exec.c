/* One more command in a running container: its namespaces and cgroups, its own user, capabilities and filter. The
 * output is kept up to a limit; what the command leaves behind is killed with it, through a cgroup of its own. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "monitor/monitor.h"

struct run {
  const struct plan *plan;
  pid_t pid;
  int pidfd, sync_fd, output_fd;
  bool timed_out;
  char *output;
  size_t size;
  struct shoal_error error;
};

static void kill_all(const char *cgroup) {
  char path[600], text[4096];
  (void)snprintf(path, sizeof path, "%s/cgroup.kill", cgroup);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd >= 0) {
    (void)!write(fd, "1", 1);
    close(fd);
    return;
  }
  (void)snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
  fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = '\0';
  for (char *at = text; *at != '\0'; at += strcspn(at, "\n"), at += *at == '\n') {
    int pid = atoi(at);
    if (pid > 1) (void)kill(pid, SIGKILL);
  }
}

/* Without cgroup.kill a fork may slip through, so: kill until the directory can be removed, for at most a second. */
static void remove_cgroup(const char *cgroup) {
  const struct timespec pause = {.tv_sec = 0, .tv_nsec = 2000000L};
  for (int i = 0; i < 500 && rmdir(cgroup) < 0 && errno == EBUSY; i++) {
    kill_all(cgroup);
    (void)nanosleep(&pause, NULL);
  }
}

static int start(struct run *run) {
  int sync[2], pipe_fds[2];
  const struct plan *plan = run->plan;
  const char *unified = plan_string(plan, plan->cgroup_v2);
  const char *cgroup = plan_string(plan, plan->exec_cgroup);
  if (mkdir(cgroup, 0755) < 0) return shoal_fail(&run->error, errno, "cgroup", "mkdir %s", cgroup);
  if (setns(MONITOR_FD_TARGET, CLONE_NEWPID) < 0) return shoal_fail(&run->error, errno, "namespace", "pid");
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync) < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
    return shoal_fail(&run->error, errno, "stdio", "pipe");
  uint32_t owner = userns_owner(plan->target_pid, plan->process.uid);
  if (owner != 0) (void)!fchown(pipe_fds[1], owner, (gid_t)-1);
  run->pid = clone_into(0, unified, &run->pidfd);
  if (run->pid < 0) return shoal_fail(&run->error, errno, "namespace", "clone3");
  if (run->pid == 0) exec_child(plan, sync[1], (const int[3]){-1, pipe_fds[1], pipe_fds[1]});
  close(sync[1]);
  close(pipe_fds[1]);
  run->sync_fd = sync[0];
  run->output_fd = pipe_fds[0];
  (void)fcntl(run->output_fd, F_SETFL, O_NONBLOCK);
  return 0;
}

/* Returns false when there is nothing to read now. What exceeds the limit is read and dropped. */
static bool copy_output(struct run *run) {
  char rest[4096];
  size_t room = run->plan->max_output_bytes - run->size;
  ssize_t n = read(run->output_fd, room > 0 ? run->output + run->size : rest, room > 0 ? room : sizeof rest);
  if (n > 0 && room > 0) run->size += (size_t)n;
  if (n == 0) {
    close(run->output_fd);
    run->output_fd = -1;
  }
  return n > 0;
}

static int remaining_ms(int64_t deadline_ms) {
  struct timespec now;
  if (deadline_ms == 0) return -1;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t left = deadline_ms - ((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
  return left < 0 ? 0 : (int)left;
}

static void await_end(struct run *run) {
  struct timespec now;
  const char *cgroup = plan_string(run->plan, run->plan->exec_cgroup);
  bool killed = false;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t deadline_ms =
      run->plan->timeout_ms == 0 ? 0 : (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + run->plan->timeout_ms;
  for (;;) {
    struct pollfd entries[3] = {{.fd = run->pidfd, .events = POLLIN},
                                {.fd = run->output_fd, .events = POLLIN},
                                {.fd = killed ? -1 : MONITOR_FD_RESULT, .events = 0}};
    int n = poll(entries, 3, killed ? -1 : remaining_ms(deadline_ms));
    if (n < 0) continue;
    if (entries[1].revents != 0) (void)copy_output(run);
    if (entries[0].revents != 0) return;
    /* Out of time, or the asker has gone. */
    if (n == 0 || entries[2].revents != 0) {
      killed = true;
      run->timed_out = n == 0;
      kill_all(cgroup);
      (void)sys_pidfd_send_signal(run->pidfd, SIGKILL);
    }
  }
}

static void send_all(const char *data, size_t size) {
  while (size > 0) {
    ssize_t n = send(MONITOR_FD_RESULT, data, size, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    data += n;
    size -= (size_t)n;
  }
}

static void answer(const struct run *run, int exit_code) {
  char head[512], detail[256];
  state_escape(run->error.detail, detail, sizeof detail);
  int n =
      snprintf(head, sizeof head, "{\"exitCode\":%d,\"timedOut\":%s,\"code\":%d,\"step\":\"%s\",\"detail\":\"%s\"}\n",
               exit_code, run->timed_out ? "true" : "false", run->error.code, run->error.step, detail);
  send_all(head, (size_t)n);
  send_all(run->output, run->size);
}

void exec_main(const struct plan *plan) {
  struct run run = {.plan = plan, .pid = -1, .pidfd = -1, .sync_fd = -1, .output_fd = -1};
  struct report report;
  int status = 0;
  run.output = malloc(plan->max_output_bytes + 1);
  if (run.output == NULL) (void)shoal_fail(&run.error, ENOMEM, "exec", "output buffer");
  if (run.error.code != 0 || start(&run) < 0) {
    remove_cgroup(plan_string(plan, plan->exec_cgroup));
    answer(&run, 126);
    _exit(0);
  }
  await_end(&run);
  while (waitpid(run.pid, &status, 0) < 0 && errno == EINTR)
    continue;
  if (recv(run.sync_fd, &report, sizeof report, MSG_DONTWAIT) == (ssize_t)sizeof report) run.error = report.error;
  remove_cgroup(plan_string(plan, plan->exec_cgroup));
  while (run.output_fd >= 0 && copy_output(&run))
    continue;
  answer(&run, WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
  _exit(0);
}

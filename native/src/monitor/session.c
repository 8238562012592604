/* Mode "session": one more command in a container, for people. Its standard streams are copied from and to the sockets
 * that the library gave us; with a terminal, from and to the master side, which the child opened in the container and
 * handed over. The control socket hears "started" or "failed", then "exited", and says "resize ROWS COLUMNS".
 *
 * Who attached may go at any time, and the agent with it: the command goes on, as with Docker, and what it writes is
 * forgotten. It ends with its container. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/monitor.h"
#include "monitor/pump.h"
#include "monitor/terminal.h"

enum { PUMP_IN, PUMP_OUT, PUMP_ERR, PUMP_COUNT };
enum { POLL_PROCESS, POLL_CONTROL, POLL_PUMPS, POLL_COUNT = POLL_PUMPS + PUMP_COUNT * PUMP_POLLS };

static struct session {
  const struct plan *plan;
  pid_t pid;
  int pidfd; /* -1: it has ended */
  int sync_fd;
  int control_fd;
  int terminal_fd;      /* the master side, or -1 */
  int ends[PUMP_COUNT]; /* our ends of the command's streams, or -1 */
  struct pump pumps[PUMP_COUNT];
  char line[64];
  size_t line_size;
} session;

static bool has(const struct session *s, uint32_t flag) { return (s->plan->stream_flags & flag) != 0; }

static void say(struct session *s, const char *text, size_t size) {
  if (s->control_fd >= 0) (void)send(s->control_fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void say_event(struct session *s, const char *event, int exit_code, const struct shoal_error *error) {
  char text[640], detail[256];
  state_escape(error == NULL ? "" : error->detail, detail, sizeof detail);
  int n =
      snprintf(text, sizeof text,
               "{\"event\":\"%s\",\"pid\":%d,\"exitCode\":%d,\"code\":%d,\"step\":\"%s\",\"detail\":\"%s\"}\n", event,
               (int)s->pid, exit_code, error == NULL ? 0 : error->code, error == NULL ? "" : error->step, detail);
  say(s, text, (size_t)n);
}

static int nonblocking(int fd) {
  (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

/* The command's user shall be able to open /dev/stdin and the like, which lead to these pipes. */
static int open_pipes(struct session *s, int theirs[3], struct shoal_error *err) {
  uint32_t owner = userns_owner(s->plan->target_pid, s->plan->process.uid);
  for (int i = 0; i < PUMP_COUNT; i++) {
    int fds[2];
    if (i == PUMP_IN && !has(s, PLAN_STDIN)) continue;
    if (pipe2(fds, O_CLOEXEC) < 0) return shoal_fail(err, errno, "stdio", "pipe");
    theirs[i] = i == PUMP_IN ? fds[0] : fds[1];
    s->ends[i] = nonblocking(i == PUMP_IN ? fds[1] : fds[0]);
    if (owner != 0) (void)!fchown(theirs[i], owner, (gid_t)-1);
  }
  return 0;
}

static int start(struct session *s, struct shoal_error *err) {
  int sync[2], theirs[3] = {-1, -1, -1};
  const struct plan *plan = s->plan;
  if (setns(MONITOR_FD_TARGET, CLONE_NEWPID) < 0) return shoal_fail(err, errno, "namespace", "pid");
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync) < 0)
    return shoal_fail(err, errno, "stdio", "socketpair");
  int rc = has(s, PLAN_TERMINAL) ? 0 : open_pipes(s, theirs, err);
  if (rc < 0) return rc;
  s->pid = clone_into(0, plan_string(plan, plan->cgroup_v2), &s->pidfd);
  if (s->pid < 0) return shoal_fail(err, errno, "namespace", "clone3");
  if (s->pid == 0) exec_child(plan, sync[1], theirs);
  s->sync_fd = sync[0];
  close(sync[1]);
  for (int i = 0; i < PUMP_COUNT; i++) {
    if (theirs[i] >= 0) close(theirs[i]);
  }
  return 0;
}

/* Returns 0 once the command runs: its execve has closed the socket without a word about a failure. */
static int await_command(struct session *s, struct shoal_error *err) {
  for (;;) {
    struct report report = {0};
    ssize_t n = terminal_receive(s->sync_fd, &report, &s->terminal_fd);
    if (n < 0 && errno == EINTR) continue;
    if (n == (ssize_t)sizeof report && report.kind == REPORT_TERMINAL) continue;
    close(s->sync_fd);
    if (n != (ssize_t)sizeof report) return 0;
    *err = report.error;
    return -1;
  }
}

static int copy_of(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, MONITOR_FD_END); }

/* The library's sockets are closed when the pumps are done with them, so each pump has a descriptor of its own. */
static void connect_pumps(struct session *s) {
  int in = has(s, PLAN_STDIN) ? copy_of(nonblocking(MONITOR_FD_SOCKET)) : -1;
  int out = has(s, PLAN_STDOUT) ? copy_of(nonblocking(MONITOR_FD_SOCKET)) : -1;
  int err = has(s, PLAN_STDERR) ? copy_of(nonblocking(MONITOR_FD_STDERR)) : -1;
  close(MONITOR_FD_SOCKET);
  close(MONITOR_FD_STDERR);
  if (s->terminal_fd >= 0) {
    pump_init(&s->pumps[PUMP_IN], in, in < 0 ? -1 : copy_of(s->terminal_fd));
    pump_init(&s->pumps[PUMP_OUT], copy_of(s->terminal_fd), out);
    pump_init(&s->pumps[PUMP_ERR], -1, -1);
    if (err >= 0) close(err);
    return;
  }
  pump_init(&s->pumps[PUMP_IN], in, s->ends[PUMP_IN]);
  pump_init(&s->pumps[PUMP_OUT], s->ends[PUMP_OUT], out);
  pump_init(&s->pumps[PUMP_ERR], s->ends[PUMP_ERR], err);
}

static void run_line(struct session *s, const char *line) {
  unsigned int rows, columns;
  if (strncmp(line, "resize ", 7) == 0 && terminal_parse_size(line + 7, &rows, &columns))
    terminal_resize(s->terminal_fd, rows, columns);
}

static void read_control(struct session *s) {
  ssize_t n = recv(s->control_fd, s->line + s->line_size, sizeof s->line - s->line_size, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0) s->line_size += (size_t)n;
  for (char *end; (end = memchr(s->line, '\n', s->line_size)) != NULL;) {
    size_t size = (size_t)(end - s->line) + 1;
    *end = '\0';
    run_line(s, s->line);
    s->line_size -= size;
    memmove(s->line, s->line + size, s->line_size);
  }
  if (n > 0 && s->line_size < sizeof s->line) return;
  close(s->control_fd);
  s->control_fd = -1;
}

/* What the command wrote is in the pipes by now. What it left running may go on, but nobody hears it. */
static void end(struct session *s) {
  int status = 0;
  while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
    continue;
  close(s->pidfd);
  s->pidfd = -1;
  say_event(s, "exited", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), NULL);
  for (int i = PUMP_OUT; i <= PUMP_ERR; i++)
    pump_finish(&s->pumps[i]);
}

static void serve(struct session *s) {
  while (s->pidfd >= 0 || !pump_done(&s->pumps[PUMP_OUT]) || !pump_done(&s->pumps[PUMP_ERR])) {
    struct pollfd entries[POLL_COUNT];
    entries[POLL_PROCESS] = (struct pollfd){.fd = s->pidfd, .events = POLLIN};
    entries[POLL_CONTROL] = (struct pollfd){.fd = s->control_fd, .events = POLLIN};
    for (int i = 0; i < PUMP_COUNT; i++)
      pump_poll(&s->pumps[i], &entries[POLL_PUMPS + i * PUMP_POLLS]);
    if (poll(entries, POLL_COUNT, -1) < 0) continue;
    if (entries[POLL_CONTROL].revents != 0) read_control(s);
    for (int i = 0; i < PUMP_COUNT; i++) {
      const struct pollfd *pair = &entries[POLL_PUMPS + i * PUMP_POLLS];
      if (pair[0].revents != 0 || pair[1].revents != 0) pump_run(&s->pumps[i]);
    }
    if (entries[POLL_PROCESS].revents != 0) end(s);
  }
}

void session_main(const struct plan *plan) {
  struct session *s = &session;
  struct shoal_error error = {0};
  *s = (struct session){.plan = plan, .pidfd = -1, .terminal_fd = -1, .ends = {-1, -1, -1}};
  s->control_fd = MONITOR_FD_RESULT;
  if (start(s, &error) < 0) {
    say_event(s, "failed", 126, &error);
    _exit(0);
  }
  if (await_command(s, &error) < 0) {
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
      continue;
    say_event(s, "failed", error.code == ENOENT ? 127 : 126, &error);
    _exit(0);
  }
  connect_pumps(s);
  say_event(s, "started", 0, NULL);
  serve(s);
  _exit(0);
}

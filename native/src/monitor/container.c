#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/attach.h"
#include "monitor/control.h"
#include "monitor/output.h"
#include "monitor/terminal.h"

enum {
  POLL_INIT,
  POLL_SYNC,
  POLL_STDOUT,
  POLL_STDERR,
  POLL_CONTROL,
  POLL_ATTACH = POLL_CONTROL + 1 + CONTROL_CLIENTS,
  POLL_COUNT = POLL_ATTACH + ATTACH_POLLS
};

static struct container {
  const struct plan *plan;
  int pidfd;
  int sync_fd; /* to the init until its command runs; then -1 */
  bool start_asked;
  bool tells_start; /* the library hears of it */
  int terminal_fd;  /* the master side, or -1 */
  struct container_state state;
  struct output output;
  struct control control;
  struct attach attach;
} container;

static int handle_start(void *context, struct shoal_error *err) {
  struct container *c = context;
  if (c->start_asked) return shoal_fail(err, EALREADY, "start", "it was started before");
  c->start_asked = true;
  if (send(c->sync_fd, "", 1, MSG_NOSIGNAL) == 1) return 0;
  return shoal_fail(err, ESRCH, "start", "the container is gone");
}

static int handle_kill(void *context, int signal, struct shoal_error *err) {
  struct container *c = context;
  if (signal < 1 || signal > 64) return shoal_fail(err, EINVAL, "kill", "signal %d", signal);
  return sys_pidfd_send_signal(c->pidfd, signal) < 0 ? shoal_fail(err, errno, "kill", "signal %d", signal) : 0;
}

static size_t handle_state(void *context, char out[STATE_TEXT_MAX]) {
  struct container *c = context;
  return state_format(&c->state, getpid(), out);
}

static int handle_resize(void *context, unsigned int rows, unsigned int columns, struct shoal_error *err) {
  struct container *c = context;
  if (c->terminal_fd < 0) return shoal_fail(err, ENOTTY, "resize", "the container has no terminal");
  terminal_resize(c->terminal_fd, rows, columns);
  return 0;
}

static int handle_attach(void *context, int fd, bool input, bool output, char answer[CONTROL_LINE_MAX],
                         struct shoal_error *err) {
  struct container *c = context;
  (void)snprintf(answer, CONTROL_LINE_MAX, "ok %llu %llu\n", (unsigned long long)c->output.log.number,
                 (unsigned long long)c->output.log.size);
  return attach_add(&c->attach, fd, input, output, err);
}

/* A line that has no end yet, such as a prompt, is not in the log. */
static void handle_replay(void *context) {
  struct container *c = context;
  for (int i = 0; i < 2; i++) {
    const struct log_stream *stream = &c->output.pipes[i].stream;
    attach_replay(&c->attach, i + 1, stream->line, stream->used);
  }
}

static void hear(void *context, int stream, const char *data, size_t size) {
  struct container *c = context;
  attach_output(&c->attach, stream, data, size);
}

static void tell_start(struct container *c, const struct shoal_error *error) {
  if (!c->tells_start) return;
  if (error == NULL) {
    report_started(MONITOR_FD_RESULT, c->state.pid, c->state.started_at_ms);
  } else {
    report_failure(MONITOR_FD_RESULT, error);
  }
  close(MONITOR_FD_RESULT);
  c->tells_start = false;
}

/* The init's word about its start: an error, or the end of the socket, which its command's execve closed. */
static void handle_sync(struct container *c) {
  struct report report;
  ssize_t n = recv(c->sync_fd, &report, sizeof report, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  bool failed = n == (ssize_t)sizeof report && report.kind == REPORT_FAILED;
  close(c->sync_fd);
  c->sync_fd = -1;
  if (failed) {
    c->state.start_error = report.error;
  } else if (c->start_asked) {
    c->state.started_at_ms = state_now_ms();
    c->state.status = "running";
  }
  tell_start(c, failed ? &report.error : NULL);
  if (!failed && c->start_asked) (void)state_write(MONITOR_FD_RUN_DIR, &c->state);
  control_answer_start(&c->control, failed ? &report.error : NULL);
}

/* Both memory.oom_control (v1) and memory.events (v2) have a line "oom_kill N". */
static bool was_oom_killed(const struct plan *plan) {
  char text[512];
  const char *path = plan_string(plan, plan->oom_events);
  int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return false;
  text[n] = '\0';
  const char *line = strncmp(text, "oom_kill ", 9) == 0 ? text : strstr(text, "\noom_kill ");
  return line != NULL && atoi(strchr(line, ' ') + 1) > 0;
}

static void finish(struct container *c) {
  int status = 0;
  while (waitpid(c->state.pid, &status, 0) < 0 && errno == EINTR)
    continue;
  /* What it wrote last is recorded at once; the clients get it afterwards. */
  attach_collect(&c->attach);
  output_drain(&c->output);
  if (c->sync_fd >= 0) handle_sync(c);
  c->state.status = "stopped";
  c->state.finished_at_ms = state_now_ms();
  c->state.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  c->state.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  c->state.oom_killed = was_oom_killed(c->plan);
  c->state.log_dropped_bytes = c->output.log.dropped_bytes;
  (void)state_write(MONITOR_FD_RUN_DIR, &c->state);
  control_finish(&c->control);
  attach_finish(&c->attach);
  _exit(0);
}

static void serve(struct container *c) {
  struct pollfd entries[POLL_COUNT];
  for (;;) {
    entries[POLL_INIT] = (struct pollfd){.fd = c->pidfd, .events = POLLIN};
    entries[POLL_SYNC] = (struct pollfd){.fd = c->sync_fd, .events = POLLIN};
    bool busy = attach_busy(&c->attach);
    for (int i = 0; i < 2; i++)
      entries[POLL_STDOUT + i] = (struct pollfd){.fd = busy ? -1 : c->output.pipes[i].fd, .events = POLLIN};
    control_poll(&c->control, &entries[POLL_CONTROL]);
    size_t attached = attach_poll(&c->attach, &entries[POLL_ATTACH]);
    if (poll(entries, POLL_ATTACH + attached, attach_timeout_ms(&c->attach)) < 0) continue;
    if (entries[POLL_SYNC].revents != 0) handle_sync(c);
    attach_handle(&c->attach, &entries[POLL_ATTACH]);
    for (int i = 0; i < 2; i++) {
      if (entries[POLL_STDOUT + i].revents != 0 && !attach_busy(&c->attach))
        (void)output_copy(&c->output, &c->output.pipes[i]);
    }
    if (entries[POLL_INIT].revents != 0) finish(c);
    control_handle(&c->control, &entries[POLL_CONTROL]);
  }
}

static _Noreturn void give_up(const struct shoal_error *error) {
  report_failure(MONITOR_FD_RESULT, error);
  _exit(1);
}

/* ends: the container's; -1 where it has what the monitor has. */
static int open_streams(struct container *c, int ends[3], struct shoal_error *err) {
  const struct plan *plan = c->plan;
  int fds[2] = {-1, -1};
  int rc = output_open(&c->output, plan, hear, c, err);
  bool terminal = (plan->stream_flags & PLAN_TERMINAL) != 0;
  uint32_t owner = plan_host_id(plan_items(plan, plan->uid_map), plan->uid_map.count, plan->process.uid);
  if (rc == 0 && !terminal) rc = output_pipes(&c->output, owner, &ends[1], err);
  if (rc < 0 || terminal || (plan->stream_flags & PLAN_STDIN) == 0) return rc;
  if (pipe2(fds, O_CLOEXEC) < 0 || fcntl(fds[1], F_SETFL, O_NONBLOCK) < 0)
    return shoal_fail(err, errno, "stdio", "pipe");
  if (owner != 0 && fchown(fds[0], owner, (gid_t)-1) < 0) return shoal_fail(err, errno, "stdio", "fchown");
  ends[0] = fds[0];
  attach_init(&c->attach, false, (plan->stream_flags & PLAN_STDIN_ONCE) != 0, fds[1]);
  return 0;
}

static int clone_init(struct container *c, struct shoal_error *err) {
  int ends[3] = {-1, -1, -1};
  struct cloned child = {.pid = -1, .pidfd = -1, .sync_fd = -1};
  const struct plan *plan = c->plan;
  attach_init(&c->attach, (plan->stream_flags & PLAN_TERMINAL) != 0, false, -1);
  int rc = open_streams(c, ends, err);
  /* It opens the cgroups before there is an init: they have to be there. If the library can not make them, it is gone.
   */
  if (rc == 0 && userns_own(plan) && !library_agrees(MONITOR_FD_RESULT)) _exit(1);
  if (rc == 0) rc = clone_container(plan, ends, &child, err);
  for (int i = 0; i < 3; i++) {
    if (ends[i] >= 0) close(ends[i]);
  }
  c->sync_fd = child.sync_fd;
  c->state.pid = child.pid;
  c->pidfd = child.pidfd;
  return rc;
}

static void await_ready(struct container *c) {
  struct report report = {0};
  ssize_t n;
  for (;;) {
    n = terminal_receive(c->sync_fd, &report, &c->terminal_fd);
    if (n < 0 ? errno == EINTR : report.kind == REPORT_TERMINAL && n > 0) continue;
    if (n != (ssize_t)sizeof report || report.kind != REPORT_HOOKS) break;
    if (report_hooks(c->state.pid, c->sync_fd, &report.error) < 0) give_up(&report.error);
  }
  c->tells_start = c->start_asked = n == (ssize_t)sizeof report && report.kind == REPORT_STARTING;
  if (c->tells_start || (n == (ssize_t)sizeof report && report.kind == REPORT_READY)) return;
  if (n != (ssize_t)sizeof report) (void)shoal_fail(&report.error, EPIPE, "init", "ended before it was ready");
  give_up(&report.error);
}

/* Reading, writing and resizing end at different times. */
static void connect_terminal(struct container *c) {
  bool input = (c->plan->stream_flags & PLAN_STDIN) != 0;
  if (c->terminal_fd < 0) return;
  output_terminal(&c->output, fcntl(c->terminal_fd, F_DUPFD_CLOEXEC, MONITOR_FD_END));
  if (input) attach_init(&c->attach, true, false, fcntl(c->terminal_fd, F_DUPFD_CLOEXEC, MONITOR_FD_END));
}

void container_main(const struct plan *plan) {
  struct shoal_error error = {0};
  struct container *c = &container;
  c->plan = plan;
  c->terminal_fd = -1;
  c->state.id = plan_string(plan, plan->id);
  c->state.status = "created";
  if (!plan->start_word) close(MONITOR_FD_START_WORD);
  if (clone_init(c, &error) < 0) give_up(&error);
  if (plan->start_word) close(MONITOR_FD_START_WORD);
  c->state.created_at_ms = state_now_ms();
  /* While the init is at work: who connects now is served when it is ready. */
  if (state_write(MONITOR_FD_RUN_DIR, &c->state) < 0 || listen(MONITOR_FD_SOCKET, SOMAXCONN) < 0) {
    (void)shoal_fail(&error, errno, "state", "the run directory cannot be written");
    give_up(&error);
  }
  await_ready(c);
  connect_terminal(c);
  control_init(&c->control, MONITOR_FD_SOCKET,
               (struct control_handlers){.start = handle_start,
                                         .kill = handle_kill,
                                         .state = handle_state,
                                         .resize = handle_resize,
                                         .attach = handle_attach,
                                         .replay = handle_replay,
                                         .context = c});
  if (!c->tells_start) {
    report_ready(MONITOR_FD_RESULT, c->state.pid);
    close(MONITOR_FD_RESULT);
  }
  serve(c);
  _exit(1);
}

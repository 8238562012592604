#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "container-call.h"
#include "run-dir.h"
#include "shoal-container.h"

/* The pid of the container's init, if its monitor says that it runs. The monitor has not reaped it then, so the number
 * is still its own. */
static int running_pid(int dir_fd, struct shoal_error *err) {
  char answer[2048] = "";
  size_t size = 0;
  int fd = run_dir_connect(dir_fd);
  if (fd == -EAGAIN) return shoal_fail(err, ETIMEDOUT, "exec", "the container's monitor takes no call");
  if (fd < 0) return shoal_fail(err, ESRCH, "exec", "the container is not running");
  ssize_t n = send(fd, "state\n", 6, MSG_NOSIGNAL);
  while (n > 0 && size + 1 < sizeof answer && memchr(answer, '\n', size) == NULL) {
    /* With a time limit a signal ends the call, whatever its handler says: one that a child has ended, say. */
    while ((n = recv(fd, answer + size, sizeof answer - 1 - size, 0)) < 0 && errno == EINTR)
      continue;
    if (n > 0) size += (size_t)n;
  }
  bool late = n < 0 && errno == EAGAIN;
  close(fd);
  if (late) return shoal_fail(err, ETIMEDOUT, "exec", "the container's monitor does not answer");
  answer[size] = '\0';
  cJSON *state = cJSON_Parse(answer);
  const char *status = cJSON_GetStringValue(json_member(state, "status"));
  const cJSON *pid = json_member(state, "pid");
  int rc = status != NULL && strcmp(status, "running") == 0 && cJSON_IsNumber(pid) ? pid->valueint : -ESRCH;
  cJSON_Delete(state);
  return rc > 0 ? rc : shoal_fail(err, ESRCH, "exec", "the container is not running");
}

static int open_target(struct call *call, struct shoal_error *err) {
  int pid = running_pid(call->dir_fd, err);
  if (pid < 0) return pid;
  call->target_fd = pidfd_open(pid, 0);
  if (call->target_fd < 0) return shoal_fail(err, errno, "exec", "pidfd_open %d", pid);
  /* Asked again: between the first answer and pidfd_open the number might have changed hands. */
  int again = running_pid(call->dir_fd, err);
  if (again < 0) return again;
  if (again != pid) return shoal_fail(err, ESRCH, "exec", "the container is not running");
  plan_builder_head(&call->builder)->target_pid = pid;
  return 0;
}

static int open_running(struct call *call, struct shoal_error *err) {
  const char *run_dir;
  int rc = json_string(call->request, "request", "runDir", true, &run_dir, err);
  if (rc < 0) return rc;
  call->dir_fd = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (call->dir_fd < 0) return shoal_fail(err, errno == ENOENT ? ESRCH : errno, "exec", "open %s", run_dir);
  return open_target(call, err);
}

/* Each exec gets a directory below one of the container's, so that it can be killed as a whole. */
static int plan_exec_cgroup(struct call *call, struct shoal_error *err) {
  uint64_t random = 0;
  struct cgroup_set *set = &call->cgroups;
  int rc = run_dir_read_cgroups(call->dir_fd, set, err);
  if (rc < 0) return rc;
  size_t chosen = 0;
  for (size_t i = 0; i < set->count; i++) {
    if (strcmp(set->dirs[i].controller, "unified") == 0) chosen = i;
  }
  if (set->count == 0) return shoal_fail(err, ESRCH, "exec", "the container has no cgroups");
  (void)getrandom(&random, sizeof random, 0);
  size_t length = strlen(set->dirs[chosen].path);
  if (length + 32 > sizeof set->dirs[chosen].path) return shoal_fail(err, ENAMETOOLONG, "cgroup", "exec");
  (void)snprintf(set->dirs[chosen].path + length, 32, "/exec-%016llx", (unsigned long long)random);
  call_plan_cgroups(call);
  uint32_t at = plan_add_string(&call->builder, set->dirs[chosen].path);
  plan_builder_head(&call->builder)->exec_cgroup = at;
  return 0;
}

static int compile_exec(struct call *call, const char *seccomp_json, struct shoal_error *err) {
  int64_t timeout_ms = 0, max_output = 65536;
  struct config_context context = {.builder = &call->builder, .seccomp_json = seccomp_json, .err = err};
  int rc = json_integer(call->request, "request", "timeoutMs", &timeout_ms, NULL, err);
  if (rc == 0) rc = json_integer(call->request, "request", "maxOutputBytes", &max_output, NULL, err);
  if (rc == 0) rc = config_process(&context, json_member(call->request, "process"));
  if (rc == 0)
    rc =
        seccomp_json != NULL ? config_seccomp(&context, NULL) : run_dir_read_seccomp(call->dir_fd, &call->builder, err);
  if (rc == 0) rc = plan_exec_cgroup(call, err);
  if (rc < 0) return rc;
  if (timeout_ms < 0 || timeout_ms > INT32_MAX || max_output < 0 || max_output > (16 << 20))
    return REQUEST_FAIL(err, "timeoutMs or maxOutputBytes: out of range");
  struct plan *plan = plan_builder_head(&call->builder);
  if ((plan->stream_flags & PLAN_TERMINAL) != 0)
    return REQUEST_FAIL(err, "process.terminal: an exec has none, a session may");
  plan->timeout_ms = (uint32_t)timeout_ms;
  plan->max_output_bytes = (uint32_t)max_output;
  call->plan_fd = plan_builder_finish(&call->builder, err);
  return call->plan_fd < 0 ? call->plan_fd : 0;
}

int shoal_container_exec(const char *request_json, const char *seccomp_json, struct shoal_error *err) {
  struct call call;
  int rc = call_begin(&call, request_json, err);
  if (rc == 0) rc = open_running(&call, err);
  if (rc == 0) rc = compile_exec(&call, seccomp_json, err);
  if (rc == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, call.result) < 0)
    rc = shoal_fail(err, errno, "monitor", "socketpair");
  if (rc == 0) rc = call_launch(&call, "exec", err);
  if (rc == 0) {
    rc = call.result[0];
    call.result[0] = -1;
  }
  call_end(&call);
  return rc;
}

/* A session's command is the container's like any other: it has no cgroup of its own. */
static int compile_session(struct call *call, const char *seccomp_json, struct shoal_error *err) {
  int64_t rows = 0, columns = 0;
  uint32_t flags = 0;
  struct config_context context = {.builder = &call->builder, .seccomp_json = seccomp_json, .err = err};
  int rc = call_flag(call, "terminal", PLAN_TERMINAL, &flags, err);
  if (rc == 0) rc = call_flag(call, "stdin", PLAN_STDIN, &flags, err);
  if (rc == 0) rc = call_flag(call, "stdout", PLAN_STDOUT, &flags, err);
  if (rc == 0) rc = call_flag(call, "stderr", PLAN_STDERR, &flags, err);
  if (rc == 0) rc = json_integer(call->request, "request", "rows", &rows, NULL, err);
  if (rc == 0) rc = json_integer(call->request, "request", "columns", &columns, NULL, err);
  if (rc == 0) rc = config_process(&context, json_member(call->request, "process"));
  if (rc == 0)
    rc =
        seccomp_json != NULL ? config_seccomp(&context, NULL) : run_dir_read_seccomp(call->dir_fd, &call->builder, err);
  if (rc == 0) rc = run_dir_read_cgroups(call->dir_fd, &call->cgroups, err);
  if (rc < 0) return rc;
  if (rows < 0 || rows > UINT16_MAX || columns < 0 || columns > UINT16_MAX)
    return REQUEST_FAIL(err, "rows or columns: out of range");
  call_plan_cgroups(call);
  struct plan *plan = plan_builder_head(&call->builder);
  plan->stream_flags |= flags;
  if (rows > 0 && columns > 0) {
    plan->terminal_rows = (uint16_t)rows;
    plan->terminal_columns = (uint16_t)columns;
  }
  call->plan_fd = plan_builder_finish(&call->builder, err);
  return call->plan_fd < 0 ? call->plan_fd : 0;
}

static int take_fd(int *fd) {
  int taken = *fd;
  *fd = -1;
  return taken;
}

int shoal_container_session(const char *request_json, const char *seccomp_json, struct shoal_session *session,
                            struct shoal_error *err) {
  struct call call;
  int rc = call_begin(&call, request_json, err);
  if (rc == 0) rc = open_running(&call, err);
  if (rc == 0) rc = compile_session(&call, seccomp_json, err);
  if (rc == 0 && (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, call.result) < 0 ||
                  socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, call.streams) < 0 ||
                  socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, call.errors) < 0))
    rc = shoal_fail(err, errno, "monitor", "socketpair");
  if (rc == 0) rc = call_launch(&call, "session", err);
  if (rc == 0) {
    session->control_fd = take_fd(&call.result[0]);
    session->streams_fd = take_fd(&call.streams[0]);
    session->stderr_fd = take_fd(&call.errors[0]);
  }
  call_end(&call);
  return rc;
}

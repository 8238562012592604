#include "shoal-container.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "monitor-spawn.h"
#include "run-dir.h"

#define REQUEST_FAIL(err, ...) shoal_fail((err), EINVAL, "request", __VA_ARGS__)
#define CREATE_TIMEOUT_MS 60000

/* One call's resources; every descriptor is -1 until it is open. */
struct call {
  cJSON *request;
  struct plan_builder builder;
  struct cgroup_limits limits;
  struct cgroup_set cgroups;
  const struct cgroup_layout *layout;
  const struct cgroup_backend *backend;
  const char *cgroup_mounts[CGROUP_DIRS_MAX + 1];
  int dir_fd, socket_fd, plan_fd, target_fd;
  int result[2], streams[2], errors[2]; /* ours, the monitor's */
};

static void close_if_open(int fd) {
  if (fd >= 0) close(fd);
}

static int call_begin(struct call *call, const char *request_json, struct shoal_error *err) {
  memset(call, 0, sizeof *call);
  call->dir_fd = call->socket_fd = call->plan_fd = call->target_fd = call->result[0] = call->result[1] = -1;
  call->streams[0] = call->streams[1] = call->errors[0] = call->errors[1] = -1;
  call->request = cJSON_Parse(request_json);
  if (call->request == NULL) return REQUEST_FAIL(err, "not JSON");
  if (plan_builder_init(&call->builder) < 0) return shoal_fail(err, ENOMEM, "plan", "out of memory");
  call->layout = cgroup_layout_host();
  call->backend = cgroup_backend_for(call->layout);
  if (call->backend == NULL) return shoal_fail(err, ENOTSUP, "cgroup", "no cgroup hierarchy is mounted");
  return 0;
}

static void call_end(struct call *call) {
  close_if_open(call->dir_fd);
  close_if_open(call->socket_fd);
  close_if_open(call->plan_fd);
  close_if_open(call->target_fd);
  close_if_open(call->result[0]);
  close_if_open(call->result[1]);
  for (size_t i = 0; i < 2; i++) {
    close_if_open(call->streams[i]);
    close_if_open(call->errors[i]);
  }
  plan_builder_free(&call->builder);
  cJSON_Delete(call->request);
}

/* Options for mount(2), which takes one page of them. */
struct overlay_options {
  char text[4096];
  size_t size;
  bool full;
};

static void append_char(struct overlay_options *options, char c) {
  if (options->size + 1 >= sizeof options->text) {
    options->full = true;
  } else {
    options->text[options->size++] = c;
  }
}

static void append_text(struct overlay_options *options, const char *text) {
  for (; *text != '\0'; text++)
    append_char(options, *text);
}

/* Overlay's own escaping: a backslash before what separates. */
static void append_path(struct overlay_options *options, const char *path) {
  for (; *path != '\0'; path++) {
    if (strchr(":,\\", *path) != NULL) append_char(options, '\\');
    append_char(options, *path);
  }
}

static void format_overlay(struct overlay_options *options, const cJSON *lower, const char *upper, const char *work) {
  const cJSON *layer;
  append_text(options, "lowerdir=");
  cJSON_ArrayForEach(layer, lower) {
    if (layer != lower->child) append_char(options, ':');
    append_path(options, layer->valuestring);
  }
  append_text(options, ",upperdir=");
  append_path(options, upper);
  append_text(options, ",workdir=");
  append_path(options, work);
}

/* Options too long for mount(2) are put together by the monitor, from the short names of descriptors. */
static int plan_overlay(struct call *call, const cJSON *rootfs, struct config_context *context) {
  struct overlay_options options = {.size = 0};
  const char *upper, *work;
  struct plan_list lowers;
  int rc = json_string(rootfs, "rootfs", "upper", true, &upper, context->err);
  if (rc == 0) rc = json_string(rootfs, "rootfs", "work", true, &work, context->err);
  if (rc == 0) rc = json_string_list(context, rootfs, "rootfs", "lower", &lowers);
  if (rc < 0) return rc;
  if (lowers.count == 0) return REQUEST_FAIL(context->err, "rootfs.lower: a layer is needed");
  format_overlay(&options, json_member(rootfs, "lower"), upper, work);
  uint32_t upper_at = plan_add_string(&call->builder, upper);
  uint32_t work_at = plan_add_string(&call->builder, work);
  uint32_t options_at = options.full ? 0 : plan_add_string(&call->builder, options.text);
  struct plan *plan = plan_builder_head(&call->builder);
  plan->lowers = lowers;
  plan->upper = upper_at;
  plan->work = work_at;
  plan->overlay_options = options_at;
  return 0;
}

static bool id_valid(const char *id) {
  size_t length = strlen(id);
  for (const char *c = id; *c != '\0'; c++) {
    if (!isalnum((unsigned char)*c) && strchr("_.-", *c) == NULL) return false;
  }
  return length > 0 && length <= 128;
}

/* Which hierarchies a "cgroup" mount shows, and where the init puts itself. */
static void plan_cgroups(struct call *call) {
  uint32_t tasks[CGROUP_DIRS_MAX];
  size_t task_count = 0;
  char path[CGROUP_PATH_MAX + 64];
  uint32_t unified = 0, oom = 0;
  for (size_t i = 0; i < call->cgroups.count; i++) {
    if (strcmp(call->cgroups.dirs[i].controller, "unified") == 0) {
      unified = plan_add_string(&call->builder, call->cgroups.dirs[i].path);
      continue;
    }
    (void)snprintf(path, sizeof path, "%s/tasks", call->cgroups.dirs[i].path);
    tasks[task_count++] = plan_add_string(&call->builder, path);
  }
  const char *oom_dir = cgroup_set_find(&call->cgroups, call->backend->oom_controller);
  if (oom_dir != NULL) {
    (void)snprintf(path, sizeof path, "%s/%s", oom_dir, call->backend->oom_file);
    oom = plan_add_string(&call->builder, path);
  }
  struct plan_list list = plan_add_list(&call->builder, tasks, task_count, sizeof *tasks);
  struct plan *plan = plan_builder_head(&call->builder);
  plan->cgroup_tasks = list;
  plan->cgroup_v2 = unified;
  plan->oom_events = oom;
}

static int prepare_cgroups(struct call *call, const cJSON *config, struct shoal_error *err) {
  const cJSON *linux_config = json_member(config, "linux");
  const char *path;
  int rc = json_string(linux_config, "linux", "cgroupsPath", true, &path, err);
  if (rc == 0 && !cgroup_path_valid(path)) rc = CONFIG_FAIL(err, EINVAL, "linux.cgroupsPath: '%s'", path);
  if (rc == 0)
    rc = cgroup_limits_parse(json_member(linux_config, "resources"), json_member(linux_config, "devices"),
                             &call->limits, err);
  if (rc == 0) rc = call->backend->plan(call->layout, path, &call->limits, &call->cgroups, err);
  if (rc < 0 || call->backend == &cgroup_v2) return rc;
  size_t count = 0;
  for (size_t i = 0; i < call->cgroups.count; i++) {
    if (strcmp(call->cgroups.dirs[i].controller, "unified") != 0)
      call->cgroup_mounts[count++] = call->cgroups.dirs[i].controller;
  }
  return 0;
}

static int compile_container(struct call *call, const char *seccomp_json, const char *run_dir,
                             struct shoal_error *err) {
  const char *id, *log_path;
  char root[512];
  const cJSON *config = json_member(call->request, "config");
  struct config_context context = {.builder = &call->builder, .seccomp_json = seccomp_json, .err = err};
  int rc = json_string(call->request, "request", "id", true, &id, err);
  if (rc == 0) rc = json_string(call->request, "request", "logPath", true, &log_path, err);
  if (rc == 0 && !id_valid(id)) rc = REQUEST_FAIL(err, "id: '%s'", id);
  if (rc == 0) rc = prepare_cgroups(call, config, err);
  context.cgroup_mounts = call->cgroup_mounts[0] == NULL ? NULL : call->cgroup_mounts;
  if (rc == 0) rc = config_compile(&context, config);
  if (rc == 0) rc = plan_overlay(call, json_member(call->request, "rootfs"), &context);
  if (rc < 0) return rc;
  plan_cgroups(call);
  if (snprintf(root, sizeof root, "%s/" RUN_ROOT, run_dir) >= (int)sizeof root)
    return REQUEST_FAIL(err, "runDir: too long");
  uint32_t id_at = plan_add_string(&call->builder, id);
  uint32_t log_at = plan_add_string(&call->builder, log_path);
  uint32_t root_at = plan_add_string(&call->builder, root);
  struct plan *plan = plan_builder_head(&call->builder);
  plan->id = id_at;
  plan->log_path = log_at;
  plan->root_dir = root_at;
  call->plan_fd = plan_builder_finish(&call->builder, err);
  return call->plan_fd < 0 ? call->plan_fd : 0;
}

static int await_report(int fd, struct report *report, struct shoal_error *err) {
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  int rc;
  while ((rc = poll(&ready, 1, CREATE_TIMEOUT_MS)) < 0 && errno == EINTR)
    continue;
  if (rc == 0) return shoal_fail(err, ETIMEDOUT, "monitor", "no answer in %d s", CREATE_TIMEOUT_MS / 1000);
  ssize_t n = recv(fd, report, sizeof *report, 0);
  if (n != (ssize_t)sizeof *report) return shoal_fail(err, EPIPE, "monitor", "ended before it reported");
  if (report->kind == REPORT_READY) return report->pid;
  if (err != NULL) *err = report->error;
  return report->error.code > 0 ? -report->error.code : -EIO;
}

static int launch(struct call *call, const char *mode, struct shoal_error *err) {
  const char *path;
  int rc = json_string(call->request, "request", "monitorPath", true, &path, err);
  if (rc < 0) return rc;
  struct monitor_spawn request = {.path = path,
                                  .mode = mode,
                                  .plan_fd = call->plan_fd,
                                  .result_fd = call->result[1],
                                  .dir_fd = call->target_fd >= 0 ? call->target_fd : call->dir_fd,
                                  .socket_fd = call->streams[1] >= 0 ? call->streams[1] : call->socket_fd,
                                  .stderr_fd = call->errors[1]};
  rc = monitor_spawn(&request, err);
  close(call->result[1]);
  call->result[1] = -1;
  return rc;
}

static int create_in(struct call *call, const char *run_dir, const char *seccomp_json, struct shoal_error *err) {
  struct report report;
  int rc = compile_container(call, seccomp_json, run_dir, err);
  if (rc < 0) return rc;
  call->dir_fd = run_dir_open(run_dir, err);
  if (call->dir_fd < 0) return call->dir_fd;
  call->socket_fd = run_dir_bind(call->dir_fd, err);
  if (call->socket_fd < 0) return call->socket_fd;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, call->result) < 0)
    return shoal_fail(err, errno, "monitor", "socketpair");
  rc = run_dir_write_cgroups(call->dir_fd, &call->cgroups, err);
  if (rc < 0) return rc;
  rc = run_dir_write_seccomp(call->dir_fd, plan_builder_head(&call->builder), err);
  if (rc == 0) rc = cgroup_create(call->backend, call->layout, &call->cgroups, err);
  if (rc == 0) rc = call->backend->apply(&call->cgroups, &call->limits, err);
  if (rc == 0) rc = launch(call, "create", err);
  if (rc == 0) rc = await_report(call->result[0], &report, err);
  if (rc < 0) (void)shoal_container_delete(run_dir, NULL);
  return rc;
}

int shoal_container_create(const char *request_json, const char *seccomp_json, struct shoal_error *err) {
  struct call call;
  const char *run_dir;
  int rc = call_begin(&call, request_json, err);
  if (rc == 0) rc = json_string(call.request, "request", "runDir", true, &run_dir, err);
  if (rc == 0 && run_dir[0] != '/') rc = REQUEST_FAIL(err, "runDir: '%s' is not absolute", run_dir);
  if (rc == 0) rc = create_in(&call, run_dir, seccomp_json, err);
  call_end(&call);
  return rc;
}

/* The pid of the container's init, if its monitor says that it runs. The monitor has not reaped it then, so the number
 * is still its own. */
static int running_pid(int dir_fd, struct shoal_error *err) {
  char answer[2048] = "";
  size_t size = 0;
  int fd = run_dir_connect(dir_fd);
  if (fd < 0) return shoal_fail(err, ESRCH, "exec", "the container is not running");
  ssize_t n = send(fd, "state\n", 6, MSG_NOSIGNAL);
  while (n > 0 && size + 1 < sizeof answer && memchr(answer, '\n', size) == NULL) {
    n = recv(fd, answer + size, sizeof answer - 1 - size, 0);
    if (n > 0) size += (size_t)n;
  }
  close(fd);
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
  plan_cgroups(call);
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
  if (rc == 0) rc = launch(&call, "exec", err);
  if (rc == 0) {
    rc = call.result[0];
    call.result[0] = -1;
  }
  call_end(&call);
  return rc;
}

static int session_flag(struct call *call, const char *name, uint32_t flag, uint32_t *flags, struct shoal_error *err) {
  bool value = false;
  int rc = json_bool(call->request, "request", name, &value, err);
  if (rc == 0 && value) *flags |= flag;
  return rc;
}

/* A session's command is the container's like any other: it has no cgroup of its own. */
static int compile_session(struct call *call, const char *seccomp_json, struct shoal_error *err) {
  int64_t rows = 0, columns = 0;
  uint32_t flags = 0;
  struct config_context context = {.builder = &call->builder, .seccomp_json = seccomp_json, .err = err};
  int rc = session_flag(call, "terminal", PLAN_SESSION_TERMINAL, &flags, err);
  if (rc == 0) rc = session_flag(call, "stdin", PLAN_SESSION_STDIN, &flags, err);
  if (rc == 0) rc = session_flag(call, "stdout", PLAN_SESSION_STDOUT, &flags, err);
  if (rc == 0) rc = session_flag(call, "stderr", PLAN_SESSION_STDERR, &flags, err);
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
  plan_cgroups(call);
  struct plan *plan = plan_builder_head(&call->builder);
  plan->session_flags = flags;
  plan->session_rows = (uint16_t)rows;
  plan->session_columns = (uint16_t)columns;
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
  if (rc == 0) rc = launch(&call, "session", err);
  if (rc == 0) {
    session->control_fd = take_fd(&call.result[0]);
    session->streams_fd = take_fd(&call.streams[0]);
    session->stderr_fd = take_fd(&call.errors[0]);
  }
  call_end(&call);
  return rc;
}

/* The monitor, if it lives, holds the other end of this connection, so the pid is its own. Its death kills the init. */
static void kill_monitor(int dir_fd) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  int fd = run_dir_connect(dir_fd);
  if (fd < 0) return;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 1 && peer.pid != getpid())
    (void)kill(peer.pid, SIGKILL);
  close(fd);
}

int shoal_container_delete(const char *run_dir, struct shoal_error *err) {
  struct cgroup_set cgroups;
  int dir_fd = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (dir_fd < 0) return errno == ENOENT ? 0 : shoal_fail(err, errno, "run directory", "open %s", run_dir);
  kill_monitor(dir_fd);
  int rc = run_dir_read_cgroups(dir_fd, &cgroups, err);
  for (size_t i = 0; rc == 0 && i < cgroups.count; i++)
    rc = cgroup_remove(cgroups.dirs[i].path, err);
  if (rc == 0) rc = run_dir_clear(dir_fd, run_dir, err);
  close(dir_fd);
  return rc;
}

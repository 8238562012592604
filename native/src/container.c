#include "shoal-container.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container-call.h"
#include "container-hooks.h"
#include "file-batch.h"
#include "run-dir.h"

#define CREATE_TIMEOUT_MS 60000

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

/* A mount that maps owners shows both. */
static bool one_directory(const char *upper, const char *work) {
  const char *upper_end = strrchr(upper, '/'), *work_end = strrchr(work, '/');
  return upper_end != NULL && work_end != NULL && upper_end - upper == work_end - work &&
         strncmp(upper, work, (size_t)(upper_end - upper)) == 0;
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
  if (!one_directory(upper, work)) return REQUEST_FAIL(context->err, "rootfs: upper and work are not in one directory");
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

int call_prepare_cgroups(struct call *call, const cJSON *config, struct shoal_error *err) {
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
  const char *id;
  char root[512];
  uint32_t streams = 0;
  const cJSON *config = json_member(call->request, "config");
  struct config_context context = {.builder = &call->builder, .seccomp_json = seccomp_json, .err = err};
  int rc = json_string(call->request, "request", "id", true, &id, err);
  if (rc == 0 && !id_valid(id)) rc = REQUEST_FAIL(err, "id: '%s'", id);
  if (rc == 0) rc = call_prepare_cgroups(call, config, err);
  context.cgroup_mounts = call->cgroup_mounts[0] == NULL ? NULL : call->cgroup_mounts;
  if (rc == 0) rc = config_compile(&context, config);
  if (rc == 0) rc = call_flag(call, "stdin", PLAN_STDIN, &streams, err);
  if (rc == 0) rc = call_flag(call, "stdinOnce", PLAN_STDIN_ONCE, &streams, err);
  if (rc == 0) rc = plan_overlay(call, json_member(call->request, "rootfs"), &context);
  if (rc == 0) rc = call_plan_log(call, err);
  if (rc < 0) return rc;
  call_plan_cgroups(call);
  if (snprintf(root, sizeof root, "%s/" RUN_ROOT, run_dir) >= (int)sizeof root)
    return REQUEST_FAIL(err, "runDir: too long");
  uint32_t id_at = plan_add_string(&call->builder, id);
  uint32_t root_at = plan_add_string(&call->builder, root);
  struct plan *plan = plan_builder_head(&call->builder);
  plan->id = id_at;
  plan->root_dir = root_at;
  plan->stream_flags |= streams;
  plan->start_word = call->start_word >= 0;
  plan->hooks_before_pivot = cJSON_IsObject(json_member(call->request, "hooks")) ? 1 : 0;
  call->plan_fd = plan_builder_finish(&call->builder, err);
  return call->plan_fd < 0 ? call->plan_fd : 0;
}

static int await_report(const struct call *call, struct report *report, struct shoal_error *err) {
  const int fd = call->result[0];
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  int rc;
  while ((rc = poll(&ready, 1, CREATE_TIMEOUT_MS)) < 0 && errno == EINTR)
    continue;
  if (rc == 0) return shoal_fail(err, ETIMEDOUT, "monitor", "no answer in %d s", CREATE_TIMEOUT_MS / 1000);
  ssize_t n = recv(fd, report, sizeof *report, 0);
  if (n != (ssize_t)sizeof *report) return shoal_fail(err, EPIPE, "monitor", "ended before it reported");
  if (report->kind == REPORT_READY || report->kind == REPORT_STARTED) return report->pid;
  if (report->kind == REPORT_HOOKS) {
    rc = container_hooks(json_member(call->request, "hooks"), report->pid, fd, err);
    return rc < 0 ? rc : await_report(call, report, err);
  }
  if (err != NULL) *err = report->error;
  return report->error.code > 0 ? -report->error.code : -EIO;
}

/* The one that the init is born in, and those that are left. */
static int make_first_cgroup(struct call *call, struct cgroup_set *rest, struct shoal_error *err) {
  struct cgroup_set first = {.count = 0};
  rest->count = 0;
  for (size_t i = 0; i < call->cgroups.count; i++) {
    bool born = strcmp(call->cgroups.dirs[i].controller, "unified") == 0;
    struct cgroup_set *set = born ? &first : rest;
    set->dirs[set->count++] = call->cgroups.dirs[i];
  }
  return cgroup_create(call->backend, call->layout, &first, err);
}

/* The files and the cgroups are made while the monitor comes up; the init waits for them. If we are killed before the
 * last file, the record, is there, a directory without one is left, and a list of cgroups. */
static int create_in(struct call *call, const char *run_dir, const char *seccomp_json, int64_t *started_at_ms,
                     struct shoal_error *err) {
  struct report report = {.kind = 0};
  struct cgroup_set rest;
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
  rc = make_first_cgroup(call, &rest, err);
  if (rc == 0) rc = call_launch(call, "create", err);
  if (rc == 0) rc = file_batch_files(json_member(call->request, "batch"), err);
  if (rc == 0) rc = run_dir_write_seccomp(call->dir_fd, plan_builder_head(&call->builder), err);
  if (rc == 0) rc = cgroup_create(call->backend, call->layout, &rest, err);
  if (rc == 0) rc = call->backend->apply(&call->cgroups, &call->limits, err);
  /* If it has ended already, it has said why. */
  if (rc == 0) (void)send(call->result[0], "", 1, MSG_NOSIGNAL);
  if (rc == 0) rc = await_report(call, &report, err);
  if (report.kind == REPORT_STARTED) *started_at_ms = report.at_ms;
  if (rc < 0) {
    /* It ends by itself when nobody is there to tell it to go on. */
    close(call->result[0]);
    call->result[0] = -1;
  }
  if (rc < 0) (void)shoal_container_delete(run_dir, NULL);
  return rc;
}

static int read_start_word(struct call *call, struct shoal_error *err) {
  int64_t fd = -1;
  int rc = json_integer(call->request, "request", "startWord", &fd, NULL, err);
  if (rc == 0 && (fd < -1 || fd > INT32_MAX)) rc = REQUEST_FAIL(err, "startWord: not a descriptor");
  call->start_word = (int)fd;
  return rc;
}

int shoal_start_word(struct shoal_error *err) {
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd < 0 ? shoal_fail(err, errno, "start", "eventfd") : fd;
}

int shoal_container_run(const char *request_json, const char *seccomp_json, int64_t *started_at_ms,
                        struct shoal_error *err) {
  struct call call;
  const char *run_dir;
  *started_at_ms = 0;
  int rc = call_begin(&call, request_json, err);
  if (rc == 0) rc = json_string(call.request, "request", "runDir", true, &run_dir, err);
  if (rc == 0 && run_dir[0] != '/') rc = REQUEST_FAIL(err, "runDir: '%s' is not absolute", run_dir);
  if (rc == 0) rc = read_start_word(&call, err);
  if (rc == 0) rc = file_batch_directories(json_member(call.request, "batch"), err);
  if (rc == 0) rc = create_in(&call, run_dir, seccomp_json, started_at_ms, err);
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

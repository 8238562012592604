/* create, start and run. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "oci/oci.h"
#include "plan.h"
#include "run-dir.h"

struct create_options {
  const char *bundle, *pid_file, *console_socket, *id;
  bool detach, keep;
  struct preserved preserved;
};

struct creation {
  const struct oci *oci;
  const struct create_options *options;
  struct bundle bundle;
  struct container container;
  struct call call;
  int console_fd;
  struct report report;
};

static int compile(struct creation *creation, struct shoal_error *err) {
  char root[OCI_PATH_MAX + 16];
  struct call *call = &creation->call;
  const char *source = json_member(json_member(call->request, "root"), "path")->valuestring;
  int rc = call_prepare_cgroups(call, call->request, err);
  struct config_context context = {.builder = &call->builder, .err = err};
  context.cgroup_mounts = call->cgroup_mounts[0] == NULL ? NULL : call->cgroup_mounts;
  if (!bundle_lists_namespace(call->request, "cgroup")) context.cgroup_binds = &call->cgroups;
  cJSON *profile =
      cJSON_DetachItemFromObjectCaseSensitive(cJSON_GetObjectItemCaseSensitive(call->request, "linux"), "seccomp");
  preserve_tell(&creation->options->preserved, cJSON_GetObjectItemCaseSensitive(call->request, "process"));
  if (rc == 0) rc = config_compile(&context, call->request);
  if (rc == 0 && cJSON_IsObject(profile)) rc = listener_take(profile, creation->container.record, err);
  if (rc == 0 && profile != NULL && !cJSON_IsNull(profile))
    rc = seccomp_cached(creation->oci->root, profile, &call->builder, err);
  cJSON_Delete(profile);
  if (rc < 0) return rc;
  if (access(source, F_OK) < 0) return shoal_fail(err, errno, "config", "root.path: %s", source);
  call_plan_cgroups(call);
  (void)snprintf(root, sizeof root, "%s/" RUN_ROOT, creation->container.dir);
  uint32_t id_at = plan_add_string(&call->builder, creation->container.id);
  uint32_t root_at = plan_add_string(&call->builder, root);
  uint32_t source_at = plan_add_string(&call->builder, source);
  struct plan *plan = plan_builder_head(&call->builder);
  plan->id = id_at;
  plan->root_dir = root_at;
  plan->root_source = source_at;
  plan->detached = 1;
  plan->preserved = call->preserved = (uint32_t)creation->options->preserved.total;
  static const char *const early[] = {"prestart", "createRuntime", "createContainer"};
  for (size_t i = 0; i < sizeof early / sizeof early[0]; i++) {
    if (json_member(creation->bundle.hooks, early[i]) != NULL) plan->hooks_before_pivot = 1;
  }
  if (creation->bundle.net_devices != NULL) plan->hooks_before_pivot = 1;
  call->plan_fd = plan_builder_finish(&call->builder, err);
  return call->plan_fd < 0 ? call->plan_fd : 0;
}

static void add_time(cJSON *record) {
  char text[48];
  struct timespec now;
  struct tm broken;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  size_t size = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &broken));
  (void)snprintf(text + size, sizeof text - size, ".%09ldZ", now.tv_nsec);
  cJSON_AddStringToObject(record, "created", text);
}

static void fill_record(struct creation *creation) {
  cJSON *record = creation->container.record;
  const cJSON *config = creation->call.request;
  const cJSON *annotations = json_member(config, "annotations");
  cJSON_AddStringToObject(record, "bundle", creation->bundle.path);
  cJSON_AddStringToObject(record, "rootfs", json_member(json_member(config, "root"), "path")->valuestring);
  add_time(record);
  if (annotations != NULL) cJSON_AddItemToObject(record, "annotations", cJSON_Duplicate(annotations, true));
  if (creation->bundle.hooks != NULL)
    cJSON_AddItemToObject(record, "hooks", cJSON_Duplicate(creation->bundle.hooks, true));
}

static int run_hooks(struct creation *creation, pid_t pid, struct shoal_error *err) {
  cJSON *state = store_state(&creation->container, STATUS_CREATING);
  cJSON_ReplaceItemInObjectCaseSensitive(state, "pid", cJSON_CreateNumber(pid));
  int rc = net_devices_hand_over(creation->bundle.net_devices, pid, err);
  if (rc == 0) rc = hooks_run_early(creation->bundle.hooks, state, pid, err);
  cJSON_Delete(state);
  if (rc == 0 && send(creation->call.result[0], "", 1, MSG_NOSIGNAL) != 1)
    rc = shoal_fail(err, EPIPE, "monitor", "ended during the hooks");
  return rc;
}

/* Before anything is written down as ours: what is there belongs to another container, perhaps of another --root. */
static int cgroups_free(const struct cgroup_set *set, struct shoal_error *err) {
  for (size_t i = 0; i < set->count; i++) {
    if (access(set->dirs[i].path, F_OK) == 0) return shoal_fail(err, EEXIST, "cgroup", "%s", set->dirs[i].path);
  }
  return 0;
}

/* With a scope of systemd it is noted as soon as it is ours: one that there was before is not to be ended. */
static int make_groups(struct creation *creation, struct shoal_error *err) {
  struct call *call = &creation->call;
  struct scope *scope = &creation->bundle.scope;
  bool scoped = scope->unit[0] != '\0';
  if (scoped && call->backend != &cgroup_v2)
    return shoal_fail(err, ENOTSUP, "cgroup", "--systemd-cgroup needs cgroup v2: let the engine use cgroupfs");
  int rc = scoped ? scope_begin(scope, creation->container.id, err) : 0;
  if (rc == 0 && scoped) {
    cJSON_AddStringToObject(creation->container.record, "systemdUnit", scope->unit);
    if (store_save(&creation->container) != 0) rc = shoal_fail(err, EIO, "record", "not written");
  }
  if (rc == 0) rc = cgroup_create(call->backend, call->layout, &call->cgroups, err);
  if (rc == 0 && scoped) rc = scope_enter(scope, call->cgroups.dirs[0].path, err);
  return rc < 0 ? rc : call->backend->apply(&call->cgroups, &call->limits, err);
}

static int launch(struct creation *creation, struct shoal_error *err) {
  struct call *call = &creation->call;
  int passed, rc = cgroups_free(&call->cgroups, err);
  if (rc == 0) rc = run_dir_write_cgroups(call->dir_fd, &call->cgroups, err);
  if (rc == 0) rc = run_dir_write_seccomp(call->dir_fd, plan_builder_head(&call->builder), err);
  if (rc == 0) rc = make_groups(creation, err);
  if (rc == 0) rc = monitor_start(call, "detached", creation->console_fd, err);
  if (rc == 0) rc = monitor_report(call, &creation->report, &passed, err);
  if (rc == 0 && creation->report.kind == REPORT_HOOKS) {
    rc = run_hooks(creation, creation->report.pid, err);
    if (rc == 0) rc = monitor_report(call, &creation->report, &passed, err);
  }
  return rc;
}

static int record_start(struct creation *creation) {
  cJSON *record = creation->container.record;
  pid_t pid = creation->report.pid;
  cJSON_AddNumberToObject(record, "pid", pid);
  cJSON_AddNumberToObject(record, "startTime", (double)process_start_time(pid));
  if (store_save(&creation->container) != 0) return EXIT_NOT_DONE;
  return write_pid_file(creation->options->pid_file, pid);
}

static int connect_console(struct creation *creation, struct shoal_error *err) {
  const char *path = creation->options->console_socket;
  if (creation->bundle.terminal && path == NULL)
    return shoal_fail(err, EINVAL, "config", "process.terminal: --console-socket is needed");
  if (!creation->bundle.terminal && path != NULL)
    return shoal_fail(err, EINVAL, "config", "--console-socket: process.terminal is not set");
  if (path == NULL) return 0;
  creation->console_fd = socket_connect(path, "console socket", err);
  return creation->console_fd < 0 ? creation->console_fd : 0;
}

static int failure_code(const struct shoal_error *err) {
  if (strcmp(err->step, "exec") != 0) return EXIT_NOT_DONE;
  return err->code == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}

/* With the container's directory made: makes the container, or removes all again. */
static int create_in(struct creation *creation) {
  struct shoal_error err = {0};
  struct call *call = &creation->call;
  int rc = connect_console(creation, &err);
  if (rc == 0) rc = compile(creation, &err);
  if (rc == 0) {
    fill_record(creation);
    call->dir_fd = dup(creation->container.dir_fd);
    call->socket_fd = run_dir_bind(call->dir_fd, &err);
    rc = call->socket_fd < 0 ? call->socket_fd : launch(creation, &err);
    scope_settle(&creation->bundle.scope);
  }
  int code = rc < 0 ? failure_code(&err) : record_start(creation);
  if (rc < 0) (void)log_error("unable to start container process", &err);
  if (code != 0) (void)container_remove(&creation->container, &err);
  return code;
}

static int create(const struct oci *oci, const struct create_options *options, struct creation *creation) {
  struct shoal_error err = {0};
  memset(creation, 0, sizeof *creation);
  creation->oci = oci;
  creation->options = options;
  creation->console_fd = -1;
  creation->container.dir_fd = -1;
  bool called = false;
  int code = bundle_load(oci, options->bundle, options->id, &creation->bundle);
  if (code == 0) {
    called = true;
    if (call_begin(&creation->call, NULL, &err) < 0) code = log_error("", &err);
    creation->call.request = creation->bundle.config;
  }
  if (code == 0) code = store_make(oci, options->id, &creation->container);
  if (code == 0) code = create_in(creation);
  creation->call.request = NULL;
  if (called) call_end(&creation->call);
  if (creation->console_fd >= 0) close(creation->console_fd);
  return code;
}

static void creation_end(struct creation *creation) {
  store_close(&creation->container);
  bundle_free(&creation->bundle);
}

/* The init answers with the end of the connection when its command runs, before that with its filter's descriptor if
 * there is somebody to answer for it: that one is called first, so that nothing runs without. */
static int let_go(struct container *container, struct shoal_error *err) {
  struct report report;
  int passed, listener, rc = listener_connect(container, &listener, err);
  if (rc < 0) return rc;
  int fd = run_dir_connect(container->dir_fd);
  if (fd < 0) return shoal_fail(err, -fd, "start", "connect");
  ssize_t n = send(fd, "", 1, MSG_NOSIGNAL) == 1 ? report_receive(fd, &report, &passed) : -1;
  if (n == (ssize_t)sizeof report && report.kind == REPORT_SECCOMP) {
    pid_t pid = store_pid(container);
    rc = listener_send(container, STATUS_CREATED, pid, listener, passed, err);
    if (rc < 0) (void)kill(pid, SIGKILL);
    close(passed);
    if (rc == 0) n = report_receive(fd, &report, &passed);
  }
  int code = errno;
  close(fd);
  if (listener >= 0) close(listener);
  if (rc < 0) return rc;
  (void)unlinkat(container->dir_fd, RUN_SOCKET, 0);
  if (n == 0 || (n < 0 && code == ECONNRESET)) return 0;
  if (n != (ssize_t)sizeof report) return shoal_fail(err, code, "start", "no answer");
  *err = report.error;
  return -(err->code > 0 ? err->code : EIO);
}

/* One that fails is the end of the container (runtime.md, "Lifecycle"). */
static int run_start_hooks(struct container *container, struct shoal_error *err) {
  static const char name[] = "startContainer";
  const cJSON *hooks = json_member(container->record, "hooks");
  const struct hook_way way = {.spawn = hook_spawn_as_command, .context = container};
  if (json_member(hooks, name) == NULL) return 0;
  cJSON *state = store_state(container, STATUS_CREATED);
  int rc = hooks_run(hooks, name, state, &way, err);
  cJSON_Delete(state);
  if (rc < 0) (void)kill(store_pid(container), SIGKILL);
  return rc;
}

static int start(struct container *container) {
  struct shoal_error err = {0};
  enum status status = store_status(container);
  if (status == STATUS_STOPPED) return log_failure("cannot start a container that has stopped");
  if (status != STATUS_CREATED) return log_failure("cannot start an already running container");
  int rc = run_start_hooks(container, &err);
  if (rc == 0) rc = let_go(container, &err);
  if (rc < 0) {
    (void)log_error("unable to start container process", &err);
    return failure_code(&err);
  }
  cJSON *state = store_state(container, STATUS_RUNNING);
  /* "runtimes MUST log a warning, but the remaining hooks and lifecycle continue" */
  if (hooks_run(json_member(container->record, "hooks"), "poststart", state, &hook_beside, &err) < 0)
    log_warning("poststart hook: %s", err.detail);
  cJSON_Delete(state);
  return 0;
}

enum {
  OPTION_PID_FILE = 256,
  OPTION_CONSOLE,
  OPTION_PRESERVE,
  OPTION_NO_PIVOT,
  OPTION_KEEP,
  OPTION_IGNORED,
  OPTION_ARG
};

static int parse(int argc, char *argv[], bool run, struct create_options *options) {
  static const struct option known[] = {{"bundle", required_argument, NULL, 'b'},
                                        {"pid-file", required_argument, NULL, OPTION_PID_FILE},
                                        {"console-socket", required_argument, NULL, OPTION_CONSOLE},
                                        {"preserve-fds", required_argument, NULL, OPTION_PRESERVE},
                                        {"no-pivot", no_argument, NULL, OPTION_NO_PIVOT},
                                        {"no-new-keyring", no_argument, NULL, OPTION_IGNORED},
                                        {"no-subreaper", no_argument, NULL, OPTION_IGNORED},
                                        {"detach", no_argument, NULL, 'd'},
                                        {"keep", no_argument, NULL, OPTION_KEEP},
                                        {NULL, 0, NULL, 0}};
  int option;
  const char *preserve = NULL;
  *options = (struct create_options){.bundle = "."};
  while ((option = getopt_long(argc, argv, run ? "+b:d" : "+b:", known, NULL)) != -1) {
    if (option == 'b')
      options->bundle = optarg;
    else if (option == OPTION_PID_FILE)
      options->pid_file = optarg;
    else if (option == OPTION_CONSOLE)
      options->console_socket = optarg;
    else if (option == 'd' && run)
      options->detach = true;
    else if (option == OPTION_KEEP && run)
      options->keep = true;
    else if (option == OPTION_IGNORED)
      continue;
    else if (option == OPTION_PRESERVE)
      preserve = optarg;
    else if (option == OPTION_NO_PIVOT)
      return log_failure("--no-pivot is not supported: the root is always pivoted");
    else
      return EXIT_NOT_DONE;
  }
  options->id = only_argument(argc, argv, "container ID");
  return options->id == NULL ? EXIT_NOT_DONE : preserve_claim(&options->preserved, preserve, true);
}

int command_create(const struct oci *oci, int argc, char *argv[]) {
  struct create_options options;
  struct creation creation;
  if (parse(argc, argv, false, &options) != 0) return EXIT_NOT_DONE;
  int code = create(oci, &options, &creation);
  creation_end(&creation);
  return code == 0 ? 0 : EXIT_NOT_DONE;
}

int command_start(const struct oci *oci, int argc, char *argv[]) {
  struct container container;
  if (getopt(argc, argv, "+") != -1) return EXIT_NOT_DONE;
  const char *id = only_argument(argc, argv, "container ID");
  if (id == NULL || store_open(oci, id, &container) != 0) return EXIT_NOT_DONE;
  store_lock(&container);
  int code = start(&container);
  store_close(&container);
  return code == 0 ? 0 : EXIT_NOT_DONE;
}

int command_run(const struct oci *oci, int argc, char *argv[]) {
  struct create_options options;
  struct creation creation;
  struct shoal_error err = {0};
  if (parse(argc, argv, true, &options) != 0) return EXIT_NOT_DONE;
  if (!options.detach) foreground_prepare();
  int code = create(oci, &options, &creation);
  if (code == 0) {
    code = start(&creation.container);
    bool failed = code != 0;
    if (!failed && !options.detach) {
      store_unlock(&creation.container);
      code = foreground_wait(creation.report.pid);
    }
    if ((failed || !options.detach) && !(options.keep && !failed) && container_remove(&creation.container, &err) < 0)
      (void)log_error("delete", &err);
  }
  creation_end(&creation);
  return code;
}

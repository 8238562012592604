/* exec: one more command in a container. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "oci/oci.h"
#include "plan.h"
#include "run-dir.h"

struct exec_options {
  const char *preserve, *process, *pid_file, *console_socket, *cwd, *user, *id;
  bool detach, terminal, no_new_privileges;
  cJSON *env, *gids, *capabilities;
  struct preserved preserved;
  char **command;
};

static cJSON *parse_object(const char *path) {
  char *text = file_read(path);
  cJSON *value = text == NULL ? NULL : cJSON_Parse(text);
  free(text);
  return value;
}

static void replace(cJSON *object, const char *name, cJSON *value) {
  cJSON_DeleteItemFromObjectCaseSensitive(object, name);
  cJSON_AddItemToObject(object, name, value);
}

/* "UID[:GID]"; names are in the container's own files, which are not read here. */
static int set_user(cJSON *process, const char *text) {
  char *end;
  unsigned long uid = strtoul(text, &end, 10), gid = 0;
  if (end == text || (*end != '\0' && *end != ':')) return log_failure("--user: '%s' is not UID[:GID]", text);
  if (*end == ':') {
    const char *group = end + 1;
    gid = strtoul(group, &end, 10);
    if (end == group || *end != '\0') return log_failure("--user: '%s' is not UID[:GID]", text);
  }
  cJSON *user = cJSON_CreateObject();
  cJSON_AddNumberToObject(user, "uid", (double)uid);
  cJSON_AddNumberToObject(user, "gid", (double)gid);
  replace(process, "user", user);
  return 0;
}

static void add_capabilities(cJSON *process, const cJSON *names) {
  static const char *const sets[] = {"bounding", "effective", "permitted"};
  cJSON *capabilities = cJSON_GetObjectItemCaseSensitive(process, "capabilities");
  if (capabilities == NULL) capabilities = cJSON_AddObjectToObject(process, "capabilities");
  for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
    cJSON *set = cJSON_GetObjectItemCaseSensitive(capabilities, sets[i]);
    const cJSON *name;
    if (set == NULL) set = cJSON_AddArrayToObject(capabilities, sets[i]);
    cJSON_ArrayForEach(name, names) { cJSON_AddItemToArray(set, cJSON_Duplicate(name, true)); }
  }
}

/* NULL: it is not there any more. To be deleted. */
static cJSON *config_of(const struct container *container) {
  char path[OCI_PATH_MAX + 16];
  const char *bundle = cJSON_GetStringValue(json_member(container->record, "bundle"));
  (void)snprintf(path, sizeof path, "%s/config.json", bundle == NULL ? "" : bundle);
  return parse_object(path);
}

/* The container's own process, with what the command line says otherwise. */
static cJSON *process_from_options(const struct container *container, const struct exec_options *options) {
  cJSON *config = config_of(container);
  cJSON *process = cJSON_DetachItemFromObjectCaseSensitive(config, "process");
  cJSON_Delete(config);
  if (process == NULL) {
    (void)log_failure("the bundle's config.json has no process");
    return NULL;
  }
  cJSON *args = cJSON_CreateArray(), *env = cJSON_GetObjectItemCaseSensitive(process, "env");
  for (char **word = options->command; *word != NULL; word++)
    cJSON_AddItemToArray(args, cJSON_CreateString(*word));
  replace(process, "args", args);
  replace(process, "terminal", cJSON_CreateBool(options->terminal));
  if (options->cwd != NULL) replace(process, "cwd", cJSON_CreateString(options->cwd));
  if (options->no_new_privileges) replace(process, "noNewPrivileges", cJSON_CreateTrue());
  if (env == NULL) env = cJSON_AddArrayToObject(process, "env");
  const cJSON *item;
  cJSON_ArrayForEach(item, options->env) { cJSON_AddItemToArray(env, cJSON_Duplicate(item, true)); }
  add_capabilities(process, options->capabilities);
  bool failed = options->user != NULL && set_user(process, options->user) != 0;
  if (!failed && options->gids != NULL && options->gids->child != NULL)
    replace(cJSON_GetObjectItemCaseSensitive(process, "user"), "additionalGids", cJSON_Duplicate(options->gids, true));
  if (!failed) return process;
  cJSON_Delete(process);
  return NULL;
}

static cJSON *load_process(const struct container *container, const struct exec_options *options) {
  if (options->process == NULL) return process_from_options(container, options);
  cJSON *process = parse_object(options->process);
  if (!cJSON_IsObject(process)) {
    cJSON_Delete(process);
    (void)log_failure("--process: %s: not a JSON object", options->process);
    return NULL;
  }
  return process;
}

/* The number might have changed hands before it was opened. */
static int open_target(struct call *call, const struct container *container, struct shoal_error *err) {
  pid_t pid = store_pid(container);
  call->target_fd = pidfd_open(pid, 0);
  if (call->target_fd < 0) return shoal_fail(err, errno, "container", "pidfd_open %d", (int)pid);
  enum status status = store_status(container);
  if (status != STATUS_RUNNING && status != STATUS_CREATED) return shoal_fail(err, ESRCH, "container", "not running");
  plan_builder_head(&call->builder)->target_pid = pid;
  return 0;
}

/* What the container's config says for every process, and engines do not send again. */
static int inherit(struct config_context *context, cJSON *process, const struct container *container) {
  static const char name[] = "execCPUAffinity";
  cJSON *config = config_of(container);
  const cJSON *affinity = json_member(json_member(config, "process"), name);
  if (affinity != NULL && json_member(process, name) == NULL) replace(process, name, cJSON_Duplicate(affinity, true));
  int rc = config_every_process(context, json_member(config, "linux"));
  cJSON_Delete(config);
  return rc;
}

static int compile(struct call *call, const struct container *container, struct shoal_error *err) {
  struct config_context context = {.builder = &call->builder, .err = err};
  int rc = open_target(call, container, err);
  if (rc == 0) rc = inherit(&context, call->request, container);
  if (rc == 0) rc = config_process(&context, call->request);
  if (rc == 0) rc = run_dir_read_seccomp(container->dir_fd, &call->builder, err);
  if (rc == 0) rc = run_dir_read_cgroups(container->dir_fd, &call->cgroups, err);
  if (rc < 0) return rc;
  call_plan_cgroups(call);
  plan_builder_head(&call->builder)->detached = 1;
  plan_builder_head(&call->builder)->preserved = call->preserved;
  call->plan_fd = plan_builder_finish(&call->builder, err);
  return call->plan_fd < 0 ? call->plan_fd : 0;
}

/* Until it runs; its filter's descriptor may come before. */
static int await_command(struct call *call, const struct container *container, int listener, struct report *report,
                         struct shoal_error *err) {
  int passed, rc = monitor_report(call, report, &passed, err);
  if (rc < 0 || report->kind != REPORT_SECCOMP) return rc;
  rc = listener_send(container, STATUS_RUNNING, report->pid, listener, passed, err);
  close(passed);
  if (rc < 0) (void)kill(report->pid, SIGKILL);
  return rc < 0 ? rc : monitor_report(call, report, &passed, err);
}

/* The pid, or -errno. */
static pid_t run_in(struct call *call, const struct container *container, const struct exec_options *options,
                    struct shoal_error *err) {
  struct report report = {0};
  int console_fd = -1;
  bool terminal = cJSON_IsTrue(json_member(call->request, "terminal"));
  if (terminal != (options->console_socket != NULL))
    return shoal_fail(err, EINVAL, "config", "a terminal needs --console-socket, and --console-socket a terminal");
  int listener = -1;
  call->preserved = (uint32_t)options->preserved.total;
  int rc = compile(call, container, err);
  if (rc == 0 && terminal) {
    console_fd = socket_connect(options->console_socket, "console socket", err);
    rc = console_fd < 0 ? console_fd : 0;
  }
  if (rc == 0) rc = listener_connect(container, &listener, err);
  if (rc == 0) rc = monitor_start(call, "detached-exec", console_fd, err);
  if (rc == 0) rc = await_command(call, container, listener, &report, err);
  if (listener >= 0) close(listener);
  if (console_fd >= 0) close(console_fd);
  return rc < 0 ? rc : report.pid;
}

/* The container's own process with the hook's command, and nothing of its environment. */
static cJSON *process_of_hook(const struct container *container, const cJSON *hook) {
  const char *path = json_member(hook, "path")->valuestring;
  char **words = hook_strings(json_member(hook, "args"), path);
  const struct exec_options options = {.command = words, .cwd = "/"};
  cJSON *process = words == NULL ? NULL : process_from_options(container, &options);
  free(words);
  if (process == NULL) return NULL;
  const cJSON *env = json_member(hook, "env");
  replace(process, "env", env == NULL ? cJSON_CreateArray() : cJSON_Duplicate(env, true));
  return process;
}

/* The standard streams of the hook while it is begun, and then ours again. */
static pid_t run_with_input(struct call *call, const struct container *container, int input, struct shoal_error *err) {
  const struct exec_options options = {0};
  int saved[2] = {fcntl(0, F_DUPFD_CLOEXEC, 10), fcntl(1, F_DUPFD_CLOEXEC, 10)};
  pid_t pid = dup2(input, 0) < 0 || dup2(2, 1) < 0 ? shoal_fail(err, errno, HOOK_STEP, "dup2")
                                                   : run_in(call, container, &options, err);
  for (int i = 0; i < 2; i++) {
    if (saved[i] >= 0 ? dup2(saved[i], i) < 0 : close(i) < 0) pid = shoal_fail(err, errno, HOOK_STEP, "dup2");
    if (saved[i] >= 0) close(saved[i]);
  }
  return pid;
}

int hook_spawn_as_command(void *context, const cJSON *hook, int input, pid_t *pid, struct shoal_error *err) {
  const struct container *container = context;
  const char *path = json_member(hook, "path")->valuestring;
  struct call call;
  /* Its exit is for us to collect. */
  (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  int rc = call_begin(&call, NULL, err);
  call.request = process_of_hook(container, hook);
  if (rc == 0 && call.request == NULL) rc = shoal_fail(err, EINVAL, HOOK_STEP, "%s: no process", path);
  if (rc == 0) {
    uint32_t program = plan_add_string(&call.builder, path);
    plan_builder_head(&call.builder)->process.program = program;
    *pid = run_with_input(&call, container, input, err);
    rc = *pid < 0 ? *pid : 0;
  }
  call_end(&call);
  /* Not the container's command: that it is missing is no 127. */
  if (rc < 0) (void)snprintf(err->step, sizeof err->step, HOOK_STEP);
  return rc;
}

static int exec_in(const struct container *container, const struct exec_options *options) {
  struct call call;
  struct shoal_error err = {0};
  cJSON *process = load_process(container, options);
  if (process == NULL) return EXIT_EXEC_FAILED;
  int rc = call_begin(&call, NULL, &err);
  call.request = process;
  pid_t pid = rc < 0 ? rc : run_in(&call, container, options, &err);
  call_end(&call);
  if (pid < 0) {
    (void)log_error("exec failed", &err);
    if (strcmp(err.step, "exec") != 0) return EXIT_EXEC_FAILED;
    return err.code == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
  }
  if (write_pid_file(options->pid_file, pid) != 0) return EXIT_EXEC_FAILED;
  return options->detach ? 0 : foreground_wait(pid);
}

static const struct option known[] = {{"process", required_argument, NULL, 'p'},
                                      {"pid-file", required_argument, NULL, 'P'},
                                      {"console-socket", required_argument, NULL, 'S'},
                                      {"detach", no_argument, NULL, 'd'},
                                      {"tty", no_argument, NULL, 't'},
                                      {"cwd", required_argument, NULL, 'w'},
                                      {"env", required_argument, NULL, 'e'},
                                      {"user", required_argument, NULL, 'u'},
                                      {"additional-gids", required_argument, NULL, 'g'},
                                      {"cap", required_argument, NULL, 'c'},
                                      {"no-new-privs", no_argument, NULL, 'N'},
                                      {"preserve-fds", required_argument, NULL, 'F'},
                                      {NULL, 0, NULL, 0}};

static int take(struct exec_options *options, int option) {
  switch (option) {
  case 'p':
    options->process = optarg;
    return 0;
  case 'P':
    options->pid_file = optarg;
    return 0;
  case 'S':
    options->console_socket = optarg;
    return 0;
  case 'd':
    options->detach = true;
    return 0;
  case 't':
    options->terminal = true;
    return 0;
  case 'w':
    options->cwd = optarg;
    return 0;
  case 'u':
    options->user = optarg;
    return 0;
  case 'N':
    options->no_new_privileges = true;
    return 0;
  case 'e':
    return cJSON_AddItemToArray(options->env, cJSON_CreateString(optarg)) ? 0 : -1;
  case 'c':
    return cJSON_AddItemToArray(options->capabilities, cJSON_CreateString(optarg)) ? 0 : -1;
  case 'g':
    return cJSON_AddItemToArray(options->gids, cJSON_CreateNumber(atof(optarg))) ? 0 : -1;
  case 'F':
    options->preserve = optarg;
    return 0;
  default:
    return -1;
  }
}

static int parse(int argc, char *argv[], struct exec_options *options) {
  int option;
  while ((option = getopt_long(argc, argv, "+p:dte:u:g:c:", known, NULL)) != -1) {
    if (take(options, option) != 0) return EXIT_NOT_DONE;
  }
  if (optind == argc) return log_failure("exec: a container ID is needed");
  options->id = argv[optind];
  options->command = argv + optind + 1;
  if (options->process == NULL && options->command[0] == NULL) return log_failure("exec: a command is needed");
  return preserve_claim(&options->preserved, options->preserve, false);
}

int command_exec(const struct oci *oci, int argc, char *argv[]) {
  struct exec_options options = {
      .env = cJSON_CreateArray(), .gids = cJSON_CreateArray(), .capabilities = cJSON_CreateArray()};
  struct container container;
  int code = EXIT_EXEC_FAILED;
  if (parse(argc, argv, &options) == 0 && store_open(oci, options.id, &container) == 0) {
    if (!options.detach) foreground_prepare();
    code = exec_in(&container, &options);
    store_close(&container);
  }
  cJSON_Delete(options.env);
  cJSON_Delete(options.gids);
  cJSON_Delete(options.capabilities);
  return code;
}

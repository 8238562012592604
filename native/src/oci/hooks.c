/* Hooks (config.md, "POSIX-platform Hooks"): prestart and createRuntime beside the container, createContainer in its
 * namespaces, all before the root is pivoted; startContainer as one more command of it (exec.c); poststart and poststop
 * beside it again. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "oci/oci.h"

#define COLLECT_TRIES 5000

static int check_one(const char *name, const cJSON *hook) {
  static const char *const allowed[] = {"path", "args", "env", "timeout", NULL};
  struct shoal_error err;
  const char *path;
  if (json_only(hook, "hooks[]", allowed, &err) < 0 || json_string(hook, "hooks[]", "path", true, &path, &err) < 0)
    return log_error(name, &err);
  if (path[0] != '/') return log_failure("hooks.%s[].path: '%s' is not absolute", name, path);
  const cJSON *timeout = json_member(hook, "timeout");
  if (timeout != NULL && (!cJSON_IsNumber(timeout) || timeout->valuedouble <= 0))
    return log_failure("hooks.%s[].timeout: more than 0 is needed", name);
  return 0;
}

int hooks_check(const cJSON *hooks) {
  static const char *const known[] = {"prestart",       "createRuntime", "createContainer",
                                      "startContainer", "poststart",     "poststop"};
  const cJSON *list, *hook;
  if (hooks != NULL && !cJSON_IsObject(hooks) && !cJSON_IsNull(hooks)) return log_failure("hooks: not an object");
  cJSON_ArrayForEach(list, hooks) {
    bool run = false;
    if (!cJSON_IsArray(list) && !cJSON_IsNull(list)) return log_failure("hooks.%s: not an array", list->string);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
      run = run || strcmp(list->string, known[i]) == 0;
    if (!run && list->child != NULL) return log_failure("hooks.%s is not supported", list->string);
    cJSON_ArrayForEach(hook, list) {
      if (check_one(list->string, hook) != 0) return EXIT_NOT_DONE;
    }
  }
  return 0;
}

char **hook_strings(const cJSON *list, const char *first) {
  char **out = calloc((size_t)cJSON_GetArraySize(list) + 2, sizeof *out);
  size_t count = 0;
  const cJSON *item;
  if (out == NULL) return NULL;
  cJSON_ArrayForEach(item, list) {
    if (cJSON_IsString(item)) out[count++] = item->valuestring;
  }
  if (count == 0 && first != NULL) out[count] = (char *)(uintptr_t)first;
  return out;
}

static int spawn_beside(void *context, const cJSON *hook, int input, pid_t *pid, struct shoal_error *err) {
  const char *path = json_member(hook, "path")->valuestring;
  char **args = hook_strings(json_member(hook, "args"), path), **env = hook_strings(json_member(hook, "env"), NULL);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none;
  (void)context;
  sigemptyset(&none);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawn_file_actions_adddup2(&actions, input, 0);
  posix_spawn_file_actions_adddup2(&actions, 2, 1);
  int rc = args == NULL || env == NULL ? ENOMEM : posix_spawn(pid, path, &actions, &attributes, args, env);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  free(args);
  free(env);
  return rc == 0 ? 0 : shoal_fail(err, rc, HOOK_STEP, "%s", path);
}

const struct hook_way hook_beside = {.spawn = spawn_beside};

/* What a container's command becomes our child only when the monitor between has ended. */
static int collect(pid_t pid) {
  const struct timespec pause = {.tv_sec = 0, .tv_nsec = 1000000L};
  int status = 0;
  for (int i = 0; waitpid(pid, &status, 0) < 0 && i < COLLECT_TRIES; i++) {
    if (errno == ECHILD) (void)nanosleep(&pause, NULL);
  }
  return status;
}

/* timeout_ms -1: none. */
static int await_hook(pid_t pid, const char *path, int timeout_ms, struct shoal_error *err) {
  struct pollfd entry = {.fd = pidfd_open(pid, 0), .events = POLLIN};
  if (entry.fd < 0) return shoal_fail(err, errno, HOOK_STEP, "%s", path);
  int ready;
  while ((ready = poll(&entry, 1, timeout_ms)) < 0 && errno == EINTR)
    continue;
  bool late = ready == 0;
  if (late) (void)kill(pid, SIGKILL);
  close(entry.fd);
  int status = collect(pid);
  if (late) return shoal_fail(err, ETIMEDOUT, HOOK_STEP, "%s", path);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
  int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return shoal_fail(err, ECANCELED, HOOK_STEP, "%s: exit status %d", path, code);
}

static int run_hook(const cJSON *hook, const char *state, const struct hook_way *way, struct shoal_error *err) {
  int pair[2];
  pid_t pid = -1;
  const char *path = json_member(hook, "path")->valuestring;
  const cJSON *timeout = json_member(hook, "timeout");
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) return shoal_fail(err, errno, HOOK_STEP, "pipe");
  int rc = way->spawn(way->context, hook, pair[1], &pid, err);
  close(pair[1]);
  if (rc == 0) (void)send(pair[0], state, strlen(state), MSG_NOSIGNAL);
  close(pair[0]);
  if (rc < 0) return rc;
  return await_hook(pid, path, timeout == NULL ? -1 : (int)(timeout->valuedouble * 1000), err);
}

int hooks_run(const cJSON *hooks, const char *name, const cJSON *state, const struct hook_way *way,
              struct shoal_error *err) {
  const cJSON *hook;
  char *text = cJSON_PrintUnformatted(state);
  int rc = text == NULL ? shoal_fail(err, ENOMEM, HOOK_STEP, "%s", name) : 0;
  cJSON_ArrayForEach(hook, json_member(hooks, name)) {
    if (rc == 0) rc = run_hook(hook, text, way, err);
  }
  cJSON_free(text);
  return rc;
}

/* run-hooks: for the library, which has a container's hooks run by this program. The request is standard input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oci/oci.h"

int hooks_run_early(const cJSON *hooks, const cJSON *state, pid_t pid, struct shoal_error *err) {
  const struct hook_way inside = {.spawn = hook_spawn_inside, .context = &pid};
  int rc = hooks_run(hooks, "prestart", state, &hook_beside, err);
  if (rc == 0) rc = hooks_run(hooks, "createRuntime", state, &hook_beside, err);
  return rc == 0 ? hooks_run(hooks, "createContainer", state, &inside, err) : rc;
}

/* The others belong to later turns, which the library does not have. */
static int check_early(const cJSON *hooks) {
  const cJSON *list;
  cJSON_ArrayForEach(list, hooks) {
    if (strcmp(list->string, "prestart") != 0 && strcmp(list->string, "createRuntime") != 0 &&
        strcmp(list->string, "createContainer") != 0)
      return log_failure("hooks.%s is not supported", list->string);
  }
  return hooks_check(hooks);
}

int command_run_hooks(const struct oci *oci, int argc, char *argv[]) {
  struct shoal_error err = {0};
  (void)oci;
  if (argc != 1) return log_failure("%s: no argument is expected", argv[0]);
  char *text = file_read("-");
  cJSON *hooks = text == NULL ? NULL : cJSON_Parse(text);
  free(text);
  cJSON *state = cJSON_DetachItemFromObjectCaseSensitive(hooks, "state");
  const cJSON *pid = cJSON_GetObjectItemCaseSensitive(state, "pid");
  int code = cJSON_IsNumber(pid) ? check_early(hooks) : log_failure("run-hooks: a state with a pid is expected");
  if (code == 0 && hooks_run_early(hooks, state, (pid_t)pid->valuedouble, &err) < 0) {
    (void)fprintf(stderr, "\n%s\n", err.detail);
    code = EXIT_NOT_DONE;
  }
  cJSON_Delete(state);
  cJSON_Delete(hooks);
  return code;
}

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "oci/oci.h"
#include "run-dir.h"

int container_remove(struct container *container, struct shoal_error *err) {
  struct cgroup_set set;
  struct shoal_error ignored;
  cJSON *hooks = cJSON_DetachItemFromObjectCaseSensitive(container->record, "hooks");
  pid_t pid = store_pid(container);
  if (pid > 0 && store_status(container) != STATUS_STOPPED) (void)kill(pid, SIGKILL);
  int rc = run_dir_read_cgroups(container->dir_fd, &set, err);
  if (rc == 0 && groups_frozen(&set)) (void)groups_freeze(&set, false, &ignored);
  for (size_t i = 0; rc == 0 && i < set.count; i++)
    rc = cgroup_remove(set.dirs[i].path, err);
  /* What it is for is gone, so it will end by itself, too. */
  const char *unit = cJSON_GetStringValue(json_member(container->record, "systemdUnit"));
  if (rc == 0 && unit != NULL && scope_end(unit, &ignored) < 0) log_warning("%s", ignored.detail);
  if (rc == 0) rc = run_dir_clear(container->dir_fd, container->dir, err);
  cJSON *state = store_state(container, STATUS_STOPPED);
  if (rc == 0 && hooks_run(hooks, "poststop", state, &hook_beside, &ignored) < 0)
    log_warning("poststop hook: %s", ignored.detail);
  cJSON_Delete(state);
  cJSON_Delete(hooks);
  return rc;
}

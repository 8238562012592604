#include "oci/systemd.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"

/* A scope without a process ends. The container's init comes into being in its group, so until then there is another:
 * if this program dies, it does too, and the scope with it. */
static pid_t make_placeholder(void) {
  pid_t parent = getpid(), pid = fork();
  if (pid != 0) return pid;
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid() != parent) _exit(1);
  for (;;)
    (void)pause();
}

int scope_begin(struct scope *scope, const char *id, struct shoal_error *err) {
  char description[UNIT_NAME_MAX + 32];
  (void)snprintf(description, sizeof description, "container %s", id);
  scope->placeholder = make_placeholder();
  if (scope->placeholder < 0) return shoal_fail(err, errno, "systemd", "fork");
  const struct unit_call call = {.method = "StartTransientUnit",
                                 .unit = scope->unit,
                                 .slice = scope->slice,
                                 .description = description,
                                 .pid = scope->placeholder};
  return systemd_job(&call, err);
}

int scope_enter(const struct scope *scope, const char *group, struct shoal_error *err) {
  char above[CGROUP_PATH_MAX];
  int rc = cgroup_write_number(group, "cgroup.procs", scope->placeholder, err);
  (void)snprintf(above, sizeof above, "%s", group);
  *strrchr(above, '/') = '\0';
  /* Only now: a group with processes of its own gives its children no controllers. */
  if (rc == 0) cgroup_v2_enable(above, false);
  return rc;
}

void scope_settle(struct scope *scope) {
  if (scope->placeholder <= 0) return;
  (void)kill(scope->placeholder, SIGKILL);
  while (waitpid(scope->placeholder, NULL, 0) < 0 && errno == EINTR)
    continue;
  scope->placeholder = 0;
}

int scope_end(const char *unit, struct shoal_error *err) {
  const struct unit_call call = {.method = "StopUnit", .unit = unit};
  int rc = systemd_job(&call, err);
  return rc == -ENOENT ? 0 : rc;
}

/* Containers in scopes of systemd, for engines that let it manage cgroups (--systemd-cgroup). cgroup v2 only.
 *
 * The scope is a unit of systemd, and so is its cgroup, whose files systemd may write again whenever it likes. The
 * container is therefore in a group "container" below it, which systemd leaves alone as the scope is delegated; limits
 * are written there as everywhere. docs/decisions/systemd-scopes.md. */
#ifndef SHOAL_OCI_SYSTEMD_H
#define SHOAL_OCI_SYSTEMD_H

#include <stdbool.h>
#include <sys/types.h>

#include "shoal.h"

#define UNIT_NAME_MAX 256
#define SCOPE_GROUP "container"

struct scope {
  char slice[UNIT_NAME_MAX]; /* "system.slice" */
  char unit[UNIT_NAME_MAX];  /* "docker-ID.scope"; "": no scope */
  pid_t placeholder;         /* is in the scope until the container is; or 0 */
};

/* --- systemd-name.c */
/* linux.cgroupsPath as "SLICE:PREFIX:NAME"; NULL or "": in system.slice, named after the container. path: of the
 * container's group. 0, or what is wrong with it is logged. */
int scope_name(const char *given, const char *id, struct scope *scope, char *path, size_t size);

/* --- systemd.c */
/* Makes the scope. scope_settle is due whatever this returns. */
int scope_begin(struct scope *scope, const char *id, struct shoal_error *err);
/* group: the container's, which exists now. From here on it has controllers. */
int scope_enter(const struct scope *scope, const char *group, struct shoal_error *err);
/* The container's init is in the group, or nothing will be. */
void scope_settle(struct scope *scope);
/* The unit is gone when this returns, so that its name can be used again; a unit that there is not is fine. */
int scope_end(const char *unit, struct shoal_error *err);

/* --- systemd-bus.c: one call of systemd's manager that begins a job, and the job's end. */
struct unit_call {
  const char *method, *unit;
  /* StartTransientUnit; the others have the name and the mode alone */
  const char *slice, *description;
  pid_t pid;
};
/* -ENOENT: there is no such unit. */
int systemd_job(const struct unit_call *call, struct shoal_error *err);

#endif

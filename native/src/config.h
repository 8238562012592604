/* Compiles an OCI runtime-spec config into a plan. What we do not implement is refused by its name in the config
 * (-ENOTSUP, step "config"), never ignored. https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config-linux.md
 */
#ifndef SHOAL_CONFIG_H
#define SHOAL_CONFIG_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "cgroup.h"
#include "plan-build.h"

/* What the compiler has to know besides the config. */
struct config_context {
  struct plan_builder *builder;
  const char *seccomp_json;         /* the profile as text, or NULL: take linux.seccomp */
  const char *const *cgroup_mounts; /* v1: NULL-ended controller names to mount for a "cgroup" mount; NULL: cgroup2 */
  /* v1, for a container without a cgroup namespace, in which a new mount would show the host's groups: its own
   * directories, which are bound instead. NULL: mount. */
  const struct cgroup_set *cgroup_binds;
  struct shoal_error *err;
};

/* The whole config of a container. */
int config_compile(struct config_context *context, const cJSON *config);

/* An OCI process object: the container's own, or one to exec. */
int config_process(struct config_context *context, const cJSON *process);

/* config-schedule.c */
int config_schedule(struct config_context *context, const cJSON *process);
/* What of linux holds for each process: personality and memoryPolicy. */
int config_every_process(struct config_context *context, const cJSON *linux_config);
/* linux.mountLabel */
int config_mount_label(struct config_context *context, const cJSON *linux_config);

int config_mounts(struct config_context *context, const cJSON *mounts);
int config_linux(struct config_context *context, const cJSON *linux_config);
/* The profile of the context, or else linux.seccomp. linux_config may be NULL. */
int config_seccomp(struct config_context *context, const cJSON *linux_config);
/* Of the user and the time namespace, which must be the container's own. */
int config_ids(struct config_context *context, const cJSON *linux_config);
int config_time(struct config_context *context, const cJSON *linux_config);
/* When all is compiled: whether the ids that the config names are in the container's ranges. */
int config_check_ids(struct config_context *context);
int config_devices(struct config_context *context, const cJSON *devices);

/* JSON access. path names the object in messages, e.g. "linux.resources". */

/* Refuses members of object that are not in the NULL-ended list. object may be NULL. */
int json_only(const cJSON *object, const char *path, const char *const allowed[], struct shoal_error *err);

/* The member if it is there and not null. */
const cJSON *json_member(const cJSON *object, const char *key);

/* *out is NULL when the member is absent and not required. */
int json_string(const cJSON *object, const char *path, const char *key, bool required, const char **out,
                struct shoal_error *err);

/* *out keeps its value when the member is absent; *present may be NULL. */
int json_integer(const cJSON *object, const char *path, const char *key, int64_t *out, bool *present,
                 struct shoal_error *err);
int json_bool(const cJSON *object, const char *path, const char *key, bool *out, struct shoal_error *err);

/* An array of strings, added to the plan. */
int json_string_list(struct config_context *context, const cJSON *object, const char *path, const char *key,
                     struct plan_list *out);

#define CONFIG_FAIL(err, code, ...) shoal_fail((err), (code), "config", __VA_ARGS__)

#endif

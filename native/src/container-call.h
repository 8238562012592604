/* What the calls on containers share: their resources, and how they start a monitor. */
#ifndef SHOAL_CONTAINER_CALL_H
#define SHOAL_CONTAINER_CALL_H

#include "cgroup.h"
#include "config.h"
#include "plan-build.h"
#include "shoal.h"

#define REQUEST_FAIL(err, ...) shoal_fail((err), EINVAL, "request", __VA_ARGS__)

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
  int start_word;                       /* the caller's */
  uint32_t preserved;                   /* shoal-oci: how many descriptors the plan preserves */
  int result[2], streams[2], errors[2]; /* ours, the monitor's */
};

/* Parses the request (NULL: it comes otherwise). call_end is due whatever this returns. */
int call_begin(struct call *call, const char *request_json, struct shoal_error *err);
void call_end(struct call *call);

/* Names the cgroups of a config (linux.cgroupsPath, linux.resources) and reads its limits; creates nothing. */
int call_prepare_cgroups(struct call *call, const cJSON *config, struct shoal_error *err);

/* Which hierarchies a "cgroup" mount shows, and where the init puts itself. */
void call_plan_cgroups(struct call *call);

/* The log as the request has it ("log": path, maxBytes, maxFiles; absent: none), from its newest file on. */
int call_plan_log(struct call *call, struct shoal_error *err);

/* Adds a flag when the request's member of this name is true. */
int call_flag(struct call *call, const char *name, uint32_t flag, uint32_t *flags, struct shoal_error *err);

/* Spawns the monitor that the request names, with the plan and the call's descriptors. */
int call_launch(struct call *call, const char *mode, struct shoal_error *err);

#endif

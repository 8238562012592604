#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroup-devices.h"

#define USUAL_CONTROLLERS 5

static int v2_plan(const struct cgroup_layout *layout, const char *path, const struct cgroup_limits *limits,
                   struct cgroup_set *set, struct shoal_error *err) {
  (void)limits;
  set->count = 0;
  return cgroup_set_add(set, "unified", layout->v2, path, err);
}

/* A controller is there for a directory only if every ancestor, from the root, lists it in its subtree_control. What an
 * ancestor does not offer is noticed when a limit that needs it is written. */
void cgroup_v2_enable(const char *directory, bool rare) {
  static const char *const controllers[] = {"+memory", "+cpu", "+pids", "+cpuset", "+io", "+hugetlb", "+rdma", "+misc"};
  struct shoal_error ignored;
  for (size_t i = 0; i < (rare ? sizeof controllers / sizeof controllers[0] : USUAL_CONTROLLERS); i++)
    (void)cgroup_write(directory, "cgroup.subtree_control", controllers[i], &ignored);
}

static void enable_above(const char *mount, const char *directory, bool rare) {
  char path[CGROUP_PATH_MAX];
  (void)snprintf(path, sizeof path, "%s", directory);
  for (char *slash = path + strlen(mount); slash != NULL && *slash == '/'; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    cgroup_v2_enable(path, rare);
    *slash = '/';
  }
}

static int v2_prepare_parent(const struct cgroup_layout *layout, const char *directory, struct shoal_error *err) {
  int rc = cgroup_make_parents(directory, err);
  if (rc == 0) enable_above(layout->v2, directory, false);
  return rc;
}

static int write_limit(const char *dir, const char *file, int64_t bytes, struct shoal_error *err) {
  return bytes < 0 ? cgroup_write(dir, file, "max", err) : cgroup_write_number(dir, file, bytes, err);
}

static int apply_memory(const char *dir, const struct cgroup_limits *limits, struct shoal_error *err) {
  int rc = 0;
  if (limits->has_memory) rc = write_limit(dir, "memory.max", limits->memory_bytes, err);
  if (rc == 0 && limits->has_swap) {
    /* OCI counts memory and swap together, as v1 does; v2 counts swap alone. */
    int64_t swap = limits->swap_bytes < 0 || !limits->has_memory ? -1 : limits->swap_bytes - limits->memory_bytes;
    rc = write_limit(dir, "memory.swap.max", swap, err);
    if (rc == -ENOENT && swap <= 0) rc = 0; /* a kernel without swap accounting: nothing to limit */
  }
  if (rc == 0 && limits->has_reservation) rc = write_limit(dir, "memory.low", limits->reservation_bytes, err);
  if (rc == 0 && limits->has_swappiness)
    return shoal_fail(err, ENOTSUP, "cgroup", "linux.resources.memory.swappiness: cgroup v2 has none");
  if (rc == 0 && limits->no_oom_killer)
    return shoal_fail(err, ENOTSUP, "cgroup", "linux.resources.memory.disableOOMKiller: cgroup v2 always has one");
  return rc;
}

static int apply_cpu(const char *dir, const struct cgroup_limits *limits, struct shoal_error *err) {
  int rc = 0;
  if (limits->has_shares && limits->cpu_shares > 0) {
    /* 2..262144 shares to 1..10000 weight, the mapping that every runtime uses. */
    int64_t shares = limits->cpu_shares < 2 ? 2 : limits->cpu_shares > 262144 ? 262144 : limits->cpu_shares;
    rc = cgroup_write_number(dir, "cpu.weight", 1 + (shares - 2) * 9999 / 262142, err);
  }
  if (rc == 0 && (limits->has_quota || limits->has_period)) {
    char text[64];
    int64_t period = limits->has_period ? limits->cpu_period_us : 100000;
    if (limits->has_quota && limits->cpu_quota_us > 0) {
      (void)snprintf(text, sizeof text, "%lld %lld", (long long)limits->cpu_quota_us, (long long)period);
    } else {
      (void)snprintf(text, sizeof text, "max %lld", (long long)period);
    }
    rc = cgroup_write(dir, "cpu.max", text, err);
  }
  if (rc == 0 && limits->has_burst) rc = cgroup_write_number(dir, "cpu.max.burst", limits->cpu_burst_us, err);
  if (rc == 0 && limits->has_idle) rc = cgroup_write_number(dir, "cpu.idle", limits->cpu_idle, err);
  return rc;
}

static int apply_all(const char *dir, const struct cgroup_limits *limits, struct shoal_error *err) {
  int rc = apply_memory(dir, limits, err);
  if (rc == 0) rc = apply_cpu(dir, limits, err);
  if (rc == 0 && limits->has_pids) rc = write_limit(dir, "pids.max", limits->pids > 0 ? limits->pids : -1, err);
  if (rc == 0 && limits->cpus != NULL) rc = cgroup_write(dir, "cpuset.cpus", limits->cpus, err);
  if (rc == 0 && limits->mems != NULL) rc = cgroup_write(dir, "cpuset.mems", limits->mems, err);
  if (rc == 0) rc = cgroup_blkio_apply_v2(dir, limits, err);
  if (rc == 0) rc = cgroup_named_apply_v2(dir, limits, err);
  return rc;
}

static int v2_apply(const struct cgroup_set *set, const struct cgroup_limits *limits, struct shoal_error *err) {
  const char *dir = cgroup_set_find(set, "unified");
  int rc = apply_all(dir, limits, err);
  if (rc == -ENOENT) {
    /* The parents were there before us, without the controllers, or it is one that is seldom wanted. */
    enable_above(cgroup_layout_host()->v2, dir, true);
    rc = apply_all(dir, limits, err);
  }
  /* A change of limits has no rules: one more program that denies what it does not know would take all devices away. */
  return rc < 0 || limits->device_count == 0 ? rc : cgroup_devices_attach(dir, limits, err);
}

const struct cgroup_backend cgroup_v2 = {.plan = v2_plan,
                                         .prepare_parent = v2_prepare_parent,
                                         .apply = v2_apply,
                                         .oom_controller = "unified",
                                         .oom_file = "memory.events"};

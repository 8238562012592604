#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup.h"

static const char *mount_of(const struct cgroup_layout *layout, const char *controller) {
  for (size_t i = 0; i < layout->v1_count; i++) {
    if (strcmp(layout->v1[i].controller, controller) == 0) return layout->v1[i].mount;
  }
  return NULL;
}

/* Those that only a limit of theirs needs. */
static int plan_asked(const struct cgroup_layout *layout, const char *path, const struct cgroup_limits *limits,
                      struct cgroup_set *set, struct shoal_error *err) {
  const struct {
    const char *controller;
    bool asked;
  } wanted[] = {{"blkio", cgroup_blkio_asked(limits)},
                {"hugetlb", cgroup_named_asked(limits, CGROUP_HUGE)},
                {"rdma", cgroup_named_asked(limits, CGROUP_RDMA)}};
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < sizeof wanted / sizeof wanted[0]; i++) {
    if (!wanted[i].asked) continue;
    const char *mount = mount_of(layout, wanted[i].controller);
    if (mount == NULL)
      return shoal_fail(err, ENOTSUP, "cgroup", "controller '%s' is not mounted", wanted[i].controller);
    rc = cgroup_set_add(set, wanted[i].controller, mount, path, err);
  }
  return rc;
}

/* Only the controllers that do something for us: each costs a mkdir, an attach and an rmdir. Where cgroup2 is mounted
 * too, the container gets a directory there: it can be killed and frozen as a whole, and has pressure figures. */
static int v1_plan(const struct cgroup_layout *layout, const char *path, const struct cgroup_limits *limits,
                   struct cgroup_set *set, struct shoal_error *err) {
  static const char *const always[] = {"memory", "cpu", "cpuacct", "pids", "devices"};
  int rc = 0;
  set->count = 0;
  for (size_t i = 0; rc == 0 && i < sizeof always / sizeof always[0]; i++) {
    const char *mount = mount_of(layout, always[i]);
    if (mount == NULL) return shoal_fail(err, ENOTSUP, "cgroup", "controller '%s' is not mounted", always[i]);
    rc = cgroup_set_add(set, always[i], mount, path, err);
  }
  if (rc == 0 && (limits->cpus != NULL || limits->mems != NULL)) {
    const char *mount = mount_of(layout, "cpuset");
    if (mount == NULL) return shoal_fail(err, ENOTSUP, "cgroup", "controller 'cpuset' is not mounted");
    rc = cgroup_set_add(set, "cpuset", mount, path, err);
  }
  if (rc == 0) rc = plan_asked(layout, path, limits, set, err);
  if (rc == 0 && layout->v2[0] != '\0') {
    rc = cgroup_set_add(set, "unified", layout->v2, path, err);
  } else if (rc == 0 && mount_of(layout, "freezer") != NULL) {
    rc = cgroup_set_add(set, "freezer", mount_of(layout, "freezer"), path, err);
  }
  return rc;
}

/* A new cpuset has no CPUs and no memory nodes, and takes no tasks until it has: copy the parent's, from the top. */
static int inherit_cpuset(const char *parent, const char *directory, struct shoal_error *err) {
  static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
  for (size_t i = 0; i < 2; i++) {
    char path[CGROUP_PATH_MAX + 32], value[256] = "";
    (void)snprintf(path, sizeof path, "%s/%s", parent, files[i]);
    FILE *file = fopen(path, "re");
    if (file == NULL) return shoal_fail(err, errno, "cgroup", "open %s", path);
    if (fgets(value, sizeof value, file) == NULL) value[0] = '\0';
    (void)fclose(file);
    int rc = cgroup_write(directory, files[i], value, err);
    if (rc < 0) return rc;
  }
  return 0;
}

static int inherit_cpuset_chain(const char *mount, const char *directory, struct shoal_error *err) {
  char parent[CGROUP_PATH_MAX], path[CGROUP_PATH_MAX];
  (void)snprintf(parent, sizeof parent, "%s", mount);
  (void)snprintf(path, sizeof path, "%s", directory);
  for (char *slash = strchr(path + strlen(mount) + 1, '/');; slash = strchr(slash + 1, '/')) {
    if (slash != NULL) *slash = '\0';
    int rc = inherit_cpuset(parent, path, err);
    if (rc < 0 || slash == NULL) return rc;
    memcpy(parent, path, sizeof parent);
    *slash = '/';
  }
}

static int v1_prepare_parent(const struct cgroup_layout *layout, const char *directory, struct shoal_error *err) {
  (void)layout;
  return cgroup_make_parents(directory, err);
}

static int apply_memory(const char *dir, const struct cgroup_limits *limits, struct shoal_error *err) {
  int rc = 0;
  if (limits->has_memory) rc = cgroup_write_number(dir, "memory.limit_in_bytes", limits->memory_bytes, err);
  if (rc == 0 && limits->has_swap)
    rc = cgroup_write_number(dir, "memory.memsw.limit_in_bytes", limits->swap_bytes, err);
  if (rc == 0 && limits->has_reservation)
    rc = cgroup_write_number(dir, "memory.soft_limit_in_bytes", limits->reservation_bytes, err);
  if (rc == 0 && limits->has_swappiness) rc = cgroup_write_number(dir, "memory.swappiness", limits->swappiness, err);
  if (rc == 0 && limits->no_oom_killer) rc = cgroup_write(dir, "memory.oom_control", "1", err);
  return rc;
}

static int apply_cpu(const char *dir, const struct cgroup_limits *limits, struct shoal_error *err) {
  int rc = 0;
  if (limits->has_shares && limits->cpu_shares > 0)
    rc = cgroup_write_number(dir, "cpu.shares", limits->cpu_shares, err);
  if (rc == 0 && limits->has_period) rc = cgroup_write_number(dir, "cpu.cfs_period_us", limits->cpu_period_us, err);
  if (rc == 0 && limits->has_quota) rc = cgroup_write_number(dir, "cpu.cfs_quota_us", limits->cpu_quota_us, err);
  if (rc == 0 && limits->has_burst) rc = cgroup_write_number(dir, "cpu.cfs_burst_us", limits->cpu_burst_us, err);
  if (rc == 0 && limits->has_idle) rc = cgroup_write_number(dir, "cpu.idle", limits->cpu_idle, err);
  return rc;
}

static void format_number(char *out, size_t size, int64_t number) {
  if (number < 0) {
    (void)snprintf(out, size, "*");
  } else {
    (void)snprintf(out, size, "%lld", (long long)number);
  }
}

static int apply_devices(const char *dir, const struct cgroup_limits *limits, struct shoal_error *err) {
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < limits->device_count; i++) {
    const struct cgroup_device_rule *rule = &limits->devices[i];
    char text[64], major[24], minor[24];
    format_number(major, sizeof major, rule->major);
    format_number(minor, sizeof minor, rule->minor);
    (void)snprintf(text, sizeof text, "%c %s:%s %s", rule->type, major, minor, rule->access);
    rc = cgroup_write(dir, rule->allow ? "devices.allow" : "devices.deny", rule->type == 'a' ? "a" : text, err);
  }
  return rc;
}

static int apply_cpuset(const struct cgroup_set *set, const struct cgroup_limits *limits, struct shoal_error *err) {
  const char *dir = cgroup_set_find(set, "cpuset");
  if (dir == NULL) return 0;
  const char *mount = mount_of(cgroup_layout_host(), "cpuset");
  int rc = inherit_cpuset_chain(mount, dir, err);
  if (rc == 0 && limits->cpus != NULL) rc = cgroup_write(dir, "cpuset.cpus", limits->cpus, err);
  if (rc == 0 && limits->mems != NULL) rc = cgroup_write(dir, "cpuset.mems", limits->mems, err);
  return rc;
}

static int v1_apply(const struct cgroup_set *set, const struct cgroup_limits *limits, struct shoal_error *err) {
  int rc = apply_memory(cgroup_set_find(set, "memory"), limits, err);
  if (rc == 0) rc = apply_cpu(cgroup_set_find(set, "cpu"), limits, err);
  if (rc == 0) rc = apply_cpuset(set, limits, err);
  if (rc == 0 && limits->has_pids) {
    const char *dir = cgroup_set_find(set, "pids");
    rc = limits->pids > 0 ? cgroup_write_number(dir, "pids.max", limits->pids, err)
                          : cgroup_write(dir, "pids.max", "max", err);
  }
  if (rc == 0) rc = cgroup_blkio_apply_v1(cgroup_set_find(set, "blkio"), limits, err);
  if (rc == 0) rc = cgroup_named_apply_v1(set, limits, err);
  if (rc == 0) rc = apply_devices(cgroup_set_find(set, "devices"), limits, err);
  return rc;
}

const struct cgroup_backend cgroup_v1 = {.plan = v1_plan,
                                         .prepare_parent = v1_prepare_parent,
                                         .apply = v1_apply,
                                         .oom_controller = "memory",
                                         .oom_file = "memory.oom_control"};

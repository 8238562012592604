#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cgroup.h"
#include "config.h"

static int parse_memory(const cJSON *memory, struct cgroup_limits *limits, struct shoal_error *err) {
  static const char *const allowed[] = {"limit", "swap", "reservation", "swappiness", "disableOOMKiller", NULL};
  const char *path = "linux.resources.memory";
  int rc = json_only(memory, path, allowed, err);
  if (rc == 0) rc = json_integer(memory, path, "limit", &limits->memory_bytes, &limits->has_memory, err);
  if (rc == 0) rc = json_integer(memory, path, "swap", &limits->swap_bytes, &limits->has_swap, err);
  if (rc == 0)
    rc = json_integer(memory, path, "reservation", &limits->reservation_bytes, &limits->has_reservation, err);
  if (rc == 0 && limits->has_swap && limits->has_memory && limits->swap_bytes >= 0 &&
      limits->swap_bytes < limits->memory_bytes)
    return CONFIG_FAIL(err, EINVAL, "%s.swap: less than limit; it counts memory and swap together", path);
  if (rc == 0) rc = json_integer(memory, path, "swappiness", &limits->swappiness, &limits->has_swappiness, err);
  if (rc == 0) rc = json_bool(memory, path, "disableOOMKiller", &limits->no_oom_killer, err);
  if (rc == 0 && limits->has_swappiness && (limits->swappiness < 0 || limits->swappiness > 100))
    return CONFIG_FAIL(err, ERANGE, "%s.swappiness: 0 to 100", path);
  return rc;
}

static int parse_cpu(const cJSON *cpu, struct cgroup_limits *limits, struct shoal_error *err) {
  static const char *const allowed[] = {"shares", "quota", "period", "cpus", "mems", "idle", "burst", NULL};
  const char *path = "linux.resources.cpu";
  int rc = json_only(cpu, path, allowed, err);
  if (rc == 0) rc = json_integer(cpu, path, "shares", &limits->cpu_shares, &limits->has_shares, err);
  if (rc == 0) rc = json_integer(cpu, path, "quota", &limits->cpu_quota_us, &limits->has_quota, err);
  if (rc == 0) rc = json_integer(cpu, path, "period", &limits->cpu_period_us, &limits->has_period, err);
  if (rc == 0) rc = json_integer(cpu, path, "idle", &limits->cpu_idle, &limits->has_idle, err);
  if (rc == 0) rc = json_integer(cpu, path, "burst", &limits->cpu_burst_us, &limits->has_burst, err);
  if (rc == 0 && limits->has_idle && (limits->cpu_idle < 0 || limits->cpu_idle > 1))
    return CONFIG_FAIL(err, ERANGE, "%s.idle: 0 or 1", path);
  if (rc == 0 && limits->has_burst && limits->cpu_burst_us < 0)
    return CONFIG_FAIL(err, ERANGE, "%s.burst: 0 or more microseconds", path);
  if (rc == 0) rc = json_string(cpu, path, "cpus", false, &limits->cpus, err);
  if (rc == 0) rc = json_string(cpu, path, "mems", false, &limits->mems, err);
  return rc;
}

static int push_rule(struct cgroup_limits *limits, bool allow, char type, int64_t major, int64_t minor,
                     const char *access, struct shoal_error *err) {
  if (limits->device_count == CGROUP_DEVICES_MAX) return CONFIG_FAIL(err, EINVAL, "linux.resources.devices: too many");
  struct cgroup_device_rule *rule = &limits->devices[limits->device_count++];
  *rule = (struct cgroup_device_rule){.allow = allow, .type = type, .major = major, .minor = minor};
  (void)snprintf(rule->access, sizeof rule->access, "%s", access);
  return 0;
}

static int parse_rule(const cJSON *item, struct cgroup_limits *limits, struct shoal_error *err) {
  static const char *const allowed[] = {"allow", "type", "major", "minor", "access", NULL};
  const char *path = "linux.resources.devices[]", *type, *access;
  int64_t major = -1, minor = -1;
  bool allow;
  int rc = json_only(item, path, allowed, err);
  if (rc == 0) rc = json_bool(item, path, "allow", &allow, err);
  if (rc == 0) rc = json_string(item, path, "type", false, &type, err);
  if (rc == 0) rc = json_string(item, path, "access", false, &access, err);
  if (rc == 0) rc = json_integer(item, path, "major", &major, NULL, err);
  if (rc == 0) rc = json_integer(item, path, "minor", &minor, NULL, err);
  if (rc < 0) return rc;
  if (access == NULL) access = "rwm";
  if (type == NULL) type = "a";
  if (strlen(type) != 1 || strchr("abc", type[0]) == NULL || access[0] == '\0' || strlen(access) > 3 ||
      strspn(access, "rwm") != strlen(access))
    return CONFIG_FAIL(err, EINVAL, "%s: type '%s' access '%s'", path, type, access);
  return push_rule(limits, allow, type[0], major, minor, access, err);
}

/* What every container may use: making any node (using one is another matter), and the default nodes of /dev. */
static int allow_defaults(struct cgroup_limits *limits, struct shoal_error *err) {
  static const int64_t nodes[][2] = {{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 2}, {136, -1}};
  int rc = push_rule(limits, true, 'c', -1, -1, "m", err);
  if (rc == 0) rc = push_rule(limits, true, 'b', -1, -1, "m", err);
  for (size_t i = 0; rc == 0 && i < sizeof nodes / sizeof nodes[0]; i++)
    rc = push_rule(limits, true, 'c', nodes[i][0], nodes[i][1], "rwm", err);
  return rc;
}

/* Type 'a', which is also what a rule means that names no device at all. */
static bool names_all(const cJSON *rule) {
  const cJSON *type = json_member(rule, "type");
  if (type == NULL) return json_member(rule, "major") == NULL && json_member(rule, "minor") == NULL;
  return cJSON_IsString(type) && strcmp(type->valuestring, "a") == 0;
}

static int parse_devices(const cJSON *rules, const cJSON *devices, struct cgroup_limits *limits,
                         struct shoal_error *err) {
  /* Everything is denied first, whatever the config starts with; a config that wants all says allow 'a' itself. */
  int rc = push_rule(limits, false, 'a', -1, -1, "rwm", err);
  if (rc == 0) rc = allow_defaults(limits, err);
  const cJSON *item;
  /* Where everything is allowed in the end, a rule a device would only fill the list. */
  const cJSON *last = rules == NULL || rules->child == NULL ? NULL : rules->child->prev;
  bool all = cJSON_IsTrue(json_member(last, "allow")) && names_all(last);
  const cJSON *ruled = all ? NULL : devices;
  cJSON_ArrayForEach(item, ruled) {
    const char *path = "linux.devices[]", *type = NULL;
    int64_t major = -1, minor = -1;
    if (rc == 0) rc = json_string(item, path, "type", true, &type, err);
    if (rc == 0) rc = json_integer(item, path, "major", &major, NULL, err);
    if (rc == 0) rc = json_integer(item, path, "minor", &minor, NULL, err);
    if (rc == 0 && type[0] != 'p') rc = push_rule(limits, true, type[0] == 'b' ? 'b' : 'c', major, minor, "rwm", err);
  }
  bool first = true;
  cJSON_ArrayForEach(item, rules) {
    bool deny_all = first && !cJSON_IsTrue(json_member(item, "allow")) && json_member(item, "major") == NULL &&
                    json_member(item, "minor") == NULL && names_all(item);
    first = false;
    if (rc == 0 && !deny_all) rc = parse_rule(item, limits, err);
  }
  return rc;
}

int cgroup_limits_parse(const cJSON *resources, const cJSON *devices, struct cgroup_limits *limits,
                        struct shoal_error *err) {
  static const char *const allowed[] = {"memory",         "cpu",  "pids",    "blockIO", "devices",
                                        "hugepageLimits", "rdma", "unified", NULL};
  static const char *const pids_allowed[] = {"limit", NULL};
  memset(limits, 0, sizeof *limits);
  int rc = json_only(resources, "linux.resources", allowed, err);
  if (rc == 0) rc = parse_memory(json_member(resources, "memory"), limits, err);
  if (rc == 0) rc = parse_cpu(json_member(resources, "cpu"), limits, err);
  if (rc == 0) rc = cgroup_blkio_parse(json_member(resources, "blockIO"), limits, err);
  if (rc == 0) rc = cgroup_named_parse(resources, limits, err);
  const cJSON *pids = json_member(resources, "pids");
  if (rc == 0) rc = json_only(pids, "linux.resources.pids", pids_allowed, err);
  if (rc == 0) rc = json_integer(pids, "linux.resources.pids", "limit", &limits->pids, &limits->has_pids, err);
  if (rc == 0) rc = parse_devices(json_member(resources, "devices"), devices, limits, err);
  return rc;
}

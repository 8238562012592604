/* The user and the time namespace of a config: which ids of the node are the container's, and what its clocks say. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

#define HEAD plan_builder_head(context->builder)

static int read_range(const cJSON *item, const char *path, struct plan_id_range *range, struct shoal_error *err) {
  static const char *const allowed[] = {"containerID", "hostID", "size", NULL};
  int64_t first = -1, host = -1, count = 0;
  int rc = json_only(item, path, allowed, err);
  if (rc == 0) rc = json_integer(item, path, "containerID", &first, NULL, err);
  if (rc == 0) rc = json_integer(item, path, "hostID", &host, NULL, err);
  if (rc == 0) rc = json_integer(item, path, "size", &count, NULL, err);
  if (rc < 0) return rc;
  /* The last id, 4294967295, is no user: setresuid(2) takes it for "as it is". */
  if (first < 0 || host < 0 || count <= 0 || first > UINT32_MAX - count || host > UINT32_MAX - count)
    return CONFIG_FAIL(err, ERANGE, "%s: out of range", path);
  *range = (struct plan_id_range){.first = (uint32_t)first, .host = (uint32_t)host, .count = (uint32_t)count};
  return 0;
}

static bool overlap(uint32_t a, uint32_t a_count, uint32_t b, uint32_t b_count) {
  return a < (uint64_t)b + b_count && b < (uint64_t)a + a_count;
}

static int read_map(struct config_context *context, const cJSON *linux_config, const char *key, struct plan_list *out) {
  struct plan_id_range ranges[PLAN_ID_RANGES_MAX];
  uint32_t count = 0;
  const cJSON *list = json_member(linux_config, key), *item;
  if (list != NULL && !cJSON_IsArray(list)) return CONFIG_FAIL(context->err, EINVAL, "linux.%s: not an array", key);
  cJSON_ArrayForEach(item, list) {
    if (count == PLAN_ID_RANGES_MAX)
      return CONFIG_FAIL(context->err, E2BIG, "linux.%s: at most %d ranges", key, PLAN_ID_RANGES_MAX);
    int rc = read_range(item, key, &ranges[count], context->err);
    if (rc < 0) return rc;
    for (uint32_t i = 0; i < count; i++) {
      if (overlap(ranges[i].first, ranges[i].count, ranges[count].first, ranges[count].count) ||
          overlap(ranges[i].host, ranges[i].count, ranges[count].host, ranges[count].count))
        return CONFIG_FAIL(context->err, EINVAL, "linux.%s: ranges overlap", key);
    }
    count++;
  }
  bool own = (HEAD->namespaces & CLONE_NEWUSER) != 0;
  if (!own && count > 0)
    return CONFIG_FAIL(context->err, EINVAL, "linux.%s: the container has no user namespace of its own", key);
  /* All that is mounted and made for the container belongs to its root. */
  if (own && plan_host_id(ranges, count, 0) == UINT32_MAX)
    return CONFIG_FAIL(context->err, EINVAL, "linux.%s: id 0 of the container is not in it", key);
  if (own && count == 0) return CONFIG_FAIL(context->err, EINVAL, "linux.%s: a user namespace needs it", key);
  *out = plan_add_list(context->builder, ranges, count, sizeof *ranges);
  return 0;
}

int config_ids(struct config_context *context, const cJSON *linux_config) {
  struct plan_list uids, gids;
  int rc = read_map(context, linux_config, "uidMappings", &uids);
  if (rc == 0) rc = read_map(context, linux_config, "gidMappings", &gids);
  if (rc < 0) return rc;
  HEAD->uid_map = uids;
  HEAD->gid_map = gids;
  return 0;
}

static int read_offset(const cJSON *offsets, const char *clock, struct plan_time_offset *out, struct shoal_error *err) {
  static const char *const allowed[] = {"secs", "nanosecs", NULL};
  const cJSON *object = json_member(offsets, clock);
  int64_t seconds = 0, nanoseconds = 0;
  int rc = json_only(object, "linux.timeOffsets", allowed, err);
  if (rc == 0) rc = json_integer(object, "linux.timeOffsets", "secs", &seconds, NULL, err);
  if (rc == 0) rc = json_integer(object, "linux.timeOffsets", "nanosecs", &nanoseconds, NULL, err);
  if (rc < 0) return rc;
  if (nanoseconds < 0 || nanoseconds > 999999999)
    return CONFIG_FAIL(err, ERANGE, "linux.timeOffsets.%s.nanosecs: out of range", clock);
  *out = (struct plan_time_offset){.seconds = seconds, .nanoseconds = (uint32_t)nanoseconds};
  return 0;
}

int config_time(struct config_context *context, const cJSON *linux_config) {
  static const char *const clocks[] = {"monotonic", "boottime", NULL};
  struct plan_time_offset monotonic, boottime;
  const cJSON *offsets = json_member(linux_config, "timeOffsets");
  int rc = json_only(offsets, "linux.timeOffsets", clocks, context->err);
  if (rc == 0) rc = read_offset(offsets, "monotonic", &monotonic, context->err);
  if (rc == 0) rc = read_offset(offsets, "boottime", &boottime, context->err);
  if (rc < 0) return rc;
  if (offsets != NULL && offsets->child != NULL && (HEAD->namespaces & CLONE_NEWTIME) == 0)
    return CONFIG_FAIL(context->err, EINVAL, "linux.timeOffsets: the container has no time namespace of its own");
  /* Field by field: the plan is written as it is, and what lies between fields is nobody's business. */
  HEAD->monotonic.seconds = monotonic.seconds;
  HEAD->monotonic.nanoseconds = monotonic.nanoseconds;
  HEAD->boottime.seconds = boottime.seconds;
  HEAD->boottime.nanoseconds = boottime.nanoseconds;
  return 0;
}

static int mapped(struct config_context *context, bool group, uint32_t id, const char *what) {
  struct plan_list map = group ? HEAD->gid_map : HEAD->uid_map;
  if (plan_host_id(plan_items(HEAD, map), map.count, id) != UINT32_MAX || map.count == 0) return 0;
  return CONFIG_FAIL(context->err, EINVAL, "%s: %s %u is in no range of the container's", what,
                     group ? "group" : "user", id);
}

static int check_binds(struct config_context *context) {
  const struct plan_mount *mounts = plan_items(HEAD, HEAD->mounts);
  for (uint32_t i = 0; i < HEAD->mounts.count; i++) {
    if ((mounts[i].flags & PLAN_MOUNT_IDMAP) != 0 && (HEAD->namespaces & CLONE_NEWUSER) == 0)
      return CONFIG_FAIL(context->err, ENOTSUP,
                         "mounts[].options: 'idmap' needs the ranges of a user namespace of the container's own");
  }
  return 0;
}

int config_check_ids(struct config_context *context) {
  const struct plan_device *devices = plan_items(HEAD, HEAD->devices);
  const gid_t *gids = plan_items(HEAD, HEAD->process.gids);
  int rc = mapped(context, false, HEAD->process.uid, "process.user.uid");
  if (rc == 0) rc = mapped(context, true, HEAD->process.gid, "process.user.gid");
  for (uint32_t i = 0; rc == 0 && i < HEAD->process.gids.count; i++)
    rc = mapped(context, true, gids[i], "process.user.additionalGids");
  for (uint32_t i = 0; rc == 0 && i < HEAD->devices.count; i++) {
    rc = mapped(context, false, devices[i].uid, "linux.devices[].uid");
    if (rc == 0) rc = mapped(context, true, devices[i].gid, "linux.devices[].gid");
  }
  return rc < 0 ? rc : check_binds(context);
}

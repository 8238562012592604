/* Weights and limits of block devices, v1 and v2. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroup.h"
#include "config.h"

#define PATH "linux.resources.blockIO"
#define WEIGHT_MIN 10
#define WEIGHT_MAX 1000

/* Of each kind: its member of the config, its file under v1, and its key in io.max of v2. */
static const struct {
  const char *member, *amount, *v1_file, *v2_key;
} kinds[] = {
    [CGROUP_BLKIO_WEIGHT] = {"weightDevice", "weight", NULL, NULL},
    [CGROUP_BLKIO_READ_BPS] = {"throttleReadBpsDevice", "rate", "blkio.throttle.read_bps_device", "rbps"},
    [CGROUP_BLKIO_WRITE_BPS] = {"throttleWriteBpsDevice", "rate", "blkio.throttle.write_bps_device", "wbps"},
    [CGROUP_BLKIO_READ_IOPS] = {"throttleReadIOPSDevice", "rate", "blkio.throttle.read_iops_device", "riops"},
    [CGROUP_BLKIO_WRITE_IOPS] = {"throttleWriteIOPSDevice", "rate", "blkio.throttle.write_iops_device", "wiops"},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

static int parse_amount(const cJSON *item, size_t kind, struct cgroup_limits *limits, struct shoal_error *err) {
  const char *const allowed[] = {"major", "minor", kinds[kind].amount, NULL};
  struct cgroup_blkio_amount amount = {.kind = kind};
  bool has_major, has_minor, has_value;
  int rc = json_only(item, PATH "[]", allowed, err);
  if (rc == 0) rc = json_integer(item, PATH "[]", "major", &amount.major, &has_major, err);
  if (rc == 0) rc = json_integer(item, PATH "[]", "minor", &amount.minor, &has_minor, err);
  if (rc == 0) rc = json_integer(item, PATH "[]", kinds[kind].amount, &amount.value, &has_value, err);
  if (rc < 0) return rc;
  if (!has_major || !has_minor || !has_value || amount.major < 0 || amount.minor < 0 || amount.value < 0)
    return CONFIG_FAIL(err, EINVAL, PATH ".%s[]: major, minor and %s are needed", kinds[kind].member,
                       kinds[kind].amount);
  if (kind == CGROUP_BLKIO_WEIGHT && (amount.value < WEIGHT_MIN || amount.value > WEIGHT_MAX))
    return CONFIG_FAIL(err, ERANGE, PATH ".weightDevice[].weight: %d to %d", WEIGHT_MIN, WEIGHT_MAX);
  if (limits->blkio_count == CGROUP_BLKIO_MAX) return CONFIG_FAIL(err, EINVAL, PATH ": too many devices");
  limits->blkio[limits->blkio_count++] = amount;
  return 0;
}

int cgroup_blkio_parse(const cJSON *block, struct cgroup_limits *limits, struct shoal_error *err) {
  static const char *const allowed[] = {"weight",
                                        "weightDevice",
                                        "throttleReadBpsDevice",
                                        "throttleWriteBpsDevice",
                                        "throttleReadIOPSDevice",
                                        "throttleWriteIOPSDevice",
                                        NULL};
  const cJSON *item;
  int rc = json_only(block, PATH, allowed, err);
  if (rc == 0) rc = json_integer(block, PATH, "weight", &limits->blkio_weight, &limits->has_blkio_weight, err);
  /* Engines send 0 for what nobody asked for. */
  limits->has_blkio_weight = limits->has_blkio_weight && limits->blkio_weight != 0;
  if (rc == 0 && limits->has_blkio_weight && (limits->blkio_weight < WEIGHT_MIN || limits->blkio_weight > WEIGHT_MAX))
    return CONFIG_FAIL(err, ERANGE, PATH ".weight: %d to %d", WEIGHT_MIN, WEIGHT_MAX);
  for (size_t kind = 0; kind < KINDS; kind++) {
    cJSON_ArrayForEach(item, json_member(block, kinds[kind].member)) {
      if (rc == 0) rc = parse_amount(item, kind, limits, err);
    }
  }
  return rc;
}

bool cgroup_blkio_asked(const struct cgroup_limits *limits) {
  return limits->has_blkio_weight || limits->blkio_count > 0;
}

/* The first of the files that the kernel has: which depends on its input-output schedulers. */
static const char *weight_file(const char *dir, const char *const files[], struct shoal_error *err) {
  char path[CGROUP_PATH_MAX + 64];
  struct stat info;
  for (size_t i = 0; files[i] != NULL; i++) {
    (void)snprintf(path, sizeof path, "%s/%s", dir, files[i]);
    if (stat(path, &info) == 0) return files[i];
  }
  (void)shoal_fail(err, ENOTSUP, "cgroup", "blockIO.weight: the kernel has no %s here", files[0]);
  return NULL;
}

/* 10..1000 to 1..10000, as every runtime does. bfq takes 1..1000. */
static int64_t v2_weight(const char *file, int64_t weight) {
  return strcmp(file, "io.weight") == 0 ? 1 + (weight - WEIGHT_MIN) * 9999 / (WEIGHT_MAX - WEIGHT_MIN) : weight;
}

static int write_for_device(const char *dir, const char *file, const struct cgroup_blkio_amount *amount,
                            const char *key, const char *value, struct shoal_error *err) {
  char text[96];
  (void)snprintf(text, sizeof text, "%lld:%lld %s%s%s", (long long)amount->major, (long long)amount->minor, key,
                 *key == '\0' ? "" : "=", value);
  return cgroup_write(dir, file, text, err);
}

int cgroup_blkio_apply_v1(const char *dir, const struct cgroup_limits *limits, struct shoal_error *err) {
  static const char *const all[] = {"blkio.weight", "blkio.bfq.weight", NULL};
  static const char *const one[] = {"blkio.weight_device", "blkio.bfq.weight_device", NULL};
  int rc = 0;
  if (!cgroup_blkio_asked(limits)) return 0;
  if (dir == NULL) return shoal_fail(err, ENOTSUP, "cgroup", "blockIO: the container was made without it");
  if (limits->has_blkio_weight) {
    const char *file = weight_file(dir, all, err);
    rc = file == NULL ? -ENOTSUP : cgroup_write_number(dir, file, limits->blkio_weight, err);
  }
  for (size_t i = 0; rc == 0 && i < limits->blkio_count; i++) {
    const struct cgroup_blkio_amount *amount = &limits->blkio[i];
    const char *file = amount->kind == CGROUP_BLKIO_WEIGHT ? weight_file(dir, one, err) : kinds[amount->kind].v1_file;
    char value[24];
    (void)snprintf(value, sizeof value, "%lld", (long long)amount->value);
    rc = file == NULL ? -ENOTSUP : write_for_device(dir, file, amount, "", value, err);
  }
  return rc;
}

int cgroup_blkio_apply_v2(const char *dir, const struct cgroup_limits *limits, struct shoal_error *err) {
  static const char *const files[] = {"io.weight", "io.bfq.weight", NULL};
  int rc = 0;
  if (limits->has_blkio_weight) {
    const char *file = weight_file(dir, files, err);
    rc = file == NULL ? -ENOTSUP : cgroup_write_number(dir, file, v2_weight(file, limits->blkio_weight), err);
  }
  for (size_t i = 0; rc == 0 && i < limits->blkio_count; i++) {
    const struct cgroup_blkio_amount *amount = &limits->blkio[i];
    char value[24];
    if (amount->kind == CGROUP_BLKIO_WEIGHT) {
      const char *file = weight_file(dir, files, err);
      if (file == NULL) return -ENOTSUP;
      (void)snprintf(value, sizeof value, "%lld", (long long)v2_weight(file, amount->value));
      rc = write_for_device(dir, file, amount, "", value, err);
    } else {
      (void)snprintf(value, sizeof value, "%lld", (long long)amount->value);
      const char *text = amount->value == 0 ? "max" : value;
      rc = write_for_device(dir, "io.max", amount, kinds[amount->kind].v2_key, text, err);
    }
  }
  return rc;
}

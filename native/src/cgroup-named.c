/* Limits that the config names one by one: of huge pages by their size, of RDMA devices, and any file of cgroup v2
 * ("unified"). */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cgroup.h"
#include "config.h"

#define PATH "linux.resources."

static int push(struct cgroup_limits *limits, const struct cgroup_named *one, struct shoal_error *err) {
  if (limits->named_count == CGROUP_NAMED_MAX)
    return CONFIG_FAIL(err, EINVAL, PATH "hugepageLimits, rdma, unified: too many");
  limits->named[limits->named_count++] = *one;
  return 0;
}

/* "2MB", as the kernel has it in the names of files. */
static bool is_page_size(const char *text) {
  const char *unit = text + strspn(text, "0123456789");
  return unit > text && unit - text < 8 &&
         (strcmp(unit, "KB") == 0 || strcmp(unit, "MB") == 0 || strcmp(unit, "GB") == 0);
}

static int parse_huge(const cJSON *list, struct cgroup_limits *limits, struct shoal_error *err) {
  static const char *const allowed[] = {"pageSize", "limit", NULL};
  const cJSON *item;
  if (list != NULL && !cJSON_IsArray(list)) return CONFIG_FAIL(err, EINVAL, PATH "hugepageLimits: an array is needed");
  cJSON_ArrayForEach(item, list) {
    struct cgroup_named one = {.kind = CGROUP_HUGE};
    bool given;
    int rc = json_only(item, PATH "hugepageLimits[]", allowed, err);
    if (rc == 0) rc = json_string(item, PATH "hugepageLimits[]", "pageSize", true, &one.name, err);
    if (rc == 0) rc = json_integer(item, PATH "hugepageLimits[]", "limit", &one.amount, &given, err);
    if (rc < 0) return rc;
    if (!is_page_size(one.name) || !given || one.amount < 0)
      return CONFIG_FAIL(err, EINVAL, PATH "hugepageLimits[]: a size as 2MB and a limit are needed");
    rc = push(limits, &one, err);
    if (rc < 0) return rc;
  }
  return 0;
}

static int parse_rdma(const cJSON *devices, struct cgroup_limits *limits, struct shoal_error *err) {
  static const char *const allowed[] = {"hcaHandles", "hcaObjects", NULL};
  const cJSON *item;
  if (devices != NULL && !cJSON_IsObject(devices)) return CONFIG_FAIL(err, EINVAL, PATH "rdma: not an object");
  cJSON_ArrayForEach(item, devices) {
    struct cgroup_named one = {.kind = CGROUP_RDMA, .name = item->string, .amount = -1, .second = -1};
    int rc = json_only(item, PATH "rdma{}", allowed, err);
    if (rc == 0) rc = json_integer(item, PATH "rdma{}", "hcaHandles", &one.amount, NULL, err);
    if (rc == 0) rc = json_integer(item, PATH "rdma{}", "hcaObjects", &one.second, NULL, err);
    if (rc < 0) return rc;
    if (strlen(one.name) > 64 || strpbrk(one.name, " \n/") != NULL || (one.amount < 0 && one.second < 0))
      return CONFIG_FAIL(err, EINVAL, PATH "rdma: a device with hcaHandles or hcaObjects is needed");
    rc = push(limits, &one, err);
    if (rc < 0) return rc;
  }
  return 0;
}

/* A file of a controller; of the core's only those that limit. Others would freeze, kill or move what is in the group.
 */
static bool is_limit_file(const char *name) {
  static const char core[] = "cgroup.";
  for (const char *c = name; *c != '\0'; c++) {
    if (!isalnum((unsigned char)*c) && strchr("._-", *c) == NULL) return false;
  }
  if (strncmp(name, core, sizeof core - 1) == 0) return strncmp(name, "cgroup.max.", 11) == 0;
  return isalpha((unsigned char)name[0]) && strchr(name, '.') != NULL && strlen(name) < 64;
}

static int parse_unified(const cJSON *files, struct cgroup_limits *limits, struct shoal_error *err) {
  const cJSON *item;
  if (files != NULL && !cJSON_IsObject(files)) return CONFIG_FAIL(err, EINVAL, PATH "unified: not an object");
  cJSON_ArrayForEach(item, files) {
    if (!cJSON_IsString(item) || !is_limit_file(item->string))
      return CONFIG_FAIL(err, EINVAL, PATH "unified: '%s' is not a limit of a controller", item->string);
    const struct cgroup_named one = {.kind = CGROUP_FILE, .name = item->string, .value = item->valuestring};
    int rc = push(limits, &one, err);
    if (rc < 0) return rc;
  }
  return 0;
}

int cgroup_named_parse(const cJSON *resources, struct cgroup_limits *limits, struct shoal_error *err) {
  int rc = parse_huge(json_member(resources, "hugepageLimits"), limits, err);
  if (rc == 0) rc = parse_rdma(json_member(resources, "rdma"), limits, err);
  return rc < 0 ? rc : parse_unified(json_member(resources, "unified"), limits, err);
}

bool cgroup_named_asked(const struct cgroup_limits *limits, int kind) {
  for (size_t i = 0; i < limits->named_count; i++) {
    if (limits->named[i].kind == kind) return true;
  }
  return false;
}

/* Of pages in use, and where the kernel has it, of those that are reserved. */
static int apply_huge(const char *dir, const struct cgroup_named *one, const char *ending, struct shoal_error *err) {
  char file[64], path[CGROUP_PATH_MAX + 64];
  (void)snprintf(file, sizeof file, "hugetlb.%s.rsvd.%s", one->name, ending);
  (void)snprintf(path, sizeof path, "%s/%s", dir, file);
  int rc = access(path, F_OK) < 0 ? 0 : cgroup_write_number(dir, file, one->amount, err);
  (void)snprintf(file, sizeof file, "hugetlb.%s.%s", one->name, ending);
  return rc < 0 ? rc : cgroup_write_number(dir, file, one->amount, err);
}

static int apply_rdma(const char *dir, const struct cgroup_named *one, struct shoal_error *err) {
  char text[160], handles[32] = "", objects[32] = "";
  if (one->amount >= 0) (void)snprintf(handles, sizeof handles, " hca_handle=%lld", (long long)one->amount);
  if (one->second >= 0) (void)snprintf(objects, sizeof objects, " hca_object=%lld", (long long)one->second);
  (void)snprintf(text, sizeof text, "%s%s%s", one->name, handles, objects);
  return cgroup_write(dir, "rdma.max", text, err);
}

/* The kernel takes one line a write, of files that have one for each device. */
static int apply_file(const char *dir, const struct cgroup_named *one, struct shoal_error *err) {
  int rc = 0;
  const char *at = one->value;
  do {
    char line[256];
    const char *end = strchrnul(at, '\n');
    if (end - at >= (int)sizeof line) return shoal_fail(err, E2BIG, "cgroup", "%s", one->name);
    (void)snprintf(line, sizeof line, "%.*s", (int)(end - at), at);
    if (line[0] != '\0') rc = cgroup_write(dir, one->name, line, err);
    at = *end == '\0' ? end : end + 1;
  } while (rc == 0 && *at != '\0');
  return rc;
}

int cgroup_named_apply_v1(const struct cgroup_set *set, const struct cgroup_limits *limits, struct shoal_error *err) {
  static const char *const controllers[] = {[CGROUP_HUGE] = "hugetlb", [CGROUP_RDMA] = "rdma"};
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < limits->named_count; i++) {
    const struct cgroup_named *one = &limits->named[i];
    if (one->kind == CGROUP_FILE) return shoal_fail(err, ENOTSUP, "cgroup", PATH "unified needs cgroup v2");
    const char *dir = cgroup_set_find(set, controllers[one->kind]);
    if (dir == NULL)
      return shoal_fail(err, ENOTSUP, "cgroup", "%s: the container was made without it", controllers[one->kind]);
    rc = one->kind == CGROUP_HUGE ? apply_huge(dir, one, "limit_in_bytes", err) : apply_rdma(dir, one, err);
  }
  return rc;
}

int cgroup_named_apply_v2(const char *dir, const struct cgroup_limits *limits, struct shoal_error *err) {
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < limits->named_count; i++) {
    const struct cgroup_named *one = &limits->named[i];
    rc = one->kind == CGROUP_HUGE   ? apply_huge(dir, one, "max", err)
         : one->kind == CGROUP_RDMA ? apply_rdma(dir, one, err)
                                    : apply_file(dir, one, err);
  }
  return rc;
}

/* Which file of its log a container goes on with. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container-call.h"

/* Of the digits after the dot; -1 when there is something else. */
static int64_t number_of(const char *digits) {
  char *end;
  if (digits[0] < '0' || digits[0] > '9') return -1;
  errno = 0;
  long long number = strtoll(digits, &end, 10);
  return errno != 0 || *end != '\0' ? -1 : number;
}

/* The highest number of the files NAME.NUMBER beside path; 0 when there is none. */
static int newest_number(const char *path, uint64_t *newest, struct shoal_error *err) {
  char directory[PLAN_LOG_NAME_MAX];
  const char *name = strrchr(path, '/') + 1;
  size_t length = strlen(name);
  (void)snprintf(directory, sizeof directory, "%.*s", (int)(name - path), path);
  DIR *dir = opendir(directory);
  if (dir == NULL) return shoal_fail(err, errno, "log", "open %s", directory);
  *newest = 0;
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    if (strncmp(entry->d_name, name, length) != 0 || entry->d_name[length] != '.') continue;
    int64_t number = number_of(entry->d_name + length + 1);
    if (number > 0 && (uint64_t)number > *newest) *newest = (uint64_t)number;
  }
  closedir(dir);
  return 0;
}

int call_plan_log(struct call *call, struct shoal_error *err) {
  static const char *const allowed[] = {"path", "maxBytes", "maxFiles", NULL};
  const cJSON *log = json_member(call->request, "log");
  const char *path;
  int64_t max_bytes = 0, max_files = 1;
  uint64_t number;
  if (log == NULL) return 0;
  int rc = json_only(log, "log", allowed, err);
  if (rc == 0) rc = json_string(log, "log", "path", true, &path, err);
  if (rc == 0) rc = json_integer(log, "log", "maxBytes", &max_bytes, NULL, err);
  if (rc == 0) rc = json_integer(log, "log", "maxFiles", &max_files, NULL, err);
  if (rc < 0) return rc;
  if (path[0] != '/' || strlen(path) > PLAN_LOG_NAME_MAX - 32) return REQUEST_FAIL(err, "log.path: '%s'", path);
  if (max_bytes < 0) return REQUEST_FAIL(err, "log.maxBytes: negative");
  if (max_files < 1 || max_files > UINT32_MAX) return REQUEST_FAIL(err, "log.maxFiles: at least 1");
  rc = newest_number(path, &number, err);
  if (rc < 0) return rc;
  uint32_t path_at = plan_add_string(&call->builder, path);
  struct plan *plan = plan_builder_head(&call->builder);
  plan->log_path = path_at;
  plan->log_number = number;
  plan->log_max_bytes = (uint64_t)max_bytes;
  plan->log_max_files = (uint32_t)max_files;
  return 0;
}

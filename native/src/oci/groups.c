#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "oci/oci.h"
#include "run-dir.h"

#define UNLIMITED 9.2e18 /* what v1 says where there is no limit */
#define FREEZE_TRIES 1000
#define FREEZE_WAIT_NS 10000000L

int groups_read(const struct container *container, struct cgroup_set *set) {
  struct shoal_error err;
  return run_dir_read_cgroups(container->dir_fd, set, &err);
}

static char *read_in(const char *directory, const char *file) {
  char path[CGROUP_PATH_MAX + 64];
  if (directory == NULL) return NULL;
  (void)snprintf(path, sizeof path, "%s/%s", directory, file);
  return file_read(path);
}

static bool begins(const char *directory, const char *file, const char *text) {
  char *content = read_in(directory, file);
  bool result = content != NULL && strncmp(content, text, strlen(text)) == 0;
  free(content);
  return result;
}

static bool has(const char *directory, const char *file, const char *text) {
  char *content = read_in(directory, file);
  bool result = content != NULL && strstr(content, text) != NULL;
  free(content);
  return result;
}

bool groups_frozen(const struct cgroup_set *set) {
  const char *unified = cgroup_set_find(set, "unified"), *freezer = cgroup_set_find(set, "freezer");
  if (unified != NULL) return begins(unified, "cgroup.freeze", "1");
  return freezer != NULL && !begins(freezer, "freezer.state", "THAWED");
}

/* Freezing is asked for, and then happens. */
static bool settled(const struct cgroup_set *set, bool freeze) {
  const char *unified = cgroup_set_find(set, "unified");
  if (unified != NULL) return has(unified, "cgroup.events", freeze ? "frozen 1" : "frozen 0");
  return begins(cgroup_set_find(set, "freezer"), "freezer.state", freeze ? "FROZEN" : "THAWED");
}

int groups_freeze(const struct cgroup_set *set, bool freeze, struct shoal_error *err) {
  const struct timespec pause = {.tv_sec = 0, .tv_nsec = FREEZE_WAIT_NS};
  const char *unified = cgroup_set_find(set, "unified"), *freezer = cgroup_set_find(set, "freezer");
  if (unified == NULL && freezer == NULL) return shoal_fail(err, ENOTSUP, "cgroup", "no freezer");
  int rc = unified != NULL ? cgroup_write(unified, "cgroup.freeze", freeze ? "1" : "0", err)
                           : cgroup_write(freezer, "freezer.state", freeze ? "FROZEN" : "THAWED", err);
  for (int i = 0; rc == 0 && i < FREEZE_TRIES; i++) {
    if (settled(set, freeze)) return 0;
    (void)nanosleep(&pause, NULL);
  }
  return rc < 0 ? rc : shoal_fail(err, ETIMEDOUT, "cgroup", "freezer");
}

/* Every process is in all of them; v1's always has "cpuacct" or "memory", v2 the unified one. */
static const char *any_directory(const struct cgroup_set *set) {
  const char *unified = cgroup_set_find(set, "unified");
  return unified != NULL ? unified : set->count > 0 ? set->dirs[0].path : NULL;
}

cJSON *groups_pids(const struct cgroup_set *set) {
  cJSON *pids = cJSON_CreateArray();
  char *text = read_in(any_directory(set), "cgroup.procs");
  for (char *at = text; at != NULL && *at != '\0';) {
    char *end;
    long pid = strtol(at, &end, 10);
    if (end == at) break;
    cJSON_AddItemToArray(pids, cJSON_CreateNumber((double)pid));
    at = *end == '\n' ? end + 1 : end;
  }
  free(text);
  return pids;
}

int groups_signal(const struct cgroup_set *set, int signal) {
  cJSON *pids = groups_pids(set);
  const cJSON *pid;
  cJSON_ArrayForEach(pid, pids) {
    if (pid->valueint > 1) (void)kill(pid->valueint, signal);
  }
  cJSON_Delete(pids);
  return 0;
}

/* -1: there is none, or "max". */
static double number_in(const char *directory, const char *file, const char *key) {
  char *text = read_in(directory, file), *at = text;
  double value = -1;
  if (at != NULL && key != NULL) at = strstr(text, key);
  if (at != NULL) at += key == NULL ? 0 : strlen(key);
  if (at != NULL && (*at == ' ' || (*at >= '0' && *at <= '9'))) value = strtod(at, NULL);
  free(text);
  return value;
}

static void add_number(cJSON *object, const char *name, double value) {
  if (value >= 0 && value < UNLIMITED) cJSON_AddNumberToObject(object, name, value);
}

/* Pressure stall information, as runc shows it: "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and a line "full". */
static void add_pressure(cJSON *object, const char *directory, const char *file) {
  static const char *const kinds[] = {"some", "full"};
  char *text = read_in(directory, file);
  cJSON *pressure = text == NULL || *text == '\0' ? NULL : cJSON_AddObjectToObject(object, "psi");
  for (size_t i = 0; pressure != NULL && i < 2; i++) {
    double avg10, avg60, avg300, total;
    const char *line = strstr(text, kinds[i]);
    if (line == NULL || sscanf(line + strlen(kinds[i]), " avg10=%lf avg60=%lf avg300=%lf total=%lf", &avg10, &avg60,
                               &avg300, &total) != 4)
      continue;
    cJSON *values = cJSON_AddObjectToObject(pressure, kinds[i]);
    cJSON_AddNumberToObject(values, "avg10", avg10);
    cJSON_AddNumberToObject(values, "avg60", avg60);
    cJSON_AddNumberToObject(values, "avg300", avg300);
    cJSON_AddNumberToObject(values, "total", total);
  }
  free(text);
}

cJSON *groups_stats(const struct cgroup_set *set) {
  const char *unified = cgroup_set_find(set, "unified"), *memory = cgroup_set_find(set, "memory");
  bool v1 = memory != NULL;
  const char *cpu = v1 ? cgroup_set_find(set, "cpu") : unified, *pids = v1 ? cgroup_set_find(set, "pids") : unified;
  cJSON *data = cJSON_CreateObject();
  cJSON *usage = cJSON_AddObjectToObject(cJSON_AddObjectToObject(data, "cpu"), "usage");
  cJSON *throttling = cJSON_AddObjectToObject(cJSON_GetObjectItem(data, "cpu"), "throttling");
  double total = v1 ? number_in(cgroup_set_find(set, "cpuacct"), "cpuacct.usage", NULL)
                    : number_in(unified, "cpu.stat", "usage_usec ") * 1000;
  add_number(usage, "total", total);
  add_number(throttling, "periods", number_in(cpu, "cpu.stat", "nr_periods"));
  add_number(throttling, "throttledPeriods", number_in(cpu, "cpu.stat", "nr_throttled"));
  cJSON *used = cJSON_AddObjectToObject(cJSON_AddObjectToObject(data, "memory"), "usage");
  const char *directory = v1 ? memory : unified;
  add_number(used, "usage", number_in(directory, v1 ? "memory.usage_in_bytes" : "memory.current", NULL));
  add_number(used, "limit", number_in(directory, v1 ? "memory.limit_in_bytes" : "memory.max", NULL));
  if (v1) add_number(used, "max", number_in(directory, "memory.max_usage_in_bytes", NULL));
  cJSON *count = cJSON_AddObjectToObject(data, "pids");
  add_number(count, "current", number_in(pids, "pids.current", NULL));
  add_number(count, "limit", number_in(pids, "pids.max", NULL));
  add_pressure(cJSON_GetObjectItem(data, "cpu"), unified, "cpu.pressure");
  add_pressure(cJSON_GetObjectItem(data, "memory"), unified, "memory.pressure");
  add_pressure(cJSON_AddObjectToObject(data, "blkio"), unified, "io.pressure");
  add_number(data, "oomKills", number_in(directory, v1 ? "memory.oom_control" : "memory.events", "oom_kill "));
  return data;
}

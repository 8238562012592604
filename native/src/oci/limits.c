/* update and events. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "oci/oci.h"

/* The options of update, and what they are in linux.resources. */
static const struct {
  const char *option, *object, *member;
  bool text;
} settings[] = {
    {"memory", "memory", "limit", false},
    {"memory-reservation", "memory", "reservation", false},
    {"memory-swap", "memory", "swap", false},
    {"cpu-period", "cpu", "period", false},
    {"cpu-quota", "cpu", "quota", false},
    {"cpu-share", "cpu", "shares", false},
    {"cpuset-cpus", "cpu", "cpus", true},
    {"cpuset-mems", "cpu", "mems", true},
    {"pids-limit", "pids", "limit", false},
    {"blkio-weight", "blockIO", "weight", false},
    {"cpu-rt-period", "cpu", "realtimePeriod", false},
    {"cpu-rt-runtime", "cpu", "realtimeRuntime", false},
};
#define SETTINGS (sizeof settings / sizeof settings[0])

/* Bytes may have a unit, as in 64m. */
static int parse_number(const char *text, double *out) {
  char *end;
  *out = strtod(text, &end);
  int shift = *end == 'k' || *end == 'K' ? 10 : *end == 'm' || *end == 'M' ? 20 : *end == 'g' || *end == 'G' ? 30 : 0;
  *out *= (double)(1ll << shift);
  return end == text || end[shift > 0] != '\0' ? -1 : 0;
}

static int take_setting(cJSON *resources, size_t i, const char *value) {
  double number = 0;
  cJSON *object = cJSON_GetObjectItemCaseSensitive(resources, settings[i].object);
  if (object == NULL) object = cJSON_AddObjectToObject(resources, settings[i].object);
  if (settings[i].text) return cJSON_AddStringToObject(object, settings[i].member, value) == NULL ? -1 : 0;
  if (parse_number(value, &number) < 0) return log_failure("--%s: '%s' is not a number", settings[i].option, value);
  return cJSON_AddNumberToObject(object, settings[i].member, number) == NULL ? -1 : 0;
}

static cJSON *parse_update(int argc, char *argv[]) {
  struct option known[SETTINGS + 2] = {{"resources", required_argument, NULL, 'r'}};
  cJSON *resources = cJSON_CreateObject();
  int option;
  for (size_t i = 0; i < SETTINGS; i++)
    known[i + 1] = (struct option){settings[i].option, required_argument, NULL, 256 + (int)i};
  while (resources != NULL && (option = getopt_long(argc, argv, "+r:", known, NULL)) != -1) {
    bool failed = option == '?' || (option >= 256 && take_setting(resources, (size_t)option - 256, optarg) != 0);
    if (option == 'r') {
      char *text = file_read(optarg);
      cJSON_Delete(resources);
      resources = text == NULL ? NULL : cJSON_Parse(text);
      free(text);
      if (resources == NULL) (void)log_failure("--resources: %s: not JSON", optarg);
    }
    if (!failed) continue;
    cJSON_Delete(resources);
    return NULL;
  }
  return resources;
}

/* Engines send 0 and "" for what shall stay as it is. */
static void drop_unchanged(cJSON *resources) {
  cJSON *object;
  cJSON_ArrayForEach(object, resources) {
    for (cJSON *member = object->child, *next; member != NULL; member = next) {
      next = member->next;
      bool zero = cJSON_IsNumber(member) && member->valuedouble == 0;
      if (zero || (cJSON_IsString(member) && member->valuestring[0] == '\0'))
        cJSON_Delete(cJSON_DetachItemViaPointer(object, member));
    }
  }
}

static int update(const struct container *container, const cJSON *resources) {
  struct cgroup_set set;
  struct shoal_error err = {0};
  int rc = groups_read(container, &set) < 0 ? shoal_fail(&err, ENOENT, "cgroup", "not known")
                                            : cgroup_update(&set, resources, &err);
  return rc < 0 ? log_error("update", &err) : 0;
}

int command_update(const struct oci *oci, int argc, char *argv[]) {
  struct container container;
  cJSON *resources = parse_update(argc, argv);
  if (resources == NULL) return EXIT_NOT_DONE;
  cJSON *config = cJSON_CreateObject(), *linux_config = cJSON_AddObjectToObject(config, "linux");
  cJSON_AddItemToObject(linux_config, "resources", resources);
  cJSON_DeleteItemFromObjectCaseSensitive(resources, "devices");
  drop_unchanged(resources);
  bundle_prune(config);
  int code = EXIT_NOT_DONE;
  const char *id = only_argument(argc, argv, "container ID");
  if (id != NULL && store_open(oci, id, &container) == 0) {
    store_lock(&container);
    code = store_status(&container) == STATUS_STOPPED ? log_failure("container not running")
                                                      : update(&container, resources);
    store_close(&container);
  }
  cJSON_Delete(config);
  return code;
}

static int print_event(const char *id, const char *type, cJSON *data) {
  cJSON *event = cJSON_CreateObject();
  cJSON_AddStringToObject(event, "type", type);
  cJSON_AddStringToObject(event, "id", id);
  if (data != NULL) cJSON_AddItemToObject(event, "data", data);
  int code = json_print(event, false);
  (void)fflush(stdout);
  cJSON_Delete(event);
  return code;
}

static double oom_kills(const cJSON *stats) {
  const cJSON *kills = json_member(stats, "oomKills");
  return cJSON_IsNumber(kills) ? kills->valuedouble : 0;
}

static int watch(const struct container *container, long interval_s, bool once) {
  struct cgroup_set set;
  const struct timespec pause = {.tv_sec = interval_s, .tv_nsec = 0};
  double seen = -1;
  int code = groups_read(container, &set) < 0 ? log_failure("events: the cgroups are not known") : 0;
  while (code == 0) {
    if (store_status(container) == STATUS_STOPPED) return once ? log_failure("container not running") : 0;
    cJSON *stats = groups_stats(&set);
    double kills = oom_kills(stats);
    if (seen >= 0 && kills > seen) code = print_event(container->id, "oom", NULL);
    seen = kills;
    code |= print_event(container->id, "stats", stats);
    if (once) return code;
    (void)nanosleep(&pause, NULL);
  }
  return code;
}

int command_events(const struct oci *oci, int argc, char *argv[]) {
  static const struct option known[] = {
      {"stats", no_argument, NULL, 's'}, {"interval", required_argument, NULL, 'i'}, {NULL, 0, NULL, 0}};
  struct container container;
  bool once = false;
  long interval_s = 5;
  int option;
  while ((option = getopt_long(argc, argv, "+", known, NULL)) != -1) {
    if (option == '?') return EXIT_NOT_DONE;
    if (option == 's') once = true;
    if (option == 'i') interval_s = strtol(optarg, NULL, 10);
  }
  if (interval_s < 1) return log_failure("--interval: whole seconds, at least 1s");
  const char *id = only_argument(argc, argv, "container ID");
  if (id == NULL || store_open(oci, id, &container) != 0) return EXIT_NOT_DONE;
  int code = watch(&container, interval_s, once);
  store_close(&container);
  return code;
}

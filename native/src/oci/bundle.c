#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "oci/oci.h"

/* Members that engines send and that then ask for nothing: the library refuses what it does not know by name. */
static const struct {
  const char *path; /* of the object */
  const char *name;
  double harmless; /* the number that asks for nothing */
} idle[] = {
    {"linux.resources.blockIO", "weight", 0},     {"linux.resources.blockIO", "leafWeight", 0},
    {"linux.resources.memory", "kernel", 0},      {"linux.resources.memory", "kernelTCP", 0},
    {"linux.resources.cpu", "realtimePeriod", 0}, {"linux.resources.cpu", "realtimeRuntime", 0},
    {"linux.resources.cpu", "burst", 0},          {"linux.resources.cpu", "idle", 0},
    {"linux.resources.network", "classID", 0},
};

/* Settings of the runtime's own ways, which make no difference to the container here. */
static const char *const indifferent[][2] = {{"linux.resources.memory", "useHierarchy"},
                                             {"linux.resources.memory", "checkBeforeUpdate"}};

static cJSON *object_at(cJSON *config, const char *path) {
  char part[64];
  while (config != NULL && *path != '\0') {
    size_t length = strcspn(path, ".");
    (void)snprintf(part, sizeof part, "%.*s", (int)length, path);
    config = cJSON_GetObjectItemCaseSensitive(config, part);
    path += length + (path[length] == '.');
  }
  return cJSON_IsObject(config) ? config : NULL;
}

void bundle_prune(cJSON *config) {
  for (size_t i = 0; i < sizeof idle / sizeof idle[0]; i++) {
    cJSON *object = object_at(config, idle[i].path);
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, idle[i].name);
    if (cJSON_IsNumber(member) && member->valuedouble == idle[i].harmless)
      cJSON_DeleteItemFromObjectCaseSensitive(object, idle[i].name);
  }
  for (size_t i = 0; i < sizeof indifferent / sizeof indifferent[0]; i++) {
    cJSON *object = object_at(config, indifferent[i][0]);
    if (object != NULL) cJSON_DeleteItemFromObjectCaseSensitive(object, indifferent[i][1]);
  }
}

static int check_version(const cJSON *config) {
  const char *version = cJSON_GetStringValue(json_member(config, "ociVersion"));
  if (version == NULL) return log_failure("config.json: ociVersion is missing");
  if (strncmp(version, "1.", 2) != 0) return log_failure("config.json: ociVersion '%s' is not supported", version);
  return 0;
}

static int check_annotations(const cJSON *config) {
  const cJSON *annotations = json_member(config, "annotations"), *item;
  if (annotations != NULL && !cJSON_IsObject(annotations)) return log_failure("annotations: not an object");
  cJSON_ArrayForEach(item, annotations) {
    if (!cJSON_IsString(item)) return log_failure("annotations.%s: not a string", item->string);
  }
  return 0;
}

/* Replaces the string member by an absolute path below base. */
static int make_absolute(cJSON *object, const char *name, const char *base) {
  char path[2 * OCI_PATH_MAX];
  const char *value = cJSON_GetStringValue(json_member(object, name));
  if (value == NULL || value[0] == '/') return 0;
  if (snprintf(path, sizeof path, "%s/%s", base, value) >= OCI_PATH_MAX) return log_failure("%s: too long", name);
  cJSON_ReplaceItemInObjectCaseSensitive(object, name, cJSON_CreateString(path));
  return 0;
}

static bool is_bind(const cJSON *mount) {
  const char *type = cJSON_GetStringValue(json_member(mount, "type"));
  const cJSON *option;
  if (type != NULL && strcmp(type, "bind") == 0) return true;
  cJSON_ArrayForEach(option, json_member(mount, "options")) {
    const char *text = cJSON_GetStringValue(option);
    if (text != NULL && (strcmp(text, "bind") == 0 || strcmp(text, "rbind") == 0)) return true;
  }
  return false;
}

static int resolve_paths(struct bundle *bundle) {
  cJSON *root = cJSON_GetObjectItemCaseSensitive(bundle->config, "root"), *mount;
  if (cJSON_GetStringValue(json_member(root, "path")) == NULL) return log_failure("config.json: root.path is missing");
  int rc = make_absolute(root, "path", bundle->path);
  cJSON_ArrayForEach(mount, cJSON_GetObjectItemCaseSensitive(bundle->config, "mounts")) {
    if (rc == 0 && is_bind(mount)) rc = make_absolute(mount, "source", bundle->path);
  }
  return rc;
}

/* linux.cgroupsPath as the library takes it: absolute, below each hierarchy's root. */
static int set_cgroups_path(struct bundle *bundle, const char *id, bool systemd) {
  char path[512];
  cJSON *linux_config = cJSON_GetObjectItemCaseSensitive(bundle->config, "linux");
  if (!cJSON_IsObject(linux_config)) return log_failure("config.json: linux is missing");
  const char *given = cJSON_GetStringValue(json_member(linux_config, "cgroupsPath"));
  if (!systemd && given != NULL && strchr(given, ':') != NULL)
    return log_failure("linux.cgroupsPath: '%s' is systemd's form: --systemd-cgroup is needed", given);
  if (!systemd && given != NULL && given[0] == '/') return 0;
  bool named = given != NULL && given[0] != '\0';
  if (systemd) {
    if (scope_name(given, id, &bundle->scope, path, sizeof path) != 0) return EXIT_NOT_DONE;
  } else if (snprintf(path, sizeof path, named ? "/%s" : "/shoal-oci-%s", named ? given : id) >= (int)sizeof path) {
    return log_failure("linux.cgroupsPath: too long");
  }
  cJSON_DeleteItemFromObjectCaseSensitive(linux_config, "cgroupsPath");
  cJSON_AddStringToObject(linux_config, "cgroupsPath", path);
  return 0;
}

bool bundle_lists_namespace(const cJSON *config, const char *type) {
  const cJSON *item;
  cJSON_ArrayForEach(item, json_member(json_member(config, "linux"), "namespaces")) {
    const char *listed = cJSON_GetStringValue(json_member(item, "type"));
    if (listed != NULL && strcmp(listed, type) == 0) return true;
  }
  return false;
}

int bundle_load(const struct oci *oci, const char *path, const char *id, struct bundle *bundle) {
  char file[OCI_PATH_MAX + 16], real[PATH_MAX];
  memset(bundle, 0, sizeof *bundle);
  if (realpath(path, real) == NULL) return log_failure("--bundle: %s: %s", path, strerror(errno));
  (void)snprintf(bundle->path, sizeof bundle->path, "%s", real);
  (void)snprintf(file, sizeof file, "%s/config.json", bundle->path);
  /* A pipe would be waited for. */
  struct stat info;
  if (stat(file, &info) == 0 && !S_ISREG(info.st_mode)) return log_failure("%s: not a file", file);
  char *text = file_read(file);
  if (text == NULL) return log_failure("%s: %s", file, strerror(errno));
  bundle->config = cJSON_Parse(text);
  free(text);
  if (!cJSON_IsObject(bundle->config)) return log_failure("%s: not a JSON object", file);
  int rc = check_version(bundle->config);
  if (rc == 0) rc = check_annotations(bundle->config);
  if (rc == 0) rc = resolve_paths(bundle);
  if (rc == 0) rc = set_cgroups_path(bundle, id, oci->systemd_cgroup);
  if (rc != 0) return rc;
  bundle->hooks = cJSON_DetachItemFromObjectCaseSensitive(bundle->config, "hooks");
  bundle->net_devices = cJSON_DetachItemFromObjectCaseSensitive(object_at(bundle->config, "linux"), "netDevices");
  if (net_devices_check(bundle->net_devices, bundle->config) != 0) return EXIT_NOT_DONE;
  bundle_prune(bundle->config);
  bundle->terminal = cJSON_IsTrue(json_member(json_member(bundle->config, "process"), "terminal"));
  return hooks_check(bundle->hooks);
}

void bundle_free(struct bundle *bundle) {
  cJSON_Delete(bundle->config);
  cJSON_Delete(bundle->hooks);
  cJSON_Delete(bundle->net_devices);
}

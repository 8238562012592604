#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "config.h"
#include "seccomp-filter.h"

#define HEAD plan_builder_head(context->builder)

static const struct {
  const char *name;
  uint32_t flag;
} namespace_types[] = {{"pid", CLONE_NEWPID},   {"network", CLONE_NEWNET}, {"mount", CLONE_NEWNS},
                       {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},     {"cgroup", CLONE_NEWCGROUP},
                       {"user", CLONE_NEWUSER}, {"time", CLONE_NEWTIME}};

static uint32_t namespace_flag(const char *type) {
  for (size_t i = 0; i < sizeof namespace_types / sizeof namespace_types[0]; i++) {
    if (strcmp(namespace_types[i].name, type) == 0) return namespace_types[i].flag;
  }
  return 0;
}

static int compile_namespaces(struct config_context *context, const cJSON *linux_config) {
  static const char *const allowed[] = {"type", "path", NULL};
  struct plan_join joins[8];
  uint32_t created = 0, seen = 0;
  size_t join_count = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, json_member(linux_config, "namespaces")) {
    const char *type, *path;
    int rc = json_only(item, "linux.namespaces[]", allowed, context->err);
    if (rc == 0) rc = json_string(item, "linux.namespaces[]", "type", true, &type, context->err);
    if (rc == 0) rc = json_string(item, "linux.namespaces[]", "path", false, &path, context->err);
    if (rc < 0) return rc;
    uint32_t flag = namespace_flag(type);
    if (flag == 0) return CONFIG_FAIL(context->err, ENOTSUP, "linux.namespaces: type '%s' is not supported", type);
    if ((seen & flag) != 0) return CONFIG_FAIL(context->err, EINVAL, "linux.namespaces: '%s' is there twice", type);
    seen |= flag;
    if (path == NULL) {
      created |= flag;
    } else if (flag == CLONE_NEWNS || flag == CLONE_NEWUSER) {
      return CONFIG_FAIL(context->err, ENOTSUP, "linux.namespaces: a path for '%s' is not supported", type);
    } else {
      joins[join_count++] = (struct plan_join){.flag = flag, .path = plan_add_string(context->builder, path)};
    }
  }
  if ((created & CLONE_NEWNS) == 0)
    return CONFIG_FAIL(context->err, ENOTSUP, "linux.namespaces: a container without 'mount' is not supported");
  struct plan_list list = plan_add_list(context->builder, joins, join_count, sizeof *joins);
  HEAD->namespaces = created;
  HEAD->joins = list;
  return 0;
}

/* Only sysctls that belong to a namespace which the container has of its own: others would change the host. */
static bool sysctl_is_namespaced(const char *name, uint32_t own) {
  static const char *const ipc[] = {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
                                    "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"};
  if (strncmp(name, "net.", 4) == 0 || strncmp(name, "net/", 4) == 0) return (own & CLONE_NEWNET) != 0;
  if (strncmp(name, "fs.mqueue.", 10) == 0) return (own & CLONE_NEWIPC) != 0;
  for (size_t i = 0; i < sizeof ipc / sizeof ipc[0]; i++) {
    if (strcmp(ipc[i], name) == 0) return (own & CLONE_NEWIPC) != 0;
  }
  return (strcmp(name, "kernel.domainname") == 0) && (own & CLONE_NEWUTS) != 0;
}

static int compile_sysctls(struct config_context *context, const cJSON *linux_config) {
  struct plan_sysctl sysctls[64];
  size_t count = 0;
  const cJSON *item;
  uint32_t own = HEAD->namespaces;
  const struct plan_join *joins = plan_items(HEAD, HEAD->joins);
  for (uint32_t i = 0; i < HEAD->joins.count; i++)
    own |= joins[i].flag;
  const cJSON *wanted = json_member(linux_config, "sysctl");
  if (wanted != NULL && !cJSON_IsObject(wanted))
    return CONFIG_FAIL(context->err, EINVAL, "linux.sysctl: not an object");
  cJSON_ArrayForEach(item, wanted) {
    char path[256];
    if (!cJSON_IsString(item) || count == 64 || strlen(item->string) >= sizeof path)
      return CONFIG_FAIL(context->err, EINVAL, "linux.sysctl: at most 64 strings");
    if (!sysctl_is_namespaced(item->string, own))
      return CONFIG_FAIL(context->err, EINVAL, "linux.sysctl: '%s' is not the container's own", item->string);
    (void)snprintf(path, sizeof path, "%s", item->string);
    /* As sysctl(8): dots separate, and a slash then stands for a dot; with slashes first it is a path already. */
    char first = path[strcspn(path, "./")];
    for (char *c = path; first == '.' && *c != '\0'; c++)
      *c = *c == '.' ? '/' : *c == '/' ? '.' : *c;
    if (strstr(path, "..") != NULL) return CONFIG_FAIL(context->err, EINVAL, "linux.sysctl: '%s'", item->string);
    sysctls[count].path = plan_add_string(context->builder, path);
    sysctls[count++].value = plan_add_string(context->builder, item->valuestring);
  }
  struct plan_list list = plan_add_list(context->builder, sysctls, count, sizeof *sysctls);
  HEAD->sysctls = list;
  return 0;
}

static int compile_propagation(struct config_context *context, const cJSON *linux_config) {
  const char *propagation;
  int rc = json_string(linux_config, "linux", "rootfsPropagation", false, &propagation, context->err);
  if (rc < 0) return rc;
  if (propagation == NULL) propagation = "slave";
  bool recursive = propagation[0] == 'r';
  const char *name = recursive ? propagation + 1 : propagation;
  static const struct {
    const char *name;
    unsigned long before, after;
  } kinds[] = {{"slave", MS_SLAVE, 0},
               {"private", MS_PRIVATE, 0},
               {"shared", MS_SLAVE, MS_SHARED},
               {"unbindable", MS_PRIVATE, MS_UNBINDABLE}};
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    if (strcmp(kinds[i].name, name) != 0) continue;
    HEAD->root_propagation = (uint32_t)(kinds[i].before | MS_REC);
    HEAD->root_propagation_after =
        kinds[i].after == 0 ? 0 : (uint32_t)(kinds[i].after | (recursive ? (unsigned long)MS_REC : 0));
    return 0;
  }
  return CONFIG_FAIL(context->err, EINVAL, "linux.rootfsPropagation: '%s' is not slave, private, shared or unbindable",
                     propagation);
}

int config_seccomp(struct config_context *context, const cJSON *linux_config) {
  const cJSON *profile = json_member(linux_config, "seccomp");
  struct seccomp_filter *filter = NULL;
  char *printed = NULL;
  if (context->seccomp_json == NULL && profile != NULL) {
    printed = cJSON_PrintUnformatted(profile);
    if (printed == NULL) return CONFIG_FAIL(context->err, ENOMEM, "linux.seccomp");
  }
  if (context->seccomp_json == NULL && printed == NULL) return 0;
  int rc = seccomp_filter_get(printed != NULL ? printed : context->seccomp_json, &filter, context->err);
  free(printed);
  if (rc == 0 && (filter->flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0) {
    seccomp_filter_put(filter);
    return CONFIG_FAIL(context->err, ENOTSUP, "linux.seccomp: SCMP_ACT_NOTIFY is for shoal-oci alone");
  }
  if (rc < 0) return rc;
  struct plan_list list =
      plan_add_list(context->builder, filter->instructions, filter->count, sizeof *filter->instructions);
  HEAD->process.seccomp = list;
  HEAD->process.seccomp_flags = filter->flags;
  seccomp_filter_put(filter);
  return 0;
}

int config_linux(struct config_context *context, const cJSON *linux_config) {
  static const char *const allowed[] = {"namespaces",        "sysctl",       "cgroupsPath", "resources",
                                        "devices",           "seccomp",      "maskedPaths", "readonlyPaths",
                                        "rootfsPropagation", "uidMappings",  "gidMappings", "timeOffsets",
                                        "personality",       "memoryPolicy", "mountLabel",  NULL};
  struct plan_list masked, readonly;
  if (linux_config == NULL) return CONFIG_FAIL(context->err, EINVAL, "linux: missing");
  int rc = json_only(linux_config, "linux", allowed, context->err);
  if (rc == 0) rc = compile_namespaces(context, linux_config);
  if (rc == 0) rc = config_ids(context, linux_config);
  if (rc == 0) rc = config_time(context, linux_config);
  if (rc == 0) rc = compile_sysctls(context, linux_config);
  if (rc == 0) rc = compile_propagation(context, linux_config);
  if (rc == 0) rc = json_string_list(context, linux_config, "linux", "maskedPaths", &masked);
  if (rc == 0) rc = json_string_list(context, linux_config, "linux", "readonlyPaths", &readonly);
  if (rc == 0) rc = config_devices(context, json_member(linux_config, "devices"));
  if (rc == 0) rc = config_seccomp(context, linux_config);
  if (rc == 0) rc = config_every_process(context, linux_config);
  if (rc == 0) rc = config_mount_label(context, linux_config);
  if (rc < 0) return rc;
  HEAD->masked = masked;
  HEAD->readonly = readonly;
  return 0;
}

int config_compile(struct config_context *context, const cJSON *config) {
  static const char *const allowed[] = {"ociVersion", "root",  "hostname",    "domainname", "process",
                                        "mounts",     "linux", "annotations", NULL};
  static const char *const root_allowed[] = {"path", "readonly", NULL};
  const char *hostname, *domainname;
  bool readonly = false;
  int rc = json_only(config, "", allowed, context->err);
  if (rc == 0) rc = json_only(json_member(config, "root"), "root", root_allowed, context->err);
  if (rc == 0) rc = json_bool(json_member(config, "root"), "root", "readonly", &readonly, context->err);
  if (rc == 0) rc = json_string(config, "config", "hostname", false, &hostname, context->err);
  if (rc == 0) rc = json_string(config, "config", "domainname", false, &domainname, context->err);
  if (rc == 0) rc = config_process(context, json_member(config, "process"));
  if (rc == 0) rc = config_mounts(context, json_member(config, "mounts"));
  if (rc == 0) rc = config_linux(context, json_member(config, "linux"));
  if (rc == 0) rc = config_check_ids(context);
  if (rc < 0) return rc;
  if ((hostname != NULL || domainname != NULL) && (HEAD->namespaces & CLONE_NEWUTS) == 0)
    return CONFIG_FAIL(context->err, EINVAL, "hostname: the container needs a uts namespace of its own");
  uint32_t hostname_offset = hostname == NULL ? 0 : plan_add_string(context->builder, hostname);
  uint32_t domainname_offset = domainname == NULL ? 0 : plan_add_string(context->builder, domainname);
  HEAD->hostname = hostname_offset;
  HEAD->domainname = domainname_offset;
  HEAD->root_readonly = readonly;
  return 0;
}

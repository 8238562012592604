/* features.md of the runtime-spec: what this runtime supports, whatever the kernel it runs on. */
#include <getopt.h>
#include <stddef.h>

#include "oci/oci.h"

static const char *const hooks[] = {
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop", NULL};
static const char *const mount_options[] = {
    "async",    "bind",          "defaults",  "dev",         "diratime",   "dirsync", "exec",       "idmap",
    "lazytime", "mand",          "noatime",   "nodev",       "nodiratime", "noexec",  "norelatime", "nosuid",
    "nomand",   "nostrictatime", "private",   "rbind",       "relatime",   "ridmap",  "ro",         "rprivate",
    "rshared",  "rslave",        "rro",       "runbindable", "rw",         "shared",  "slave",      "strictatime",
    "suid",     "sync",          "tmpcopyup", "unbindable",  NULL};
static const char *const namespaces[] = {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts", NULL};
static const char *const actions[] = {
    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO",  "SCMP_ACT_KILL",  "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",   "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",         NULL};
static const char *const filter_flags[] = {"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                                           "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", NULL};
static const char *const operators[] = {"SCMP_CMP_EQ", "SCMP_CMP_GE",        "SCMP_CMP_GT", "SCMP_CMP_LE",
                                        "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE", NULL};

static const char *const memory_modes[] = {
    "MPOL_BIND",      "MPOL_DEFAULT",        "MPOL_INTERLEAVE",          "MPOL_LOCAL",
    "MPOL_PREFERRED", "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE", NULL};
static const char *const memory_flags[] = {"MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES",
                                           NULL};

static void add_names(cJSON *object, const char *name, const char *const names[]) {
  cJSON *array = cJSON_AddArrayToObject(object, name);
  for (size_t i = 0; names[i] != NULL; i++)
    cJSON_AddItemToArray(array, cJSON_CreateString(names[i]));
}

static void add_switch(cJSON *object, const char *name, bool enabled) {
  cJSON_AddBoolToObject(cJSON_AddObjectToObject(object, name), "enabled", enabled);
}

static void add_linux(cJSON *features) {
  cJSON *linux_features = cJSON_AddObjectToObject(features, "linux");
  add_names(linux_features, "namespaces", namespaces);
  cJSON *cgroup = cJSON_AddObjectToObject(linux_features, "cgroup");
  cJSON_AddBoolToObject(cgroup, "v1", true);
  cJSON_AddBoolToObject(cgroup, "v2", true);
  cJSON_AddBoolToObject(cgroup, "systemd", true);
  cJSON_AddBoolToObject(cgroup, "systemdUser", false);
  cJSON_AddBoolToObject(cgroup, "rdma", true);
  cJSON *seccomp = cJSON_AddObjectToObject(linux_features, "seccomp");
  cJSON_AddBoolToObject(seccomp, "enabled", true);
  add_names(seccomp, "actions", actions);
  add_names(seccomp, "operators", operators);
  add_names(seccomp, "knownFlags", filter_flags);
  add_names(seccomp, "supportedFlags", filter_flags);
  add_switch(linux_features, "apparmor", true);
  add_switch(linux_features, "selinux", true);
  add_switch(linux_features, "intelRdt", false);
  add_switch(linux_features, "netDevices", true);
  cJSON *policy = cJSON_AddObjectToObject(linux_features, "memoryPolicy");
  add_names(policy, "modes", memory_modes);
  add_names(policy, "flags", memory_flags);
  add_switch(cJSON_AddObjectToObject(linux_features, "mountExtensions"), "idmap", true);
}

int command_features(const struct oci *oci, int argc, char *argv[]) {
  (void)oci;
  if (getopt(argc, argv, "+") != -1) return EXIT_NOT_DONE;
  cJSON *features = cJSON_CreateObject();
  cJSON_AddStringToObject(features, "ociVersionMin", "1.0.0");
  cJSON_AddStringToObject(features, "ociVersionMax", OCI_VERSION);
  add_names(features, "hooks", hooks);
  add_names(features, "mountOptions", mount_options);
  add_linux(features);
  int code = json_print(features, true);
  cJSON_Delete(features);
  return code;
}

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "config.h"
#include "seccomp-filter.h"

#define SELINUX_SIGN "/sys/fs/selinux/enforce"
#define PROCESS plan_builder_head(context->builder)->process

/* In the order of their numbers, linux/capability.h. */
static const char *const capability_names[] = {
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
};

static const struct {
  const char *name;
  uint32_t resource;
} rlimit_names[] = {
    {"RLIMIT_AS", RLIMIT_AS},           {"RLIMIT_CORE", RLIMIT_CORE},         {"RLIMIT_CPU", RLIMIT_CPU},
    {"RLIMIT_DATA", RLIMIT_DATA},       {"RLIMIT_FSIZE", RLIMIT_FSIZE},       {"RLIMIT_LOCKS", RLIMIT_LOCKS},
    {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK}, {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_NICE", RLIMIT_NICE},
    {"RLIMIT_NOFILE", RLIMIT_NOFILE},   {"RLIMIT_NPROC", RLIMIT_NPROC},       {"RLIMIT_RSS", RLIMIT_RSS},
    {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},   {"RLIMIT_RTTIME", RLIMIT_RTTIME},     {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    {"RLIMIT_STACK", RLIMIT_STACK},
};

static int capability_set(const cJSON *capabilities, const char *key, uint64_t *out, struct shoal_error *err) {
  const cJSON *name;
  *out = 0;
  cJSON_ArrayForEach(name, json_member(capabilities, key)) {
    const char *text = cJSON_IsString(name) ? name->valuestring : "";
    size_t i = 0;
    size_t count = sizeof capability_names / sizeof capability_names[0];
    if (strncmp(text, "CAP_", 4) == 0) text += 4;
    while (i < count && strcmp(capability_names[i], text) != 0)
      i++;
    if (i == count) return CONFIG_FAIL(err, EINVAL, "process.capabilities.%s: unknown capability '%s'", key, text);
    *out |= 1ull << i;
  }
  return 0;
}

static int compile_capabilities(struct config_context *context, const cJSON *process) {
  static const char *const keys[] = {"bounding", "effective", "permitted", "inheritable", "ambient", NULL};
  const cJSON *capabilities = json_member(process, "capabilities");
  int rc = json_only(capabilities, "process.capabilities", keys, context->err);
  uint64_t sets[5];
  for (size_t i = 0; rc == 0 && i < 5; i++)
    rc = capability_set(capabilities, keys[i], &sets[i], context->err);
  if (rc < 0) return rc;
  PROCESS.capabilities = (struct plan_capabilities){
      .bounding = sets[0], .effective = sets[1], .permitted = sets[2], .inheritable = sets[3], .ambient = sets[4]};
  return 0;
}

static int compile_user(struct config_context *context, const cJSON *process) {
  static const char *const allowed[] = {"uid", "gid", "umask", "additionalGids", NULL};
  const cJSON *user = json_member(process, "user");
  const cJSON *gids = json_member(user, "additionalGids");
  int64_t uid = 0, gid = 0, mask = 022;
  int rc = json_only(user, "process.user", allowed, context->err);
  if (rc == 0) rc = json_integer(user, "process.user", "uid", &uid, NULL, context->err);
  if (rc == 0) rc = json_integer(user, "process.user", "gid", &gid, NULL, context->err);
  if (rc == 0) rc = json_integer(user, "process.user", "umask", &mask, NULL, context->err);
  if (rc < 0) return rc;
  if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX || mask < 0 || mask > 0777) {
    return CONFIG_FAIL(context->err, ERANGE, "process.user: out of range");
  }
  uint32_t list[256];
  size_t count = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, gids) {
    if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble >= UINT32_MAX || count == 256) {
      return CONFIG_FAIL(context->err, EINVAL, "process.user.additionalGids: at most 256 group numbers");
    }
    list[count++] = (uint32_t)item->valuedouble;
  }
  struct plan_list plan_gids = plan_add_list(context->builder, list, count, sizeof *list);
  PROCESS.uid = (uint32_t)uid;
  PROCESS.gid = (uint32_t)gid;
  PROCESS.umask = (uint32_t)mask;
  PROCESS.gids = plan_gids;
  return 0;
}

static int compile_rlimit(const cJSON *item, struct plan_rlimit *out, struct shoal_error *err) {
  static const char *const allowed[] = {"type", "soft", "hard", NULL};
  const char *type;
  int64_t soft = -1, hard = -1;
  int rc = json_only(item, "process.rlimits[]", allowed, err);
  if (rc == 0) rc = json_string(item, "process.rlimits[]", "type", true, &type, err);
  if (rc == 0) rc = json_integer(item, "process.rlimits[]", "soft", &soft, NULL, err);
  if (rc == 0) rc = json_integer(item, "process.rlimits[]", "hard", &hard, NULL, err);
  if (rc < 0) return rc;
  for (size_t i = 0; i < sizeof rlimit_names / sizeof rlimit_names[0]; i++) {
    if (strcmp(rlimit_names[i].name, type) != 0) continue;
    /* -1 and anything that does not fit a signed 64-bit number mean "unlimited". */
    out->resource = rlimit_names[i].resource;
    out->soft = soft < 0 || soft == INT64_MAX ? RLIM_INFINITY : (uint64_t)soft;
    out->hard = hard < 0 || hard == INT64_MAX ? RLIM_INFINITY : (uint64_t)hard;
    return 0;
  }
  return CONFIG_FAIL(err, EINVAL, "process.rlimits[]: unknown type '%s'", type);
}

static int compile_rlimits(struct config_context *context, const cJSON *process) {
  struct plan_rlimit limits[RLIM_NLIMITS];
  memset(limits, 0, sizeof limits);
  size_t count = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, json_member(process, "rlimits")) {
    if (count == RLIM_NLIMITS) return CONFIG_FAIL(context->err, EINVAL, "process.rlimits: too many");
    int rc = compile_rlimit(item, &limits[count++], context->err);
    if (rc < 0) return rc;
  }
  struct plan_list list = plan_add_list(context->builder, limits, count, sizeof *limits);
  PROCESS.rlimits = list;
  return 0;
}

static int compile_command(struct config_context *context, const cJSON *process) {
  struct plan_list args, env;
  const char *cwd;
  int rc = json_string_list(context, process, "process", "args", &args);
  if (rc == 0) rc = json_string_list(context, process, "process", "env", &env);
  if (rc == 0) rc = json_string(process, "process", "cwd", true, &cwd, context->err);
  if (rc < 0) return rc;
  if (args.count == 0) return CONFIG_FAIL(context->err, EINVAL, "process.args: a command is needed");
  if (cwd[0] != '/') return CONFIG_FAIL(context->err, EINVAL, "process.cwd: '%s' is not absolute", cwd);
  uint32_t cwd_offset = plan_add_string(context->builder, cwd);
  PROCESS.args = args;
  PROCESS.env = env;
  PROCESS.cwd = cwd_offset;
  return 0;
}

static int compile_terminal(struct config_context *context, const cJSON *process) {
  static const char *const allowed[] = {"height", "width", NULL};
  const cJSON *size = json_member(process, "consoleSize");
  bool terminal = false;
  int64_t rows = 0, columns = 0;
  int rc = json_bool(process, "process", "terminal", &terminal, context->err);
  if (rc == 0) rc = json_only(size, "process.consoleSize", allowed, context->err);
  if (rc == 0) rc = json_integer(size, "process.consoleSize", "height", &rows, NULL, context->err);
  if (rc == 0) rc = json_integer(size, "process.consoleSize", "width", &columns, NULL, context->err);
  if (rc < 0) return rc;
  if (rows < 0 || rows > UINT16_MAX || columns < 0 || columns > UINT16_MAX)
    return CONFIG_FAIL(context->err, ERANGE, "process.consoleSize: out of range");
  struct plan *plan = plan_builder_head(context->builder);
  if (terminal) plan->stream_flags |= PLAN_TERMINAL;
  plan->terminal_rows = (uint16_t)rows;
  plan->terminal_columns = (uint16_t)columns;
  return 0;
}

/* A host without the module refuses a label: it would be no protection. */
static int compile_label(struct config_context *context, const cJSON *object, const char *where, const char *key,
                         const char *sign, uint32_t *out) {
  const char *label;
  *out = 0;
  int rc = json_string(object, where, key, false, &label, context->err);
  if (rc < 0 || label == NULL || label[0] == '\0') return rc;
  char answer = '\0';
  int fd = open(sign, O_RDONLY | O_CLOEXEC);
  bool on = fd >= 0 && read(fd, &answer, 1) == 1 && answer != 'N';
  if (fd >= 0) close(fd);
  if (!on && strcmp(label, "unconfined") == 0) return 0;
  if (!on) return CONFIG_FAIL(context->err, ENOTSUP, "%s.%s: this host does not have it", where, key);
  if (strlen(label) >= LABEL_MAX || strpbrk(label, "\n\"") != NULL)
    return CONFIG_FAIL(context->err, EINVAL, "%s.%s: not a label", where, key);
  *out = plan_add_string(context->builder, label);
  return 0;
}

int config_mount_label(struct config_context *context, const cJSON *linux_config) {
  uint32_t label = 0;
  int rc = compile_label(context, linux_config, "linux", "mountLabel", SELINUX_SIGN, &label);
  if (rc == 0) plan_builder_head(context->builder)->mount_label = label;
  return rc;
}

static int compile_labels(struct config_context *context, const cJSON *process) {
  uint32_t profile = 0, label = 0;
  int rc = compile_label(context, process, "process", "apparmorProfile", "/sys/module/apparmor/parameters/enabled",
                         &profile);
  if (rc == 0) rc = compile_label(context, process, "process", "selinuxLabel", SELINUX_SIGN, &label);
  if (rc < 0) return rc;
  PROCESS.apparmor_profile = profile;
  PROCESS.selinux_label = label;
  return 0;
}

int config_process(struct config_context *context, const cJSON *process) {
  static const char *const allowed[] = {"user",
                                        "args",
                                        "env",
                                        "cwd",
                                        "capabilities",
                                        "rlimits",
                                        "oomScoreAdj",
                                        "noNewPrivileges",
                                        "terminal",
                                        "consoleSize",
                                        "apparmorProfile",
                                        "selinuxLabel",
                                        "scheduler",
                                        "ioPriority",
                                        "execCPUAffinity",
                                        NULL};
  bool no_new_privileges = false, has_score = false;
  int64_t score = 0;
  if (process == NULL) return CONFIG_FAIL(context->err, EINVAL, "process: missing");
  int rc = json_only(process, "process", allowed, context->err);
  if (rc == 0) rc = compile_command(context, process);
  if (rc == 0) rc = compile_user(context, process);
  if (rc == 0) rc = compile_capabilities(context, process);
  if (rc == 0) rc = compile_rlimits(context, process);
  if (rc == 0) rc = compile_terminal(context, process);
  if (rc == 0) rc = compile_labels(context, process);
  if (rc == 0) rc = config_schedule(context, process);
  if (rc == 0) rc = json_bool(process, "process", "noNewPrivileges", &no_new_privileges, context->err);
  if (rc == 0) rc = json_integer(process, "process", "oomScoreAdj", &score, &has_score, context->err);
  if (rc < 0) return rc;
  if (score < -1000 || score > 1000) return CONFIG_FAIL(context->err, ERANGE, "process.oomScoreAdj: -1000 to 1000");
  PROCESS.no_new_privileges = no_new_privileges;
  PROCESS.has_oom_score_adj = has_score;
  PROCESS.oom_score_adj = (int32_t)score;
  return 0;
}

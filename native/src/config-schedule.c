/* When and where the process runs: process.scheduler, ioPriority, execCPUAffinity, linux.personality, memoryPolicy. */
#include <errno.h>
#include <linux/sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>

#include "config.h"

#define PROCESS plan_builder_head(context->builder)->process

struct word {
  const char *name;
  int64_t value;
};

static const struct word policies[] = {{"SCHED_OTHER", 0}, {"SCHED_FIFO", 1}, {"SCHED_RR", 2},       {"SCHED_BATCH", 3},
                                       {"SCHED_ISO", -1},  {"SCHED_IDLE", 5}, {"SCHED_DEADLINE", 6}, {NULL, 0}};
static const struct word scheduler_flags[] = {{"SCHED_FLAG_RESET_ON_FORK", 0x01},  {"SCHED_FLAG_RECLAIM", 0x02},
                                              {"SCHED_FLAG_DL_OVERRUN", 0x04},     {"SCHED_FLAG_KEEP_POLICY", 0x08},
                                              {"SCHED_FLAG_KEEP_PARAMS", 0x10},    {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
                                              {"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40}, {NULL, 0}};
static const struct word io_classes[] = {
    {"IOPRIO_CLASS_RT", 1}, {"IOPRIO_CLASS_BE", 2}, {"IOPRIO_CLASS_IDLE", 3}, {NULL, 0}};

/* -1: no such word, or one that Linux does not have. */
static int64_t value_of(const struct word *words, const char *name) {
  for (; words->name != NULL; words++) {
    if (strcmp(words->name, name) == 0) return words->value;
  }
  return -1;
}

static int scheduler_numbers(const cJSON *scheduler, struct plan_scheduler *out, struct shoal_error *err) {
  static const char path[] = "process.scheduler";
  int64_t nice = 0, priority = 0, runtime = 0, deadline = 0, period = 0;
  int rc = json_integer(scheduler, path, "nice", &nice, NULL, err);
  if (rc == 0) rc = json_integer(scheduler, path, "priority", &priority, NULL, err);
  if (rc == 0) rc = json_integer(scheduler, path, "runtime", &runtime, NULL, err);
  if (rc == 0) rc = json_integer(scheduler, path, "deadline", &deadline, NULL, err);
  if (rc == 0) rc = json_integer(scheduler, path, "period", &period, NULL, err);
  if (rc < 0) return rc;
  if (nice < -20 || nice > 19 || priority < 0 || priority > 99 || runtime < 0 || deadline < 0 || period < 0)
    return CONFIG_FAIL(err, ERANGE, "%s: out of range", path);
  out->nice = (int32_t)nice;
  out->priority = (uint32_t)priority;
  out->runtime_ns = (uint64_t)runtime;
  out->deadline_ns = (uint64_t)deadline;
  out->period_ns = (uint64_t)period;
  return 0;
}

static int compile_scheduler(struct config_context *context, const cJSON *process) {
  static const char *const allowed[] = {"policy", "nice", "priority", "flags", "runtime", "deadline", "period", NULL};
  static const char path[] = "process.scheduler";
  const cJSON *scheduler = json_member(process, "scheduler"), *item;
  struct plan_scheduler out = {.given = 1};
  const char *policy;
  if (scheduler == NULL || (cJSON_IsObject(scheduler) && scheduler->child == NULL)) return 0;
  int rc = json_only(scheduler, path, allowed, context->err);
  if (rc == 0) rc = json_string(scheduler, path, "policy", true, &policy, context->err);
  if (rc == 0) rc = scheduler_numbers(scheduler, &out, context->err);
  if (rc < 0) return rc;
  int64_t number = value_of(policies, policy);
  if (number < 0) return CONFIG_FAIL(context->err, ENOTSUP, "%s.policy: '%s' is not supported", path, policy);
  out.policy = (uint32_t)number;
  const cJSON *flags = json_member(scheduler, "flags");
  if (flags != NULL && !cJSON_IsArray(flags)) return CONFIG_FAIL(context->err, EINVAL, "%s.flags: not an array", path);
  cJSON_ArrayForEach(item, flags) {
    int64_t flag = cJSON_IsString(item) ? value_of(scheduler_flags, item->valuestring) : -1;
    if (flag < 0) return CONFIG_FAIL(context->err, EINVAL, "%s.flags: not a flag", path);
    out.flags |= (uint64_t)flag;
  }
  PROCESS.scheduler = out;
  return 0;
}

static int compile_io_priority(struct config_context *context, const cJSON *process) {
  static const char *const allowed[] = {"class", "priority", NULL};
  static const char path[] = "process.ioPriority";
  const cJSON *wanted = json_member(process, "ioPriority");
  const char *name;
  int64_t priority = 0;
  if (wanted == NULL || (cJSON_IsObject(wanted) && wanted->child == NULL)) return 0;
  int rc = json_only(wanted, path, allowed, context->err);
  if (rc == 0) rc = json_string(wanted, path, "class", true, &name, context->err);
  if (rc == 0) rc = json_integer(wanted, path, "priority", &priority, NULL, context->err);
  if (rc < 0) return rc;
  int64_t class = value_of(io_classes, name);
  if (class < 0 || priority < 0 || priority > 7)
    return CONFIG_FAIL(context->err, EINVAL, "%s: a class and a priority of 0 to 7 are needed", path);
  PROCESS.io_priority = (uint32_t)(class << 13 | priority);
  return 0;
}

/* "0-3,7". path names the member in messages. */
static int compile_numbers(struct config_context *context, const char *text, const char *path, uint64_t *bits,
                           size_t size) {
  for (const char *at = text; *at != '\0';) {
    char *end;
    unsigned long first = strtoul(at, &end, 10), last = first;
    bool good = end != at && at[0] >= '0' && at[0] <= '9';
    if (good && *end == '-') {
      at = end + 1;
      last = strtoul(at, &end, 10);
      good = end != at && at[0] >= '0' && at[0] <= '9';
    }
    if (!good || last < first || last >= size || (*end != ',' && *end != '\0'))
      return CONFIG_FAIL(context->err, EINVAL, "%s: '%s' is not a list of numbers below %zu", path, text, size);
    for (unsigned long number = first; number <= last; number++)
      bits[number / 64] |= 1ull << (number % 64);
    at = *end == ',' ? end + 1 : end;
  }
  return 0;
}

static int compile_cpus(struct config_context *context, const char *text, const char *path, struct plan_cpus *out) {
  if (text == NULL || text[0] == '\0') return 0;
  out->given = 1;
  return compile_numbers(context, text, path, out->bits, PLAN_CPUS_MAX);
}

static int compile_affinity(struct config_context *context, const cJSON *process) {
  static const char *const allowed[] = {"initial", "final", NULL};
  static const char path[] = "process.execCPUAffinity";
  const cJSON *affinity = json_member(process, "execCPUAffinity");
  const char *first = NULL, *last = NULL;
  struct plan_cpus initial = {0}, final = {0};
  int rc = json_only(affinity, path, allowed, context->err);
  if (rc == 0) rc = json_string(affinity, path, "initial", false, &first, context->err);
  if (rc == 0) rc = json_string(affinity, path, "final", false, &last, context->err);
  if (rc == 0) rc = compile_cpus(context, first, "process.execCPUAffinity.initial", &initial);
  if (rc == 0) rc = compile_cpus(context, last, "process.execCPUAffinity.final", &final);
  if (rc < 0) return rc;
  PROCESS.initial_cpus = initial;
  PROCESS.final_cpus = final;
  return 0;
}

int config_schedule(struct config_context *context, const cJSON *process) {
  int rc = compile_scheduler(context, process);
  if (rc == 0) rc = compile_io_priority(context, process);
  return rc < 0 ? rc : compile_affinity(context, process);
}

static int compile_personality(struct config_context *context, const cJSON *linux_config) {
  static const char *const allowed[] = {"domain", NULL};
  const cJSON *personality = json_member(linux_config, "personality");
  const char *domain;
  if (personality == NULL || (cJSON_IsObject(personality) && personality->child == NULL)) return 0;
  int rc = json_only(personality, "linux.personality", allowed, context->err);
  if (rc == 0) rc = json_string(personality, "linux.personality", "domain", true, &domain, context->err);
  if (rc < 0) return rc;
  if (strcmp(domain, "LINUX") == 0) return 0;
  if (strcmp(domain, "LINUX32") != 0)
    return CONFIG_FAIL(context->err, EINVAL, "linux.personality.domain: '%s' is not LINUX or LINUX32", domain);
  PROCESS.personality = PER_LINUX32;
  return 0;
}

static int memory_mode(struct config_context *context, const cJSON *policy, uint32_t *out) {
  static const struct word modes[] = {{"MPOL_DEFAULT", 0},
                                      {"MPOL_PREFERRED", 1},
                                      {"MPOL_BIND", 2},
                                      {"MPOL_INTERLEAVE", 3},
                                      {"MPOL_LOCAL", 4},
                                      {"MPOL_PREFERRED_MANY", 5},
                                      {"MPOL_WEIGHTED_INTERLEAVE", 6},
                                      {NULL, 0}};
  static const struct word flags[] = {{"MPOL_F_NUMA_BALANCING", 1 << 13},
                                      {"MPOL_F_RELATIVE_NODES", 1 << 14},
                                      {"MPOL_F_STATIC_NODES", 1 << 15},
                                      {NULL, 0}};
  const cJSON *item, *given = json_member(policy, "flags");
  const char *name;
  int rc = json_string(policy, "linux.memoryPolicy", "mode", true, &name, context->err);
  if (rc < 0) return rc;
  int64_t mode = value_of(modes, name);
  if (mode < 0) return CONFIG_FAIL(context->err, EINVAL, "linux.memoryPolicy.mode: '%s' is not a mode", name);
  if (given != NULL && !cJSON_IsArray(given))
    return CONFIG_FAIL(context->err, EINVAL, "linux.memoryPolicy.flags: not an array");
  cJSON_ArrayForEach(item, given) {
    int64_t flag = cJSON_IsString(item) ? value_of(flags, item->valuestring) : -1;
    if (flag < 0) return CONFIG_FAIL(context->err, EINVAL, "linux.memoryPolicy.flags: not a flag");
    mode |= flag;
  }
  *out = (uint32_t)mode;
  return 0;
}

/* Which modes go with which nodes and flags is the kernel's to say. */
static int compile_memory_policy(struct config_context *context, const cJSON *linux_config) {
  static const char *const allowed[] = {"mode", "nodes", "flags", NULL};
  const cJSON *policy = json_member(linux_config, "memoryPolicy");
  struct plan_memory_policy out = {.given = 1};
  const char *nodes = NULL;
  if (policy == NULL || (cJSON_IsObject(policy) && policy->child == NULL)) return 0;
  int rc = json_only(policy, "linux.memoryPolicy", allowed, context->err);
  if (rc == 0) rc = memory_mode(context, policy, &out.mode);
  if (rc == 0) rc = json_string(policy, "linux.memoryPolicy", "nodes", false, &nodes, context->err);
  if (rc == 0 && nodes != NULL)
    rc = compile_numbers(context, nodes, "linux.memoryPolicy.nodes", out.nodes, PLAN_NODES_MAX);
  if (rc == 0) PROCESS.memory_policy = out;
  return rc;
}

int config_every_process(struct config_context *context, const cJSON *linux_config) {
  int rc = compile_personality(context, linux_config);
  return rc < 0 ? rc : compile_memory_policy(context, linux_config);
}

/* When and where a process runs. */
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "monitor/monitor.h"

#define IOPRIO_PROCESS 1

/* linux/sched/types.h, as of Linux 3.14: what came later has no place in a config. */
struct attributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};

int schedule_apply(const struct plan *plan, pid_t pid, struct shoal_error *err) {
  const struct plan_scheduler *wanted = &plan->process.scheduler;
  const struct attributes attributes = {.size = sizeof attributes,
                                        .policy = wanted->policy,
                                        .flags = wanted->flags,
                                        .nice = wanted->nice,
                                        .priority = wanted->priority,
                                        .runtime = wanted->runtime_ns,
                                        .deadline = wanted->deadline_ns,
                                        .period = wanted->period_ns};
  if (wanted->given && syscall(SYS_sched_setattr, pid, &attributes, 0) < 0)
    return shoal_fail(err, errno, "scheduler", "policy %u", wanted->policy);
  if (plan->process.io_priority != 0 && syscall(SYS_ioprio_set, IOPRIO_PROCESS, pid, plan->process.io_priority) < 0)
    return shoal_fail(err, errno, "ioPriority", "class %u", plan->process.io_priority >> 13);
  return 0;
}

int schedule_on(const struct plan_cpus *cpus, struct shoal_error *err) {
  if (!cpus->given || syscall(SYS_sched_setaffinity, 0, sizeof cpus->bits, cpus->bits) >= 0) return 0;
  return shoal_fail(err, errno, "execCPUAffinity", "no such CPU");
}

/* The kernel takes no more than the nodes of the process's cpuset, whose numbers they are. */
static int set_memory_policy(const struct plan_memory_policy *policy, struct shoal_error *err) {
  bool named = false;
  for (size_t i = 0; i < sizeof policy->nodes / sizeof policy->nodes[0]; i++)
    named = named || policy->nodes[i] != 0;
  const uint64_t *nodes = named ? policy->nodes : NULL;
  /* The kernel's count is one less than what it is told. */
  if (syscall(SYS_set_mempolicy, (int)policy->mode, nodes, named ? PLAN_NODES_MAX + 1 : 0) >= 0) return 0;
  return shoal_fail(err, errno, "memoryPolicy", "mode %#x", policy->mode);
}

int schedule_process(const struct plan *plan, struct shoal_error *err) {
  const struct plan_process *process = &plan->process;
  if (process->personality != 0 && personality(process->personality) < 0)
    return shoal_fail(err, errno, "personality", "%u", process->personality);
  return process->memory_policy.given ? set_memory_policy(&process->memory_policy, err) : 0;
}

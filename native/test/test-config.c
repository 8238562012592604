#include <errno.h>
#include <linux/audit.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf.h"
#include "cgroup.h"
#include "check.h"
#include "config.h"
#include "seccomp-filter.h"

static struct plan_builder builder;
static struct shoal_error err;

static int compile_json(const cJSON *config) {
  static const char *const controllers[] = {"memory", "pids", NULL};
  struct config_context context = {.builder = &builder, .cgroup_mounts = controllers, .err = &err};
  memset(&err, 0, sizeof err);
  plan_builder_free(&builder);
  CHECK_INT(plan_builder_init(&builder), 0);
  return config_compile(&context, config);
}

static int compile(const char *text) {
  cJSON *config = cJSON_Parse(text);
  CHECK(config != NULL);
  int rc = compile_json(config);
  cJSON_Delete(config);
  return rc;
}

#define PROCESS "\"process\":{\"args\":[\"/bin/x\",\"-y\"],\"cwd\":\"/\",\"user\":{\"uid\":7,\"gid\":8}"
#define LINUX "\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\"},{\"type\":\"uts\"}]"
#define MINIMAL PROCESS "}," LINUX "}"

static const char *string(uint32_t offset) { return plan_string(plan_builder_head(&builder), offset); }

static void a_minimal_config(void) {
  CHECK_INT(compile("{" MINIMAL "}"), 0);
  const struct plan *plan = plan_builder_head(&builder);
  const uint32_t *args = plan_items(plan, plan->process.args);
  CHECK_INT(plan->process.args.count, 2);
  CHECK_STR(string(args[1]), "-y");
  CHECK_INT(plan->process.uid, 7);
  CHECK_INT(plan->process.umask, 022);
  CHECK_INT(plan->namespaces, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS);
  CHECK_INT(plan->devices.count, 6);
  CHECK_INT(plan->symlinks.count, 5);
  CHECK_INT(plan->process.seccomp.count, 0);
}

static void expect_refusal(const char *text, int code, const char *detail) {
  CHECK_INT(compile(text), -code);
  CHECK_STR(err.step, "config");
  CHECK_STR(err.detail, detail);
}

static void what_is_not_implemented_is_refused(void) {
  expect_refusal("{" MINIMAL ",\"hooks\":{\"poststop\":[{}]}}", ENOTSUP, "hooks is not supported");
  expect_refusal("{" PROCESS ",\"scheduler\":{\"policy\":\"x\"}}," LINUX "}}", ENOTSUP,
                 "process.scheduler.policy: 'x' is not supported");
  expect_refusal("{" PROCESS "}," LINUX ",\"intelRdt\":{\"a\":1}}}", ENOTSUP, "linux.intelRdt is not supported");
  expect_refusal("{" PROCESS "},\"linux\":{\"namespaces\":[{\"type\":\"space\"}]}}", ENOTSUP,
                 "linux.namespaces: type 'space' is not supported");
  expect_refusal("{" MINIMAL ",\"mounts\":[{\"destination\":\"/a\",\"type\":\"tmpfs\",\"options\":[\"remount\"]}]}",
                 ENOTSUP, "mounts[].options: 'remount' is not supported");
  expect_refusal("{" PROCESS "},\"linux\":{\"namespaces\":[{\"type\":\"mount\"}],\"sysctl\":{\"net.a\":\"1\"}}}",
                 EINVAL, "linux.sysctl: 'net.a' is not the container's own");
  CHECK_INT(compile("{" PROCESS ",\"terminal\":false}," LINUX "},\"hooks\":{}}"), 0);
}

static void a_terminal(void) {
  const char *size = ",\"consoleSize\":{\"height\":24,\"width\":80}";
  char text[512];
  (void)snprintf(text, sizeof text, "{" PROCESS ",\"terminal\":true%s}," LINUX "}}", size);
  CHECK_INT(compile(text), 0);
  const struct plan *plan = plan_builder_head(&builder);
  CHECK_INT(plan->stream_flags, PLAN_TERMINAL);
  CHECK_INT(plan->terminal_rows, 24);
  CHECK_INT(plan->terminal_columns, 80);
  expect_refusal("{" PROCESS ",\"consoleSize\":{\"height\":65536}}," LINUX "}}", ERANGE,
                 "process.consoleSize: out of range");
}

static void malformed_configs_are_errors(void) {
  static const char *const bad[] = {
      "{}",
      "[]",
      "{\"process\":7}",
      "{" LINUX "}}",
      "{" PROCESS "}}",
      "{\"process\":{\"args\":[],\"cwd\":\"/\"}," LINUX "}}",
      "{\"process\":{\"args\":[1],\"cwd\":\"/\"}," LINUX "}}",
      "{\"process\":{\"args\":[\"a\"],\"cwd\":\"relative\"}," LINUX "}}",
      "{" PROCESS ",\"capabilities\":{\"bounding\":[\"CAP_NONSENSE\"]}}," LINUX "}}",
      "{" PROCESS ",\"rlimits\":[{\"type\":\"RLIMIT_X\",\"soft\":1,\"hard\":1}]}," LINUX "}}",
      "{" MINIMAL ",\"mounts\":[{\"destination\":\"/a\"}]}",
      "{" MINIMAL ",\"mounts\":[{\"destination\":\"a\",\"type\":\"tmpfs\"}]}",
      "{" MINIMAL ",\"mounts\":[{\"destination\":\"/a\",\"type\":\"bind\",\"source\":\"b\"}]}",
      "{" MINIMAL
      ",\"mounts\":[{\"destination\":\"/a\",\"type\":\"bind\",\"source\":\"/b\",\"options\":[\"size=1\"]}]}",
      "{" MINIMAL ",\"mounts\":[{\"destination\":\"/a\",\"type\":\"tmpfs\",\"options\":[1]}]}",
      "{" MINIMAL ",\"mounts\":{}}",
      "{" PROCESS "},\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"mount\"}]}}",
      "{" PROCESS "}," LINUX ",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}}}",
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    CHECK(compile(bad[i]) < 0);
    CHECK(err.detail[0] != '\0');
  }
}

/* Something of everything. */
static const char everything[] =
    "{\"ociVersion\":\"1.1.0\",\"hostname\":\"h\",\"root\":{\"path\":\"r\",\"readonly\":true},\"process\":{\"args\":["
    "\"a\"],"
    "\"env\":[\"A=1\"],\"cwd\":\"/"
    "\",\"user\":{\"uid\":1,\"gid\":2,\"umask\":18,\"additionalGids\":[3]},\"oomScoreAdj\":5,"
    "\"scheduler\":{\"policy\":\"SCHED_DEADLINE\",\"nice\":-1,\"flags\":[\"SCHED_FLAG_RECLAIM\"],\"runtime\":1},"
    "\"ioPriority\":{\"class\":\"IOPRIO_CLASS_RT\",\"priority\":7},"
    "\"execCPUAffinity\":{\"initial\":\"0-1,1023\",\"final\":\"64\"},\"noNewPrivileges\":true,\"capabilities\":{"
    "\"bounding\":[\"CAP_KILL\"]},"
    "\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":0,\"hard\":0}]},"
    "\"mounts\":[{\"destination\":\"/p\",\"type\":\"proc\",\"source\":\"proc\",\"options\":[\"nosuid\",\"a=b\"]}],"
    "\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"uts\"},{\"type\":\"network\",\"path\":\"/n\"}],"
    "\"sysctl\":{\"net.a.b\":\"1\"},\"cgroupsPath\":\"/c\",\"maskedPaths\":[\"/m\"],\"readonlyPaths\":[\"/o\"],"
    "\"devices\":[{\"path\":\"/dev/x\",\"type\":\"c\",\"major\":1,\"minor\":2,\"fileMode\":438,\"uid\":0,\"gid\":0}],"
    "\"resources\":{\"memory\":{\"limit\":1},\"cpu\":{\"quota\":1,\"burst\":1,\"idle\":1},\"pids\":{\"limit\":1},"
    "\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":1}],\"rdma\":{\"m\":{\"hcaHandles\":1}},"
    "\"unified\":{\"memory.high\":\"1\"},\"devices\":[{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":2,"
    "\"access\":\"r\"}]},"
    "\"memoryPolicy\":{\"mode\":\"MPOL_BIND\",\"nodes\":\"0-1,65\",\"flags\":[\"MPOL_F_STATIC_NODES\"]},"
    "\"personality\":{\"domain\":\"LINUX32\"},\"rootfsPropagation\":\"rshared\",\"seccomp\":{\"defaultAction\":\"SCMP_"
    "ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_"
    "X86_64\"],"
    "\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":1,"
    "\"args\":[{\"index\":0,\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]}]}}}";

/* The node with this number in reading order, or NULL; *count counts them. */
static cJSON *find_node(cJSON *node, int wanted, int *count) {
  for (cJSON *child = node->child; child != NULL; child = child->next) {
    if ((*count)++ == wanted) return child;
    cJSON *found = find_node(child, wanted, count);
    if (found != NULL) return found;
  }
  return NULL;
}

static cJSON *parent_of(cJSON *node, const cJSON *child) {
  for (cJSON *one = node->child; one != NULL; one = one->next) {
    if (one == child) return node;
    cJSON *found = parent_of(one, child);
    if (found != NULL) return found;
  }
  return NULL;
}

static void schedules_are_numbers(void) {
  static const char *const bad[] = {
      "\"scheduler\":7",
      "\"scheduler\":{\"nice\":1}",
      "\"scheduler\":{\"policy\":\"SCHED_ISO\"}",
      "\"scheduler\":{\"policy\":\"SCHED_OTHER\",\"nice\":20}",
      "\"scheduler\":{\"policy\":\"SCHED_OTHER\",\"flags\":7}",
      "\"scheduler\":{\"policy\":\"SCHED_OTHER\",\"flags\":[\"X\"]}",
      "\"ioPriority\":{\"class\":\"IOPRIO_CLASS_NONE\"}",
      "\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BE\",\"priority\":8}",
      "\"execCPUAffinity\":{\"final\":\"1024\"}",
      "\"execCPUAffinity\":{\"final\":\"3-1\"}",
      "\"execCPUAffinity\":{\"final\":\"-1\"}",
      "\"execCPUAffinity\":{\"initial\":\"1;2\"}",
  };
  static const char *const bad_policies[] = {"7",
                                             "{\"nodes\":\"0\"}",
                                             "{\"mode\":\"BIND\"}",
                                             "{\"mode\":\"MPOL_BIND\",\"nodes\":\"1024\"}",
                                             "{\"mode\":\"MPOL_BIND\",\"flags\":[\"MPOL_F_X\"]}",
                                             "{\"mode\":\"MPOL_BIND\",\"flags\":\"x\"}"};
  CHECK_INT(compile(everything), 0);
  const struct plan_process *process = &plan_builder_head(&builder)->process;
  CHECK_INT(process->scheduler.policy, 6);
  CHECK_INT(process->scheduler.nice, -1);
  CHECK_INT(process->scheduler.flags, 2);
  CHECK_INT(process->scheduler.runtime_ns, 1);
  CHECK_INT(process->io_priority, 1 << 13 | 7);
  CHECK(process->initial_cpus.given && process->initial_cpus.bits[0] == 3 &&
        process->initial_cpus.bits[15] == 1ull << 63);
  CHECK(process->final_cpus.bits[0] == 0 && process->final_cpus.bits[1] == 1);
  CHECK_INT(process->personality, 8);
  CHECK_INT(process->memory_policy.mode, 1 << 15 | 2);
  CHECK(process->memory_policy.nodes[0] == 3 && process->memory_policy.nodes[1] == 2);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    char text[1024];
    (void)snprintf(text, sizeof text, "{" PROCESS ",%s}," LINUX "}}", bad[i]);
    CHECK(compile(text) < 0);
  }
  for (size_t i = 0; i < sizeof bad_policies / sizeof bad_policies[0]; i++) {
    char text[1024];
    (void)snprintf(text, sizeof text, "{" PROCESS "}," LINUX ",\"memoryPolicy\":%s}}", bad_policies[i]);
    CHECK(compile(text) < 0);
  }
}

/* Each member in turn becomes something of another type. None may crash (the sanitizers watch). */
static void no_shape_crashes(void) {
  static const char *const shapes[] = {"null", "true", "-7",      "1e300", "\"x\"",
                                       "[]",   "[7]",  "[\"x\"]", "{}",    "{\"x\":[{}]}"};
  CHECK_INT(compile(everything), 0);
  int refused = 0;
  for (int wanted = 0;; wanted++) {
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
      struct cgroup_limits limits;
      int count = 0;
      cJSON *config = cJSON_Parse(everything);
      cJSON *node = find_node(config, wanted, &count);
      if (node == NULL) {
        cJSON_Delete(config);
        CHECK(wanted > 80 && refused > wanted);
        return;
      }
      cJSON *shape = cJSON_Parse(shapes[i]);
      cJSON *parent = parent_of(config, node);
      if (node->string != NULL) {
        CHECK(cJSON_ReplaceItemInObjectCaseSensitive(parent, node->string, shape));
      } else {
        CHECK(cJSON_ReplaceItemViaPointer(parent, node, shape));
      }
      const cJSON *linux_config = json_member(config, "linux");
      refused +=
          compile_json(config) < 0 || cgroup_limits_parse(json_member(linux_config, "resources"),
                                                          json_member(linux_config, "devices"), &limits, &err) < 0;
      cJSON_Delete(config);
    }
  }
}

static void capabilities_and_limits(void) {
  CHECK_INT(compile("{" PROCESS ",\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_CHECKPOINT_RESTORE\"]},"
                    "\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":1024,\"hard\":18446744073709551615}]}," LINUX
                    "}}"),
            0);
  const struct plan *plan = plan_builder_head(&builder);
  CHECK(plan->process.capabilities.bounding == ((1ull << 40) | 1));
  const struct plan_rlimit *limit = plan_items(plan, plan->process.rlimits);
  CHECK_INT(limit->resource, RLIMIT_NOFILE);
  CHECK_INT(limit->soft, 1024);
  CHECK(limit->hard == RLIM_INFINITY);
}

static void mounts_keep_their_order(void) {
  CHECK_INT(compile("{" MINIMAL ",\"mounts\":["
                    "{\"destination\":\"/proc\",\"type\":\"proc\"},"
                    "{\"destination\":\"/c\",\"type\":\"cgroup\",\"source\":\"cgroup\",\"options\":[\"ro\"]},"
                    "{\"destination\":\"/b\",\"source\":\"/s\",\"options\":[\"rbind\",\"ro\",\"rslave\"]}]}"),
            0);
  const struct plan *plan = plan_builder_head(&builder);
  const struct plan_mount *mounts = plan_items(plan, plan->mounts);
  CHECK_INT(plan->mounts.count, 6);
  CHECK_INT(mounts[0].flags, PLAN_MOUNT_NO_SYMLINK);
  CHECK_STR(string(mounts[1].fstype), "tmpfs");
  CHECK_INT(mounts[1].attr_set & 1, 0);
  CHECK_STR(string(mounts[2].target), "/c/memory");
  CHECK_INT(mounts[2].attr_set & 1, 1);
  CHECK_INT(mounts[4].flags, PLAN_MOUNT_SETATTR);
  CHECK_INT(mounts[5].flags, PLAN_MOUNT_BIND | PLAN_MOUNT_RECURSIVE);
  CHECK_INT(mounts[5].attr_set & 1, 1);
  CHECK_INT(mounts[5].propagation, 1 << 19);
}

static void own_v1_cgroups_are_bound(void) {
  static const char *const controllers[] = {"memory", NULL};
  struct cgroup_set set = {.count = 1, .dirs = {{.controller = "memory", .path = "/cg/memory/x"}}};
  struct config_context context = {
      .builder = &builder, .cgroup_mounts = controllers, .cgroup_binds = &set, .err = &err};
  plan_builder_free(&builder);
  CHECK_INT(plan_builder_init(&builder), 0);
  cJSON *mounts = cJSON_Parse("[{\"destination\":\"/c\",\"type\":\"cgroup\",\"options\":[\"ro\"]}]");
  CHECK_INT(config_mounts(&context, mounts), 0);
  cJSON_Delete(mounts);
  const struct plan *plan = plan_builder_head(&builder);
  const struct plan_mount *items = plan_items(plan, plan->mounts);
  CHECK_INT(plan->mounts.count, 3);
  CHECK_INT(items[1].flags, PLAN_MOUNT_BIND);
  CHECK_STR(string(items[1].source), "/cg/memory/x");
  CHECK_STR(string(items[1].target), "/c/memory");
  CHECK_INT(items[1].options.count, 0);
  CHECK_INT(items[1].attr_set & 1, 1);
}

static void the_plan_is_sealed(void) {
  CHECK_INT(compile("{" MINIMAL "}"), 0);
  int fd = plan_builder_finish(&builder, &err);
  CHECK(fd >= 0);
  CHECK(write(fd, "x", 1) < 0 && errno == EPERM);
  struct plan head;
  CHECK_INT(pread(fd, &head, sizeof head, 0), sizeof head);
  CHECK_INT(head.magic, PLAN_MAGIC);
  CHECK_INT(lseek(fd, 0, SEEK_END), head.size);
  close(fd);
}

static uint32_t run_filter(const struct seccomp_filter *filter, struct seccomp_data data) {
  return bpf_run(filter->instructions, filter->count, &data, NULL);
}

#if defined(__x86_64__)
static const uint32_t native_arch = AUDIT_ARCH_X86_64;
#else
static const uint32_t native_arch = AUDIT_ARCH_AARCH64;
#endif

static uint32_t verdict(const struct seccomp_filter *filter, int number, uint64_t first) {
  return run_filter(filter, (struct seccomp_data){.nr = number, .arch = native_arch, .args = {first}});
}

static uint32_t verdict2(const struct seccomp_filter *filter, int number, uint64_t second) {
  struct seccomp_data data = {.nr = number, .arch = native_arch, .args = {3, second}};
  return run_filter(filter, data);
}

/* What takes files out of a project is refused whatever the profile says, by each way into the kernel; nothing else is.
 */
static void projects_are_kept(void) {
  static const char allow_all[] = "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"keepsProjects\":true}";
  static const char deny_all[] = "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":7,\"keepsProjects\":true}";
  static const uint64_t moves[] = {FS_IOC_FSSETXATTR, FS_IOC_SETFLAGS, FS_IOC32_SETFLAGS};
  struct seccomp_filter *open_filter, *closed;
  CHECK_INT(seccomp_filter_get(allow_all, &open_filter, &err), 0);
  CHECK_INT(seccomp_filter_get(deny_all, &closed, &err), 0);
  for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++) {
    const uint64_t high = moves[i] | 0xabcdef0100000000u; /* the kernel takes the low half */
    CHECK_INT(verdict2(open_filter, SYS_ioctl, moves[i]), SECCOMP_RET_ERRNO | EPERM);
    CHECK_INT(verdict2(open_filter, SYS_ioctl, high), SECCOMP_RET_ERRNO | EPERM);
    CHECK_INT(verdict2(open_filter, SYS_write, moves[i]), SECCOMP_RET_ALLOW);
    CHECK_INT(verdict2(closed, SYS_write, moves[i]), SECCOMP_RET_ERRNO | 7);
  }
  CHECK_INT(verdict2(open_filter, SYS_ioctl, FS_IOC_GETFLAGS), SECCOMP_RET_ALLOW);
  CHECK_INT(verdict2(open_filter, SYS_read, 5), SECCOMP_RET_ALLOW);
  CHECK_INT(verdict2(open_filter, 469, 0), SECCOMP_RET_ERRNO | ENOSYS); /* file_setattr(2) */
#if defined(__x86_64__)
  struct seccomp_data call = {.nr = 54, .arch = AUDIT_ARCH_I386, .args = {3, FS_IOC32_SETFLAGS}};
  CHECK_INT(run_filter(open_filter, call), SECCOMP_RET_ERRNO | EPERM);
  call = (struct seccomp_data){.nr = (int)(0x40000000u | 514), .arch = AUDIT_ARCH_X86_64, .args = {3, FS_IOC_SETFLAGS}};
  CHECK((run_filter(open_filter, call) & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_ALLOW);
#endif
  seccomp_filter_put(open_filter);
  seccomp_filter_put(closed);
}

static void filters_do_what_profiles_say(void) {
  static const char profile[] = "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":["
                                "{\"names\":[\"read\",\"no_such_call\"],\"action\":\"SCMP_ACT_ALLOW\"},"
                                "{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":"
                                "[{\"index\":0,\"value\":2114060288,\"valueTwo\":0,\"op\":\"SCMP_CMP_MASKED_EQ\"}]},"
                                "{\"names\":[\"clone3\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38}]}";
  struct seccomp_filter *filter, *again;
  CHECK_INT(seccomp_filter_get(profile, &filter, &err), 0);
  CHECK_INT(verdict(filter, SYS_read, 0), SECCOMP_RET_ALLOW);
  CHECK_INT(verdict(filter, SYS_mount, 0), SECCOMP_RET_ERRNO | EPERM);
  CHECK_INT(verdict(filter, SYS_clone, 0x11), SECCOMP_RET_ALLOW);
  CHECK_INT(verdict(filter, SYS_clone, 0x11 | CLONE_NEWNET), SECCOMP_RET_ERRNO | EPERM);
  CHECK_INT(verdict(filter, SYS_clone3, 0), SECCOMP_RET_ERRNO | ENOSYS);
  CHECK_INT(verdict(filter, 999, 0), SECCOMP_RET_ERRNO | ENOSYS);
  CHECK_INT(seccomp_filter_get(profile, &again, &err), 0);
  CHECK(again == filter);
  seccomp_filter_put(again);
  seccomp_filter_put(filter);
  CHECK_INT(seccomp_filter_get("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\","
                               "\"SECCOMP_FILTER_FLAG_TSYNC\"]}",
                               &filter, &err),
            0);
  CHECK_INT(filter->flags, SECCOMP_FILTER_FLAG_LOG);
  seccomp_filter_put(filter);
  CHECK_INT(seccomp_filter_get("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"X\"]}", &filter, &err), -ENOTSUP);
  CHECK_INT(seccomp_filter_get("{", &filter, &err), -EINVAL);
  CHECK_INT(seccomp_filter_get("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/x\"}", &filter, &err),
            -ENOTSUP);
}

int main(void) {
  a_minimal_config();
  what_is_not_implemented_is_refused();
  a_terminal();
  malformed_configs_are_errors();
  schedules_are_numbers();
  no_shape_crashes();
  capabilities_and_limits();
  mounts_keep_their_order();
  own_v1_cgroups_are_bound();
  the_plan_is_sealed();
  filters_do_what_profiles_say();
  projects_are_kept();
  plan_builder_free(&builder);
  return 0;
}

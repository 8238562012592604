/* Containers on a host that has nothing but cgroup v2, with every controller: what the back-end promises, asked of the
 * kernel. For the virtual machine of test/vm, as root, alone on the machine: it makes cgroups in the root.
 *   vm-cgroup-v2 MONITOR    prints a line of TAP for each test; each runs in a process of its own */
#include <sched.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>

#include "box.h"
#include "cgroup.h"

static void the_host_is_pure_v2_with_every_controller(void) {
  static const char *const controllers[] = {"cpuset", "cpu", "io", "memory", "hugetlb", "pids"};
  const struct cgroup_layout *layout = cgroup_layout_host();
  CHECK_INT(layout->v1_count, 0);
  CHECK_STR(layout->v2, ROOT);
  CHECK(cgroup_backend_for(layout) == &cgroup_v2);
  for (size_t i = 0; i < sizeof controllers / sizeof controllers[0]; i++)
    CHECK(has_word(ROOT, "cgroup.controllers", controllers[i]));
}

static void controllers_are_enabled_down_to_the_container(void) {
  static const char *const controllers[] = {"cpuset", "cpu", "io", "memory", "pids"};
  struct box box = {.pid = -1};
  create(&box, "{}", "sleep 1000");
  for (size_t i = 0; i < sizeof controllers / sizeof controllers[0]; i++) {
    CHECK(has_word(ROOT, "cgroup.subtree_control", controllers[i]));
    CHECK(has_word(ROOT "/shoal-vm", "cgroup.subtree_control", controllers[i]));
    CHECK(has_word(ROOT PARENT, "cgroup.subtree_control", controllers[i]));
    CHECK(has_word(box.cgroup, "cgroup.controllers", controllers[i]));
  }
  CHECK_FILE(box.cgroup, "cgroup.subtree_control", "");
  discard(&box);
}

/* Somebody, systemd or an administrator, made the parent, and enabled nothing in it. */
static void a_parent_without_controllers_gets_them(void) {
  struct box box = {.pid = -1};
  CHECK_INT(mkdir(ROOT "/shoal-vm-bare", 0755), 0);
  CHECK(create_in(&box, "/shoal-vm-bare", "{\"memory\":{\"limit\":33554432},\"pids\":{\"limit\":9}}", "exit 0") > 0);
  CHECK_FILE(box.cgroup, "memory.max", "33554432");
  CHECK_FILE(box.cgroup, "pids.max", "9");
  discard(&box);
  CHECK_INT(rmdir(ROOT "/shoal-vm-bare"), 0);
}

/* The container is in its cgroup before it runs, sees that as the root, cannot write there, and its exit is kept. */
static void a_container_lives_and_ends_in_its_cgroup(void) {
  struct box box = {.pid = -1};
  char directory[64], text[TEXT_MAX], expected[512];
  create(&box, "{}",
         "cat /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs; ls /sys/fs/cgroup | grep -c memory.max; "
         "mkdir /sys/fs/cgroup/x 2>/dev/null || echo read-only; exit 42");
  (void)snprintf(directory, sizeof directory, "/proc/%d", box.pid);
  (void)snprintf(expected, sizeof expected, "0::%s", box.cgroup + strlen(ROOT));
  CHECK_FILE(directory, "cgroup", expected);
  start(&box);
  finish(&box, text);
  CHECK(strstr(text, "\"exitCode\":42,\"oomKilled\":false") != NULL);
  CHECK_LOG(&box, "stdout F 0::/\n");
  CHECK_LOG(&box, "stdout F 1\n");
  CHECK_LOG(&box, "stdout F read-only");
  discard(&box);
}

static void limits_are_written_as_v2_has_them(void) {
  struct box box = {.pid = -1};
  create(&box,
         "{\"memory\":{\"limit\":67108864,\"swap\":100663296,\"reservation\":16777216},\"pids\":{\"limit\":17},"
         "\"cpu\":{\"shares\":1024,\"quota\":150000,\"period\":50000,\"cpus\":\"1\",\"mems\":\"0\"}}",
         "grep Cpus_allowed_list /proc/self/status");
  CHECK_FILE(box.cgroup, "memory.max", "67108864");
  CHECK_FILE(box.cgroup, "memory.swap.max", "33554432"); /* OCI's counts memory too */
  CHECK_FILE(box.cgroup, "memory.low", "16777216");
  CHECK_FILE(box.cgroup, "pids.max", "17");
  CHECK_FILE(box.cgroup, "cpu.weight", "39");
  CHECK_FILE(box.cgroup, "cpu.max", "150000 50000");
  CHECK_FILE(box.cgroup, "cpuset.cpus.effective", "1");
  CHECK_FILE(box.cgroup, "cpuset.mems", "0");
  start(&box);
  char state[TEXT_MAX];
  finish(&box, state);
  CHECK_LOG(&box, "Cpus_allowed_list:\t1\n");
  discard(&box);
}

/* The machine has no disk, so there is nothing to limit the rate of. */
static void a_weight_of_block_devices_is_written(void) {
  struct box box = {.pid = -1};
  create(&box, "{\"blockIO\":{\"weight\":505}}", "exit 0");
  CHECK_FILE(box.cgroup, "io.weight", "default 5000");
  discard(&box);
  CHECK_INT(create_in(&box, PARENT,
                      "{\"blockIO\":{\"throttleReadBpsDevice\":[{\"major\":4095,\"minor\":1,\"rate\":9}]}}", "exit 0"),
            -ENODEV);
  CHECK(strstr(err.detail, "4095:1 rbps=9") != NULL);
  CHECK(!exists(box.cgroup));
}

/* Huge pages need a controller that nothing had asked for before. The machine has no RDMA device. */
static void limits_by_name_are_written(void) {
  struct box box = {.pid = -1};
  create(&box,
         "{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":4194304}],"
         "\"cpu\":{\"quota\":50000,\"period\":100000,\"burst\":20000,\"idle\":1},"
         "\"unified\":{\"memory.high\":\"33554432\",\"cgroup.max.descendants\":\"7\"}}",
         "exit 0");
  CHECK_FILE(box.cgroup, "hugetlb.2MB.max", "4194304");
  CHECK_FILE(box.cgroup, "hugetlb.2MB.rsvd.max", "4194304");
  CHECK_FILE(box.cgroup, "cpu.max.burst", "20000");
  CHECK_FILE(box.cgroup, "cpu.idle", "1");
  CHECK_FILE(box.cgroup, "memory.high", "33554432");
  CHECK_FILE(box.cgroup, "cgroup.max.descendants", "7");
  discard(&box);
  CHECK(create_in(&box, PARENT, "{\"memory\":{\"swappiness\":10}}", "exit 0") < 0);
  CHECK(strstr(err.detail, "swappiness: cgroup v2 has none") != NULL);
  CHECK(create_in(&box, PARENT, "{\"unified\":{\"memory.nothing\":\"1\"}}", "exit 0") < 0);
  CHECK(strstr(err.detail, "memory.nothing") != NULL);
}

static void no_limit_is_max(void) {
  struct box box = {.pid = -1};
  create(&box,
         "{\"memory\":{\"limit\":67108864,\"swap\":-1},\"pids\":{\"limit\":-1},\"cpu\":{\"quota\":-1,"
         "\"period\":100000,\"shares\":2}}",
         "exit 0");
  CHECK_FILE(box.cgroup, "memory.swap.max", "max");
  CHECK_FILE(box.cgroup, "pids.max", "max");
  CHECK_FILE(box.cgroup, "cpu.max", "max 100000");
  CHECK_FILE(box.cgroup, "cpu.weight", "1");
  discard(&box);
}

static void a_refused_limit_is_named_and_leaves_nothing(void) {
  struct box box = {.pid = -1};
  CHECK_INT(create_in(&box, PARENT, "{\"cpu\":{\"quota\":1,\"period\":100000}}", "exit 0"), -EINVAL);
  CHECK(strstr(err.detail, "'1 100000'") != NULL && strstr(err.detail, "cpu.max") != NULL);
  CHECK(!exists(box.cgroup));
  CHECK(!exists(box.run_dir));
  CHECK_INT(create_in(&box, PARENT, "{\"cpu\":{\"cpus\":\"x\"}}", "exit 0"), -EINVAL);
  CHECK(!exists(box.cgroup));
}

static void a_memory_limit_kills_and_is_recorded(void) {
  struct box box = {.pid = -1};
  char state[TEXT_MAX];
  run(&box, "{\"memory\":{\"limit\":16777216,\"swap\":16777216}}", "exec dd if=/dev/zero of=/dev/null bs=64M count=1",
      state);
  CHECK(strstr(state, "\"exitCode\":137,\"oomKilled\":true,\"signal\":9") != NULL);
  CHECK(field(box.cgroup, "memory.events", "oom_kill") == 1);
  discard(&box);
}

static void another_kill_is_not_taken_for_one_of_memory(void) {
  struct box box = {.pid = -1};
  char text[TEXT_MAX];
  create(&box, "{\"memory\":{\"limit\":16777216,\"swap\":16777216}}", "sleep 1000");
  start(&box);
  ask(&box, "kill 9", text);
  CHECK_STR(text, "ok\n");
  finish(&box, text);
  CHECK(strstr(text, "\"exitCode\":137,\"oomKilled\":false,\"signal\":9") != NULL);
  discard(&box);
}

static void a_pids_limit_refuses_the_next_process(void) {
  struct box box = {.pid = -1};
  create(&box, "{\"pids\":{\"limit\":4}}",
         "for i in 1 2 3 4 5 6 7; do sleep 1000 & done; echo all of them; exec sleep 1000");
  start(&box);
  char state[TEXT_MAX];
  finish(&box, state);
  CHECK(!log_has(&box, "all of them"));
  CHECK_LOG(&box, "fork");
  CHECK(field(box.cgroup, "pids.events", "max") > 0);
  discard(&box);
}

static void a_cpu_quota_throttles(void) {
  struct box limited = {.pid = -1}, free_box = {.pid = -1};
  char text[TEXT_MAX];
  create(&limited, "{\"cpu\":{\"quota\":10000,\"period\":100000}}", "while :; do :; done");
  CHECK_FILE(limited.cgroup, "cpu.max", "10000 100000");
  start(&limited);
  UNTIL(field(limited.cgroup, "cpu.stat", "nr_throttled") >= 5);
  CHECK(field(limited.cgroup, "cpu.stat", "throttled_usec") > 0);
  ask(&limited, "kill 9", text);
  finish(&limited, text);
  /* As much work, but no quota. */
  create(&free_box, "{}", "while :; do :; done");
  start(&free_box);
  UNTIL(field(free_box.cgroup, "cpu.stat", "usage_usec") > 50000);
  CHECK_INT(field(free_box.cgroup, "cpu.stat", "nr_throttled"), 0);
  discard(&limited);
  discard(&free_box);
}

static void devices_are_denied_but_the_usual_ones(void) {
  struct box box = {.pid = -1};
  char state[TEXT_MAX];
  const char *script = "mknod /dev/log1 c 1 11; mknod /dev/tty1 c 4 64; : > /dev/null && echo null; "
                       "(: > /dev/log1) 2>/dev/null && echo log-written; (: < /dev/log1) 2>/dev/null && echo log-read; "
                       "(: > /dev/tty1) 2>/dev/null && echo tty-written; ls /dev";
  run(&box, "{}", script, state);
  CHECK_LOG(&box, "stdout F null\n");
  CHECK_LOG(&box, "stdout F log1\n");
  CHECK(!log_has(&box, "-written") && !log_has(&box, "-read"));
  discard(&box);
  run(&box,
      "{\"devices\":[{\"allow\":false,\"access\":\"rwm\"},"
      "{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":11,\"access\":\"w\"}]}",
      script, state);
  CHECK_LOG(&box, "stdout F log-written\n");
  CHECK(!log_has(&box, "tty-written") && !log_has(&box, "log-read"));
  discard(&box);
}

static void limits_change_and_devices_stay(void) {
  struct box box = {.pid = -1};
  create(&box, "{\"memory\":{\"limit\":67108864,\"swap\":67108864}}",
         "while [ ! -e /go ]; do sleep 0.1; done; : > /dev/null && echo null");
  start(&box);
  const char *change = "{\"memory\":{\"limit\":33554432,\"swap\":50331648},\"cpu\":{\"quota\":50000,\"period\":100000},"
                       "\"pids\":{\"limit\":9}}";
  CHECK_INT(shoal_container_update(box.run_dir, change, &err), 0);
  CHECK_FILE(box.cgroup, "memory.max", "33554432");
  CHECK_FILE(box.cgroup, "memory.swap.max", "16777216");
  CHECK_FILE(box.cgroup, "cpu.max", "50000 100000");
  CHECK_FILE(box.cgroup, "pids.max", "9");
  CHECK_INT(shoal_container_update(box.run_dir, "{\"cpu\":{\"quota\":1,\"period\":100000}}", &err), -EINVAL);
  CHECK(strstr(err.detail, "cpu.max") != NULL);
  char path[128], state[TEXT_MAX];
  (void)snprintf(path, sizeof path, "/proc/%d/root/go", (int)box.pid);
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  CHECK(fd >= 0);
  close(fd);
  finish(&box, state);
  CHECK_LOG(&box, "stdout F null\n");
  discard(&box);
}

/* Runs in a pid namespace that no process of the container is in: all of them have the number 0 there, so nothing but
 * cgroup.kill can end them. */
static int remove_from_elsewhere(const char *path) {
  CHECK_INT(unshare(CLONE_NEWPID), 0);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) _exit(cgroup_remove(path, &err) == 0 ? 0 : 1);
  int status;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  return status;
}

static pid_t intrude(const char *directory) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid > 0) return pid;
  if (cgroup_write(directory, "cgroup.procs", "0", &err) < 0) _exit(1);
  for (;;)
    pause();
}

static bool is_below(pid_t pid, const char *cgroup) {
  char directory[32], text[TEXT_MAX];
  (void)snprintf(directory, sizeof directory, "/proc/%d", (int)pid);
  read_text(directory, "cgroup", text);
  return strstr(text, cgroup + strlen(ROOT)) != NULL;
}

static void removal_kills_through_cgroup_kill(void) {
  struct box box = {.pid = -1};
  char nested[160];
  int status;
  create(&box, "{}", "sleep 1000 & sleep 1000 & exec sleep 1000");
  start(&box);
  (void)snprintf(nested, sizeof nested, "%s/nested", box.cgroup);
  CHECK_INT(mkdir(nested, 0755), 0);
  pid_t pids[2] = {intrude(box.cgroup), intrude(nested)};
  for (int i = 0; i < 2; i++)
    UNTIL(is_below(pids[i], box.cgroup));
  CHECK_INT(remove_from_elsewhere(box.cgroup), 0);
  CHECK(!exists(box.cgroup));
  for (int i = 0; i < 2; i++) {
    CHECK_INT(waitpid(pids[i], &status, 0), pids[i]);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  }
  char state[TEXT_MAX];
  finish(&box, state);
  CHECK(strstr(state, "\"signal\":9") != NULL);
  discard(&box);
}

static void a_frozen_container_can_be_removed(void) {
  struct box box = {.pid = -1};
  create(&box, "{}", "while :; do :; done");
  start(&box);
  CHECK_INT(cgroup_write(box.cgroup, "cgroup.freeze", "1", &err), 0);
  UNTIL(field(box.cgroup, "cgroup.events", "frozen") == 1);
  discard(&box);
  UNTIL(kill(box.pid, 0) < 0 && errno == ESRCH); /* the first process has yet to reap it */
}

static void exec_counts_towards_the_containers_limits(void) {
  struct box box = {.pid = -1};
  char answer[TEXT_MAX];
  create(&box, "{\"memory\":{\"limit\":16777216,\"swap\":16777216}}", "exec sleep 1000");
  start(&box);
  exec_in(&box, 0, "cat /proc/self/cgroup", answer);
  CHECK(strstr(answer, "\"exitCode\":0") != NULL && strstr(answer, "0::/exec-") != NULL);
  exec_in(&box, 0, "exec dd if=/dev/zero of=/dev/null bs=64M count=1", answer);
  CHECK(strstr(answer, "\"exitCode\":137") != NULL);
  CHECK_INT(field(box.cgroup, "memory.events", "oom_kill"), 1);
  CHECK_INT(field(box.cgroup, "cgroup.stat", "nr_descendants"), 0);
  discard(&box);
}

static void what_an_exec_leaves_behind_is_killed(void) {
  struct box box = {.pid = -1};
  char answer[TEXT_MAX], expected[16];
  create(&box, "{}", "exec sleep 1000");
  start(&box);
  exec_in(&box, 1000, "setsid sleep 1000 & setsid sleep 1000 & exec sleep 1000", answer);
  CHECK(strstr(answer, "\"timedOut\":true") != NULL);
  (void)snprintf(expected, sizeof expected, "%d", box.pid);
  CHECK_FILE(box.cgroup, "cgroup.procs", expected);
  CHECK_INT(field(box.cgroup, "cgroup.stat", "nr_descendants"), 0);
  discard(&box);
}

/* Its cgroup is root's of the node, and its own root's to see alone. */
static void a_user_namespace_lives_in_its_cgroup(void) {
  struct box box = {.pid = -1};
  char state[TEXT_MAX], answer[TEXT_MAX];
  more_namespaces = ",{\"type\":\"user\"}],\"uidMappings\":[{\"containerID\":0,\"hostID\":300000,\"size\":65536}],"
                    "\"gidMappings\":[{\"containerID\":0,\"hostID\":300000,\"size\":65536}]";
  create(
      &box, "{\"pids\":{\"limit\":9}}",
      "cat /proc/self/uid_map; cat /sys/fs/cgroup/pids.max; stat -c %u /bin/busybox; echo x > /dev/null && echo null; "
      "touch /made; ls /../tests && echo out; cat /proc/self/cgroup; sleep 1");
  start(&box);
  exec_in(&box, 0, "id -u; grep -c 300000 /proc/self/uid_map", answer);
  CHECK(strstr(answer, "\n0\n1\n") != NULL);
  finish(&box, state);
  CHECK(strstr(state, "\"exitCode\":0") != NULL);
  CHECK_LOG(&box, "300000      65536");
  CHECK_LOG(&box, "stdout F 9\n");
  CHECK_LOG(&box, "stdout F 0\n");
  CHECK_LOG(&box, "stdout F null\n");
  CHECK_LOG(&box, "stdout F 0::/\n");
  CHECK(!log_has(&box, "stdout F out"));
  discard(&box);
}

/* This kernel has AppArmor on. */
static void a_profile_of_apparmor_is_asked_of_the_kernel(void) {
  struct box box = {.pid = -1};
  char state[TEXT_MAX];
  CHECK_FILE("/sys/module/apparmor/parameters", "enabled", "Y");
  more_process = ",\"apparmorProfile\":\"unconfined\"";
  run(&box, "{}", "cat /proc/self/attr/apparmor/current", state);
  CHECK_LOG(&box, "stdout F unconfined");
  discard(&box);
  more_process = ",\"apparmorProfile\":\"nosuch\"";
  CHECK_INT(create_in(&box, PARENT, "{}", "exit 0"), -ENOENT);
  CHECK_STR(err.step, "apparmor");
  CHECK_STR(err.detail, "profile nosuch");
  CHECK(!exists(box.cgroup));
  more_process = ",\"selinuxLabel\":\"a\"";
  CHECK_INT(create_in(&box, PARENT, "{}", "exit 0"), -ENOTSUP);
  CHECK_STR(err.detail, "process.selinuxLabel: this host does not have it");
}

/* test/vm/apparmor.conf: everything but to write below /denied. */
static void a_profile_confines_a_container_and_an_exec(void) {
  struct box box = {.pid = -1};
  char answer[TEXT_MAX];
  more_process = ",\"apparmorProfile\":\"shoal-vm-boxed\"";
  create(&box, "{}",
         "cat /proc/self/attr/apparmor/current; mkdir /denied /fine; echo x > /fine/f && echo written; "
         "echo x > /denied/f || echo refused; exec sleep 1000");
  start(&box);
  exec_in(&box, 0, "cat /proc/self/attr/apparmor/current; until [ -d /denied ]; do sleep 0.1; done; echo x > /denied/f",
          answer);
  CHECK(strstr(answer, "\"exitCode\":1") != NULL);
  CHECK(strstr(answer, "\nshoal-vm-boxed (enforce)\n") != NULL);
  CHECK(strstr(answer, "Permission denied") != NULL);
  UNTIL(log_has(&box, "refused"));
  CHECK_LOG(&box, "stdout F shoal-vm-boxed (enforce)\n");
  CHECK_LOG(&box, "stdout F written\n");
  CHECK_LOG(&box, "/denied/f: Permission denied\n");
  discard(&box);
}

/* A test that waits for what never comes is ended, and so not ok. */
static const struct box_test tests[] = {
    BOX_TEST(the_host_is_pure_v2_with_every_controller),
    BOX_TEST(a_parent_without_controllers_gets_them),
    BOX_TEST(controllers_are_enabled_down_to_the_container),
    BOX_TEST(a_container_lives_and_ends_in_its_cgroup),
    BOX_TEST(limits_are_written_as_v2_has_them),
    BOX_TEST(a_weight_of_block_devices_is_written),
    BOX_TEST(limits_by_name_are_written),
    BOX_TEST(no_limit_is_max),
    BOX_TEST(a_refused_limit_is_named_and_leaves_nothing),
    BOX_TEST(a_memory_limit_kills_and_is_recorded),
    BOX_TEST(another_kill_is_not_taken_for_one_of_memory),
    BOX_TEST(a_pids_limit_refuses_the_next_process),
    BOX_TEST(a_cpu_quota_throttles),
    BOX_TEST(devices_are_denied_but_the_usual_ones),
    BOX_TEST(limits_change_and_devices_stay),
    BOX_TEST(removal_kills_through_cgroup_kill),
    BOX_TEST(a_frozen_container_can_be_removed),
    BOX_TEST(exec_counts_towards_the_containers_limits),
    BOX_TEST(what_an_exec_leaves_behind_is_killed),
    BOX_TEST(a_user_namespace_lives_in_its_cgroup),
    BOX_TEST(a_profile_of_apparmor_is_asked_of_the_kernel),
    BOX_TEST(a_profile_confines_a_container_and_an_exec),
};

int main(int argc, char **argv) { return run_tests(argc, argv, tests, sizeof tests / sizeof tests[0]); }

/* Containers with labels of SELinux, on a machine that enforces the policy test/vm/selinux.conf: box_t writes to files
 * of box_file_t whose categories are its own, and to no other. For the virtual machine of test/vm, as root. vm-selinux
 * MONITOR    prints a line of TAP for each test; each runs in a process of its own */
#include "box.h"

#define PROCESS(categories) ",\"selinuxLabel\":\"system_u:system_r:box_t:s0:" categories "\""
#define FILES(categories) "\"mountLabel\":\"system_u:object_r:box_file_t:s0:" categories "\""
#define SAY_LABEL "tr -d '[:cntrl:]' < /proc/self/attr/current; echo"
#define WRITE "echo x > /f && echo written || echo refused"

static void a_container_and_an_exec_run_with_its_label(void) {
  struct box box = {.pid = -1};
  char answer[TEXT_MAX];
  more_process = PROCESS("c1,c2");
  more_namespaces = "]," FILES("c1,c2");
  create(&box, "{}", SAY_LABEL "; exec sleep 1000");
  start(&box);
  exec_in(&box, 0, SAY_LABEL, answer);
  CHECK(strstr(answer, "\nsystem_u:system_r:box_t:s0:c1,c2\n") != NULL);
  UNTIL(log_has(&box, "stdout F system_u:system_r:box_t:s0:c1,c2\n"));
  discard(&box);
}

static void check_write(const char *label, const char *namespaces, const char *outcome) {
  struct box box = {.pid = -1};
  char state[TEXT_MAX];
  more_process = label;
  more_namespaces = namespaces;
  run(&box, "{}", WRITE, state);
  CHECK_LOG(&box, outcome);
  discard(&box);
}

static void a_label_keeps_it_from_files_that_are_not_its_own(void) {
  check_write("", "]", "stdout F written\n");
  check_write(PROCESS("c1,c2"), "]", "stdout F refused\n");
  check_write(PROCESS("c1,c2"), "]," FILES("c1,c2"), "stdout F written\n");
  check_write(PROCESS("c1,c2"), "]," FILES("c1,c3"), "stdout F refused\n");
}

static void check_mounts(const char *namespaces) {
  struct box box = {.pid = -1};
  char state[TEXT_MAX];
  more_process = PROCESS("c1,c2");
  more_namespaces = namespaces;
  run(&box, "{}", "grep box_file_t:s0:c1,c2 /proc/self/mounts | cut -d' ' -f2,3; " WRITE, state);
  CHECK_LOG(&box, "stdout F / overlay\n");
  CHECK_LOG(&box, "stdout F /dev tmpfs\n");
  CHECK_LOG(&box, "stdout F written\n");
  CHECK(!log_has(&box, "sysfs") && !log_has(&box, "cgroup"));
  discard(&box);
}

static void what_is_mounted_anew_has_the_label_of_its_files(void) {
  check_mounts("]," FILES("c1,c2"));
  check_mounts(",{\"type\":\"user\"}],\"uidMappings\":[{\"containerID\":0,\"hostID\":300000,\"size\":65536}],"
               "\"gidMappings\":[{\"containerID\":0,\"hostID\":300000,\"size\":65536}]," FILES("c1,c2"));
}

/* As the agent has it with the files that it makes for a container. */
static void a_file_that_is_the_containers_own_gets_its_label(void) {
  struct box box = {.pid = -1};
  char state[TEXT_MAX];
  CHECK_INT(system("echo old > /tmp/own; echo old > /tmp/other"), 0);
  more_process = PROCESS("c1,c2");
  more_namespaces = "]," FILES("c1,c2");
  more_mounts =
      ",{\"destination\":\"/own\",\"type\":\"bind\",\"source\":\"/tmp/own\",\"options\":[\"bind\",\"x-label\"]},"
      "{\"destination\":\"/other\",\"type\":\"bind\",\"source\":\"/tmp/other\",\"options\":[\"bind\"]}";
  run(&box, "{}", "echo new > /own && echo written; (: > /other) 2>/dev/null || echo refused", state);
  CHECK_LOG(&box, "stdout F written\n");
  CHECK_LOG(&box, "stdout F refused\n");
  discard(&box);
}

static void a_label_that_the_policy_does_not_know_is_refused(void) {
  struct box box = {.pid = -1};
  more_process = ",\"selinuxLabel\":\"system_u:system_r:nobodys_t:s0\"";
  CHECK_INT(create_in(&box, PARENT, "{}", "exit 0"), -EINVAL);
  CHECK_STR(err.step, "selinux");
  CHECK_STR(err.detail, "label system_u:system_r:nobodys_t:s0");
  CHECK(!exists(box.cgroup));
  more_process = "";
  more_namespaces = "],\"mountLabel\":\"system_u:object_r:nobodys_t:s0\"";
  CHECK_INT(create_in(&box, PARENT, "{}", "exit 0"), -EINVAL);
  CHECK_STR(err.step, "overlay");
  CHECK(!exists(box.cgroup));
}

static const struct box_test tests[] = {
    BOX_TEST(a_container_and_an_exec_run_with_its_label),
    BOX_TEST(a_label_keeps_it_from_files_that_are_not_its_own),
    BOX_TEST(what_is_mounted_anew_has_the_label_of_its_files),
    BOX_TEST(a_file_that_is_the_containers_own_gets_its_label),
    BOX_TEST(a_label_that_the_policy_does_not_know_is_refused),
};

int main(int argc, char **argv) { return run_tests(argc, argv, tests, sizeof tests / sizeof tests[0]); }

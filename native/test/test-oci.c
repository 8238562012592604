/* shoal-oci: what engines' configs are made into, and a terminal through a console socket (the program of the build is
 * run for that; needs root and busybox). */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "config.h"
#include "oci/bundle.c"
#include "oci/files.c"
#include "oci/hooks.c"
#include "oci/log.c"
#include "oci/net-devices.c"
#include "oci/systemd-name.c"

static char program[512];

static void expect_pruned(const char *given, const char *expected) {
  cJSON *config = cJSON_Parse(given), *wanted = cJSON_Parse(expected);
  CHECK(config != NULL && wanted != NULL);
  bundle_prune(config);
  char *text = cJSON_PrintUnformatted(config), *other = cJSON_PrintUnformatted(wanted);
  CHECK_STR(text, other);
  cJSON_free(text);
  cJSON_free(other);
  cJSON_Delete(config);
  cJSON_Delete(wanted);
}

#define RESOURCES(text) "{\"linux\":{\"resources\":" text "}}"

static void only_what_asks_for_nothing_is_dropped(void) {
  expect_pruned(RESOURCES("{\"blockIO\":{\"weight\":0}}"), RESOURCES("{\"blockIO\":{}}"));
  expect_pruned(RESOURCES("{\"blockIO\":{\"weight\":10}}"), RESOURCES("{\"blockIO\":{\"weight\":10}}"));
  expect_pruned(RESOURCES("{\"memory\":{\"kernel\":0,\"useHierarchy\":true,\"limit\":0}}"),
                RESOURCES("{\"memory\":{\"limit\":0}}"));
  expect_pruned(RESOURCES("{\"memory\":{\"kernel\":1,\"swappiness\":0}}"),
                RESOURCES("{\"memory\":{\"kernel\":1,\"swappiness\":0}}"));
  expect_pruned(RESOURCES("{\"cpu\":{\"realtimePeriod\":0,\"idle\":1}}"), RESOURCES("{\"cpu\":{\"idle\":1}}"));
  expect_pruned("{\"linux\":{\"resources\":[]}}", "{\"linux\":{\"resources\":[]}}");
  expect_pruned("{}", "{}");
}

static int check_hooks(const char *text) {
  cJSON *hooks = cJSON_Parse(text);
  int rc = hooks_check(hooks);
  cJSON_Delete(hooks);
  return rc;
}

static void hooks_are_checked(void) {
  CHECK_INT(check_hooks("{\"prestart\":[{\"path\":\"/x\",\"args\":[\"x\"],\"timeout\":1}],\"startContainer\":[]}"), 0);
  CHECK_INT(check_hooks("{\"startContainer\":[{\"path\":\"/x\"}],\"createContainer\":[{\"path\":\"/x\"}]}"), 0);
  CHECK_INT(check_hooks("{\"other\":[{\"path\":\"/x\"}]}"), EXIT_NOT_DONE);
  CHECK_INT(check_hooks("null"), 0);
  CHECK_INT(check_hooks("{\"prestart\":null}"), 0);
  CHECK_INT(check_hooks("[1]"), EXIT_NOT_DONE);
  CHECK_INT(check_hooks("{\"prestart\":\"x\"}"), EXIT_NOT_DONE);
  CHECK_INT(check_hooks("{\"prestart\":[\"x\"]}"), EXIT_NOT_DONE);
  CHECK_INT(check_hooks("{\"prestart\":[{\"path\":\"x\"}]}"), EXIT_NOT_DONE);
  CHECK_INT(check_hooks("{\"prestart\":[{\"path\":\"/x\",\"timeout\":0}]}"), EXIT_NOT_DONE);
  CHECK_INT(check_hooks("{\"poststop\":[{\"path\":\"/x\",\"other\":1}]}"), EXIT_NOT_DONE);
}

static int run_hooks_of(const char *text, struct shoal_error *err) {
  cJSON *hooks = cJSON_Parse(text), *state = cJSON_Parse("{\"id\":\"c\"}");
  int rc = hooks_run(hooks, "prestart", state, &hook_beside, err);
  cJSON_Delete(hooks);
  cJSON_Delete(state);
  return rc;
}

static void hooks_are_run(void) {
  struct shoal_error err = {0};
  CHECK_INT(
      run_hooks_of("{\"prestart\":[{\"path\":\"/bin/busybox\",\"args\":[\"sh\",\"-c\",\"test $A = b && grep -q c\"],"
                   "\"env\":[\"A=b\",\"PATH=/bin:/usr/bin\"]}]}",
                   &err),
      0);
  CHECK_INT(run_hooks_of("{\"prestart\":[{\"path\":\"/bin/busybox\",\"args\":[\"false\"]}]}", &err), -ECANCELED);
  CHECK_STR(err.detail, "/bin/busybox: exit status 1");
  CHECK_INT(run_hooks_of("{\"prestart\":[{\"path\":\"/nowhere/x\"}]}", &err), -ENOENT);
  CHECK_INT(
      run_hooks_of("{\"prestart\":[{\"path\":\"/bin/busybox\",\"args\":[\"sleep\",\"100\"],\"timeout\":0.05}]}", &err),
      -ETIMEDOUT);
}

static void expect_scope(const char *given, const char *slice, const char *unit, const char *path) {
  struct scope scope;
  char actual[512];
  CHECK_INT(scope_name(given, "id", &scope, actual, sizeof actual), 0);
  CHECK_STR(scope.slice, slice);
  CHECK_STR(scope.unit, unit);
  CHECK_STR(actual, path);
}

static void scopes_have_names(void) {
  static const char *const refused[] = {"/a/b",          "a.slice:b",    "a.slice:b:c:d", "a:b:c",
                                        "a.slice::",     "a/b.slice::c", "a.slice::c/d",  ".slice::c",
                                        "a--b.slice::c", "-a.slice::c",  "a-.slice::c",   "a.slice::b.slice",
                                        "a.slice:b:c+d", "..slice::c",   "a.slice:..:c"};
  expect_scope(NULL, "system.slice", "shoal-oci-id.scope", "/system.slice/shoal-oci-id.scope/container");
  expect_scope("", "system.slice", "shoal-oci-id.scope", "/system.slice/shoal-oci-id.scope/container");
  expect_scope("system.slice:docker:c", "system.slice", "docker-c.scope", "/system.slice/docker-c.scope/container");
  expect_scope("::c", "system.slice", "c.scope", "/system.slice/c.scope/container");
  expect_scope("-.slice:b:c", "-.slice", "b-c.scope", "/b-c.scope/container");
  expect_scope("a-b_c-d.slice:cri:c", "a-b_c-d.slice", "cri-c.scope",
               "/a.slice/a-b_c.slice/a-b_c-d.slice/cri-c.scope/container");
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
    struct scope scope;
    char path[512];
    CHECK_INT(scope_name(refused[i], "id", &scope, path, sizeof path), EXIT_NOT_DONE);
  }
}

/* --- A terminal. */

static char directory[] = "/tmp/shoal-test-oci-XXXXXX";

static const char *path_of(const char *name) {
  static char paths[4][256];
  static size_t next;
  char *path = paths[next++ % 4];
  (void)snprintf(path, sizeof paths[0], "%s/%s", directory, name);
  return path;
}

/* Runs the program to its end; its exit code. */
static int run_program(char *const arguments[]) {
  char *argv[16] = {program, "--root", (char *)(uintptr_t)path_of("root")};
  char *const env[] = {NULL};
  pid_t pid;
  int status;
  for (size_t i = 0; (argv[3 + i] = arguments[i]) != NULL; i++)
    continue;
  CHECK_INT(posix_spawn(&pid, program, NULL, NULL, argv, env), 0);
  CHECK_INT(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
#define RUN(...) run_program((char *[]){__VA_ARGS__, NULL})

static void make_bundle(void) {
  CHECK(mkdtemp(directory) != NULL);
  CHECK_INT(mkdir(path_of("rootfs"), 0755), 0);
  CHECK_INT(mkdir(path_of("rootfs/bin"), 0755), 0);
  char command[512];
  (void)snprintf(command, sizeof command, "cp /bin/busybox %s/rootfs/bin/ && ln -s busybox %s/rootfs/bin/sh", directory,
                 directory);
  CHECK_INT(system(command), 0);
  CHECK_INT(RUN("spec", "--bundle", directory), 0);
}

static int listen_at(const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", directory, name);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_INT(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
  CHECK_INT(listen(fd, 4), 0);
  return fd;
}

/* A message of at most size bytes, with a descriptor. */
static int receive_passed(int fd, char *text, size_t size) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  struct iovec part = {.iov_base = text, .iov_len = size - 1};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  int passed;
  ssize_t n = recvmsg(fd, &message, 0);
  CHECK(n > 0);
  text[n] = '\0';
  struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
  CHECK(rights != NULL && rights->cmsg_type == SCM_RIGHTS);
  memcpy(&passed, CMSG_DATA(rights), sizeof passed);
  CHECK_INT(fcntl(passed, F_GETFL) & O_NONBLOCK, 0);
  return passed;
}

static int receive_master(int listen_fd) {
  char name[64];
  int fd = accept(listen_fd, NULL, NULL);
  int master = receive_passed(fd, name, sizeof name);
  close(fd);
  return master;
}

/* Until the text has come. */
static void expect_output(int master, const char *text) {
  char seen[4096] = "";
  size_t size = 0;
  while (strstr(seen, text) == NULL) {
    ssize_t n = read(master, seen + size, sizeof seen - 1 - size);
    CHECK(n > 0);
    seen[size += (size_t)n] = '\0';
  }
}

static void a_terminal_goes_through_the_console_socket(void) {
  int listen_fd = listen_at("console");
  char *id = "terminal", socket_path[256];
  (void)snprintf(socket_path, sizeof socket_path, "%s/console", directory);
  CHECK_INT(RUN("create", "--bundle", directory, "--console-socket", "/nowhere", id), EXIT_NOT_DONE);
  CHECK_INT(RUN("create", "--bundle", directory, "--console-socket", socket_path, id), 0);
  int master = receive_master(listen_fd);
  CHECK_INT(RUN("start", id), 0);
  static const char line[] = "test -t 0 && test -t 1 && test -t 2 && echo 'a ter''minal'\n";
  CHECK_INT(write(master, line, sizeof line - 1), sizeof line - 1);
  expect_output(master, "a terminal");
  CHECK_INT(RUN("exec", "--tty", "--detach", "--console-socket", socket_path, id, "sh", "-c", "echo from exec"), 0);
  int second = receive_master(listen_fd);
  expect_output(second, "from exec");
  CHECK_INT(RUN("exec", "--tty", id, "sh"), EXIT_EXEC_FAILED);
  CHECK_INT(RUN("delete", "--force", id), 0);
  close(second);
  close(master);
  close(listen_fd);
}

/* --- Who answers for system calls. */

static void set_command(const char *script, bool notify) {
  char *text = file_read(path_of("config.json")), path[256];
  cJSON *config = cJSON_Parse(text), *seccomp = NULL;
  free(text);
  cJSON *process = cJSON_GetObjectItem(config, "process"), *linux_config = cJSON_GetObjectItem(config, "linux");
  const char *words[] = {"sh", "-c", script};
  cJSON_DeleteItemFromObject(process, "terminal");
  cJSON_DeleteItemFromObject(process, "args");
  cJSON_AddItemToObject(process, "args", cJSON_CreateStringArray(words, 3));
  (void)snprintf(
      path, sizeof path,
      "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"%s/listener\",\"listenerMetadata\":\"of me\","
      "\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\"],\"action\":\"SCMP_ACT_NOTIFY\"}]}",
      directory);
  if (notify) seccomp = cJSON_Parse(path);
  cJSON_DeleteItemFromObject(linux_config, "seccomp");
  if (seccomp != NULL) cJSON_AddItemToObject(linux_config, "seccomp", seccomp);
  text = cJSON_PrintUnformatted(config);
  CHECK_INT(file_replace(path_of("config.json"), text), 0);
  cJSON_free(text);
  cJSON_Delete(config);
}

/* Says of the next system call that it has succeeded, which it has not even been tried to. */
static void answer_call(int filter) {
  struct seccomp_notif call;
  struct seccomp_notif_resp answer;
  memset(&call, 0, sizeof call);
  memset(&answer, 0, sizeof answer);
  CHECK_INT(ioctl(filter, SECCOMP_IOCTL_NOTIF_RECV, &call), 0);
  CHECK(call.data.nr == SYS_mkdir || call.data.nr == SYS_mkdirat);
  answer.id = call.id;
  CHECK_INT(ioctl(filter, SECCOMP_IOCTL_NOTIF_SEND, &answer), 0);
}

/* One process's filter; asked: it is about to make a directory. */
static void serve_filter(int listen_fd, const char *status, bool asked) {
  char text[8192];
  int fd = accept(listen_fd, NULL, NULL);
  int filter = receive_passed(fd, text, sizeof text);
  cJSON *message = cJSON_Parse(text);
  CHECK(message != NULL);
  CHECK_STR(cJSON_GetStringValue(cJSON_GetArrayItem(cJSON_GetObjectItem(message, "fds"), 0)), "seccompFd");
  CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(message, "metadata")), "of me");
  const cJSON *state = cJSON_GetObjectItem(message, "state");
  CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(state, "status")), status);
  CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(state, "bundle")), directory);
  int pid = cJSON_GetObjectItem(message, "pid")->valueint;
  CHECK(pid > 1);
  if (strcmp(status, "running") == 0) CHECK(pid != cJSON_GetObjectItem(state, "pid")->valueint);
  if (asked) answer_call(filter);
  cJSON_Delete(message);
  close(filter);
  close(fd);
}

static pid_t serve(const char *status, bool asked, int listen_fd) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  serve_filter(listen_fd, status, asked);
  _exit(0);
}

static void expect_served(pid_t server) {
  int status;
  CHECK_INT(waitpid(server, &status, 0), server);
  CHECK_INT(status, 0);
}

static void a_listener_answers_for_system_calls(void) {
  set_command("busybox mkdir /a/b/c && exit 33", true);
  CHECK_INT(RUN("run", "--bundle", directory, "unanswered"), EXIT_NOT_DONE);
  int listen_fd = listen_at("listener");
  pid_t server = serve("created", true, listen_fd);
  CHECK_INT(RUN("run", "--bundle", directory, "asks"), 33);
  expect_served(server);
  set_command("busybox sleep 1000", true);
  server = serve("created", false, listen_fd);
  CHECK_INT(RUN("run", "--detach", "--bundle", directory, "sleeps"), 0);
  expect_served(server);
  server = serve("running", true, listen_fd);
  CHECK_INT(RUN("exec", "sleeps", "sh", "-c", "busybox mkdir /a/b/c && exit 34"), 34);
  expect_served(server);
  CHECK_INT(RUN("delete", "--force", "sleeps"), 0);
  close(listen_fd);
}

static void remove_bundle(void) {
  char command[512];
  (void)snprintf(command, sizeof command, "rm -rf %s", directory);
  CHECK_INT(system(command), 0);
}

/* Beside this program in a virtual machine, one directory up in the build. */
static void find_program(const char *self) {
  const char *slash = strrchr(self, '/');
  int size = slash == NULL ? 1 : (int)(slash - self);
  (void)snprintf(program, sizeof program, "%.*s/../shoal-oci", size, slash == NULL ? "." : self);
  if (access(program, X_OK) < 0)
    (void)snprintf(program, sizeof program, "%.*s/shoal-oci", size, slash == NULL ? "." : self);
}

int main(int argc, char *argv[]) {
  (void)argc;
  find_program(argv[0]);
  (void)alarm(120);
  only_what_asks_for_nothing_is_dropped();
  hooks_are_checked();
  hooks_are_run();
  scopes_have_names();
  make_bundle();
  a_terminal_goes_through_the_console_socket();
  a_listener_answers_for_system_calls();
  remove_bundle();
  return 0;
}

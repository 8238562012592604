/* Containers for the C tests that need some: made through the library, asked through the monitor's socket, looked at
 * through their cgroup. On cgroup v2 only. */
#ifndef SHOAL_TEST_BOX_H
#define SHOAL_TEST_BOX_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "shoal-container.h"
#include "shoal-disk-limit.h"

/* Not every test needs all of it. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

#define ROOT "/sys/fs/cgroup"
#define PARENT "/shoal-vm/node"
#define DEADLINE_MS 30000
#define TEXT_MAX 4096

struct box {
  char id[32], run_dir[64], cgroup[128], work[64], log[96];
  int pid;
};

static const char *monitor_path;
static struct shoal_error err;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
  va_list list;
  va_start(list, format);
  (void)vfprintf(stderr, format, list);
  va_end(list);
}

static void read_text(const char *directory, const char *file, char out[TEXT_MAX]) {
  char path[512];
  (void)snprintf(path, sizeof path, "%s/%s", directory, file);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) say("# %s: %s\n", path, strerror(errno));
  CHECK(fd >= 0);
  ssize_t n = read(fd, out, TEXT_MAX - 1);
  close(fd);
  CHECK(n >= 0);
  out[n] = '\0';
  while (n > 0 && out[n - 1] == '\n')
    out[--n] = '\0';
}

static void check_text(int line, const char *directory, const char *file, const char *expected) {
  char text[TEXT_MAX];
  read_text(directory, file, text);
  if (strcmp(text, expected) == 0) return;
  say("# line %d: %s/%s is '%s', not '%s'\n", line, directory, file, text, expected);
  exit(1);
}
#define CHECK_FILE(directory, file, expected) check_text(__LINE__, directory, file, expected)

/* The number after a name in a flat-keyed file, such as memory.events. */
static long long field(const char *directory, const char *file, const char *name) {
  char text[TEXT_MAX], *state = NULL;
  read_text(directory, file, text);
  for (char *line = strtok_r(text, "\n", &state); line != NULL; line = strtok_r(NULL, "\n", &state)) {
    size_t size = strlen(name);
    if (strncmp(line, name, size) == 0 && line[size] == ' ') return atoll(line + size + 1);
  }
  say("# %s/%s has no %s\n", directory, file, name);
  exit(1);
}

static bool has_word(const char *directory, const char *file, const char *word) {
  char text[TEXT_MAX], *state = NULL;
  read_text(directory, file, text);
  for (char *one = strtok_r(text, " \n", &state); one != NULL; one = strtok_r(NULL, " \n", &state)) {
    if (strcmp(one, word) == 0) return true;
  }
  return false;
}

static bool exists(const char *path) { return access(path, F_OK) == 0; }

static void pause_briefly(void) {
  const struct timespec pause = {.tv_sec = 0, .tv_nsec = 20000000L};
  (void)nanosleep(&pause, NULL);
}

static long long now_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void pause_until(int line, long long end_ms, const char *what) {
  if (now_ms() >= end_ms) {
    say("# line %d: not in time: %s\n", line, what);
    exit(1);
  }
  pause_briefly();
}

#define UNTIL(condition)                                                                                               \
  for (long long until_ms = now_ms() + DEADLINE_MS; !(condition);)                                                     \
  pause_until(__LINE__, until_ms, #condition)

/* One line to a container's monitor, and its answer. */
static void ask(const struct box *box, const char *line, char answer[TEXT_MAX]) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t size = 0;
  (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/monitor.sock", box->run_dir);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0);
  answer[0] = '\0';
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
    /* A monitor that has just ended answers nothing. */
    (void)!send(fd, line, strlen(line), MSG_NOSIGNAL);
    (void)!send(fd, "\n", 1, MSG_NOSIGNAL);
    for (ssize_t n; memchr(answer, '\n', size) == NULL && (n = read(fd, answer + size, TEXT_MAX - 1 - size)) > 0;)
      size += (size_t)n;
    answer[size] = '\0';
  }
  close(fd);
}

/* Where its files are, how much it may write (0: no limit), and its filter. */
static const char *work_root = "/tmp", *seccomp_text;
static uint64_t disk_bytes;

static void name_box(struct box *box, const char *parent) {
  static int count;
  (void)snprintf(box->id, sizeof box->id, "box-%d-%d", (int)getpid(), count++);
  (void)snprintf(box->run_dir, sizeof box->run_dir, "/run/%s", box->id);
  (void)snprintf(box->cgroup, sizeof box->cgroup, ROOT "%s/%s", parent, box->id);
  (void)snprintf(box->work, sizeof box->work, "%s/%s", work_root, box->id);
  (void)snprintf(box->log, sizeof box->log, "%s/log", box->work);
}

static void make_layer(void) {
  (void)mkdir("/tmp/layer", 0755);
  CHECK(mkdir("/tmp/layer/bin", 0755) == 0 || errno == EEXIST);
  CHECK_INT(system("cp /bin/busybox /tmp/layer/bin/ && chroot /tmp/layer /bin/busybox --install -s /bin"), 0);
}

static const char *const request_format =
    "{\"id\":\"%s\",\"runDir\":\"%s\",\"monitorPath\":\"%s\",\"log\":{\"path\":\"%s\"},"
    "\"rootfs\":{\"lower\":[\"/tmp/layer\"],\"upper\":\"%s/upper\",\"work\":\"%s/work\"},"
    "\"config\":{\"ociVersion\":\"1.1.0\",\"root\":{\"path\":\"rootfs\"},"
    "\"process\":{\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"sh\",\"-c\",\"%s\"],\"env\":[\"PATH=/bin\"],\"cwd\":\"/\","
    "\"capabilities\":{\"bounding\":[\"CAP_MKNOD\"],\"effective\":[\"CAP_MKNOD\"],\"permitted\":[\"CAP_MKNOD\"]}%s},"
    "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
    "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"mode=755\"]},"
    "{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"ro\"]},"
    "{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\",\"options\":[\"ro\"]}%s],"
    "\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},"
    "{\"type\":\"mount\"},{\"type\":\"cgroup\"}%s,\"cgroupsPath\":\"%s\",\"resources\":%s}}}";

/* The end of the list of namespaces, and what belongs to those that are added. */
static const char *more_namespaces = "]", *more_process = "", *more_mounts = "";

/* Made, not started. Returns what shoal_container_run does. */
static int create_in(struct box *box, const char *parent, const char *resources, const char *script) {
  char request[8192], path[96], upper[96];
  int64_t started_at_ms;
  name_box(box, parent);
  CHECK_INT(mkdir(box->work, 0755), 0);
  (void)snprintf(upper, sizeof upper, "%s/upper", box->work);
  CHECK_INT(mkdir(upper, 0755), 0);
  (void)snprintf(path, sizeof path, "%s/work", box->work);
  CHECK_INT(mkdir(path, 0755), 0);
  if (disk_bytes > 0) CHECK_INT(shoal_disk_limit_set(upper, path, disk_bytes, &err), 0);
  int n =
      snprintf(request, sizeof request, request_format, box->id, box->run_dir, monitor_path, box->log, box->work,
               box->work, script, more_process, more_mounts, more_namespaces, box->cgroup + strlen(ROOT), resources);
  CHECK(n < (int)sizeof request);
  box->pid = shoal_container_run(request, seccomp_text, &started_at_ms, &err);
  return box->pid;
}

static void create(struct box *box, const char *resources, const char *script) {
  if (create_in(box, PARENT, resources, script) > 0) return;
  say("# create: %s: %s (%s)\n", err.step, err.detail, strerror(err.code));
  exit(1);
}

static void start(const struct box *box) {
  char answer[TEXT_MAX];
  ask(box, "start", answer);
  CHECK_STR(answer, "ok\n");
}

/* Waits for its end; returns state.json. */
static void finish(const struct box *box, char state[TEXT_MAX]) {
  char answer[TEXT_MAX];
  ask(box, "wait", answer);
  read_text(box->run_dir, "state.json", state);
  CHECK(strstr(state, "\"status\":\"stopped\"") != NULL);
}

static void discard(const struct box *box) {
  int rc = shoal_container_delete(box->run_dir, &err);
  if (rc < 0) say("# delete: %s: %s\n", err.step, err.detail);
  CHECK_INT(rc, 0);
  CHECK(!exists(box->cgroup));
  CHECK(!exists(box->run_dir));
}

static void run(struct box *box, const char *resources, const char *script, char state[TEXT_MAX]) {
  create(box, resources, script);
  start(box);
  finish(box, state);
}

static bool log_has(const struct box *box, const char *text) {
  char log[TEXT_MAX + 1];
  read_text(box->work, "log.0", log);
  (void)strcat(log, "\n"); /* read_text took the last one */
  return strstr(log, text) != NULL;
}

static void check_log(int line, const struct box *box, const char *text) {
  char log[TEXT_MAX];
  if (log_has(box, text)) return;
  read_text(box->work, "log.0", log);
  say("# line %d: the log has no '%s': %s\n", line, text, log);
  exit(1);
}
#define CHECK_LOG(box, text) check_log(__LINE__, box, text)

/* Returns the answer's first line; reads to the end. */
static void exec_in(const struct box *box, int timeout_ms, const char *script, char answer[TEXT_MAX]) {
  char request[2048];
  size_t size = 0;
  (void)snprintf(request, sizeof request,
                 "{\"runDir\":\"%s\",\"monitorPath\":\"%s\",\"timeoutMs\":%d,\"maxOutputBytes\":1000,"
                 "\"process\":{\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"sh\",\"-c\",\"%s\"],\"env\":[\"PATH=/bin\"],"
                 "\"cwd\":\"/\"%s}}",
                 box->run_dir, monitor_path, timeout_ms, script, more_process);
  int fd = shoal_container_exec(request, NULL, &err);
  if (fd < 0) say("# exec: %s: %s\n", err.step, err.detail);
  CHECK(fd >= 0);
  for (ssize_t n; (n = read(fd, answer + size, TEXT_MAX - 1 - size)) > 0;)
    size += (size_t)n;
  close(fd);
  answer[size] = '\0';
}

#define TEST_SECONDS 40

struct box_test {
  const char *name;
  void (*run)(void);
};
#define BOX_TEST(function)                                                                                             \
  { #function, function }

/* What is said of each test besides. */
static const char *test_suffix = "";

/* "ok - a cpu quota throttles" */
static void report(bool good, const char *function) {
  char name[128];
  (void)snprintf(name, sizeof name, "%s", function);
  for (char *c = name; *c != '\0'; c++) {
    if (*c == '_') *c = ' ';
  }
  (void)printf("%s - %s%s\n", good ? "ok" : "not ok", name, test_suffix);
  (void)fflush(stdout);
}

/* Each in a process of its own. */
static int run_tests(int argc, char **argv, const struct box_test *tests, size_t count) {
  if (argc != 2 || geteuid() != 0) return 2;
  monitor_path = argv[1];
  make_layer();
  for (size_t i = 0; i < count; i++) {
    int status;
    pid_t pid = fork();
    if (pid == 0) {
      (void)alarm(TEST_SECONDS);
      tests[i].run();
      _exit(0);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    report(status == 0, tests[i].name);
  }
  return 0;
}

#pragma GCC diagnostic pop
#endif

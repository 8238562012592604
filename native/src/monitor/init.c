#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor/monitor.h"
#include "monitor/terminal.h"

#define SYNC_FD 3
#define START_FD 4   /* detached: the socket that "start" connects to; else the word, if the plan has one */
#define LIBRARY_FD 5 /* not detached, ids of the node: until the cgroups are there */

static int join_namespaces(const struct plan *plan, struct shoal_error *err) {
  const struct plan_join *joins = plan_items(plan, plan->joins);
  for (uint32_t i = 0; i < plan->joins.count; i++) {
    const char *path = plan_string(plan, joins[i].path);
    if (joins[i].flag == CLONE_NEWPID) continue; /* the monitor did, before it cloned us */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, (int)joins[i].flag) < 0) return shoal_fail(err, errno, "namespace", "join %s", path);
    close(fd);
  }
  return 0;
}

/* Not before we have moved: a cgroup namespace's root is where its maker is. */
static int own_cgroup_namespace(const struct plan *plan, struct shoal_error *err) {
  if ((plan->namespaces & CLONE_NEWCGROUP) != 0 && unshare(CLONE_NEWCGROUP) < 0)
    return shoal_fail(err, errno, "namespace", "cgroup");
  return 0;
}

static int loopback_up(struct shoal_error *err) {
  struct ifreq request;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return shoal_fail(err, errno, "loopback", "socket");
  memset(&request, 0, sizeof request);
  memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  int rc = ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? shoal_fail(err, errno, "loopback", "up") : 0;
  close(fd);
  return rc;
}

static int set_names(const struct plan *plan, struct shoal_error *err) {
  const char *hostname = plan_string(plan, plan->hostname);
  const char *domainname = plan_string(plan, plan->domainname);
  if (hostname != NULL && sethostname(hostname, strlen(hostname)) < 0)
    return shoal_fail(err, errno, "hostname", "%s", hostname);
  if (domainname != NULL && setdomainname(domainname, strlen(domainname)) < 0)
    return shoal_fail(err, errno, "domainname", "%s", domainname);
  return 0;
}

/* With ids of its own the monitor waits, and opens them for us. */
static bool awaits_cgroups(const struct plan *plan) { return !plan->detached && !userns_own(plan); }

static int take_stdio(const struct plan *plan, int sync_fd, const int stdio[3], struct shoal_error *err) {
  for (int i = 0; i < 3; i++) {
    if (stdio[i] >= 0 && dup2(stdio[i], i) < 0) return shoal_fail(err, errno, "stdio", "dup2");
  }
  if (dup3(sync_fd, SYNC_FD, O_CLOEXEC) < 0) return shoal_fail(err, errno, "stdio", "dup3");
  bool waits = awaits_cgroups(plan);
  if (waits && dup3(MONITOR_FD_RESULT, LIBRARY_FD, O_CLOEXEC) < 0) return shoal_fail(err, errno, "stdio", "dup3");
  bool start = plan->detached || plan->start_word;
  if (start && dup3(plan->detached ? MONITOR_FD_SOCKET : MONITOR_FD_START_WORD, START_FD, O_CLOEXEC) < 0)
    return shoal_fail(err, errno, "stdio", "dup3");
  if (!start) close(START_FD);
  if (descriptors_close(waits ? LIBRARY_FD + 1 : START_FD + 1, plan) < 0)
    return shoal_fail(err, errno, "stdio", "close_range");
  return 0;
}

int init_cgroup_fds[CGROUP_FDS_MAX + 1] = {-1};

/* Before anything else of ours is closed. */
static int join_open_cgroups(struct shoal_error *err) {
  for (int i = 0; init_cgroup_fds[i] >= 0; i++) {
    if (write(init_cgroup_fds[i], "0", 1) < 0) return shoal_fail(err, errno, "cgroup", "join %d", i);
  }
  return 0;
}

/* The library makes them, and the files that are mounted, while we begin; if it can not, it is gone. */
static int join_cgroups(const struct plan *plan, struct shoal_error *err) {
  if (userns_own(plan)) return 0;
  if (awaits_cgroups(plan)) {
    if (!library_agrees(LIBRARY_FD)) _exit(1);
    close(LIBRARY_FD);
  }
  return process_join_cgroups(plan, err);
}

static int prepare(const struct plan *plan, struct shoal_error *err) {
  struct filesystem_root root;
  (void)setsid();
  int rc = userns_own(plan) ? userns_enter(SYNC_FD, err) : 0;
  if (rc == 0) rc = join_namespaces(plan, err);
  if (rc == 0 && (plan->namespaces & CLONE_NEWNET) != 0) rc = loopback_up(err);
  if (rc == 0) rc = set_names(plan, err);
  if (rc == 0) rc = filesystem_root(plan, SYNC_FD, &root, err);
  if (rc == 0) rc = join_cgroups(plan, err);
  if (rc == 0) rc = own_cgroup_namespace(plan, err);
  if (rc == 0 && !userns_own(plan)) rc = process_limits(plan, 0, err);
  if (rc == 0) rc = label_for_exec(plan, err);
  if (rc == 0) rc = filesystem_setup(plan, SYNC_FD, &root, err);
  if (rc == 0 && plan->detached) rc = process_working_directory(plan, err);
  if (rc == 0 && plan->detached) rc = process_find_command(plan, err);
  if (rc < 0 || (plan->stream_flags & PLAN_TERMINAL) == 0) return rc;
  rc = terminal_make(plan, SYNC_FD, err);
  return rc < 0 ? rc : terminal_console(err);
}

/* The connection takes the place of the monitor's: it hears why the command could not be run. */
static void await_start(void) {
  struct pollfd entry = {.fd = START_FD, .events = POLLIN};
  char go;
  for (;;) {
    int fd = poll(&entry, 1, -1) <= 0 ? -1 : accept4(START_FD, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) continue;
    bool asked = recv(fd, &go, 1, 0) == 1 && dup3(fd, SYNC_FD, O_CLOEXEC) >= 0;
    close(fd);
    if (asked) return;
  }
}

/* It does not wait for the word: an eventfd that has not been written to has nothing to be read. */
static bool was_said(const struct plan *plan) {
  uint64_t word = 0;
  return plan->start_word && read(START_FD, &word, sizeof word) == sizeof word && word == 1;
}

/* Returns when the command shall be run. */
static void report_and_wait(const struct plan *plan) {
  char go;
  if (was_said(plan)) {
    report_starting(SYNC_FD);
    return;
  }
  if (plan->detached) (void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
  report_ready(SYNC_FD, 0);
  if (plan->detached) {
    await_start();
  } else if (recv(SYNC_FD, &go, 1, 0) != 1) {
    _exit(1);
  }
}

void init_main(const struct plan *plan, int sync_fd, const int stdio[3]) {
  struct shoal_error error = {0};
  /* Whoever shares our pid namespace must not look into us, or at the monitor's binary, before the command runs. */
  (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (join_open_cgroups(&error) < 0 || take_stdio(plan, sync_fd, stdio, &error) < 0) {
    report_failure(sync_fd, &error);
    _exit(1);
  }
  if (prepare(plan, &error) < 0) {
    report_failure(SYNC_FD, &error);
    _exit(1);
  }
  report_and_wait(plan);
  int sync = SYNC_FD;
  if (process_working_directory(plan, &error) == 0) (void)process_run(plan, &sync, &error);
  report_failure(sync, &error);
  process_end(error.code == ENOENT ? 127 : 126);
}

/* The device filter of cgroup v2, on a cgroup2 of this machine (hybrid will do); skipped without root or cgroup2. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup-devices.h"
#include "check.h"

static struct cgroup_limits limits;
static char directory[256];

static void rule(bool allow, char type, int64_t major, int64_t minor, const char *access) {
  struct cgroup_device_rule *one = &limits.devices[limits.device_count++];
  *one = (struct cgroup_device_rule){.allow = allow, .type = type, .major = major, .minor = minor};
  (void)snprintf(one->access, sizeof one->access, "%s", access);
}

/* What a process in the cgroup gets: 0 or the errno of open. */
static int open_inside(const char *path, int flags) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    struct shoal_error err;
    if (cgroup_write(directory, "cgroup.procs", "0", &err) < 0) _exit(255);
    int fd = open(path, flags);
    _exit(fd < 0 ? errno : 0);
  }
  int status;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) != 255);
  return WEXITSTATUS(status);
}

/* A fresh cgroup for each set of rules, as programs add up. */
static void attach(void) {
  struct shoal_error err = {0};
  CHECK_INT(mkdir(directory, 0755), 0);
  int rc = cgroup_devices_attach(directory, &limits, &err);
  if (rc < 0) (void)fprintf(stderr, "%s: %s\n", err.step, err.detail);
  CHECK_INT(rc, 0);
}

static void detach(void) {
  struct shoal_error err;
  CHECK_INT(cgroup_remove(directory, &err), 0);
  limits.device_count = 0;
}

static void only_what_is_allowed_opens(void) {
  rule(false, 'a', -1, -1, "rwm");
  rule(true, 'c', -1, -1, "m");
  rule(true, 'c', 1, 3, "rwm");
  rule(true, 'c', 1, 5, "r");
  attach();
  CHECK_INT(open_inside("/dev/null", O_RDWR), 0);
  CHECK_INT(open_inside("/dev/zero", O_RDONLY), 0);
  CHECK_INT(open_inside("/dev/zero", O_RDWR), EPERM);
  CHECK_INT(open_inside("/dev/full", O_RDONLY), EPERM);
  detach();
}

static void the_last_rule_decides(void) {
  rule(true, 'a', -1, -1, "rwm");
  rule(false, 'c', 1, 5, "w");
  attach();
  CHECK_INT(open_inside("/dev/full", O_RDWR), 0);
  CHECK_INT(open_inside("/dev/zero", O_RDONLY), 0);
  CHECK_INT(open_inside("/dev/zero", O_WRONLY), EPERM);
  detach();
}

static void no_rule_denies(void) {
  attach();
  CHECK_INT(open_inside("/dev/null", O_RDONLY), EPERM);
  detach();
}

int main(void) {
  const struct cgroup_layout *layout = cgroup_layout_host();
  if (geteuid() != 0 || layout->v2[0] == '\0') {
    (void)printf("devices: skipped, needs root and a cgroup2\n");
    return 0;
  }
  (void)snprintf(directory, sizeof directory, "%s/shoal-test-devices-%d", layout->v2, (int)getpid());
  only_what_is_allowed_opens();
  the_last_rule_decides();
  no_rule_denies();
  return 0;
}

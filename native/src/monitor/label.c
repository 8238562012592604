/* Security labels: what the command's execve shall change to. Written while the node's /proc is still to be seen. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "monitor/monitor.h"

static int write_attribute(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = write(fd, text, strlen(text));
  int code = errno;
  close(fd);
  errno = code;
  return n < 0 ? -1 : 0;
}

/* Beside other modules AppArmor has a directory of its own (Linux 5.8). */
static int set_profile(const char *profile, struct shoal_error *err) {
  char text[LABEL_MAX + 8];
  (void)snprintf(text, sizeof text, "exec %s", profile);
  if (write_attribute("/proc/self/attr/apparmor/exec", text) == 0) return 0;
  if (errno == ENOENT && access("/proc/self/attr/apparmor", F_OK) < 0 &&
      write_attribute("/proc/self/attr/exec", text) == 0)
    return 0;
  return shoal_fail(err, errno, "apparmor", "profile %.90s", profile);
}

int label_for_exec(const struct plan *plan, struct shoal_error *err) {
  const char *profile = plan_string(plan, plan->process.apparmor_profile);
  const char *label = plan_string(plan, plan->process.selinux_label);
  int rc = profile == NULL ? 0 : set_profile(profile, err);
  if (rc < 0 || label == NULL) return rc;
  if (write_attribute("/proc/self/attr/exec", label) == 0) return 0;
  return shoal_fail(err, errno, "selinux", "label %.90s", label);
}

const char *label_of_type(const struct plan *plan, const char *fstype) {
  static const char *const with_their_own[] = {"proc", "sysfs", "mqueue", "cgroup", "cgroup2"};
  for (size_t i = 0; i < sizeof with_their_own / sizeof with_their_own[0]; i++) {
    if (strcmp(with_their_own[i], fstype) == 0) return NULL;
  }
  return plan_string(plan, plan->mount_label);
}

int label_file(const struct plan *plan, int fd) {
  const char *label = plan_string(plan, plan->mount_label);
  char path[32];
  (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return label == NULL ? 0 : setxattr(path, "security.selinux", label, strlen(label) + 1, 0);
}

int label_mount_options(const struct plan *plan, char *options, size_t size) {
  const char *label = plan_string(plan, plan->mount_label);
  size_t length = strlen(options);
  if (label == NULL) return 0;
  /* Categories are separated by commas, as options are. */
  if (snprintf(options + length, size - length, ",context=\"%s\"", label) < (int)(size - length)) return 0;
  options[length] = '\0';
  return -1;
}

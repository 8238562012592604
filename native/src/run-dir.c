#include "run-dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "plan.h"

int run_dir_open(const char *path, struct shoal_error *err) {
  if (mkdir(path, 0700) < 0 && errno != EEXIST) return shoal_fail(err, errno, "run directory", "mkdir %s", path);
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return shoal_fail(err, errno, "run directory", "open %s", path);
  if (mkdirat(fd, RUN_ROOT, 0700) < 0 && errno != EEXIST) {
    int rc = shoal_fail(err, errno, "run directory", "mkdir %s/" RUN_ROOT, path);
    close(fd);
    return rc;
  }
  return fd;
}

static struct sockaddr_un socket_address(int dir_fd) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  (void)snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" RUN_SOCKET, dir_fd);
  return address;
}

int run_dir_bind(int dir_fd, struct shoal_error *err) {
  struct sockaddr_un address = socket_address(dir_fd);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return shoal_fail(err, errno, "control socket", "socket");
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
    int code = errno;
    close(fd);
    return shoal_fail(err, code, "control socket", "bind");
  }
  return fd;
}

int run_dir_connect(int dir_fd) {
  struct sockaddr_un address = socket_address(dir_fd);
  const struct timeval limit = {.tv_sec = 5, .tv_usec = 0};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  int rc;
  while ((rc = connect(fd, (struct sockaddr *)&address, sizeof address)) < 0 && errno == EINTR)
    continue;
  if (rc == 0) return fd;
  int code = errno;
  close(fd);
  return -code;
}

static int write_file(int dir_fd, const char *name, const void *data, size_t size, struct shoal_error *err) {
  int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return shoal_fail(err, errno, "run directory", "create %s", name);
  ssize_t n = write(fd, data, size);
  int code = errno;
  close(fd);
  return n == (ssize_t)size ? 0 : shoal_fail(err, n < 0 ? code : ENOSPC, "run directory", "write %s", name);
}

int run_dir_write_cgroups(int dir_fd, const struct cgroup_set *set, struct shoal_error *err) {
  char text[CGROUP_DIRS_MAX * (CGROUP_PATH_MAX + 20)];
  size_t size = 0;
  for (size_t i = 0; i < set->count; i++)
    size += (size_t)snprintf(text + size, sizeof text - size, "%s %s\n", set->dirs[i].controller, set->dirs[i].path);
  return write_file(dir_fd, RUN_CGROUPS, text, size, err);
}

int run_dir_write_seccomp(int dir_fd, const struct plan *plan, struct shoal_error *err) {
  struct plan_list list = plan->process.seccomp;
  if (list.count == 0) return 0;
  const uint32_t *flags = &plan->process.seccomp_flags;
  int rc = *flags == 0 ? 0 : write_file(dir_fd, RUN_SECCOMP_FLAGS, flags, sizeof *flags, err);
  return rc < 0 ? rc
                : write_file(dir_fd, RUN_SECCOMP, plan_items(plan, list), list.count * sizeof(struct sock_filter), err);
}

static uint32_t read_flags(int dir_fd) {
  uint32_t flags = 0;
  int fd = openat(dir_fd, RUN_SECCOMP_FLAGS, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  if (read(fd, &flags, sizeof flags) != (ssize_t)sizeof flags) flags = 0;
  close(fd);
  return flags;
}

int run_dir_read_seccomp(int dir_fd, struct plan_builder *builder, struct shoal_error *err) {
  static const size_t limit = BPF_MAXINSNS * sizeof(struct sock_filter);
  int fd = openat(dir_fd, RUN_SECCOMP, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? 0 : shoal_fail(err, errno, "run directory", "open " RUN_SECCOMP);
  struct sock_filter *instructions = malloc(limit);
  ssize_t n = instructions == NULL ? -1 : read(fd, instructions, limit);
  close(fd);
  if (n > 0) {
    struct plan_list list =
        plan_add_list(builder, instructions, (size_t)n / sizeof *instructions, sizeof *instructions);
    plan_builder_head(builder)->process.seccomp = list;
    plan_builder_head(builder)->process.seccomp_flags = read_flags(dir_fd);
  }
  free(instructions);
  return n > 0 ? 0 : shoal_fail(err, EIO, "run directory", "read " RUN_SECCOMP);
}

int run_dir_read_cgroups(int dir_fd, struct cgroup_set *set, struct shoal_error *err) {
  char line[CGROUP_PATH_MAX + 32];
  set->count = 0;
  int fd = openat(dir_fd, RUN_CGROUPS, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? 0 : shoal_fail(err, errno, "run directory", "open " RUN_CGROUPS);
  FILE *file = fdopen(fd, "r");
  if (file == NULL) {
    close(fd);
    return shoal_fail(err, ENOMEM, "run directory", "open " RUN_CGROUPS);
  }
  while (set->count < CGROUP_DIRS_MAX && fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "%15s %511s", set->dirs[set->count].controller, set->dirs[set->count].path) == 2) set->count++;
  }
  (void)fclose(file);
  return 0;
}

int run_dir_clear(int dir_fd, const char *path, struct shoal_error *err) {
  int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = copy < 0 ? NULL : fdopendir(copy);
  if (dir == NULL) return shoal_fail(err, errno, "run directory", "open %s", path);
  struct dirent *entry;
  int code = 0;
  while ((entry = readdir(dir)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    int flags = entry->d_type == DT_DIR ? AT_REMOVEDIR : 0;
    if (unlinkat(dir_fd, entry->d_name, flags) < 0 && errno != ENOENT && code == 0) code = errno;
  }
  closedir(dir);
  if (code == 0 && rmdir(path) < 0 && errno != ENOENT && errno != EBUSY) code = errno;
  return code == 0 ? 0 : shoal_fail(err, code, "run directory", "remove %s", path);
}

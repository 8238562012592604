#include "monitor-spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plan.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

/* Descriptors are first moved up here, out of the way of the numbers that they shall have in the monitor. */
#define STAGING_FD 100
#define IMAGE_FD 9
#define STAGED_MAX (6 + PRESERVED_MAX)

static struct {
  pthread_mutex_t lock;
  int fd;
  char path[1024];
} image = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static int copy_image(int from, off_t size) {
  int fd = memfd_create("shoal-monitor", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
  if (fd < 0 && errno == EINVAL) fd = memfd_create("shoal-monitor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return -errno;
  while (size > 0) {
    ssize_t n = sendfile(fd, from, NULL, (size_t)size);
    if (n <= 0) {
      int code = n < 0 ? errno : EIO;
      close(fd);
      return -code;
    }
    size -= n;
  }
  (void)fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  return fd;
}

static int copy_file(const char *path) {
  struct stat info;
  int from = open(path, O_RDONLY | O_CLOEXEC);
  if (from < 0) return -errno;
  int fd = fstat(from, &info) < 0 ? -errno : copy_image(from, info.st_size);
  close(from);
  return fd;
}

/* A descriptor of the caller's own for the sealed copy. The copy stays for the life of the process, even if the file is
 * replaced: the plan that this library writes is for the monitor that came with it. */
static int open_image(const char *path, struct shoal_error *err) {
  int rc = 0;
  pthread_mutex_lock(&image.lock);
  if (image.fd < 0 || strcmp(image.path, path) != 0) {
    int fd = strlen(path) < sizeof image.path ? copy_file(path) : -ENAMETOOLONG;
    if (fd < 0) {
      rc = fd;
    } else {
      if (image.fd >= 0) close(image.fd);
      image.fd = fd;
      (void)strcpy(image.path, path);
    }
  }
  if (rc == 0) {
    rc = fcntl(image.fd, F_DUPFD_CLOEXEC, STAGING_FD);
    if (rc < 0) rc = -errno;
  }
  pthread_mutex_unlock(&image.lock);
  return rc < 0 ? shoal_fail(err, -rc, "monitor", "copy of %s", path) : rc;
}

static int spawn_staged(const struct monitor_spawn *request, const int staged[STAGED_MAX], pid_t *pid) {
  static const int numbers[6] = {MONITOR_FD_PLAN,   MONITOR_FD_RESULT, MONITOR_FD_RUN_DIR,
                                 MONITOR_FD_SOCKET, MONITOR_FD_STDERR, IMAGE_FD};
  char *argv[] = {"shoal-monitor", (char *)(uintptr_t)request->mode, NULL};
  char *envp[] = {NULL};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  int rc = posix_spawn_file_actions_init(&actions);
  if (rc != 0) return -rc;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  if (!request->inherit) {
    rc = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0) rc = posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    if (rc == 0) rc = posix_spawn_file_actions_adddup2(&actions, 1, 2);
  }
  for (size_t i = 0; rc == 0 && i < 6; i++) {
    if (staged[i] >= 0) rc = posix_spawn_file_actions_adddup2(&actions, staged[i], numbers[i]);
  }
  for (int i = 0; rc == 0 && i < request->preserved; i++)
    rc = posix_spawn_file_actions_adddup2(&actions, staged[6 + i], MONITOR_FD_PRESERVED + i);
  /* Everything else, ours or not, marked close-on-exec or not, is closed by the monitor's first system call. */
  if (rc == 0) rc = posix_spawn(pid, "/proc/self/fd/9", &actions, &attributes, argv, envp);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return -rc;
}

int monitor_spawn(const struct monitor_spawn *request, struct shoal_error *err) {
  const int sources[5] = {request->plan_fd, request->result_fd, request->dir_fd, request->socket_fd,
                          request->stderr_fd};
  int staged[STAGED_MAX];
  pid_t pid = -1;
  memset(staged, -1, sizeof staged);
  int rc = open_image(request->path, err);
  if (rc < 0) return rc;
  staged[5] = rc;
  rc = 0;
  for (size_t i = 0; rc == 0 && i < 5; i++) {
    if (sources[i] < 0) continue;
    staged[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, STAGING_FD);
    if (staged[i] < 0) rc = shoal_fail(err, errno, "monitor", "dup");
  }
  for (int i = 0; rc == 0 && i < request->preserved; i++) {
    staged[6 + i] = fcntl(3 + i, F_DUPFD_CLOEXEC, STAGING_FD);
    if (staged[6 + i] < 0) rc = shoal_fail(err, errno, "preserve-fds", "descriptor %d", 3 + i);
  }
  if (rc == 0) {
    rc = spawn_staged(request, staged, &pid);
    if (rc < 0) rc = shoal_fail(err, -rc, "monitor", "posix_spawn %s", request->path);
  }
  for (size_t i = 0; i < STAGED_MAX; i++) {
    if (staged[i] >= 0) close(staged[i]);
  }
  if (rc < 0) return rc;
  /* The first process forks the monitor and ends, so that the monitor is nobody's child here. */
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
    continue;
  return 0;
}

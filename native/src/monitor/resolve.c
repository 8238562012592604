#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/monitor.h"

#define LINKS_MAX 40 /* as the kernel's own limit, path_resolution(7) */
#define PATH_SIZE 4096

int resolve_in_root(int root_fd, const char *path, uint64_t extra_resolve) {
  return sys_openat2(root_fd, path, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | extra_resolve);
}

/* Cuts path into its parent (in buffer, "/" at least) and its last component. */
static int split(const char *path, char parent[PATH_SIZE], const char **name) {
  size_t length = strlen(path);
  if (length >= PATH_SIZE) {
    errno = ENAMETOOLONG;
    return -1;
  }
  const char *slash = strrchr(path, '/');
  *name = slash == NULL ? path : slash + 1;
  size_t size = slash == NULL ? 0 : (size_t)(slash - path);
  memcpy(parent, path, size);
  parent[size] = '\0';
  if (size == 0) (void)strcpy(parent, "/");
  return 0;
}

static int create(int root_fd, const char *path, bool directory, int depth);

static int open_parent(int root_fd, const char *parent, int depth) {
  int fd = resolve_in_root(root_fd, parent, 0);
  return fd < 0 && errno == ENOENT ? create(root_fd, parent, true, depth) : fd;
}

/* The last component is a link to something that is not there: make what it names, as seen from inside the root. */
static int follow_dangling(int root_fd, int parent_fd, const char *parent, const char *name, bool directory,
                           int depth) {
  char target[PATH_SIZE], path[2 * PATH_SIZE];
  ssize_t size = readlinkat(parent_fd, name, target, sizeof target - 1);
  if (size < 0) return -1;
  target[size] = '\0';
  (void)snprintf(path, sizeof path, "%s%s%s", target[0] == '/' ? "" : parent, target[0] == '/' ? "" : "/", target);
  if (strlen(path) >= PATH_SIZE || depth >= LINKS_MAX) {
    errno = ELOOP;
    return -1;
  }
  return create(root_fd, path, directory, depth + 1);
}

static int create(int root_fd, const char *path, bool directory, int depth) {
  char parent[PATH_SIZE];
  const char *name;
  if (depth >= 2 * LINKS_MAX) {
    errno = ELOOP;
    return -1;
  }
  if (split(path, parent, &name) < 0) return -1;
  if (name[0] == '\0' || strcmp(name, ".") == 0) return open_parent(root_fd, parent, depth + 1);
  if (strcmp(name, "..") == 0) {
    errno = ENOENT;
    return -1;
  }
  int parent_fd = open_parent(root_fd, parent, depth + 1);
  if (parent_fd < 0) return -1;
  int made = directory ? mkdirat(parent_fd, name, 0755)
                       : openat(parent_fd, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0644);
  int fd = -1;
  if (made >= 0) {
    if (!directory) close(made);
    fd = openat(parent_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  } else if (errno == EEXIST) {
    fd = follow_dangling(root_fd, parent_fd, parent, name, directory, depth);
  }
  int code = errno;
  close(parent_fd);
  errno = code;
  return fd;
}

int resolve_or_create(int root_fd, const char *path, bool directory) {
  int fd = resolve_in_root(root_fd, path, 0);
  return fd < 0 && errno == ENOENT ? create(root_fd, path, directory, 0) : fd;
}

int resolve_parent(int root_fd, const char *path, const char **name) {
  char parent[PATH_SIZE];
  if (split(path, parent, name) < 0) return -1;
  return open_parent(root_fd, parent, 0);
}

/* What the root has at a place is copied into the file system in memory that is mounted there ("tmpcopyup"): files,
 * directories, links, FIFOs and sockets, with their owners, modes and times. The image may be hostile, so nothing is
 * followed or waited for, and the depth is bounded; how much it is, the new file system's size says. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "monitor/monitor.h"

#define DEPTH_MAX 100
#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* getdents64(2) */
struct entry {
  uint64_t inode;
  int64_t offset;
  unsigned short size;
  unsigned char type;
  char name[];
};

static int fail(const char *step, const char *name, struct shoal_error *err) {
  return shoal_fail(err, errno, step, "copy %.80s", name);
}

static int keep_attributes(int fd, const struct stat *info) {
  const struct timespec times[2] = {info->st_atim, info->st_mtim};
  return fchown(fd, info->st_uid, info->st_gid) < 0 || fchmod(fd, info->st_mode & 07777) < 0 || futimens(fd, times) < 0
             ? -1
             : 0;
}

static int copy_content(int from, int to) {
  ssize_t n;
  while ((n = sendfile(to, from, NULL, 1 << 20)) > 0)
    continue;
  return n < 0 ? -1 : 0;
}

static int copy_file(int from_dir, int to_dir, const char *name, const struct stat *info) {
  int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  int to = from < 0 ? -1 : openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  int rc = to < 0 || copy_content(from, to) < 0 || keep_attributes(to, info) < 0 ? -1 : 0;
  int code = errno;
  if (from >= 0) close(from);
  if (to >= 0) close(to);
  errno = code;
  return rc;
}

static int copy_link(int from_dir, int to_dir, const char *name, const struct stat *info) {
  char target[PATH_MAX];
  ssize_t n = readlinkat(from_dir, name, target, sizeof target - 1);
  if (n < 0) return -1;
  target[n] = '\0';
  if (symlinkat(target, to_dir, name) < 0) return -1;
  return fchownat(to_dir, name, info->st_uid, info->st_gid, AT_SYMLINK_NOFOLLOW);
}

static int copy_node(int to_dir, const char *name, const struct stat *info) {
  if (!S_ISFIFO(info->st_mode) && !S_ISSOCK(info->st_mode)) {
    errno = EPERM; /* a device */
    return -1;
  }
  if (mknodat(to_dir, name, (info->st_mode & S_IFMT) | 0600, 0) < 0) return -1;
  if (fchownat(to_dir, name, info->st_uid, info->st_gid, AT_SYMLINK_NOFOLLOW) < 0) return -1;
  return fchmodat(to_dir, name, info->st_mode & 07777, 0); /* what we have made is no link */
}

static int copy_entries(int from, int to, int depth, const char *step, struct shoal_error *err);

static int copy_directory(int from_dir, int to_dir, const char *name, const struct stat *info, int depth,
                          const char *step, struct shoal_error *err) {
  if (depth == DEPTH_MAX) return shoal_fail(err, ELOOP, step, "copy %.80s: too deep", name);
  if (mkdirat(to_dir, name, 0700) < 0) return fail(step, name, err);
  int from = openat(from_dir, name, DIRECTORY_FLAGS);
  int to = from < 0 ? -1 : openat(to_dir, name, DIRECTORY_FLAGS);
  int rc = to < 0 ? fail(step, name, err) : copy_entries(from, to, depth + 1, step, err);
  if (rc == 0 && keep_attributes(to, info) < 0) rc = fail(step, name, err);
  if (from >= 0) close(from);
  if (to >= 0) close(to);
  return rc;
}

static int copy_entry(int from, int to, const char *name, int depth, const char *step, struct shoal_error *err) {
  struct stat info;
  if (fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) < 0) return fail(step, name, err);
  if (S_ISDIR(info.st_mode)) return copy_directory(from, to, name, &info, depth, step, err);
  int rc = S_ISREG(info.st_mode)   ? copy_file(from, to, name, &info)
           : S_ISLNK(info.st_mode) ? copy_link(from, to, name, &info)
                                   : copy_node(to, name, &info);
  return rc < 0 ? fail(step, name, err) : 0;
}

static int copy_entries(int from, int to, int depth, const char *step, struct shoal_error *err) {
  union {
    char bytes[2048];
    struct entry align;
  } buffer;
  long size;
  while ((size = syscall(SYS_getdents64, from, buffer.bytes, sizeof buffer.bytes)) > 0) {
    for (long at = 0; at < size;) {
      const struct entry *entry = (const struct entry *)(const void *)(buffer.bytes + at);
      at += entry->size;
      if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0) continue;
      int rc = copy_entry(from, to, entry->name, depth, step, err);
      if (rc < 0) return rc;
    }
  }
  return size < 0 ? fail(step, ".", err) : 0;
}

int copy_up(int from_fd, int to_fd, bool keep_mode, const char *step, struct shoal_error *err) {
  struct stat info;
  int from = openat(from_fd, ".", DIRECTORY_FLAGS);
  int to = from < 0 ? -1 : openat(to_fd, ".", DIRECTORY_FLAGS);
  int rc = to < 0 || fstat(from, &info) < 0 ? fail(step, ".", err) : copy_entries(from, to, 0, step, err);
  if (rc == 0 && keep_mode && keep_attributes(to, &info) < 0) rc = fail(step, ".", err);
  if (from >= 0) close(from);
  if (to >= 0) close(to);
  return rc;
}

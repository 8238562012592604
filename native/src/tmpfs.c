#include "shoal-tmpfs.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/statfs.h>

/* 1, 0 or -errno */
static int is_tmpfs(const char *path, struct shoal_error *err) {
  struct statfs info;
  if (statfs(path, &info) < 0) return shoal_fail(err, errno, "statfs", "%s", path);
  return info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC;
}

int shoal_tmpfs_ensure(const char *path, const char *options, struct shoal_error *err) {
  int rc = is_tmpfs(path, err);
  if (rc != 0) return rc < 0 ? rc : 0;
  if (mount("shoal", path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
    return shoal_fail(err, errno, "mount tmpfs", "%s", path);
  rc = is_tmpfs(path, err);
  if (rc == 0) return shoal_fail(err, EIO, "mount tmpfs", "%s is not a tmpfs after the mount", path);
  return rc < 0 ? rc : 0;
}

int shoal_tmpfs_mount(const char *path, const char *options, struct shoal_error *err) {
  int rc = shoal_tmpfs_remove(path, err);
  if (rc < 0) return rc;
  if (mount("shm", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0)
    return shoal_fail(err, errno, "mount tmpfs", "%s", path);
  return 0;
}

/* EINVAL: path is no mount. */
int shoal_tmpfs_remove(const char *path, struct shoal_error *err) {
  if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
    return shoal_fail(err, errno, "unmount tmpfs", "%s", path);
  return 0;
}

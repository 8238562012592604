#include "shoal-disk-limit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/quota.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIMIT_FAIL(err, code, ...) shoal_fail((err), (code), "disk limit", __VA_ARGS__)

/* Ids of projects are 32 bits; administrators and other engines count from small numbers up. */
#define FIRST_PROJECT 0x40000000u
#define PROJECTS 0x40000000u
#define ATTEMPTS 16
#define QUOTA_BLOCK 1024

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

static int quota_of(int fd, unsigned int command, uint32_t project, void *data) {
  return (int)syscall(SYS_quotactl_fd, (unsigned int)fd, QCMD(command, PRJQUOTA), project, data);
}

static const char *name_of(int fd) {
  static const struct {
    long type;
    const char *name;
  } known[] = {{EXT4_SUPER_MAGIC, "ext4"},   {XFS_SUPER_MAGIC, "xfs"},
               {BTRFS_SUPER_MAGIC, "btrfs"}, {OVERLAYFS_SUPER_MAGIC, "overlayfs"},
               {TMPFS_MAGIC, "tmpfs"},       {F2FS_SUPER_MAGIC, "f2fs"},
               {NFS_SUPER_MAGIC, "nfs"}};
  struct statfs info;
  if (fstatfs(fd, &info) < 0) return "unknown";
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (known[i].type == info.f_type) return known[i].name;
  return "of another kind";
}

static int check(int fd, struct shoal_error *err) {
  struct fs_quota_statv state = {.qs_version = FS_QSTATV_VERSION1};
  const char *name = name_of(fd);
  if (strcmp(name, "ext4") != 0 && strcmp(name, "xfs") != 0)
    return LIMIT_FAIL(err, ENOTSUP, "the file system is %s: ext4 or xfs, mounted with prjquota, can do it", name);
  if (quota_of(fd, Q_XGETQSTATV, 0, &state) == 0 && (state.qs_flags & FS_QUOTA_PDQ_ENFD) != 0) return 0;
  if (errno == EPERM) return LIMIT_FAIL(err, ENOTSUP, "the kernel does not let the agent see the quotas of %s", name);
  if (strcmp(name, "xfs") == 0) return LIMIT_FAIL(err, ENOTSUP, "the file system is xfs, not mounted with prjquota");
  return LIMIT_FAIL(err, ENOTSUP,
                    "the file system is ext4, not mounted with prjquota (tune2fs -O project,quota first)");
}

/* -errno, without a word, when it is not there. */
static int open_directory(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return -errno;
  return fd;
}

int shoal_disk_limit_check(const char *path, struct shoal_error *err) {
  int fd = open_directory(path);
  if (fd < 0) return LIMIT_FAIL(err, -fd, "%s", path);
  int rc = check(fd, err);
  close(fd);
  return rc;
}

/* The project that the directory itself began; 0: none, or one that is somebody else's and goes on below. */
static uint32_t own_project(int fd) {
  struct fsxattr own, above;
  if (ioctl(fd, FS_IOC_FSGETXATTR, &own) < 0 || (own.fsx_xflags & FS_XFLAG_PROJINHERIT) == 0) return 0;
  if (own.fsx_projid < FIRST_PROJECT || own.fsx_projid >= FIRST_PROJECT + PROJECTS) return 0;
  int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0) return 0;
  int rc = ioctl(parent, FS_IOC_FSGETXATTR, &above);
  close(parent);
  return rc < 0 || above.fsx_projid == own.fsx_projid ? 0 : own.fsx_projid;
}

/* 1: nothing belongs to the project, and nobody limits it. */
static int is_free(int fd, uint32_t project) {
  struct if_dqblk quota = {.dqb_valid = 0};
  if (quota_of(fd, Q_GETQUOTA, project, &quota) < 0) return errno == ENOENT || errno == ESRCH;
  return quota.dqb_curspace == 0 && quota.dqb_curinodes == 0 && quota.dqb_bhardlimit == 0 &&
         quota.dqb_bsoftlimit == 0 && quota.dqb_ihardlimit == 0 && quota.dqb_isoftlimit == 0;
}

/* 0 when none was found. */
static uint32_t free_project(int fd) {
  uint32_t random;
  for (int i = 0; i < ATTEMPTS; i++) {
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) return 0;
    uint32_t project = FIRST_PROJECT + random % PROJECTS;
    if (is_free(fd, project)) return project;
  }
  return 0;
}

static int limit(int fd, uint32_t project, uint64_t bytes) {
  struct if_dqblk quota = {.dqb_bhardlimit = (bytes + QUOTA_BLOCK - 1) / QUOTA_BLOCK, .dqb_valid = QIF_BLIMITS};
  return quota_of(fd, Q_SETQUOTA, project, &quota) < 0 ? -errno : 0;
}

static int join(int fd, uint32_t project) {
  struct fsxattr attributes;
  if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0) return -errno;
  if (attributes.fsx_projid == project && (attributes.fsx_xflags & FS_XFLAG_PROJINHERIT) != 0) return 0;
  attributes.fsx_projid = project;
  attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
  return ioctl(fd, FS_IOC_FSSETXATTR, &attributes) < 0 ? -errno : 0;
}

/* The limit comes before anything is in the project, and upper last, which is asked first. */
static int set(int upper, int work, uint64_t bytes, struct shoal_error *err) {
  int rc = check(upper, err);
  if (rc < 0) return rc;
  uint32_t project = own_project(upper);
  if (project == 0) project = free_project(upper);
  if (project == 0) return LIMIT_FAIL(err, EBUSY, "no free project was found");
  rc = limit(upper, project, bytes);
  if (rc < 0) return LIMIT_FAIL(err, -rc, "the limit of project %u", project);
  if (work >= 0) rc = join(work, project);
  if (rc == 0) rc = join(upper, project);
  return rc < 0 ? LIMIT_FAIL(err, -rc, "joining project %u", project) : 0;
}

int shoal_disk_limit_set(const char *upper, const char *work, uint64_t bytes, struct shoal_error *err) {
  int upper_fd = open_directory(upper);
  if (upper_fd < 0) return LIMIT_FAIL(err, -upper_fd, "%s", upper);
  int work_fd = work == NULL ? -1 : open_directory(work);
  int rc = work != NULL && work_fd < 0 ? LIMIT_FAIL(err, -work_fd, "%s", work) : set(upper_fd, work_fd, bytes, err);
  if (work_fd >= 0) close(work_fd);
  close(upper_fd);
  return rc;
}

int shoal_disk_limit_clear(const char *upper, struct shoal_error *err) {
  int fd = open_directory(upper);
  if (fd < 0) return fd == -ENOENT ? 0 : LIMIT_FAIL(err, -fd, "%s", upper);
  uint32_t project = own_project(fd);
  int rc = project == 0 ? 0 : limit(fd, project, 0);
  close(fd);
  /* Quotas were switched off: there is no limit any more. */
  if (rc == 0 || rc == -ESRCH || rc == -ENOSYS) return 0;
  return LIMIT_FAIL(err, -rc, "the limit of project %u", project);
}

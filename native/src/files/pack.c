#include "files/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

#ifndef CGROUP2_SUPER_MAGIC
#define CGROUP2_SUPER_MAGIC 0x63677270
#endif

#define BLOCK (64 * 1024)
#define XATTRS_MAX (64 * 1024)

struct pack {
  struct archive *tar;
  struct archive_entry_linkresolver *links;
  char path[FILES_PATH_MAX]; /* of the entry at hand, as the archive names it */
  char block[BLOCK];
};

static la_ssize_t write_out(struct archive *tar, void *data, const void *buffer, size_t size) {
  (void)data;
  for (;;) {
    ssize_t n = write(STDOUT_FILENO, buffer, size);
    if (n >= 0) return n;
    if (errno == EINTR) continue;
    archive_set_error(tar, errno, "write");
    return -1;
  }
}

static int fail_tar(struct pack *pack) {
  return reply_error("failed", archive_errno(pack->tar), "archive: %s", archive_error_string(pack->tar));
}

static int start_tar(struct pack *pack) {
  pack->tar = archive_write_new();
  pack->links = archive_entry_linkresolver_new();
  if (pack->tar == NULL || pack->links == NULL) return reply_error("failed", ENOMEM, "archive: no memory");
  archive_entry_linkresolver_set_strategy(pack->links, ARCHIVE_FORMAT_TAR_PAX_RESTRICTED);
  if (archive_write_set_format_pax_restricted(pack->tar) != ARCHIVE_OK ||
      archive_write_set_options(pack->tar, "xattrheader=SCHILY") != ARCHIVE_OK ||
      archive_write_set_bytes_per_block(pack->tar, BLOCK) != ARCHIVE_OK ||
      archive_write_set_bytes_in_last_block(pack->tar, 1) != ARCHIVE_OK ||
      archive_write_open(pack->tar, NULL, NULL, write_out, NULL) != ARCHIVE_OK)
    return fail_tar(pack);
  return 0;
}

static int finish_tar(struct pack *pack, int rc) {
  if (rc == 0 && archive_write_close(pack->tar) != ARCHIVE_OK) rc = fail_tar(pack);
  if (pack->links != NULL) archive_entry_linkresolver_free(pack->links);
  if (pack->tar != NULL) (void)archive_write_free(pack->tar);
  free(pack);
  return rc;
}

/* Only what an archive may carry from one host to another. */
static void add_xattrs(struct archive_entry *entry, int fd) {
  char *names = malloc(XATTRS_MAX), *value = malloc(XATTRS_MAX);
  ssize_t size = names == NULL || value == NULL ? -1 : flistxattr(fd, names, XATTRS_MAX);
  for (ssize_t at = 0; at < size; at += (ssize_t)strlen(names + at) + 1) {
    const char *name = names + at;
    if (strncmp(name, "user.", 5) != 0 && strcmp(name, "security.capability") != 0) continue;
    ssize_t length = fgetxattr(fd, name, value, XATTRS_MAX);
    if (length >= 0) archive_entry_xattr_add_entry(entry, name, value, (size_t)length);
  }
  free(names);
  free(value);
}

/* The size is what it was when we looked: what a file has grown since is left out, what it lacks is zeros. */
static int write_data(struct pack *pack, int fd, int64_t left) {
  while (left > 0) {
    ssize_t n = read(fd, pack->block, left < BLOCK ? (size_t)left : BLOCK);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    if (archive_write_data(pack->tar, pack->block, (size_t)n) < 0) return fail_tar(pack);
    left -= n;
  }
  return 0;
}

static int write_entry(struct pack *pack, struct archive_entry *entry, int fd) {
  struct archive_entry *spare = NULL;
  archive_entry_linkify(pack->links, &entry, &spare);
  if (entry == NULL) return 0;
  int result = archive_write_header(pack->tar, entry);
  if (result < ARCHIVE_WARN) return fail_tar(pack);
  if (fd < 0 || archive_entry_hardlink(entry) != NULL || archive_entry_size(entry) == 0) return 0;
  return write_data(pack, fd, archive_entry_size(entry));
}

/* One file, directory, link or device, held by an O_PATH descriptor; what is in a directory is not looked at. */
static int pack_one(struct pack *pack, int path_fd, const struct stat *info) {
  char target[PATH_MAX];
  cleanup_fd int fd = -1;
  struct archive_entry *entry;
  int rc;
  if (S_ISSOCK(info->st_mode)) return 0; /* tar has no such thing */
  if (S_ISREG(info->st_mode)) {
    fd = view_reopen(path_fd, O_RDONLY | O_NONBLOCK | O_NOATIME);
    if (fd < 0) return reply_error("failed", -fd, "open %.500s: %s", pack->path, strerror(-fd));
  }
  entry = archive_entry_new();
  if (entry == NULL) return reply_error("failed", ENOMEM, "no memory");
  archive_entry_copy_stat(entry, info);
  archive_entry_copy_pathname(entry, pack->path);
  if (S_ISLNK(info->st_mode)) {
    ssize_t n = readlinkat(path_fd, "", target, sizeof target - 1);
    target[n < 0 ? 0 : n] = '\0';
    archive_entry_copy_symlink(entry, target);
  }
  if (!S_ISREG(info->st_mode)) archive_entry_set_size(entry, 0);
  if (fd >= 0) add_xattrs(entry, fd);
  rc = write_entry(pack, entry, fd);
  archive_entry_free(entry);
  return rc;
}

/* What the kernel makes up: it belongs to no container, and there is no end to reading some of it. */
static bool is_made_up(int fd) {
  struct statfs info;
  if (fstatfs(fd, &info) < 0) return false;
  switch (info.f_type) {
  case PROC_SUPER_MAGIC:
  case SYSFS_MAGIC:
  case CGROUP_SUPER_MAGIC:
  case CGROUP2_SUPER_MAGIC:
  case DEBUGFS_MAGIC:
  case TRACEFS_MAGIC:
  case SECURITYFS_MAGIC:
  case BPF_FS_MAGIC:
    return true;
  default:
    return false;
  }
}

static int pack_below(struct pack *pack, int dir_fd, dev_t device, size_t length, int depth);

static int pack_child(struct pack *pack, int dir_fd, const char *name, dev_t device, size_t length, int depth) {
  struct stat info;
  size_t size = strlen(name);
  if (length + size + 2 > sizeof pack->path) return reply_error("failed", ENAMETOOLONG, "a path is too long");
  cleanup_fd int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return 0; /* gone since its directory was read */
  if (fd < 0 || fstat(fd, &info) < 0) return reply_error("failed", errno, "%.500s: %s", name, strerror(errno));
  memcpy(pack->path + length, name, size + 1);
  if (!S_ISDIR(info.st_mode)) return pack_one(pack, fd, &info);
  memcpy(pack->path + length + size, "/", 2);
  if (pack_one(pack, fd, &info) < 0) return -1;
  if (info.st_dev != device && is_made_up(fd)) return 0;
  return pack_below(pack, fd, info.st_dev, length + size + 1, depth + 1);
}

/* path_fd: the directory whose path is the first length bytes. */
static int pack_below(struct pack *pack, int path_fd, dev_t device, size_t length, int depth) {
  const struct dirent *entry;
  int rc = 0;
  if (depth > FILES_DEPTH_MAX) return reply_error("failed", ELOOP, "directories are nested too deeply");
  int fd = openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_NOATIME | O_CLOEXEC);
  DIR *dir = fd < 0 ? NULL : fdopendir(fd);
  if (dir == NULL) {
    rc = reply_error("failed", errno, "%.500s: %s", pack->path, strerror(errno));
    if (fd >= 0) (void)close(fd);
    return rc;
  }
  while (rc == 0 && (entry = readdir(dir)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    rc = pack_child(pack, fd, entry->d_name, device, length, depth);
  }
  (void)closedir(dir);
  return rc;
}

/* The last component as it was written: "." stays, as it says that the contents are meant; the root has none. */
static size_t base_name(const char *path, char *out, size_t size) {
  size_t end = strlen(path);
  while (end > 0 && path[end - 1] == '/')
    end--;
  size_t start = end;
  while (start > 0 && path[start - 1] != '/')
    start--;
  if (end - start + 2 > size) return 0;
  memcpy(out, path + start, end - start);
  out[end - start] = '\0';
  return end - start;
}

int pack_path(int root_fd, const char *path) {
  struct stat info;
  int fd;
  if (stat_reply(root_fd, path, &info, &fd) < 0) return -1;
  struct pack *pack = calloc(1, sizeof *pack);
  if (pack == NULL) return reply_error("failed", ENOMEM, "no memory");
  int rc = start_tar(pack);
  size_t length = base_name(path, pack->path, sizeof pack->path);
  if (S_ISDIR(info.st_mode)) memcpy(pack->path + length++, "/", 2);
  if (rc == 0) rc = pack_one(pack, fd, &info);
  if (rc == 0 && S_ISDIR(info.st_mode)) rc = pack_below(pack, fd, info.st_dev, length, 0);
  (void)close(fd);
  return finish_tar(pack, rc);
}

int pack_root(int root_fd) {
  struct stat info;
  struct pack *pack = calloc(1, sizeof *pack);
  if (pack == NULL) return reply_error("failed", ENOMEM, "no memory");
  int rc = start_tar(pack);
  if (rc == 0 && fstat(root_fd, &info) < 0) rc = reply_error("failed", errno, "stat: %s", strerror(errno));
  if (rc == 0) rc = pack_below(pack, root_fd, info.st_dev, 0, 0);
  return finish_tar(pack, rc);
}

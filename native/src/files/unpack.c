#include "files/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define BLOCK (64 * 1024)

static char block[BLOCK];

static la_ssize_t read_in(struct archive *tar, void *data, const void **buffer) {
  (void)data;
  *buffer = block;
  for (;;) {
    ssize_t n = read(STDIN_FILENO, block, sizeof block);
    if (n >= 0) return n;
    if (errno == EINTR) continue;
    archive_set_error(tar, errno, "read");
    return -1;
  }
}

/* In this process only: libarchive would run programs for what it was built without, which the filter refuses. */
static struct archive *open_tar(void) {
  struct archive *tar = archive_read_new();
  if (tar == NULL) return NULL;
  (void)archive_read_support_filter_gzip(tar);
  (void)archive_read_support_filter_bzip2(tar);
  (void)archive_read_support_filter_xz(tar);
  (void)archive_read_support_filter_zstd(tar);
  (void)archive_read_support_format_empty(tar);
  (void)archive_read_support_format_tar(tar);
  return tar;
}

static int bad_archive(struct archive *tar) {
  const char *why = archive_error_string(tar);
  return reply_error("invalid", archive_errno(tar), "the archive can not be read: %s", why == NULL ? "?" : why);
}

static int unpack_entries(struct unpack *unpack) {
  struct archive_entry *entry;
  int status;
  if (archive_read_open(unpack->tar, NULL, NULL, read_in, NULL) != ARCHIVE_OK) return bad_archive(unpack->tar);
  while ((status = archive_read_next_header(unpack->tar, &entry)) == ARCHIVE_OK || status == ARCHIVE_WARN) {
    if (unpack_entry(unpack, entry) < 0) return -1;
  }
  return status == ARCHIVE_EOF ? 0 : bad_archive(unpack->tar);
}

/* The client writes until its archive ends, which is after the mark that ends it for libarchive. */
static void drain(void) {
  while (read(STDIN_FILENO, block, sizeof block) > 0)
    continue;
}

static uint64_t mount_of(int fd) {
  struct statx info;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &info) < 0) return 0;
  return info.stx_mnt_id;
}

int unpack_refused(const struct unpack *unpack, int code, const char *what, const char *path) {
  if (code != EROFS) return reply_error("failed", code, "%s %.500s: %s", what, path, strerror(code));
  cleanup_fd int fd = view_open(unpack->root_fd, unpack->base, O_PATH);
  bool own = fd >= 0 && mount_of(fd) == mount_of(unpack->root_fd);
  return reply_error("read-only", EROFS,
                     own ? "container rootfs is marked read-only" : "mounted volume is marked read-only");
}

int unpack_path(int root_fd, const char *path, const struct unpack_options *options) {
  struct unpack unpack = {.root_fd = root_fd, .base = path, .options = options};
  struct statvfs info;
  cleanup_fd int fd = view_open(root_fd, path, O_RDONLY | O_DIRECTORY);
  if (fd == -ENOENT) return reply_error("not-found", ENOENT, "no such directory");
  if (fd == -ENOTDIR) return reply_error("invalid", ENOTDIR, "extraction point is not a directory");
  if (fd < 0) return reply_error("invalid", -fd, "%.500s: %s", path, strerror(-fd));
  if (fstatvfs(fd, &info) == 0 && (info.f_flag & ST_RDONLY) != 0) return unpack_refused(&unpack, EROFS, "", path);
  unpack.tar = open_tar();
  if (unpack.tar == NULL) return reply_error("failed", ENOMEM, "no memory");
  int rc = unpack_entries(&unpack);
  if (rc == 0) drain();
  (void)archive_read_free(unpack.tar);
  unpack_restore_times(&unpack);
  return rc;
}

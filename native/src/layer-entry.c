#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "layer-internal.h"

/* The prefix of a whiteout and the name that makes its directory opaque: OCI image-spec, layer.md. */
#define WHITEOUT ".wh."
#define WHITEOUT_META ".wh..wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"

static int fail_on(struct shoal_error *err, int code, const char *step, const char *path) {
  return shoal_fail(err, code, step, "%s", path);
}

static void read_times(struct archive_entry *entry, struct timespec times[2]) {
  times[1] = (struct timespec){archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)};
  times[0] = times[1];
  if (archive_entry_atime_is_set(entry))
    times[0] = (struct timespec){archive_entry_atime(entry), archive_entry_atime_nsec(entry)};
}

/* overlayfs keeps its own state in trusted.overlay.*: an archive must not be able to write that. */
static int is_kept_xattr(const char *name) {
  if (strncmp(name, "user.overlay.", 13) == 0) return 0;
  return strncmp(name, "user.", 5) == 0 || strcmp(name, "security.capability") == 0;
}

static int set_xattrs(int fd, struct archive_entry *entry) {
  const char *name;
  const void *value;
  size_t size;

  (void)archive_entry_xattr_reset(entry);
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
    if (!is_kept_xattr(name) || fsetxattr(fd, name, value, size, 0) == 0) continue;
    if (errno == EOPNOTSUPP && name[0] == 'u') continue; /* file systems without user.* exist, and images survive it */
    return -errno;
  }
  return 0;
}

/* Owner before mode before attributes: chown clears setuid bits and file capabilities. */
static int set_metadata(int fd, struct archive_entry *entry) {
  if (fchown(fd, (uid_t)archive_entry_uid(entry), (gid_t)archive_entry_gid(entry)) < 0) return -errno;
  if (fchmod(fd, archive_entry_perm(entry) & 07777) < 0) return -errno;
  return set_xattrs(fd, entry);
}

static int copy_data(struct archive *tar, int fd, int64_t size, struct shoal_error *err, const char *path) {
  const void *block;
  size_t length;
  la_int64_t offset, end = 0;
  int result;

  while ((result = archive_read_data_block(tar, &block, &length, &offset)) == ARCHIVE_OK || result == ARCHIVE_WARN) {
    for (size_t done = 0; done < length;) {
      ssize_t written = pwrite(fd, (const char *)block + done, length - done, offset + (la_int64_t)done);
      if (written < 0) return fail_on(err, errno, "write file of layer", path);
      done += (size_t)written;
    }
    end = offset + (la_int64_t)length;
  }
  if (result != ARCHIVE_EOF) return shoal_fail(err, EBADMSG, "read layer", "%s", archive_error_string(tar));
  /* a sparse file may end in a hole */
  if (end != size && ftruncate(fd, size) < 0) return fail_on(err, errno, "write file of layer", path);
  return 0;
}

/* Makes room for an entry that is not a directory over a directory. 1 if a whiteout was there, 0 or -errno. */
static int make_room(struct layer_tree *tree, struct archive_entry *entry, const char *name) {
  int is_dir = archive_entry_hardlink(entry) == NULL && archive_entry_filetype(entry) == AE_IFDIR;
  struct stat st;
  int result;

  if (fstatat(tree->parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return errno == ENOENT ? 0 : -errno;
  if (is_dir && S_ISDIR(st.st_mode)) return 0;
  result = layer_tree_remove(tree, name);
  return result < 0 ? result : layer_is_whiteout(&st);
}

/* A new file to write. Most names are new: what is there is looked at only when something is. */
static int create_file(struct layer_tree *tree, struct archive_entry *entry, const char *name) {
  for (int is_second = 0;; is_second = 1) {
    int fd = openat(tree->parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int room;

    if (fd >= 0) return fd;
    if (errno != EEXIST || is_second) return -errno;
    room = make_room(tree, entry, name);
    if (room < 0) return room;
  }
}

static int make_file(struct layer_tree *tree, struct archive *tar, struct archive_entry *entry, const char *path,
                     const char *name, struct shoal_error *err) {
  cleanup_layer_fd int fd = create_file(tree, entry, name);
  struct timespec times[2];
  int result;

  if (fd < 0) return fail_on(err, -fd, "create file of layer", path);
  result = copy_data(tar, fd, archive_entry_size(entry), err, path);
  if (result < 0) return result;
  result = set_metadata(fd, entry);
  if (result < 0) return fail_on(err, -result, "set attributes of layer", path);
  read_times(entry, times);
  if (futimens(fd, times) < 0) return fail_on(err, errno, "set times of layer", path);
  return 0;
}

/* Name "" is the layer's root. was_whiteout: the directory takes the place of one, and hides what is below it. */
static int make_directory(struct layer_tree *tree, struct archive_entry *entry, const char *path, const char *name,
                          int was_whiteout, struct shoal_error *err) {
  const char *at = *name == '\0' ? "." : name;
  struct timespec times[2];
  int result = 0;

  if (*name != '\0' && mkdirat(tree->parent_fd, name, 0700) < 0 && errno != EEXIST)
    return fail_on(err, errno, "create directory of layer", path);
  cleanup_layer_fd int fd = openat(tree->parent_fd, at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return fail_on(err, errno, "open directory of layer", path);
  result = set_metadata(fd, entry);
  if (result == 0 && was_whiteout) result = layer_mark_opaque(tree->parent_fd, name);
  if (result < 0) return fail_on(err, -result, "set attributes of layer", path);
  read_times(entry, times);
  result = layer_tree_remember_times(tree, path, times);
  return result < 0 ? fail_on(err, -result, "unpack layer", path) : 0;
}

static int make_hardlink(struct layer_tree *tree, const char *target, const char *path, const char *name,
                         struct shoal_error *err) {
  char clean[PATH_MAX], above[PATH_MAX] = "";
  const char *slash;
  int result = layer_clean_path(target, clean);

  if (result < 0) return fail_on(err, -result, "hard link leaves the layer", target);
  slash = strrchr(clean, '/');
  if (slash != NULL) memcpy(above, clean, (size_t)(slash - clean));
  cleanup_layer_fd int from = layer_tree_resolve(tree, above, O_PATH | O_DIRECTORY);
  if (from < 0) return fail_on(err, -from, "hard link of layer", path);
  if (linkat(from, slash == NULL ? clean : slash + 1, tree->parent_fd, name, 0) < 0)
    return fail_on(err, errno, "hard link of layer", path);
  return 0;
}

static int make_symlink(const struct layer_tree *tree, struct archive_entry *entry, const char *path, const char *name,
                        struct shoal_error *err) {
  const char *target = archive_entry_symlink(entry);
  struct timespec times[2];

  read_times(entry, times);
  if (target == NULL) return fail_on(err, EBADMSG, "symbolic link without a target", path);
  if (symlinkat(target, tree->parent_fd, name) < 0 ||
      fchownat(tree->parent_fd, name, (uid_t)archive_entry_uid(entry), (gid_t)archive_entry_gid(entry),
               AT_SYMLINK_NOFOLLOW) < 0 ||
      utimensat(tree->parent_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
    return fail_on(err, errno, "symbolic link of layer", path);
  return 0;
}

static int make_node(const struct layer_tree *tree, struct archive_entry *entry, const char *path, const char *name,
                     struct shoal_error *err) {
  struct timespec times[2];

  read_times(entry, times);
  if (mknodat(tree->parent_fd, name, (archive_entry_filetype(entry) & S_IFMT) | 0600, archive_entry_rdev(entry)) < 0 ||
      fchownat(tree->parent_fd, name, (uid_t)archive_entry_uid(entry), (gid_t)archive_entry_gid(entry),
               AT_SYMLINK_NOFOLLOW) < 0 ||
      fchmodat(tree->parent_fd, name, archive_entry_perm(entry) & 07777, 0) < 0 ||
      utimensat(tree->parent_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
    return fail_on(err, errno, "device node of layer", path);
  return 0;
}

/* A whiteout concerns the layers below only: what this layer itself has under the name stays, and hides them. */
static int apply_whiteout(const struct layer_tree *tree, const char *path, const char *name, struct shoal_error *err) {
  const char *hidden = name + strlen(WHITEOUT);
  struct stat st;
  int result = 0;

  if (strcmp(name, WHITEOUT_OPAQUE) == 0) {
    result = layer_mark_opaque(tree->parent_fd, ".");
  } else if (strncmp(name, WHITEOUT_META, strlen(WHITEOUT_META)) == 0) {
    return 0; /* bookkeeping of aufs */
  } else if (*hidden == '\0' || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0) {
    result = -EINVAL;
  } else if (fstatat(tree->parent_fd, hidden, &st, AT_SYMLINK_NOFOLLOW) == 0) {
    result = S_ISDIR(st.st_mode) ? layer_mark_opaque(tree->parent_fd, hidden) : 0;
  } else if (mknodat(tree->parent_fd, hidden, S_IFCHR, makedev(0, 0)) < 0) {
    result = -errno;
  }
  return result < 0 ? fail_on(err, -result, "whiteout of layer", path) : 0;
}

static int is_valid_owner(int64_t id) { return id >= 0 && id < UINT32_MAX; }

static int make_entry(struct layer_tree *tree, struct archive *tar, struct archive_entry *entry, const char *path,
                      const char *name, struct shoal_error *err) {
  const char *hardlink = archive_entry_hardlink(entry);
  int room = 0;

  if (*name == '\0') {
    if (hardlink != NULL || archive_entry_filetype(entry) != AE_IFDIR)
      return fail_on(err, EINVAL, "the layer's root is no directory", archive_entry_pathname(entry));
    return make_directory(tree, entry, path, name, 0, err);
  }
  if (hardlink == NULL && archive_entry_filetype(entry) == AE_IFREG)
    return make_file(tree, tar, entry, path, name, err);
  room = make_room(tree, entry, name);
  if (room < 0) return fail_on(err, -room, "replace in layer", path);
  if (hardlink != NULL) return make_hardlink(tree, hardlink, path, name, err);
  switch (archive_entry_filetype(entry)) {
  case AE_IFDIR:
    return make_directory(tree, entry, path, name, room, err);
  case AE_IFLNK:
    return make_symlink(tree, entry, path, name, err);
  case AE_IFCHR:
  case AE_IFBLK:
  case AE_IFIFO:
    return make_node(tree, entry, path, name, err);
  default:
    return fail_on(err, EINVAL, "entry of unknown type in layer", path);
  }
}

static int is_link_to_itself(struct archive_entry *entry, const char *path) {
  const char *target = archive_entry_hardlink(entry);
  char clean[PATH_MAX];

  return target != NULL && layer_clean_path(target, clean) == 0 && strcmp(clean, path) == 0;
}

int layer_entry_apply(struct layer_tree *tree, struct archive *tar, struct archive_entry *entry,
                      struct shoal_error *err) {
  const char *raw = archive_entry_pathname(entry);
  char path[PATH_MAX];
  const char *name;
  int result;

  if (raw == NULL) return shoal_fail(err, EBADMSG, "read layer", "an entry has no readable name");
  result = layer_clean_path(raw, path);
  if (result < 0) return fail_on(err, -result, "name leaves the layer", raw);
  if (!is_valid_owner(archive_entry_uid(entry)) || !is_valid_owner(archive_entry_gid(entry)))
    return fail_on(err, EINVAL, "owner of layer entry out of range", path);
  if (is_link_to_itself(entry, path)) return 0;
  result = layer_tree_enter(tree, path, &name, err);
  if (result < 0) return result;
  if (strncmp(name, WHITEOUT, strlen(WHITEOUT)) == 0) return apply_whiteout(tree, path, name, err);
  return make_entry(tree, tar, entry, path, name, err);
}

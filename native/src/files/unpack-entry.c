#include "files/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

struct unpack_times {
  char *path;
  struct timespec times[2];
};

/* Where an entry goes: the directory that holds it, and its name there; "" is the directory of the copy itself. */
struct place {
  char path[PATH_MAX]; /* inside the root */
  const char *name;
  int parent_fd;
};

static void close_place(struct place *place) { files_close(&place->parent_fd); }
#define cleanup_place __attribute__((cleanup(close_place)))

/* Cleans a name lexically; -EINVAL for one that climbs out of where it is put. "" is the directory itself. */
static int clean(const char *name, char out[PATH_MAX]) {
  size_t length = 0;
  while (*name != '\0') {
    size_t part = strcspn(name, "/");
    if (part == 2 && name[0] == '.' && name[1] == '.') {
      if (length == 0) return -EINVAL;
      while (length > 0 && out[--length] != '/')
        continue;
    } else if (part > 0 && !(part == 1 && name[0] == '.')) {
      if (length + part + 2 > PATH_MAX) return -ENAMETOOLONG;
      if (length > 0) out[length++] = '/';
      memcpy(out + length, name, part);
      length += part;
    }
    name += part;
    name += strspn(name, "/");
  }
  out[length] = '\0';
  return 0;
}

/* Makes what is missing of path, from the top. A descriptor or -errno. */
static int make_directories(int root_fd, char path[PATH_MAX]) {
  int fd = view_open(root_fd, "", O_PATH | O_DIRECTORY);
  for (size_t end = 0; fd >= 0 && path[end] != '\0';) {
    size_t start = end + strspn(path + end, "/");
    end = start + strcspn(path + start, "/");
    if (end == start) break;
    char mark = path[end];
    path[end] = '\0';
    int next = view_open(root_fd, path, O_PATH | O_DIRECTORY);
    if (next == -ENOENT) {
      next = mkdirat(fd, path + start, 0755) < 0 && errno != EEXIST ? -errno : 0;
      if (next == 0) next = view_open(root_fd, path, O_PATH | O_DIRECTORY);
    }
    path[end] = mark;
    (void)close(fd);
    fd = next;
  }
  return fd;
}

static int locate(const struct unpack *unpack, const char *name, struct place *place) {
  char below[PATH_MAX], parent[PATH_MAX];
  int rc = clean(name, below);
  if (rc < 0) return reply_error("invalid", -rc, "the archive's %.500s leaves the directory", name);
  if (snprintf(place->path, sizeof place->path, "%s/%s", unpack->base, below) >= PATH_MAX)
    return reply_error("invalid", ENAMETOOLONG, "the archive's %.500s is too long", name);
  place->name = *below == '\0' ? "" : strrchr(place->path, '/') + 1;
  size_t length = *below == '\0' ? strlen(place->path) : (size_t)(place->name - place->path);
  memcpy(parent, place->path, length);
  parent[length] = '\0';
  place->parent_fd = make_directories(unpack->root_fd, parent);
  return place->parent_fd < 0 ? unpack_refused(unpack, -place->parent_fd, "create", parent) : 0;
}

static int remove_at(int dir_fd, const char *name, int depth) {
  const struct dirent *entry;
  int rc = 0;
  if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT) return 0;
  if (errno != EISDIR) return -errno;
  int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *dir = fd < 0 ? NULL : fdopendir(fd);
  if (dir == NULL || depth > FILES_DEPTH_MAX) {
    rc = dir == NULL ? -errno : -ELOOP;
    if (dir != NULL) (void)closedir(dir);
    return rc;
  }
  while (rc == 0 && (entry = readdir(dir)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    rc = remove_at(fd, entry->d_name, depth + 1);
  }
  (void)closedir(dir);
  return rc < 0 ? rc : unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

/* What is there gives way, but for a directory in the place of a directory: that is filled. 1: it stays. */
static int make_room(const struct unpack *unpack, const struct place *place, bool directory, const char *entry) {
  struct stat info;
  if (*place->name == '\0') return 1;
  if (fstatat(place->parent_fd, place->name, &info, AT_SYMLINK_NOFOLLOW) < 0) return 0;
  bool is_directory = S_ISDIR(info.st_mode);
  if (is_directory && directory) return 1;
  if (unpack->options->keep_kinds && is_directory)
    return reply_error("invalid", EISDIR, "cannot overwrite directory \"%s\" with non-directory \"%s\"", place->path,
                       entry);
  if (unpack->options->keep_kinds && directory)
    return reply_error("invalid", ENOTDIR, "cannot overwrite non-directory \"%s\" with directory \"%s\"", place->path,
                       entry);
  int rc = remove_at(place->parent_fd, place->name, 0);
  return rc < 0 ? unpack_refused(unpack, -rc, "replace", place->path) : 0;
}

static void read_times(struct archive_entry *entry, struct timespec times[2]) {
  times[1] = (struct timespec){archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)};
  times[0] = times[1];
}

/* Owner before mode before attributes: chown clears setuid bits and file capabilities. */
static int set_metadata(const struct unpack *unpack, int fd, struct archive_entry *entry) {
  const struct unpack_options *options = unpack->options;
  uid_t uid = options->owned ? options->uid : (uid_t)archive_entry_uid(entry);
  gid_t gid = options->owned ? options->gid : (gid_t)archive_entry_gid(entry);
  const char *name;
  const void *value;
  size_t size;
  if (fchown(fd, uid, gid) < 0 || fchmod(fd, archive_entry_perm(entry) & 07777) < 0) return -errno;
  (void)archive_entry_xattr_reset(entry);
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
    if (strncmp(name, "user.", 5) != 0 && strcmp(name, "security.capability") != 0) continue;
    /* tmpfs and others have no user.*: a copy survives that */
    if (fsetxattr(fd, name, value, size, 0) < 0 && errno != EOPNOTSUPP) return -errno;
  }
  return 0;
}

static int copy_data(struct unpack *unpack, int fd, const char *path, int64_t length) {
  const void *data;
  size_t size;
  la_int64_t offset;
  int status;
  while ((status = archive_read_data_block(unpack->tar, &data, &size, &offset)) == ARCHIVE_OK) {
    for (size_t done = 0; done < size;) {
      ssize_t n = pwrite(fd, (const char *)data + done, size - done, offset + (la_int64_t)done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return unpack_refused(unpack, errno, "write", path);
      done += (size_t)n;
    }
  }
  if (status != ARCHIVE_EOF)
    return reply_error("invalid", EBADMSG, "the archive can not be read: %s", archive_error_string(unpack->tar));
  return ftruncate(fd, length) < 0 ? unpack_refused(unpack, errno, "write", path) : 0;
}

static int make_file(struct unpack *unpack, struct archive_entry *entry, const struct place *place) {
  struct timespec times[2];
  cleanup_fd int fd = openat(place->parent_fd, place->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return unpack_refused(unpack, errno, "create", place->path);
  if (copy_data(unpack, fd, place->path, archive_entry_size(entry)) < 0) return -1;
  int rc = set_metadata(unpack, fd, entry);
  if (rc < 0) return unpack_refused(unpack, -rc, "attributes of", place->path);
  read_times(entry, times);
  (void)futimens(fd, times);
  return 0;
}

static void remember_times(struct unpack *unpack, const char *path, struct archive_entry *entry) {
  if (unpack->times_count == unpack->times_capacity) {
    size_t capacity = unpack->times_capacity == 0 ? 64 : unpack->times_capacity * 2;
    struct unpack_times *times = reallocarray(unpack->times, capacity, sizeof *times);
    if (times == NULL) return;
    unpack->times = times;
    unpack->times_capacity = capacity;
  }
  struct unpack_times *slot = &unpack->times[unpack->times_count];
  slot->path = strdup(path);
  if (slot->path == NULL) return;
  read_times(entry, slot->times);
  unpack->times_count++;
}

void unpack_restore_times(struct unpack *unpack) {
  while (unpack->times_count > 0) {
    struct unpack_times *slot = &unpack->times[--unpack->times_count];
    cleanup_fd int fd = view_open(unpack->root_fd, slot->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd >= 0) (void)futimens(fd, slot->times);
    free(slot->path);
  }
  free(unpack->times);
  unpack->times = NULL;
}

static int make_directory(struct unpack *unpack, struct archive_entry *entry, const struct place *place, bool there) {
  if (*place->name == '\0') return 0; /* where it is all put stays as it is */
  if (!there && mkdirat(place->parent_fd, place->name, 0700) < 0)
    return unpack_refused(unpack, errno, "create", place->path);
  cleanup_fd int fd = openat(place->parent_fd, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  int rc = fd < 0 ? -errno : set_metadata(unpack, fd, entry);
  if (rc < 0) return unpack_refused(unpack, -rc, "attributes of", place->path);
  remember_times(unpack, place->path, entry);
  return 0;
}

static int make_hardlink(struct unpack *unpack, struct archive_entry *entry, const struct place *place) {
  cleanup_place struct place target = {.parent_fd = -1};
  if (locate(unpack, archive_entry_hardlink(entry), &target) < 0) return -1;
  /* no flags: a symbolic link there is linked itself, not what it names */
  if (linkat(target.parent_fd, target.name, place->parent_fd, place->name, 0) == 0) return 0;
  return unpack_refused(unpack, errno, "link", place->path);
}

static int make_special(struct unpack *unpack, struct archive_entry *entry, const struct place *place) {
  const struct unpack_options *options = unpack->options;
  struct timespec times[2];
  mode_t type = archive_entry_filetype(entry), mode = archive_entry_perm(entry) & 07777;
  int rc = type == AE_IFLNK ? symlinkat(archive_entry_symlink(entry), place->parent_fd, place->name)
                            : mknodat(place->parent_fd, place->name, type | mode, archive_entry_rdev(entry));
  if (rc == 0)
    rc = fchownat(place->parent_fd, place->name, options->owned ? options->uid : (uid_t)archive_entry_uid(entry),
                  options->owned ? options->gid : (gid_t)archive_entry_gid(entry), AT_SYMLINK_NOFOLLOW);
  if (rc < 0) return unpack_refused(unpack, errno, "create", place->path);
  read_times(entry, times);
  (void)utimensat(place->parent_fd, place->name, times, AT_SYMLINK_NOFOLLOW);
  return 0;
}

int unpack_entry(struct unpack *unpack, struct archive_entry *entry) {
  cleanup_place struct place place = {.parent_fd = -1};
  const char *name = archive_entry_pathname(entry);
  mode_t type = archive_entry_filetype(entry);
  bool linked = archive_entry_hardlink(entry) != NULL;
  if (name == NULL) return reply_error("invalid", EINVAL, "the archive has an entry without a name");
  if (type == AE_IFSOCK) return 0;
  if (locate(unpack, name, &place) < 0) return -1;
  bool directory = type == AE_IFDIR && !linked;
  int there = make_room(unpack, &place, directory, name);
  if (there < 0) return -1;
  if (*place.name == '\0' && !directory)
    return reply_error("invalid", EINVAL, "the archive's %.500s is no directory", name);
  if (linked) return make_hardlink(unpack, entry, &place);
  switch (type) {
  case AE_IFDIR:
    return make_directory(unpack, entry, &place, there == 1);
  case AE_IFREG:
    return make_file(unpack, entry, &place);
  case AE_IFLNK:
  case AE_IFIFO:
  case AE_IFCHR:
  case AE_IFBLK:
    return make_special(unpack, entry, &place);
  default:
    return reply_error("invalid", EINVAL, "the archive's %.500s is of a kind that tar does not have", name);
  }
}

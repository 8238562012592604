/* The overlay's own layer against the image: a device 0/0 is a deletion, a directory marked opaque hides all that the
 * image has there (kernel documentation, filesystems/overlayfs.rst). */
#include "files/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

struct walk {
  char path[FILES_PATH_MAX];
};

static void tell(char kind, const char *path) {
  (void)printf("%c %s", kind, path);
  (void)putchar('\0');
}

/* Made so that there is a place to mount to: no doing of the container's. */
static bool is_place(const char *path) {
  static const char *const places[] = {
      "/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab", "/.dockerenv"};
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    if (strcmp(path, places[i]) == 0) return true;
  }
  return false;
}

static bool is_whiteout(const struct stat *info) { return S_ISCHR(info->st_mode) && info->st_rdev == makedev(0, 0); }

static bool is_opaque(int dir_fd) {
  char value[2];
  return fgetxattr(dir_fd, "trusted.overlay.opaque", value, sizeof value) == 1 && value[0] == 'y';
}

static int walk(struct walk *walk, int upper_fd, int image_fd, size_t length, int depth);

/* Names that the image has and the opaque directory does not. */
static void tell_hidden(struct walk *walk, int upper_fd, int image_fd, size_t length) {
  const struct dirent *entry;
  struct stat info;
  int fd = openat(image_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd < 0 ? NULL : fdopendir(fd);
  if (dir == NULL) {
    if (fd >= 0) (void)close(fd);
    return;
  }
  while ((entry = readdir(dir)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (length + strlen(entry->d_name) + 2 > sizeof walk->path) continue;
    if (fstatat(upper_fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0) continue;
    (void)strcpy(walk->path + length, entry->d_name);
    tell('D', walk->path);
  }
  (void)closedir(dir);
}

static bool differs(const struct stat *one, const struct stat *other) {
  return one->st_mode != other->st_mode || one->st_uid != other->st_uid || one->st_gid != other->st_gid;
}

/* 1: something was told. A directory is changed when something in it is, or its own mode and owner are. */
static int walk_directory(struct walk *w, int dir_fd, const char *name, const struct stat *info, int image_fd,
                          const struct stat *before, size_t length, int depth) {
  cleanup_fd int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  cleanup_fd int below = before == NULL || !S_ISDIR(before->st_mode)
                             ? -1
                             : openat(image_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return 0;
  size_t end = length + strlen(name);
  bool opaque = below >= 0 && is_opaque(fd);
  if (before == NULL || below < 0) tell(before == NULL ? 'A' : 'C', w->path);
  (void)strcpy(w->path + end, "/");
  if (opaque) tell_hidden(w, fd, below, end + 1);
  int told = walk(w, fd, below, end + 1, depth + 1);
  if (told < 0) return told;
  w->path[end] = '\0';
  if (below < 0) return 1;
  if (told == 0 && !opaque && !differs(info, before)) return 0;
  tell('C', w->path);
  return 1;
}

static int walk_entry(struct walk *w, int dir_fd, const char *name, int image_fd, size_t length, int depth) {
  struct stat info, before;
  if (length + strlen(name) + 2 > sizeof w->path) return reply_error("failed", ENAMETOOLONG, "a path is too long");
  if (fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0) return 0;
  bool known = image_fd >= 0 && fstatat(image_fd, name, &before, AT_SYMLINK_NOFOLLOW) == 0;
  (void)strcpy(w->path + length, name);
  if (!known && is_place(w->path)) return 0;
  if (is_whiteout(&info)) {
    if (known) tell('D', w->path);
    return known ? 1 : 0;
  }
  if (S_ISDIR(info.st_mode))
    return walk_directory(w, dir_fd, name, &info, image_fd, known ? &before : NULL, length, depth);
  tell(known ? 'C' : 'A', w->path);
  return 1;
}

/* image_fd: -1 where the image has nothing. */
static int walk(struct walk *w, int upper_fd, int image_fd, size_t length, int depth) {
  const struct dirent *entry;
  int told = 0;
  if (depth > FILES_DEPTH_MAX) return reply_error("failed", ELOOP, "directories are nested too deeply");
  int fd = openat(upper_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd < 0 ? NULL : fdopendir(fd);
  if (dir == NULL) {
    if (fd >= 0) (void)close(fd);
    return reply_error("failed", errno, "the container's layer: %s", strerror(errno));
  }
  while (told >= 0 && (entry = readdir(dir)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    int one = walk_entry(w, fd, entry->d_name, image_fd, length, depth);
    told = one < 0 ? one : told | one;
  }
  (void)closedir(dir);
  return told;
}

int changes_write(int upper_fd, int image_fd) {
  struct walk *w = calloc(1, sizeof *w);
  if (w == NULL) return reply_error("failed", ENOMEM, "no memory");
  w->path[0] = '/';
  int told = walk(w, upper_fd, image_fd, 1, 0);
  free(w);
  return told < 0 || fflush(stdout) != 0 ? -1 : 0;
}

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "layer-internal.h"

/* openat2 answers EAGAIN when a rename anywhere on the system raced with "..": openat2(2). */
enum { RESOLVE_ATTEMPTS = 1000 };
/* The caller may give us a small stack, and a level costs a descriptor too. */
enum { REMOVE_DEPTH = 256 };

int layer_tree_open(struct layer_tree *tree, const char *path, struct shoal_error *err) {
  memset(tree, 0, sizeof *tree);
  tree->parent_fd = -1;
  tree->root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (tree->root_fd < 0) return shoal_fail(err, errno, "open directory", "%s", path);
  return 0;
}

static void forget_parent(struct layer_tree *tree) {
  if (tree->parent_fd >= 0) (void)close(tree->parent_fd);
  tree->parent_fd = -1;
}

void layer_tree_close(struct layer_tree *tree) {
  forget_parent(tree);
  if (tree->root_fd >= 0) (void)close(tree->root_fd);
  for (size_t i = 0; i < tree->dir_count; i++)
    free(tree->dirs[i].path);
  free(tree->dirs);
}

/* Drops the last component of the first length bytes; the new length, or -1 at the root. */
static long drop_component(const char *clean, size_t length) {
  if (length == 0) return -1;
  while (length > 0 && clean[length - 1] != '/')
    length--;
  return length > 0 ? (long)length - 1 : 0;
}

int layer_clean_path(const char *path, char clean[PATH_MAX]) {
  size_t length = 0;

  while (*path != '\0') {
    size_t part = strcspn(path, "/");
    if (part == 2 && path[0] == '.' && path[1] == '.') {
      long shorter = drop_component(clean, length);
      if (shorter < 0) return -EINVAL;
      length = (size_t)shorter;
    } else if (part > 0 && !(part == 1 && path[0] == '.')) {
      if (length + part + 2 > PATH_MAX) return -ENAMETOOLONG;
      if (length > 0) clean[length++] = '/';
      memcpy(clean + length, path, part);
      length += part;
    }
    path += part;
    path += strspn(path, "/");
  }
  clean[length] = '\0';
  return 0;
}

int layer_tree_resolve(const struct layer_tree *tree, const char *path, int flags) {
  struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};

  for (int attempt = 0; attempt < RESOLVE_ATTEMPTS; attempt++) {
    long fd = syscall(SYS_openat2, tree->root_fd, *path == '\0' ? "." : path, &how, sizeof how);
    if (fd >= 0) return (int)fd;
    if (errno != EAGAIN) return -errno;
  }
  return -EAGAIN;
}

int layer_is_whiteout(const struct stat *st) { return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0); }

int layer_mark_opaque(int dir_fd, const char *name) {
  cleanup_layer_fd int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

  if (fd < 0 || fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0) return -errno;
  return 0;
}

/* Makes the directory name in parent_fd. One that takes the place of a whiteout hides what is below: opaque. */
static int make_directory(int parent_fd, const char *name) {
  struct stat st;

  if (mkdirat(parent_fd, name, 0755) == 0) return 0;
  if (errno != EEXIST || fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
  if (!layer_is_whiteout(&st)) return -ENOTDIR;
  if (unlinkat(parent_fd, name, 0) < 0 || mkdirat(parent_fd, name, 0755) < 0) return -errno;
  return layer_mark_opaque(parent_fd, name);
}

/* Makes what is missing of the clean path, from the top. A loop: an archive chooses how deep this goes. */
static int make_directories(const struct layer_tree *tree, const char *path) {
  char prefix[PATH_MAX];
  int above_fd = layer_tree_resolve(tree, "", O_PATH | O_DIRECTORY);

  for (size_t start = 0, end; above_fd >= 0; start = end + 1) {
    end = start + strcspn(path + start, "/");
    memcpy(prefix, path, end);
    prefix[end] = '\0';
    int fd = layer_tree_resolve(tree, prefix, O_PATH | O_DIRECTORY);
    if (fd == -ENOENT || fd == -ENOTDIR) {
      fd = make_directory(above_fd, prefix + start);
      if (fd == 0) fd = layer_tree_resolve(tree, prefix, O_PATH | O_DIRECTORY);
    }
    (void)close(above_fd);
    above_fd = fd;
    if (path[end] == '\0') break;
  }
  return above_fd;
}

/* Opens the directory path, creating what is missing of it. Archives may leave parents out. */
static int open_directory(const struct layer_tree *tree, const char *path) {
  int fd = layer_tree_resolve(tree, path, O_PATH | O_DIRECTORY);

  if ((fd != -ENOENT && fd != -ENOTDIR) || *path == '\0') return fd;
  return make_directories(tree, path);
}

int layer_tree_enter(struct layer_tree *tree, const char *path, const char **name, struct shoal_error *err) {
  const char *slash = strrchr(path, '/');
  size_t length = slash == NULL ? 0 : (size_t)(slash - path);

  *name = slash == NULL ? path : slash + 1;
  if (tree->parent_fd >= 0 && strlen(tree->parent) == length && memcmp(tree->parent, path, length) == 0) return 0;
  forget_parent(tree);
  memcpy(tree->parent, path, length);
  tree->parent[length] = '\0';
  tree->parent_fd = open_directory(tree, tree->parent);
  if (tree->parent_fd >= 0) return 0;
  return shoal_fail(err, -tree->parent_fd, "open directory of layer", "%s", path);
}

static int remove_below(int dir_fd, const char *name, int depth) {
  const struct dirent *entry;
  int result = 0;
  DIR *dir;
  int fd;

  if (depth > REMOVE_DEPTH) return -ELOOP;
  fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -errno;
  dir = fdopendir(fd);
  if (dir == NULL) {
    (void)close(fd);
    return -ENOMEM;
  }
  /* the stream belongs to this call alone: readdir(3) */
  /* cppcheck-suppress readdirCalled */
  while (result == 0 && (entry = readdir(dir)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (unlinkat(fd, entry->d_name, 0) == 0) continue;
    result = errno == EISDIR ? remove_below(fd, entry->d_name, depth + 1) : -errno;
  }
  (void)closedir(dir);
  if (result == 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0) result = -errno;
  return result;
}

int layer_tree_remove(struct layer_tree *tree, const char *name) {
  if (unlinkat(tree->parent_fd, name, 0) == 0 || errno == ENOENT) return 0;
  return errno == EISDIR ? remove_below(tree->parent_fd, name, 0) : -errno;
}

int layer_tree_remember_times(struct layer_tree *tree, const char *path, const struct timespec times[2]) {
  struct layer_dir_times *slot;

  if (tree->dir_count == tree->dir_capacity) {
    size_t capacity = tree->dir_capacity == 0 ? 64 : tree->dir_capacity * 2;
    struct layer_dir_times *dirs = reallocarray(tree->dirs, capacity, sizeof *dirs);
    if (dirs == NULL) return -ENOMEM;
    tree->dirs = dirs;
    tree->dir_capacity = capacity;
  }
  slot = &tree->dirs[tree->dir_count];
  slot->path = strdup(path);
  if (slot->path == NULL) return -ENOMEM;
  memcpy(slot->times, times, sizeof slot->times);
  tree->dir_count++;
  return 0;
}

void layer_tree_restore_times(const struct layer_tree *tree) {
  for (size_t i = 0; i < tree->dir_count; i++) {
    /* a later entry may have replaced the directory: then there is nothing to restore */
    cleanup_layer_fd int fd = layer_tree_resolve(tree, tree->dirs[i].path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd >= 0) (void)futimens(fd, tree->dirs[i].times);
  }
}

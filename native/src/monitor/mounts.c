#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/monitor.h"

#define OPEN_TREE_CLONE_FLAG 1u
#define AT_RECURSIVE_FLAG 0x8000u
#define FSCONFIG_SET_FLAG 0u
#define FSCONFIG_SET_STRING 1u
#define FSCONFIG_CMD_CREATE 6u
#define ATTR_RDONLY 0x01u
#define ATTR_NOSUID 0x02u
#define ATTR_NODEV 0x04u
#define ATTR_NOEXEC 0x08u

/* The kernel explains a refused option in the file system context, one message a read: "e overlay: ..." */
static int context_failure(int fs_fd, const char *step, const char *what, struct shoal_error *err) {
  char message[128];
  int code = errno;
  ssize_t n = read(fs_fd, message, sizeof message - 1);
  if (n <= 0) return shoal_fail(err, code, step, "%s", what);
  message[n] = '\0';
  message[strcspn(message, "\n")] = '\0';
  return shoal_fail(err, code, step, "%s: %s", what, message);
}

static int set_option(int fs_fd, const char *option) {
  char key[128];
  const char *equals = strchr(option, '=');
  if (equals == NULL) return sys_fsconfig(fs_fd, FSCONFIG_SET_FLAG, option, NULL);
  size_t size = (size_t)(equals - option);
  if (size >= sizeof key) {
    errno = EINVAL;
    return -1;
  }
  memcpy(key, option, size);
  key[size] = '\0';
  return sys_fsconfig(fs_fd, FSCONFIG_SET_STRING, key, equals + 1);
}

/* A new instance of a file system, not attached anywhere yet. */
static int new_filesystem(const struct plan *plan, const struct plan_mount *mount, const char *step,
                          struct shoal_error *err) {
  const uint32_t *options = plan_items(plan, mount->options);
  int fs_fd = sys_fsopen(plan_string(plan, mount->fstype));
  if (fs_fd < 0) return shoal_fail(err, errno, step, "type %s", plan_string(plan, mount->fstype));
  int rc = 0;
  if (mount->source != 0 && sys_fsconfig(fs_fd, FSCONFIG_SET_STRING, "source", plan_string(plan, mount->source)) < 0)
    rc = context_failure(fs_fd, step, "source", err);
  const char *label = label_of_type(plan, plan_string(plan, mount->fstype));
  if (rc == 0 && label != NULL && sys_fsconfig(fs_fd, FSCONFIG_SET_STRING, "context", label) < 0)
    rc = context_failure(fs_fd, step, label, err);
  for (uint32_t i = 0; rc == 0 && i < mount->options.count; i++) {
    const char *option = plan_string(plan, options[i]);
    if (set_option(fs_fd, option) < 0) rc = context_failure(fs_fd, step, option, err);
  }
  if (rc == 0 && sys_fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL) < 0)
    rc = context_failure(fs_fd, step, plan_string(plan, mount->fstype), err);
  if (rc == 0) {
    rc = sys_fsmount(fs_fd, mount->attr_set);
    if (rc < 0) rc = context_failure(fs_fd, step, "fsmount", err);
  }
  close(fs_fd);
  return rc;
}

/* The place that is bound. A path in the source is found as if that were the root: whoever may write there leads nobody
 * out of it by a link. */
static int open_source(const struct plan *plan, const struct plan_mount *mount, const char *step,
                       struct shoal_error *err) {
  const char *source = plan_string(plan, mount->source), *subpath = plan_string(plan, mount->subpath);
  int fd = open(source, O_PATH | O_CLOEXEC);
  if (fd < 0) return shoal_fail(err, errno, step, "source %s", source);
  if (subpath == NULL) return fd;
  int found = resolve_in_root(fd, subpath, 0);
  int code = errno;
  close(fd);
  return found < 0 ? shoal_fail(err, code, step, "subpath %s of %s", subpath, source) : found;
}

/* A copy of a mount of the host, not attached; its attributes are set before anybody can see it. */
int mounts_clone_tree(const struct plan *plan, const struct plan_mount *mount, struct shoal_error *err) {
  char step[32];
  (void)snprintf(step, sizeof step, "mount %s", plan_string(plan, mount->target));
  unsigned int recursive = (mount->flags & PLAN_MOUNT_RECURSIVE) != 0 ? AT_RECURSIVE_FLAG : 0;
  const char *source = plan_string(plan, mount->source);
  int place = open_source(plan, mount, step, err);
  if (place < 0) return place;
  if ((mount->flags & PLAN_MOUNT_LABEL) != 0 && label_file(plan, place) < 0) {
    int code = errno;
    close(place);
    return shoal_fail(err, code, step, "label of %s", source);
  }
  int fd = sys_open_tree(place, "", AT_EMPTY_PATH | OPEN_TREE_CLONE_FLAG | O_CLOEXEC | recursive);
  int failure = errno;
  close(place);
  if (fd < 0) return shoal_fail(err, failure, step, "source %s", source);
  bool here = (mount->flags & PLAN_MOUNT_READONLY_HERE) != 0;
  if (here && sys_mount_setattr(fd, AT_EMPTY_PATH, ATTR_RDONLY, 0, 0) < 0) {
    int code = errno;
    close(fd);
    return shoal_fail(err, code, step, "attributes of %s", source);
  }
  if ((mount->attr_set | mount->attr_clear) == 0) return fd;
  /* "ro" with "rbind" is recursive: a writable mount below a read-only one is never what was meant. */
  if (sys_mount_setattr(fd, AT_EMPTY_PATH | recursive, mount->attr_set, mount->attr_clear, 0) < 0) {
    int code = errno;
    close(fd);
    return shoal_fail(err, code, step, "attributes of %s", source);
  }
  return fd;
}

static int open_target(const struct plan *plan, const struct plan_mount *mount, int root_fd, int tree_fd,
                       const char *step, struct shoal_error *err) {
  const char *target = plan_string(plan, mount->target);
  struct stat info = {.st_mode = S_IFDIR};
  if ((mount->flags & PLAN_MOUNT_BIND) != 0 && fstat(tree_fd, &info) < 0) return shoal_fail(err, errno, step, "stat");
  int fd = resolve_or_create(root_fd, target, S_ISDIR(info.st_mode));
  if (fd < 0) return shoal_fail(err, errno, step, "target");
  if ((mount->flags & PLAN_MOUNT_NO_SYMLINK) == 0) return fd;
  close(fd);
  fd = resolve_in_root(root_fd, target, RESOLVE_NO_SYMLINKS);
  return fd < 0 ? shoal_fail(err, errno, step, "the image has a symbolic link there") : fd;
}

static int set_propagation(const struct plan_mount *mount, int fd, const char *step, struct shoal_error *err) {
  unsigned int recursive = mount->propagation_recursive != 0 ? AT_RECURSIVE_FLAG : 0;
  if (mount->propagation == 0) return 0;
  if (sys_mount_setattr(fd, AT_EMPTY_PATH | recursive, 0, 0, mount->propagation) == 0) return 0;
  return shoal_fail(err, errno, step, "propagation");
}

static int seal(const struct plan *plan, const struct plan_mount *mount, int root_fd, const char *step,
                struct shoal_error *err) {
  int fd = resolve_in_root(root_fd, plan_string(plan, mount->target), 0);
  if (fd < 0) return shoal_fail(err, errno, step, "target");
  int rc = sys_mount_setattr(fd, AT_EMPTY_PATH, mount->attr_set, mount->attr_clear, 0);
  int code = errno;
  close(fd);
  return rc < 0 ? shoal_fail(err, code, step, "attributes") : 0;
}

static int bound_tree(const struct plan *plan, const struct plan_mount *mount, int sync_fd, struct shoal_error *err) {
  if (userns_own(plan)) return userns_receive_tree(sync_fd, err);
  bool layers = (mount->flags & PLAN_MOUNT_LAYERS) != 0;
  return layers ? layers_tree(plan, mount, -1, err) : mounts_clone_tree(plan, mount, err);
}

static bool has_mode(const struct plan *plan, const struct plan_mount *mount) {
  const uint32_t *options = plan_items(plan, mount->options);
  for (uint32_t i = 0; i < mount->options.count; i++) {
    if (strncmp(plan_string(plan, options[i]), "mode=", 5) == 0) return true;
  }
  return false;
}

static int apply_mount(const struct plan *plan, const struct plan_mount *mount, int root_fd, int sync_fd,
                       struct shoal_error *err) {
  char step[32];
  (void)snprintf(step, sizeof step, "mount %s", plan_string(plan, mount->target));
  if ((mount->flags & PLAN_MOUNT_SETATTR) != 0) return seal(plan, mount, root_fd, step, err);
  int tree_fd = (mount->flags & PLAN_MOUNT_BIND) != 0 ? bound_tree(plan, mount, sync_fd, err)
                                                      : new_filesystem(plan, mount, step, err);
  if (tree_fd < 0) return tree_fd;
  int target_fd = open_target(plan, mount, root_fd, tree_fd, step, err);
  int rc = target_fd < 0 ? target_fd : 0;
  if (rc == 0 && (mount->flags & PLAN_MOUNT_COPY_UP) != 0)
    rc = copy_up(target_fd, tree_fd, !has_mode(plan, mount), step, err);
  if (rc == 0 && sys_move_mount(tree_fd, target_fd) < 0) rc = shoal_fail(err, errno, step, "move_mount");
  if (rc == 0) rc = set_propagation(mount, tree_fd, step, err);
  close(tree_fd);
  if (target_fd >= 0) close(target_fd);
  return rc;
}

int mounts_apply(const struct plan *plan, int root_fd, int sync_fd, struct shoal_error *err) {
  const struct plan_mount *mounts = plan_items(plan, plan->mounts);
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < plan->mounts.count; i++)
    rc = apply_mount(plan, &mounts[i], root_fd, sync_fd, err);
  return rc;
}

/* An empty read-only directory, or the host's own /dev/null (never the image's), covers what is at fd. */
static int mask_one(int fd, int null_fd, const char *path, struct shoal_error *err) {
  struct stat info;
  int cover = -1;
  if (fstat(fd, &info) < 0) return shoal_fail(err, errno, "mask", "%s", path);
  if (S_ISDIR(info.st_mode)) {
    int fs_fd = sys_fsopen("tmpfs");
    if (fs_fd < 0) return shoal_fail(err, errno, "mask", "tmpfs");
    if (sys_fsconfig(fs_fd, FSCONFIG_SET_STRING, "size", "0") == 0 &&
        sys_fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL) == 0)
      cover = sys_fsmount(fs_fd, ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC);
    close(fs_fd);
  } else {
    cover = sys_open_tree(null_fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE_FLAG | O_CLOEXEC);
  }
  if (cover < 0) return shoal_fail(err, errno, "mask", "%s", path);
  int rc = sys_move_mount(cover, fd) < 0 ? shoal_fail(err, errno, "mask", "%s", path) : 0;
  close(cover);
  return rc;
}

static int make_readonly(int fd, const char *path, struct shoal_error *err) {
  int tree = sys_open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE_FLAG | AT_RECURSIVE_FLAG | O_CLOEXEC);
  if (tree < 0) return shoal_fail(err, errno, "readonly", "%s", path);
  int rc = 0;
  if (sys_mount_setattr(tree, AT_EMPTY_PATH | AT_RECURSIVE_FLAG, ATTR_RDONLY, 0, 0) < 0 || sys_move_mount(tree, fd) < 0)
    rc = shoal_fail(err, errno, "readonly", "%s", path);
  close(tree);
  return rc;
}

int mounts_mask(const struct plan *plan, int root_fd, struct shoal_error *err) {
  const uint32_t *masked = plan_items(plan, plan->masked);
  const uint32_t *readonly = plan_items(plan, plan->readonly);
  int rc = 0;
  int null_fd = open("/dev/null", O_PATH | O_CLOEXEC);
  if (null_fd < 0) return shoal_fail(err, errno, "mask", "/dev/null");
  for (uint32_t i = 0; rc == 0 && i < plan->masked.count + plan->readonly.count; i++) {
    bool mask = i < plan->masked.count;
    const char *path = plan_string(plan, mask ? masked[i] : readonly[i - plan->masked.count]);
    int fd = resolve_in_root(root_fd, path, 0);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) continue; /* this kernel does not have it: nothing to hide */
    if (fd < 0) {
      rc = shoal_fail(err, errno, mask ? "mask" : "readonly", "%s", path);
      break;
    }
    rc = mask ? mask_one(fd, null_fd, path, err) : make_readonly(fd, path, err);
    close(fd);
  }
  close(null_fd);
  return rc;
}

/* A procfs of our own that is attached nowhere. To close it waits for all processors, milliseconds where they are busy.
 */
static int own_procfs(void) {
  int fs_fd = sys_fsopen("proc");
  if (fs_fd < 0) return -1;
  int proc_fd = sys_fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL) < 0
                    ? -1
                    : sys_fsmount(fs_fd, ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC);
  int code = errno;
  close(fs_fd);
  errno = code;
  return proc_fd;
}

static int write_sysctl(int proc_fd, const char *path, const char *value) {
  int fd = openat(proc_fd, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  ssize_t n = fd < 0 ? -1 : write(fd, value, strlen(value));
  int code = errno;
  if (fd >= 0) close(fd);
  errno = code;
  return n < 0 ? -1 : 0;
}

/* The node's procfs shows us our own namespaces, too, and the image can not redirect what is written there: its root is
 * not ours yet. Where it is read-only, as in a container of another engine, one of our own takes its place. */
int mounts_sysctl(const struct plan *plan, struct shoal_error *err) {
  const struct plan_sysctl *sysctls = plan_items(plan, plan->sysctls);
  if (plan->sysctls.count == 0) return 0;
  int proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (proc_fd < 0) return shoal_fail(err, errno, "sysctl", "proc");
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < plan->sysctls.count; i++) {
    const char *value = plan_string(plan, sysctls[i].value);
    char path[300];
    (void)snprintf(path, sizeof path, "sys/%s", plan_string(plan, sysctls[i].path));
    if (write_sysctl(proc_fd, path, value) == 0) continue;
    int own_fd = errno == EROFS ? own_procfs() : -1;
    if (own_fd < 0 || write_sysctl(own_fd, path, value) < 0)
      rc = shoal_fail(err, errno, "sysctl", "%s = %s", path + 4, value);
    if (own_fd >= 0) {
      close(proc_fd);
      proc_fd = own_fd;
    }
  }
  close(proc_fd);
  return rc;
}

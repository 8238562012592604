#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "monitor/monitor.h"

#define ATTR_RDONLY 0x01u
#define OPEN_TREE_CLONE_FLAG 1u
#define OVERLAY_OPTIONS_MAX 4096

/* Options that do not fit into mount(2)'s page by name: every layer becomes a descriptor and is named by its number. */
static int short_overlay_options(const struct plan *plan, char out[OVERLAY_OPTIONS_MAX], struct shoal_error *err) {
  const uint32_t *lowers = plan_items(plan, plan->lowers);
  size_t at = (size_t)snprintf(out, OVERLAY_OPTIONS_MAX, "lowerdir=");
  for (uint32_t i = 0; i < plan->lowers.count + 2; i++) {
    bool lower = i < plan->lowers.count;
    const char *path = plan_string(plan, lower ? lowers[i] : i == plan->lowers.count ? plan->upper : plan->work);
    const char *before = lower ? (i == 0 ? "" : ":") : i == plan->lowers.count ? ",upperdir=" : ",workdir=";
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) return shoal_fail(err, errno, "overlay", "%s", path);
    int n = snprintf(out + at, OVERLAY_OPTIONS_MAX - at, "%s/proc/self/fd/%d", before, fd);
    if (n < 0 || at + (size_t)n >= OVERLAY_OPTIONS_MAX) return shoal_fail(err, E2BIG, "overlay", "too many layers");
    at += (size_t)n;
  }
  return 0;
}

static int mount_overlay(const struct plan *plan, struct shoal_error *err) {
  char buffer[OVERLAY_OPTIONS_MAX];
  const char *options = plan_string(plan, plan->overlay_options);
  bool fits = options != NULL && snprintf(buffer, sizeof buffer, "%s", options) < (int)sizeof buffer;
  if (!fits || label_mount_options(plan, buffer, sizeof buffer) < 0) {
    int rc = short_overlay_options(plan, buffer, err);
    if (rc < 0) return rc;
    if (label_mount_options(plan, buffer, sizeof buffer) < 0)
      return shoal_fail(err, E2BIG, "overlay", "too many layers");
  }
  if (mount("overlay", plan_string(plan, plan->root_dir), "overlay", 0, buffer) == 0) return 0;
  return shoal_fail(err, errno, "overlay", "%.120s", buffer);
}

/* A root that somebody else has put together, with what is mounted in it. */
static int mount_plain(const struct plan *plan, struct shoal_error *err) {
  const char *source = plan_string(plan, plan->root_source);
  if (mount(source, plan_string(plan, plan->root_dir), NULL, MS_BIND | MS_REC, NULL) == 0) return 0;
  return shoal_fail(err, errno, "root", "%s", source);
}

static int make_device(const struct plan *plan, const struct plan_device *device, int root_fd,
                       struct shoal_error *err) {
  const char *path = plan_string(plan, device->path), *name;
  struct stat info;
  int dir_fd = resolve_parent(root_fd, path, &name);
  if (dir_fd < 0) return shoal_fail(err, errno, "device", "%s", path);
  dev_t number = makedev(device->major, device->minor);
  int rc = 0;
  if (mknodat(dir_fd, name, device->mode, number) == 0) {
    /* The umask is 0 here. */
    if ((device->uid | device->gid) != 0 && fchownat(dir_fd, name, device->uid, device->gid, AT_SYMLINK_NOFOLLOW) < 0)
      rc = shoal_fail(err, errno, "device", "owner of %s", path);
  } else if (errno != EEXIST) {
    rc = shoal_fail(err, errno, "device", "%s", path);
  } else if (fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0 ||
             (info.st_mode & S_IFMT) != (device->mode & S_IFMT) || info.st_rdev != number) {
    rc = shoal_fail(err, EEXIST, "device", "%s is something else in the image", path);
  }
  close(dir_fd);
  return rc;
}

/* In a user namespace no device can be made: those that the monitor made are bound, each to a file. */
static int bind_device(const struct plan *plan, uint32_t number, int root_fd, int devices_fd, struct shoal_error *err) {
  const struct plan_device *device = (const struct plan_device *)plan_items(plan, plan->devices) + number;
  const char *path = plan_string(plan, device->path), *name;
  char source[16];
  struct stat info;
  (void)snprintf(source, sizeof source, "%u", number);
  int dir_fd = resolve_parent(root_fd, path, &name);
  if (dir_fd < 0) return shoal_fail(err, errno, "device", "%s", path);
  int made = openat(dir_fd, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (made >= 0) close(made);
  int target = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  close(dir_fd);
  if (target < 0) return shoal_fail(err, errno, "device", "%s", path);
  int tree = -1, rc = 0;
  if (fstat(target, &info) < 0 || S_ISDIR(info.st_mode) || S_ISLNK(info.st_mode)) {
    rc = shoal_fail(err, EEXIST, "device", "%s is something else in the image", path);
  } else {
    tree = sys_open_tree(devices_fd, source, OPEN_TREE_CLONE_FLAG | O_CLOEXEC);
    if (tree < 0 || sys_move_mount(tree, target) < 0) rc = shoal_fail(err, errno, "device", "%s", path);
  }
  if (tree >= 0) close(tree);
  close(target);
  return rc;
}

static int make_links(const struct plan *plan, int root_fd, struct shoal_error *err) {
  const struct plan_symlink *links = plan_items(plan, plan->symlinks);
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < plan->symlinks.count; i++) {
    const char *path = plan_string(plan, links[i].path), *name;
    int dir_fd = resolve_parent(root_fd, path, &name);
    if (dir_fd < 0 || (symlinkat(plan_string(plan, links[i].target), dir_fd, name) < 0 && errno != EEXIST))
      rc = shoal_fail(err, errno, "link", "%s", path);
    if (dir_fd >= 0) close(dir_fd);
  }
  return rc;
}

/* devices_fd: of those that are bound, or -1. */
static int make_devices(const struct plan *plan, int root_fd, int devices_fd, struct shoal_error *err) {
  const struct plan_device *devices = plan_items(plan, plan->devices);
  int rc = 0;
  mode_t mask = umask(0);
  for (uint32_t i = 0; rc == 0 && i < plan->devices.count; i++)
    rc = devices_fd < 0 ? make_device(plan, &devices[i], root_fd, err) : bind_device(plan, i, root_fd, devices_fd, err);
  (void)umask(mask);
  return rc < 0 ? rc : make_links(plan, root_fd, err);
}

/* Whatever is mounted on top of the root is what ".." leads to there: it would be a way out. */
static int check_root(int root_fd, struct shoal_error *err) {
  struct stat root, above;
  if (fstat(root_fd, &root) < 0 || stat("/..", &above) < 0) return shoal_fail(err, errno, "pivot_root", "stat");
  if (root.st_dev == above.st_dev && root.st_ino == above.st_ino) return 0;
  return shoal_fail(err, EBUSY, "pivot_root", "something is left on top of the new root");
}

/* pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one and is detached, after what is
 * mounted at its own root (on_top of those). */
static int pivot(int root_fd, int on_top, struct shoal_error *err) {
  if (fchdir(root_fd) < 0) return shoal_fail(err, errno, "pivot_root", "fchdir");
  if (sys_pivot_root(".", ".") < 0) return shoal_fail(err, errno, "pivot_root", ".");
  for (int i = 0; i <= on_top; i++) {
    if (umount2(".", MNT_DETACH) < 0) return shoal_fail(err, errno, "pivot_root", "umount of the old root");
  }
  if (chdir("/") < 0) return shoal_fail(err, errno, "pivot_root", "chdir");
  return check_root(root_fd, err);
}

/* Hooks see the container's mounts, and the host's as well (OCI config.md, "createRuntime"). */
static int await_hooks(int sync_fd, struct shoal_error *err) {
  struct report report = {.kind = REPORT_HOOKS};
  char go;
  if (send(sync_fd, &report, sizeof report, MSG_NOSIGNAL) < 0) return shoal_fail(err, errno, "hooks", "send");
  return recv(sync_fd, &go, 1, 0) == 1 ? 0 : shoal_fail(err, EPIPE, "hooks", "no answer");
}

/* A tree that the monitor made, on top of the node's root: where it is needs no path that we may walk. */
static int attach_tree(int sync_fd, struct shoal_error *err) {
  int tree = userns_receive_tree(sync_fd, err);
  if (tree < 0) return tree;
  int place = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int rc = place < 0 || sys_move_mount(tree, place) < 0 ? shoal_fail(err, errno, "root", "attach") : tree;
  if (place >= 0) close(place);
  if (rc < 0) close(tree);
  return rc;
}

/* The root's descriptor. *devices_fd stays -1 where devices can be made. */
static int mount_root(const struct plan *plan, int sync_fd, int *devices_fd, struct shoal_error *err) {
  if (userns_own(plan)) {
    *devices_fd = attach_tree(sync_fd, err);
    return *devices_fd < 0 ? *devices_fd : attach_tree(sync_fd, err);
  }
  int rc = plan->root_source != 0 ? mount_plain(plan, err) : mount_overlay(plan, err);
  if (rc < 0) return rc;
  int root_fd = open(plan_string(plan, plan->root_dir), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root_fd < 0) return shoal_fail(err, errno, "root", "open");
  return root_fd;
}

int filesystem_root(const struct plan *plan, int sync_fd, struct filesystem_root *root, struct shoal_error *err) {
  root->devices_fd = -1;
  /* Nothing that is mounted from here on may reach the host. */
  if (mount(NULL, "/", NULL, plan->root_propagation, NULL) < 0) return shoal_fail(err, errno, "root", "propagation");
  root->fd = mount_root(plan, sync_fd, &root->devices_fd, err);
  return root->fd < 0 ? root->fd : 0;
}

int filesystem_setup(const struct plan *plan, int sync_fd, struct filesystem_root *root, struct shoal_error *err) {
  int root_fd = root->fd, devices_fd = root->devices_fd;
  int rc = mounts_apply(plan, root_fd, sync_fd, err);
  if (rc == 0) rc = make_devices(plan, root_fd, devices_fd, err);
  if (rc == 0) rc = mounts_mask(plan, root_fd, err);
  if (rc == 0) rc = mounts_sysctl(plan, err);
  int cwd_fd = rc == 0 ? resolve_or_create(root_fd, plan_string(plan, plan->process.cwd), true) : -1;
  if (rc == 0 && cwd_fd < 0) rc = shoal_fail(err, errno, "cwd", "%s", plan_string(plan, plan->process.cwd));
  if (cwd_fd >= 0) close(cwd_fd);
  if (rc == 0 && plan->root_readonly && sys_mount_setattr(root_fd, AT_EMPTY_PATH, ATTR_RDONLY, 0, 0) < 0)
    rc = shoal_fail(err, errno, "root", "read-only");
  if (rc == 0 && plan->hooks_before_pivot) rc = await_hooks(sync_fd, err);
  if (rc == 0) rc = pivot(root_fd, devices_fd < 0 ? 0 : 1, err);
  if (rc == 0 && plan->root_propagation_after != 0 && mount(NULL, "/", NULL, plan->root_propagation_after, NULL) < 0)
    rc = shoal_fail(err, errno, "root", "propagation");
  if (devices_fd >= 0) close(devices_fd);
  close(root_fd);
  return rc;
}

/* The container's root becomes this process's: of a container that runs by joining its mount namespace, so that the
 * view is the container's own (volumes, tmpfs); of any other by mounting its overlay in a namespace of this process's.
 */
#include "files/files.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "monitor/monitor.h"

#define CLONE_TREE 1u
#define RECURSIVE 0x8000u
#define ATTRIBUTE_RDONLY 0x01u
#define OPTIONS_MAX 4096

int view_self_fds = -1;

static int fail(const char *step) { return reply_error("failed", errno, "%s: %s", step, strerror(errno)); }

/* Options of overlayfs, each directory by its number: no path needs escaping, and many fit into mount(2)'s page. The
 * descriptors stay open until the mount, and go with the process. */
static int add_directory(char options[OPTIONS_MAX], const char *before, const char *path) {
  size_t at = strlen(options);
  int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return reply_error("failed", errno, "open %s: %s", path, strerror(errno));
  int n = snprintf(options + at, OPTIONS_MAX - at, "%s/proc/self/fd/%d", before, fd);
  /* cppcheck-suppress resourceLeak */
  if (n < 0 || at + (size_t)n >= OPTIONS_MAX) return reply_error("failed", E2BIG, "too many layers");
  /* cppcheck-suppress resourceLeak */
  return 0;
}

/* For reading, the container's own layer is the topmost of those that are not written, and what is mounted below gets
 * its places in memory: so that any number may read, also while the container is started. */
static int overlay_options(const cJSON *root, const char *place, bool writable, char options[OPTIONS_MAX]) {
  const cJSON *layer;
  const char *upper = files_text(root, "upper"), *before = "lowerdir=";
  char upper_path[PATH_MAX], work_path[PATH_MAX];
  options[0] = '\0';
  if (!writable && *upper != '\0') {
    if (add_directory(options, before, upper) < 0) return -1;
    before = ":";
  }
  cJSON_ArrayForEach(layer, cJSON_GetObjectItemCaseSensitive(root, "lower")) {
    if (add_directory(options, before, cJSON_GetStringValue(layer)) < 0) return -1;
    before = ":";
  }
  (void)snprintf(upper_path, sizeof upper_path, "%s/upper", place);
  (void)snprintf(work_path, sizeof work_path, "%s/work", place);
  if (add_directory(options, ",upperdir=", writable ? upper : upper_path) < 0) return -1;
  return add_directory(options, ",workdir=", writable ? files_text(root, "work") : work_path);
}

/* Three directories in memory over place, which nobody but this process sees: the overlay's, and its own layer's. */
static int make_place(const char *place) {
  static const char *const names[] = {"upper", "work", "root"};
  if (mount("shoal", place, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700,size=16m") < 0) return fail("mount tmpfs");
  cleanup_fd int fd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (fd < 0 || mkdirat(fd, names[i], 0755) < 0) return fail("mkdir");
  }
  return 0;
}

/* A path in a volume is found as the container's start found it: as if the volume were the root. */
static int open_source(const cJSON *item) {
  const char *subpath = files_text(item, "subpath");
  cleanup_fd int fd = open(files_text(item, "source"), O_PATH | O_CLOEXEC);
  if (fd < 0) return -1;
  return *subpath == '\0' ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : resolve_in_root(fd, subpath, 0);
}

/* What the agent had mounted for the container: volumes, directories of the node, /etc/hosts. A source that is gone
 * leaves its place empty, as it is for the container when it starts again. */
static int attach(int root_fd, const cJSON *item) {
  const char *source = files_text(item, "source"), *target = files_text(item, "target");
  unsigned int recursive = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "recursive")) ? RECURSIVE : 0;
  struct stat info;
  cleanup_fd int from = open_source(item);
  cleanup_fd int tree = from < 0 ? -1 : sys_open_tree(from, "", AT_EMPTY_PATH | CLONE_TREE | O_CLOEXEC | recursive);
  if (tree < 0 && errno == ENOENT) return 0;
  if (tree < 0 || fstat(tree, &info) < 0) return reply_error("failed", errno, "%s: %s", source, strerror(errno));
  if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "readOnly")) &&
      sys_mount_setattr(tree, AT_EMPTY_PATH | recursive, ATTRIBUTE_RDONLY, 0, 0) < 0)
    return reply_error("failed", errno, "%s: read-only: %s", target, strerror(errno));
  cleanup_fd int at = resolve_or_create(root_fd, target, S_ISDIR(info.st_mode));
  if (at < 0 || sys_move_mount(tree, at) < 0) return reply_error("failed", errno, "%s: %s", target, strerror(errno));
  return 0;
}

static int become_root(int root_fd) {
  if (fchdir(root_fd) < 0 || sys_pivot_root(".", ".") < 0) return fail("pivot_root");
  if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0) return fail("umount of the old root");
  return 0;
}

static int enter_layers(const cJSON *root, bool writable, bool root_only) {
  const char *place = files_text(root, "place");
  char options[OPTIONS_MAX], path[PATH_MAX];
  const cJSON *item;
  if (unshare(CLONE_NEWNS) < 0) return fail("unshare");
  /* Nothing of this reaches the host; what the host unmounts meanwhile goes away here too. */
  if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0) return fail("propagation");
  if (make_place(place) < 0 || overlay_options(root, place, writable, options) < 0) return -1;
  (void)snprintf(path, sizeof path, "%s/root", place);
  if (mount("overlay", path, "overlay", 0, options) < 0) return fail("overlay");
  cleanup_fd int root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root_fd < 0) return fail("open the root");
  if (!root_only) {
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(root, "mounts")) {
      if (attach(root_fd, item) < 0) return -1;
    }
  }
  if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "readOnly")) &&
      sys_mount_setattr(root_fd, AT_EMPTY_PATH, ATTRIBUTE_RDONLY, 0, 0) < 0)
    return fail("read-only");
  return become_root(root_fd);
}

/* With a user namespace of the container's own, this process is its root: owners are then in the container's ids, and
 * what its root may not do is not done for it. */
static int enter_users(void) {
  struct stat theirs, ours;
  cleanup_fd int users = ioctl(FILES_FD_NAMESPACE, NS_GET_USERNS);
  if (users < 0 || fstat(users, &theirs) < 0 || stat("/proc/self/ns/user", &ours) < 0) return fail("user namespace");
  if (theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino) return 0;
  if (setns(users, CLONE_NEWUSER) < 0 || setgroups(0, NULL) < 0) return fail("user namespace");
  if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0) return fail("user namespace: root");
  /* Changing the user has cleared it. */
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  return 0;
}

static int enter_running(bool root_only) {
  if (enter_users() < 0) return -1;
  if (setns(FILES_FD_NAMESPACE, CLONE_NEWNS) < 0) return fail("setns");
  (void)close(FILES_FD_NAMESPACE);
  if (!root_only) return 0;
  /* A copy of the root's mount alone: what is mounted below it is not there. */
  cleanup_fd int tree = sys_open_tree(AT_FDCWD, "/", CLONE_TREE | O_CLOEXEC);
  if (tree < 0) return fail("open_tree");
  if (fchdir(tree) < 0 || chroot(".") < 0) return fail("chroot");
  return 0;
}

int view_enter(const cJSON *request, bool root_only) {
  const cJSON *root = cJSON_GetObjectItemCaseSensitive(request, "root");
  bool writable = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request, "writable"));
  view_self_fds = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (view_self_fds < 0) return fail("/proc/self/fd");
  if ((root == NULL ? enter_running(root_only) : enter_layers(root, writable, root_only)) < 0) return -1;
  int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail("open the root");
  return fd;
}

int view_open(int root_fd, const char *path, int flags) {
  int fd = sys_openat2(root_fd, *path == '\0' ? "." : path, (uint64_t)(unsigned int)(flags | O_CLOEXEC), 0,
                       RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  return fd < 0 ? -errno : fd;
}

int view_reopen(int path_fd, int flags) {
  char name[16];
  (void)snprintf(name, sizeof name, "%d", path_fd);
  int fd = openat(view_self_fds, name, flags | O_CLOEXEC);
  if (fd < 0) return -errno;
  return fd;
}

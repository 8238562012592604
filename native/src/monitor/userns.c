/* Containers with a user namespace of their own: their ids are others on the node, root's too.
 *
 * Their init is in the new user namespace from its birth, so that the other namespaces belong to it. So it may neither
 * walk the node's paths (it is nobody there) nor mount layers, make devices or map the owners of what it binds. All of
 * that is done by a child of the monitor with the node's rights, in a mount namespace that goes with it, and handed
 * over as trees that are attached nowhere: the devices, the root, and what each bind shows, in this order. The init
 * attaches them.
 *
 * Layers, and what is the agent's own, are mapped (mount_setattr(2), MOUNT_ATTR_IDMAP): on disk ids are the
 * container's, so images are shared between containers of any ranges, and nothing has to be chowned. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/monitor.h"
#include "monitor/terminal.h"

#define OPEN_TREE_CLONE_FLAG 1u
#define AT_RECURSIVE_FLAG 0x8000u
#define SECURE_NO_SETUID_FIXUP 4u /* linux/securebits.h */
#define MAP_TEXT_MAX 4096

static uint32_t host_id(const struct plan *plan, struct plan_list map, uint32_t id) {
  return plan_host_id(plan_items(plan, map), map.count, id);
}

/* --- In the monitor: ids and limits. */

static int write_map(const struct plan *plan, pid_t pid, const char *name, struct plan_list map,
                     struct shoal_error *err) {
  char text[MAP_TEXT_MAX], path[40];
  size_t size = 0;
  const struct plan_id_range *ranges = plan_items(plan, map);
  for (uint32_t i = 0; i < map.count && size < sizeof text; i++)
    size += (size_t)snprintf(text + size, sizeof text - size, "%u %u %u\n", ranges[i].first, ranges[i].host,
                             ranges[i].count);
  (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
  if (size >= sizeof text) return shoal_fail(err, E2BIG, "user namespace", "%s: too many ranges", name);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  int rc = fd < 0 || write(fd, text, size) != (ssize_t)size ? shoal_fail(err, errno, "user namespace", "%s", name) : 0;
  if (fd >= 0) close(fd);
  return rc;
}

/* --- In the child with the node's rights. */

static int map_owners(int tree, unsigned int flags, int userns_fd, const char *what, struct shoal_error *err) {
  if (sys_mount_idmap(tree, AT_EMPTY_PATH | flags, userns_fd) == 0) return 0;
  if (errno != EINVAL) return shoal_fail(err, errno, "user namespace", "owners of %s", what);
  return shoal_fail(err, ENOTSUP, "user namespace", "%s: this kernel has no idmapped mounts of its file system", what);
}

int userns_stage_directory(const char *source, const char *place, int userns_fd, struct shoal_error *err) {
  int tree = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE_FLAG | O_CLOEXEC);
  if (tree < 0) return shoal_fail(err, errno, "root", "%s", source);
  int rc = map_owners(tree, 0, userns_fd, source, err);
  if (rc == 0 && mkdir(place, 0700) < 0) rc = shoal_fail(err, errno, "root", "mkdir");
  int at = rc == 0 ? open(place, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
  if (rc == 0 && (at < 0 || sys_move_mount(tree, at) < 0)) rc = shoal_fail(err, errno, "root", "stage %s", source);
  if (at >= 0) close(at);
  close(tree);
  return rc;
}

/* What overlayfs makes in its upper directory it makes as who mounted it, who has to be somebody there. */
static void become_owner(const struct plan *plan) {
  (void)prctl(PR_SET_SECUREBITS, SECURE_NO_SETUID_FIXUP, 0, 0, 0);
  (void)setfsgid(host_id(plan, plan->gid_map, 0));
  (void)setfsuid(host_id(plan, plan->uid_map, 0));
}

static void become_root_again(void) {
  (void)setfsuid(0);
  (void)setfsgid(0);
}

/* The layers at 0, 1, ...; upper and work, which are in one directory, at rw; the root of them at root. */
static int stage_overlay(const struct plan *plan, int userns_fd, struct shoal_error *err) {
  char options[MAP_TEXT_MAX], place[16], parent[MAP_TEXT_MAX];
  const uint32_t *lowers = plan_items(plan, plan->lowers);
  const char *upper = plan_string(plan, plan->upper), *work = plan_string(plan, plan->work);
  size_t size = (size_t)snprintf(options, sizeof options, "lowerdir=");
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < plan->lowers.count; i++) {
    (void)snprintf(place, sizeof place, "%u", i);
    rc = userns_stage_directory(plan_string(plan, lowers[i]), place, userns_fd, err);
    if (size < sizeof options)
      size += (size_t)snprintf(options + size, sizeof options - size, "%s%s", i == 0 ? "" : ":", place);
  }
  size_t length = (size_t)(strrchr(upper, '/') - upper);
  (void)snprintf(parent, sizeof parent, "%.*s", (int)length, upper);
  if (rc == 0) rc = userns_stage_directory(parent, "rw", userns_fd, err);
  if (size < sizeof options)
    size += (size_t)snprintf(options + size, sizeof options - size, ",upperdir=rw/%s,workdir=rw/%s", upper + length + 1,
                             work + length + 1);
  if (rc < 0) return rc;
  if (size >= sizeof options || label_mount_options(plan, options, sizeof options) < 0)
    return shoal_fail(err, E2BIG, "overlay", "too many layers");
  if (mkdir("root", 0700) < 0) return shoal_fail(err, errno, "root", "mkdir");
  become_owner(plan);
  rc = mount("overlay", "root", "overlay", 0, options) < 0 ? shoal_fail(err, errno, "overlay", "%.100s", options) : 0;
  become_root_again();
  return rc;
}

static int root_tree(const struct plan *plan, int userns_fd, struct shoal_error *err) {
  const char *source = plan->root_source == 0 ? "root" : plan_string(plan, plan->root_source);
  unsigned int recursive = plan->root_source == 0 ? 0 : AT_RECURSIVE_FLAG;
  int rc = plan->root_source == 0 ? stage_overlay(plan, userns_fd, err) : 0;
  if (rc < 0) return rc;
  int tree = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE_FLAG | O_CLOEXEC | recursive);
  return tree < 0 ? shoal_fail(err, errno, "root", "%s", source) : tree;
}

/* Each device under its number. No place for programs. */
static int devices_tree(const struct plan *plan, struct shoal_error *err) {
  const struct plan_device *devices = plan_items(plan, plan->devices);
  char name[32];
  if (mkdir("devices", 0700) < 0 || mount("shoal", "devices", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k") < 0)
    return shoal_fail(err, errno, "device", "tmpfs");
  for (uint32_t i = 0; i < plan->devices.count; i++) {
    (void)snprintf(name, sizeof name, "devices/%u", i);
    if (mknod(name, devices[i].mode, makedev(devices[i].major, devices[i].minor)) < 0 ||
        chown(name, host_id(plan, plan->uid_map, devices[i].uid), host_id(plan, plan->gid_map, devices[i].gid)) < 0)
      return shoal_fail(err, errno, "device", "%s", plan_string(plan, devices[i].path));
  }
  int tree = sys_open_tree(AT_FDCWD, "devices", OPEN_TREE_CLONE_FLAG | O_CLOEXEC);
  return tree < 0 ? shoal_fail(err, errno, "device", "open_tree") : tree;
}

static int bind_tree(const struct plan *plan, const struct plan_mount *mount, int userns_fd, struct shoal_error *err) {
  unsigned int recursive = (mount->flags & PLAN_MOUNT_RECURSIVE) != 0 ? AT_RECURSIVE_FLAG : 0;
  if ((mount->flags & PLAN_MOUNT_LAYERS) != 0) return layers_tree(plan, mount, userns_fd, err);
  int tree = mounts_clone_tree(plan, mount, err);
  if (tree < 0 || (mount->flags & PLAN_MOUNT_IDMAP) == 0) return tree;
  int rc = map_owners(tree, recursive, userns_fd, plan_string(plan, mount->target), err);
  if (rc == 0) return tree;
  close(tree);
  return rc;
}

/* The init is told instead when there is none. */
static void hand_over(int sync_fd, int tree, const struct shoal_error *err) {
  if (tree < 0) {
    report_failure(sync_fd, err);
    _exit(1);
  }
  if (terminal_send(sync_fd, REPORT_TREE, tree) < 0) _exit(1);
  close(tree);
}

static int open_stage(const struct plan *plan, pid_t pid, int *userns_fd, struct shoal_error *err) {
  char path[40];
  const char *stage = plan_string(plan, plan->root_dir);
  (void)snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
  *userns_fd = open(path, O_RDONLY | O_CLOEXEC);
  if (*userns_fd < 0) return shoal_fail(err, errno, "user namespace", "%s", path);
  if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
    return shoal_fail(err, errno, "user namespace", "stage");
  (void)umask(0);
  if (mount("shoal", stage, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=700,size=1m") < 0 || chdir(stage) < 0)
    return shoal_fail(err, errno, "user namespace", "stage %s", stage);
  return 0;
}

static _Noreturn void supply_trees(const struct plan *plan, pid_t pid, int sync_fd) {
  struct shoal_error error = {0};
  const struct plan_mount *mounts = plan_items(plan, plan->mounts);
  int userns_fd = -1;
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  int rc = open_stage(plan, pid, &userns_fd, &error);
  hand_over(sync_fd, rc < 0 ? rc : devices_tree(plan, &error), &error);
  hand_over(sync_fd, root_tree(plan, userns_fd, &error), &error);
  for (uint32_t i = 0; i < plan->mounts.count; i++) {
    bool bound = (mounts[i].flags & PLAN_MOUNT_BIND) != 0 && (mounts[i].flags & PLAN_MOUNT_SETATTR) == 0;
    if (bound) hand_over(sync_fd, bind_tree(plan, &mounts[i], userns_fd, &error), &error);
  }
  _exit(0);
}

int userns_supply(const struct plan *plan, pid_t pid, int sync_fd, struct shoal_error *err) {
  int rc = write_map(plan, pid, "gid_map", plan->gid_map, err);
  if (rc == 0) rc = write_map(plan, pid, "uid_map", plan->uid_map, err);
  if (rc == 0) rc = process_limits(plan, pid, err);
  if (rc < 0) return rc;
  if (send(sync_fd, "", 1, MSG_NOSIGNAL) != 1) return shoal_fail(err, EPIPE, "init", "ended before it was ready");
  pid_t child = fork();
  if (child < 0) return shoal_fail(err, errno, "user namespace", "fork");
  if (child == 0) supply_trees(plan, pid, sync_fd);
  while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
    continue;
  return 0;
}

/* --- In the init, and in further processes. */

int userns_become_root(struct shoal_error *err) {
  if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
    return shoal_fail(err, errno, "user namespace", "root");
  /* Changing the user has cleared it. Who might have gone meanwhile is missed on the socket. */
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  return 0;
}

int userns_enter(int sync_fd, struct shoal_error *err) {
  char go;
  if (recv(sync_fd, &go, 1, 0) != 1) _exit(1);
  return userns_become_root(err);
}

int userns_receive_tree(int sync_fd, struct shoal_error *err) {
  struct report report = {0};
  int tree = -1;
  ssize_t n;
  while ((n = terminal_receive(sync_fd, &report, &tree)) < 0 && errno == EINTR)
    continue;
  if (n == (ssize_t)sizeof report && report.kind == REPORT_TREE && tree >= 0) return tree;
  if (tree >= 0) close(tree);
  if (n != (ssize_t)sizeof report || report.kind != REPORT_FAILED || report.error.code <= 0)
    return shoal_fail(err, EPIPE, "user namespace", "the monitor ended before it was ready");
  *err = report.error;
  return -err->code;
}

static bool same_namespace(pid_t pid, const char *name) {
  char path[40], own[40];
  struct stat theirs, ours;
  (void)snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, name);
  (void)snprintf(own, sizeof own, "/proc/self/ns/%s", name);
  /* A kernel without such namespaces has no such file. */
  if (stat(path, &theirs) < 0 || stat(own, &ours) < 0) return true;
  return theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
}

int userns_foreign(pid_t pid) {
  return (same_namespace(pid, "user") ? 0 : CLONE_NEWUSER) | (same_namespace(pid, "time") ? 0 : CLONE_NEWTIME);
}

static const char *read_number(const char *text, uint32_t *out) {
  char *end = NULL;
  *out = (uint32_t)strtoul(text, &end, 10);
  return end;
}

uint32_t userns_owner(pid_t pid, uint32_t uid) {
  char path[40], text[MAP_TEXT_MAX];
  (void)snprintf(path, sizeof path, "/proc/%d/uid_map", (int)pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = '\0';
  for (const char *line = text; *line != '\0';) {
    struct plan_id_range range;
    const char *rest = read_number(read_number(read_number(line, &range.first), &range.host), &range.count);
    if (plan_host_id(&range, 1, uid) != UINT32_MAX) return plan_host_id(&range, 1, uid);
    line = rest == line ? "" : rest + strspn(rest, "\n");
  }
  return uid;
}

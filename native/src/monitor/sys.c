#include <errno.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "monitor/monitor.h"

/* linux/mount.h clashes with musl's sys/mount.h; these are the kernel's numbers (Linux 5.2 and 5.12). */
#define NR_OPEN_TREE 428
#define NR_MOVE_MOUNT 429
#define NR_FSOPEN 430
#define NR_FSCONFIG 431
#define NR_FSMOUNT 432
#define NR_CLONE3 435
#define NR_CLOSE_RANGE 436
#define NR_OPENAT2 437
#define NR_MOUNT_SETATTR 442
#define MOVE_MOUNT_F_EMPTY_PATH 0x04
#define MOVE_MOUNT_T_EMPTY_PATH 0x40
#define MOUNT_ATTR_IDMAP_FLAG 0x100000u
#define FSOPEN_CLOEXEC 1
#define FSMOUNT_CLOEXEC 1

struct mount_attributes {
  uint64_t set, clear, propagation, userns_fd;
};

pid_t sys_clone3(const struct clone3_request *request) {
  struct clone_args args;
  memset(&args, 0, sizeof args);
  args.flags = request->flags | CLONE_PIDFD;
  args.pidfd = (uint64_t)(uintptr_t)request->pidfd;
  args.exit_signal = SIGCHLD;
  if (request->cgroup_fd >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = (uint64_t)request->cgroup_fd;
  }
  return (pid_t)syscall(NR_CLONE3, &args, sizeof args);
}

/* openat2 answers EAGAIN when a rename or a mount anywhere on the system raced with "..": openat2(2). */
#define OPENAT2_ATTEMPTS 1000

int sys_openat2(int dir_fd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
  int fd = -1;
  for (int attempt = 0; attempt < OPENAT2_ATTEMPTS; attempt++) {
    fd = (int)syscall(NR_OPENAT2, dir_fd, path, &how, sizeof how);
    if (fd >= 0 || errno != EAGAIN) break;
  }
  return fd;
}

int sys_close_range(unsigned int first, unsigned int last, unsigned int flags) {
  return (int)syscall(NR_CLOSE_RANGE, first, last, flags);
}

int sys_pidfd_send_signal(int pidfd, int signal) { return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0); }

int sys_pivot_root(const char *new_root, const char *put_old) {
  return (int)syscall(SYS_pivot_root, new_root, put_old);
}

int sys_fsopen(const char *fstype) { return (int)syscall(NR_FSOPEN, fstype, FSOPEN_CLOEXEC); }

int sys_fsconfig(int fs_fd, unsigned int command, const char *key, const char *value) {
  return (int)syscall(NR_FSCONFIG, fs_fd, command, key, value, 0);
}

int sys_fsmount(int fs_fd, uint64_t attributes) {
  return (int)syscall(NR_FSMOUNT, fs_fd, FSMOUNT_CLOEXEC, (unsigned int)attributes);
}

int sys_open_tree(int dir_fd, const char *path, unsigned int flags) {
  return (int)syscall(NR_OPEN_TREE, dir_fd, path, flags);
}

int sys_move_mount(int from_fd, int to_fd) {
  return (int)syscall(NR_MOVE_MOUNT, from_fd, "", to_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

int sys_mount_setattr(int fd, unsigned int flags, uint64_t set, uint64_t clear, uint64_t propagation) {
  struct mount_attributes attributes = {.set = set, .clear = clear, .propagation = propagation};
  return (int)syscall(NR_MOUNT_SETATTR, fd, "", flags, &attributes, sizeof attributes);
}

int sys_mount_idmap(int fd, unsigned int flags, int userns_fd) {
  struct mount_attributes attributes = {.set = MOUNT_ATTR_IDMAP_FLAG, .userns_fd = (uint64_t)userns_fd};
  return (int)syscall(NR_MOUNT_SETATTR, fd, "", flags, &attributes, sizeof attributes);
}

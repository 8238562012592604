/* A container's run directory: a directory of a tmpfs with the control socket, the state file, the list of its cgroups
 * and the mount point of its root. */
#ifndef SHOAL_RUN_DIR_H
#define SHOAL_RUN_DIR_H

#include "cgroup.h"
#include "plan-build.h"

/* Makes it if it is not there (mode 0700), with the mount point inside. Returns a descriptor. */
int run_dir_open(const char *path, struct shoal_error *err);

/* Sockets are addressed through /proc/self/fd: a path of its own may exceed the 108 bytes of sockaddr_un. */
int run_dir_bind(int dir_fd, struct shoal_error *err);
int run_dir_connect(int dir_fd);

/* Written before the cgroups are made, so that nothing is forgotten after a crash. */
int run_dir_write_cgroups(int dir_fd, const struct cgroup_set *set, struct shoal_error *err);
int run_dir_read_cgroups(int dir_fd, struct cgroup_set *set, struct shoal_error *err);

/* The container's filter, kept as compiled: a command that is run in it later gets the same. */
int run_dir_write_seccomp(int dir_fd, const struct plan *plan, struct shoal_error *err);
int run_dir_read_seccomp(int dir_fd, struct plan_builder *builder, struct shoal_error *err);

/* Removes what is in it (never into a directory that has something inside) and the directory itself. */
int run_dir_clear(int dir_fd, const char *path, struct shoal_error *err);

#endif

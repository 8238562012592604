/* The parts of the monitor. See main.c for how they work together. */
#ifndef SHOAL_MONITOR_H
#define SHOAL_MONITOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "plan.h"

/* --- sys.c: system calls that musl has no wrapper for. All return -1 and set errno. */
struct clone3_request {
  uint64_t flags;
  int cgroup_fd; /* or -1 */
  int *pidfd;
};
pid_t sys_clone3(const struct clone3_request *request);
int sys_openat2(int dir_fd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int sys_close_range(unsigned int first, unsigned int last, unsigned int flags);
int sys_pidfd_send_signal(int pidfd, int signal);
int sys_pivot_root(const char *new_root, const char *put_old);
int sys_fsopen(const char *fstype);
int sys_fsconfig(int fs_fd, unsigned int command, const char *key, const char *value);
int sys_fsmount(int fs_fd, uint64_t attributes);
int sys_open_tree(int dir_fd, const char *path, unsigned int flags);
int sys_move_mount(int from_fd, int to_fd);
int sys_mount_setattr(int fd, unsigned int flags, uint64_t set, uint64_t clear, uint64_t propagation);
/* Of a mount that is attached nowhere. */
int sys_mount_idmap(int fd, unsigned int flags, int userns_fd);

/* --- resolve.c: paths inside a root that may be hostile. */

/* Opens path (O_PATH) as a process inside the root would, except that magic links are refused. */
int resolve_in_root(int root_fd, const char *path, uint64_t extra_resolve);

/* The same; what is missing is made: directories on the way, and at the end a directory or an empty file. */
int resolve_or_create(int root_fd, const char *path, bool directory);

/* The directory that holds path's last component, made if missing; *name is that component. */
int resolve_parent(int root_fd, const char *path, const char **name);

/* --- filesystem.c: the container's root. Run in the container's new mount namespace; ends with the root pivoted. */
struct filesystem_root {
  int fd;
  int devices_fd; /* -1 where devices can be made */
};
/* Mounts the root alone. sync_fd: where it comes from in a user namespace. */
int filesystem_root(const struct plan *plan, int sync_fd, struct filesystem_root *root, struct shoal_error *err);
/* The rest. Closes the root's descriptors. sync_fd: where the word about hooks goes and comes from, too. */
int filesystem_setup(const struct plan *plan, int sync_fd, struct filesystem_root *root, struct shoal_error *err);

/* --- mounts.c */
/* sync_fd: where the trees of binds come from in a user namespace. */
int mounts_apply(const struct plan *plan, int root_fd, int sync_fd, struct shoal_error *err);
/* What a bind shows, attached nowhere. */
int mounts_clone_tree(const struct plan *plan, const struct plan_mount *mount, struct shoal_error *err);
int mounts_mask(const struct plan *plan, int root_fd, struct shoal_error *err);
int mounts_sysctl(const struct plan *plan, struct shoal_error *err);

/* --- copy-up.c: of two directories, neither of them attached to by links. keep_mode: the directory's own, too. */
int copy_up(int from_fd, int to_fd, bool keep_mode, const char *step, struct shoal_error *err);

/* --- process.c: from a prepared namespace to the command. */
/* Of that process; 0: the caller. */
int process_limits(const struct plan *plan, pid_t pid, struct shoal_error *err);
int process_working_directory(const struct plan *plan, struct shoal_error *err);

/* Looks for the command as process_run will, so that a missing one is known before the container is started. */
int process_find_command(const struct plan *plan, struct shoal_error *err);

/* Becomes the user, drops capabilities, loads the filter, and runs the command; returns only on failure. sync_fd: if it
 * is hung up after the parent-death signal is armed, the parent is gone already; the filter's listener goes there. It
 * may get another number. */
int process_run(const struct plan *plan, int *sync_fd, struct shoal_error *err);
/* Ends the process, whatever its filter says. */
_Noreturn void process_end(int code);

/* --- descriptors.c: those that the command shall have besides the standard streams. */
/* Closes all from first on, but for those. first: below MONITOR_FD_PRESERVED. */
int descriptors_close(unsigned int first, const struct plan *plan);
/* Puts them in their places, from 3 on; what was there is moved: sync_fd. */
int descriptors_place(const struct plan *plan, int *sync_fd, struct shoal_error *err);

/* --- schedule.c: of that process; 0: the caller. */
int schedule_apply(const struct plan *plan, pid_t pid, struct shoal_error *err);
/* The caller alone. */
int schedule_on(const struct plan_cpus *cpus, struct shoal_error *err);
/* Personality and memory policy. */
int schedule_process(const struct plan *plan, struct shoal_error *err);

/* --- label.c: of the next execve. */
int label_for_exec(const struct plan *plan, struct shoal_error *err);
/* The label of a new file system of this type, or NULL: the kernel gives its own to some, and some are other's too. */
const char *label_of_type(const struct plan *plan, const char *fstype);
/* Gives it to the file itself; 0 where there is none to give. */
int label_file(const struct plan *plan, int fd);
/* Appends it to mount(2)'s options; -1, and they are as before, when it does not fit. */
int label_mount_options(const struct plan *plan, char *options, size_t size);

/* Moves the calling process (single-threaded) into the v1 cgroups of the plan. */
int process_join_cgroups(const struct plan *plan, struct shoal_error *err);

/* --- userns.c: containers with a user namespace of their own. See there. */
static inline bool userns_own(const struct plan *plan) { return (plan->namespaces & 0x10000000u) != 0; }

/* In the monitor: gives the init its ids and limits, and then the trees that its root is made of. */
int userns_supply(const struct plan *plan, pid_t pid, int sync_fd, struct shoal_error *err);

/* In the init: becomes the root of its namespace, once its ids are known. */
int userns_enter(int sync_fd, struct shoal_error *err);

/* In the init: the next tree, attached nowhere. */
int userns_receive_tree(int sync_fd, struct shoal_error *err);

/* A directory of the node with the owners that the container's ids are, at a place of the stage. */
int userns_stage_directory(const char *source, const char *place, int userns_fd, struct shoal_error *err);

/* --- layers.c: a tree, attached nowhere, of what PLAN_MOUNT_LAYERS says; userns_fd: whose ids its owners are, or -1.
 * With one the working directory is the stage, else something may be mounted at the root's place for a moment. */
int layers_tree(const struct plan *plan, const struct plan_mount *mount, int userns_fd, struct shoal_error *err);

/* In a further process of a container: which of its user and time namespaces are not the caller's. */
int userns_foreign(pid_t pid);
/* Once it is in the container's user namespace. */
int userns_become_root(struct shoal_error *err);

/* The node's number of a user of the container whose process this is; of its own namespace, without the plan. */
uint32_t userns_owner(pid_t pid, uint32_t uid);

/* --- init.c: the container's first process, between clone3 and its command. Never returns. stdio: -1 leaves what the
 * monitor has (/dev/null); with a terminal none of it is used, and the master side goes out over sync_fd. */
_Noreturn void init_main(const struct plan *plan, int sync_fd, const int stdio[3]);

/* The descriptors of v1 cgroups that an init in a user namespace of its own may not open; -1 ended. */
#define CGROUP_FDS_MAX 32
extern int init_cgroup_fds[CGROUP_FDS_MAX + 1];

/* --- state.c */
struct container_state {
  const char *id;
  const char *status; /* "created", "running", "stopped" */
  pid_t pid;
  int64_t created_at_ms, started_at_ms, finished_at_ms; /* 0: not yet */
  int exit_code;
  int signal; /* 0: none */
  bool oom_killed;
  uint64_t log_dropped_bytes;
  struct shoal_error start_error; /* code 0: none */
};
#define STATE_TEXT_MAX 1024

/* One line of JSON with its newline; returns its length. */
size_t state_format(const struct container_state *state, pid_t monitor_pid, char out[STATE_TEXT_MAX]);

/* Replaces the state file by rename. */
int state_write(int dir_fd, const struct container_state *state);
int64_t state_now_ms(void);

/* Copies text into a JSON string's inside. Always terminated. */
void state_escape(const char *text, char *out, size_t size);

/* --- container.c, exec.c, session.c: the modes. */
_Noreturn void container_main(const struct plan *plan);
_Noreturn void exec_main(const struct plan *plan);
_Noreturn void session_main(const struct plan *plan);

/* --- ready.c */
/* Leaves nothing open but the socket. */
int ready_begin(void);
/* Returns when everything of mode "create" is in its place; false: there will be no container. */
bool ready_await(void);

/* --- detached.c: the modes for a plan that is detached. */
_Noreturn void detached_container_main(const struct plan *plan);
_Noreturn void detached_exec_main(const struct plan *plan);

/* --- exec-child.c: becomes the plan's command in the container. stdio: -1 leaves what the monitor has (/dev/null);
 * with a terminal none of it is used, and the master side goes out over sync_fd. Says there why it failed. */
_Noreturn void exec_child(const struct plan *plan, int sync_fd, const int stdio[3]);

/* --- report.c */
void report_ready(int fd, pid_t pid);
void report_starting(int fd);
void report_started(int fd, pid_t pid, int64_t at_ms);
/* Waits for its word to go on; false: it has hung up. fd: the monitor's MONITOR_FD_RESULT. */
bool library_agrees(int fd);
/* The library runs the hooks, and says a byte when they have succeeded; if one failed it hangs up. The init, at the
 * other end of init_fd, is told. */
int report_hooks(pid_t pid, int init_fd, struct shoal_error *err);
void report_failure(int fd, const struct shoal_error *error);

/* --- clone.c */
struct cloned {
  pid_t pid;
  int pidfd;
  int sync_fd; /* to the child */
};

/* Clones the container's init. Whatever it returns, a pid that is set is the caller's to end. */
int clone_container(const struct plan *plan, const int stdio[3], struct cloned *out, struct shoal_error *err);

/* Clones a child for the plan's namespaces into its v2 cgroup. Returns as fork does; the child has the default signals.
 */
pid_t clone_into(uint64_t flags, const char *cgroup, int *pidfd);

#endif

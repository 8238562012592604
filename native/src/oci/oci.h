/* shoal-oci: an OCI runtime command over the objects of libshoal. Its command line is runc's, so that what drives runc
 * can drive it: https://github.com/opencontainers/runc/tree/main/man, docs/oci.md of this project.
 *
 * A container's directory below --root is a run directory as the library's (run-dir.h) with a record (store.c) in it.
 * Nothing of ours stays with a container: its init is an orphan whose exit the caller (an engine's shim) collects, and
 * what "state" says is derived from the init's process and from the cgroup's freezer. */
#ifndef SHOAL_OCI_H
#define SHOAL_OCI_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <sys/types.h>

#include "cgroup.h"
#include "container-call.h"
#include "oci/systemd.h"
#include "shoal.h"

#define OCI_VERSION "1.2.0"
#define OCI_PATH_MAX 4096

/* What a command could not do ends shoal-oci with one of these. */
enum { EXIT_NOT_DONE = 1, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127, EXIT_EXEC_FAILED = 255 };

struct oci {
  const char *root;
  bool systemd_cgroup;
};

/* --- log.c */
int log_open(const char *path, bool json);
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* To standard error and to the log; returns EXIT_NOT_DONE, so that a command can write: return log_failure(...). */
int log_failure(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Of a call of the library, in the words that engines look for. */
int log_error(const char *what, const struct shoal_error *error);

/* --- files.c */
/* The whole file (path "-": standard input), at most 16 MiB; NULL and errno on failure. To be freed. */
char *file_read(const char *path);
/* Through a temporary name beside it. 0 or -errno. */
int file_replace(const char *path, const char *text);
int json_print(const cJSON *value, bool indented);

/* --- store.c */
enum status { STATUS_CREATING, STATUS_CREATED, STATUS_RUNNING, STATUS_PAUSED, STATUS_STOPPED };

struct container {
  char id[256];
  char dir[OCI_PATH_MAX];
  int dir_fd; /* locked against other commands that change the container, where one asked for that */
  cJSON *record;
};

bool store_id_valid(const char *id);
/* Logs why it failed. store_close is due if it succeeded. */
int store_open(const struct oci *oci, const char *id, struct container *container);
/* Makes the directory; a container that exists is an error. */
int store_make(const struct oci *oci, const char *id, struct container *container);
void store_lock(struct container *container);
void store_unlock(struct container *container);
int store_save(struct container *container);
void store_close(struct container *container);
pid_t store_pid(const struct container *container);
enum status store_status(const struct container *container);
const char *store_status_name(enum status status);
/* The state of runtime.md, "State", with members of runc's; status as given. To be deleted. */
cJSON *store_state(const struct container *container, enum status status);
/* When a process started, in the kernel's ticks; 0: there is none, or only a zombie. */
unsigned long long process_start_time(pid_t pid);

/* --- bundle.c */
struct bundle {
  char path[OCI_PATH_MAX];
  cJSON *config;      /* as the library takes it: paths absolute, what asks for nothing left out */
  cJSON *hooks;       /* NULL: none */
  cJSON *net_devices; /* NULL: none */
  bool terminal;
  struct scope scope; /* of systemd, if it shall make the cgroups */
};
int bundle_load(const struct oci *oci, const char *path, const char *id, struct bundle *bundle);
/* Whether the container has a namespace of this type other than the one of whoever starts it. */
bool bundle_lists_namespace(const cJSON *config, const char *type);
void bundle_free(struct bundle *bundle);
void bundle_prune(cJSON *config);

/* --- net-devices.c: linux.netDevices. Fails, and says why, for what can not be meant. */
int net_devices_check(const cJSON *devices, const cJSON *config);
/* Puts them into the network namespace of that process. What has gone there is not taken back: it goes with it. */
int net_devices_hand_over(const cJSON *devices, pid_t pid, struct shoal_error *err);

/* --- seccomp-cache.c: puts the compiled profile into the plan. root: of the runtime. */
int seccomp_cached(const char *root, const cJSON *profile, struct plan_builder *builder, struct shoal_error *err);

/* --- hooks.c: runs the hooks of one name, one after the other, with the state as their standard input. */
#define HOOK_STEP "hooks"
/* How a hook is begun: input, a socket, becomes its standard input. */
struct hook_way {
  int (*spawn)(void *context, const cJSON *hook, int input, pid_t *pid, struct shoal_error *err);
  void *context;
};
extern const struct hook_way hook_beside;
int hooks_check(const cJSON *hooks);
int hooks_run(const cJSON *hooks, const char *name, const cJSON *state, const struct hook_way *way,
              struct shoal_error *err);
/* NULL-ended; without any, first alone. To be freed, not the strings. */
char **hook_strings(const cJSON *list, const char *first);

/* --- hook-inside.c: a way. context: pid_t *, of a process whose namespaces the hook is run in, as the host's root. */
int hook_spawn_inside(void *context, const cJSON *hook, int input, pid_t *pid, struct shoal_error *err);

/* --- run-hooks.c: those before the root is pivoted. pid: of the init. */
int hooks_run_early(const cJSON *hooks, const cJSON *state, pid_t pid, struct shoal_error *err);

/* --- exec.c: a way. context: struct container *. As a command of the container, with the rights of its own process:
 * the program is one of the container's files. */
int hook_spawn_as_command(void *context, const cJSON *hook, int input, pid_t *pid, struct shoal_error *err);

/* --- launch.c: what create and exec share. */
/* step: what the socket is, for the error. */
int socket_connect(const char *path, const char *step, struct shoal_error *err);
/* The plan says how many descriptors are preserved. */
int monitor_start(struct call *call, const char *mode, int console_fd, struct shoal_error *err);
/* As recv(2); *passed is the descriptor that came with it, or -1. */
ssize_t report_receive(int fd, struct report *report, int *passed);
/* The next report; -errno when it says that something failed. */
int monitor_report(struct call *call, struct report *report, int *passed, struct shoal_error *err);
int write_pid_file(const char *path, pid_t pid);

/* --- preserve.c */
struct preserved {
  int activated, total;
};
/* Before anything else is opened. count: what --preserve-fds says, or NULL. Logs what is wrong. */
int preserve_claim(struct preserved *preserved, const char *count, bool activation);
void preserve_tell(const struct preserved *preserved, cJSON *process);

/* --- seccomp-listener.c */
/* Moves what the profile says of it into the record. */
int listener_take(cJSON *profile, cJSON *record, struct shoal_error *err);
/* *fd: -1 if the container's filter asks nobody. */
int listener_connect(const struct container *container, int *fd, struct shoal_error *err);
/* right: the descriptor of the filter that the process has loaded. */
int listener_send(const struct container *container, enum status status, pid_t pid, int fd, int right,
                  struct shoal_error *err);

/* --- foreground.c: for run and exec without --detach. */
/* Before anything is started: orphans become ours, and signals wait. */
void foreground_prepare(void);
/* Passes signals on until the process has ended; its exit code, 128 + N for signal N. */
int foreground_wait(pid_t pid);

/* --- groups.c: a container's cgroups. */
int groups_read(const struct container *container, struct cgroup_set *set);
bool groups_frozen(const struct cgroup_set *set);
int groups_freeze(const struct cgroup_set *set, bool freeze, struct shoal_error *err);
/* The pids of all members, as a JSON array. To be deleted. */
cJSON *groups_pids(const struct cgroup_set *set);
int groups_signal(const struct cgroup_set *set, int signal);
cJSON *groups_stats(const struct cgroup_set *set);

/* --- remove.c: kills what is left, removes the cgroups and the directory. */
int container_remove(struct container *container, struct shoal_error *err);

/* --- The commands: argv[0] is the command's name. They return the exit code. */
int command_create(const struct oci *oci, int argc, char *argv[]);
int command_start(const struct oci *oci, int argc, char *argv[]);
int command_run(const struct oci *oci, int argc, char *argv[]);
int command_exec(const struct oci *oci, int argc, char *argv[]);
int command_state(const struct oci *oci, int argc, char *argv[]);
int command_list(const struct oci *oci, int argc, char *argv[]);
int command_ps(const struct oci *oci, int argc, char *argv[]);
int command_kill(const struct oci *oci, int argc, char *argv[]);
int command_delete(const struct oci *oci, int argc, char *argv[]);
int command_pause(const struct oci *oci, int argc, char *argv[]);
int command_resume(const struct oci *oci, int argc, char *argv[]);
int command_update(const struct oci *oci, int argc, char *argv[]);
int command_events(const struct oci *oci, int argc, char *argv[]);
int command_features(const struct oci *oci, int argc, char *argv[]);
int command_spec(const struct oci *oci, int argc, char *argv[]);
int command_run_hooks(const struct oci *oci, int argc, char *argv[]);

/* The one argument after the options; NULL, logged, if there is another number of them. */
const char *only_argument(int argc, char *argv[], const char *usage);

#endif

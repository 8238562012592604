/* The plan: what the monitor does for one container (or one exec), as one flat block of memory.
 *
 * The library reads the OCI config, checks it, compiles the seccomp filter and lays everything out here; it hands the
 * block to the monitor as a sealed memfd. So the monitor parses nothing, links no JSON and no libseccomp, and stays
 * small. Both are built from one tree and a monitor only ever reads the plan of the library that spawned it: the layout
 * may change freely between versions.
 *
 * A string is an offset from the start of the block (0: absent). A list is an offset and a number of items. */
#ifndef SHOAL_PLAN_H
#define SHOAL_PLAN_H

#include <stdint.h>

#include "shoal.h"

/* With the size in it, so that a monitor of another build most likely refuses the plan rather than misread it. */
#define PLAN_MAGIC (0x53480000u ^ (uint32_t)sizeof(struct plan))
#define PLAN_SIZE_MAX (4u << 20)
/* Of a log file, with its number. */
#define PLAN_LOG_NAME_MAX 1024
#define LABEL_MAX 1024

/* The descriptors that the library gives the monitor; all others are closed at once. */
enum {
  MONITOR_FD_PLAN = 3,
  MONITOR_FD_RESULT = 4,
  MONITOR_FD_RUN_DIR = 5, /* create */
  MONITOR_FD_TARGET = 5,  /* exec, session: pidfd of the container's init */
  MONITOR_FD_SOCKET = 6,
  MONITOR_FD_STDERR = 7,     /* session; detached: the console socket */
  MONITOR_FD_START_WORD = 7, /* create: struct plan, start_word */
  MONITOR_FD_CONTROL = 7,    /* ready */
  MONITOR_FD_END = 8,
  MONITOR_FD_PRESERVED = 16 /* and on: what the command shall have from 3 on */
};
#define PRESERVED_MAX 64

/* Names inside a container's run directory. */
#define RUN_SOCKET "monitor.sock"
#define RUN_STATE "state.json"
#define RUN_CGROUPS "cgroups"
#define RUN_SECCOMP "seccomp"             /* the compiled filter, for later execs */
#define RUN_SECCOMP_FLAGS "seccomp-flags" /* if it has any */
#define RUN_ROOT "root"

struct plan_list {
  uint32_t offset;
  uint32_t count;
};

/* A namespace that exists already; flag is its CLONE_NEW* constant. */
struct plan_join {
  uint32_t flag;
  uint32_t path;
};

/* Ids first, first + 1, ... of the container are host, host + 1, ... of the node. */
struct plan_id_range {
  uint32_t first;
  uint32_t host;
  uint32_t count;
};
#define PLAN_ID_RANGES_MAX 100 /* the kernel takes a page of text */

/* What is added to a clock of the node. */
struct plan_time_offset {
  int64_t seconds;
  uint32_t nanoseconds;
};

enum {
  PLAN_MOUNT_BIND = 1,      /* source is a path of the host; otherwise a new instance of fstype */
  PLAN_MOUNT_RECURSIVE = 2, /* rbind; attributes are recursive too */
  PLAN_MOUNT_NO_SYMLINK =
      4,                   /* the target must not lead through a symbolic link: /proc and /sys decide what masks mean */
  PLAN_MOUNT_SETATTR = 8,  /* nothing new: only sets the attributes of the mount at target */
  PLAN_MOUNT_COPY_UP = 32, /* of a tmpfs: it begins with what the root has there */
  PLAN_MOUNT_LABEL = 256,  /* of a bind: what is bound gets the container's mount_label, for good */
  PLAN_MOUNT_READONLY_HERE = 128, /* of a bind: read-only, but for what is mounted below it */
  PLAN_MOUNT_LAYERS =
      64, /* with BIND: what is bound is made of layers, read-only; options: their paths, topmost first */
  PLAN_MOUNT_IDMAP = 16, /* of a bind: owners are taken as ids of the container (mount_setattr(2), MOUNT_ATTR_IDMAP) */
};

struct plan_mount {
  uint32_t flags;
  uint32_t fstype;
  uint32_t source;
  uint32_t subpath; /* of a bind: what is bound is this path in the source, found as if that were the root; or 0 */
  uint32_t target;
  struct plan_list options; /* strings "key" or "key=value" for fsconfig(2) */
  uint64_t attr_set;        /* MOUNT_ATTR_* for mount_setattr(2) */
  uint64_t attr_clear;
  uint64_t propagation; /* MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE or 0 */
  uint32_t propagation_recursive;
};

/* The standard streams. With a terminal the others are one. Of a container: whether its standard input is kept open
 * (else it is at its end), and whether it ends with the first client that was attached to it. Of a session: what is
 * attached. */
enum { PLAN_TERMINAL = 1, PLAN_STDIN = 2, PLAN_STDOUT = 4, PLAN_STDERR = 8, PLAN_STDIN_ONCE = 16 };

struct plan_device {
  uint32_t path;
  uint32_t mode; /* type and permissions */
  uint32_t major;
  uint32_t minor;
  uint32_t uid;
  uint32_t gid;
};

struct plan_symlink {
  uint32_t path;
  uint32_t target;
};

struct plan_sysctl {
  uint32_t path; /* below /proc/sys, with slashes */
  uint32_t value;
};

struct plan_rlimit {
  uint32_t resource;
  uint64_t soft;
  uint64_t hard;
};

struct plan_capabilities {
  uint64_t bounding;
  uint64_t effective;
  uint64_t permitted;
  uint64_t inheritable;
  uint64_t ambient;
};

/* sched_setattr(2) */
struct plan_scheduler {
  uint64_t flags, runtime_ns, deadline_ns, period_ns;
  uint32_t policy, priority;
  int32_t nice;
  uint32_t given;
};

#define PLAN_CPUS_MAX 1024
struct plan_cpus {
  uint64_t bits[PLAN_CPUS_MAX / 64];
  uint64_t given;
};

/* set_mempolicy(2) */
#define PLAN_NODES_MAX 1024
struct plan_memory_policy {
  uint64_t nodes[PLAN_NODES_MAX / 64];
  uint32_t mode; /* with its flags */
  uint32_t given;
};

struct plan_process {
  struct plan_list args;
  uint32_t program; /* what is run; 0: args[0] */
  struct plan_list env;
  uint32_t cwd;
  uint32_t uid;
  uint32_t gid;
  uint32_t umask;
  struct plan_list gids;
  struct plan_list rlimits;
  struct plan_capabilities capabilities;
  struct plan_list seccomp; /* struct sock_filter; count 0: no filter */
  uint32_t seccomp_flags;
  int32_t oom_score_adj;
  uint32_t apparmor_profile; /* or 0 */
  uint32_t selinux_label;    /* or 0 */
  struct plan_scheduler scheduler;
  uint32_t io_priority; /* of ioprio_set(2), or 0 */
  uint32_t personality; /* of personality(2), or 0 */
  struct plan_memory_policy memory_policy;
  struct plan_cpus initial_cpus,
      final_cpus; /* of a further command: before and after it joins the container's cgroups */
  uint8_t has_oom_score_adj;
  uint8_t no_new_privileges;
};

struct plan {
  uint32_t magic;
  uint32_t size;
  uint32_t id;
  uint32_t log_path;      /* without the number of the file; 0: no log is kept */
  uint32_t log_max_files; /* at least 1 */
  uint64_t log_number;    /* of the file to go on with */
  uint64_t log_max_bytes; /* of each file; 0: no limit */

  uint32_t namespaces; /* CLONE_NEW* to create */
  struct plan_list joins;
  uint32_t hostname;
  uint32_t domainname;
  struct plan_list uid_map, gid_map; /* with CLONE_NEWUSER */
  struct plan_time_offset monotonic, boottime;

  uint32_t root_dir;        /* the mount point, outside; empty before and after */
  uint32_t root_source;     /* a directory that is the root as it is; 0: an overlay of the following */
  uint32_t overlay_options; /* for mount(2) */
  struct plan_list lowers;
  uint32_t upper;
  uint32_t work;
  uint32_t root_propagation;       /* MS_* | MS_REC, of everything, before anything is mounted */
  uint32_t root_propagation_after; /* of the root, once it is pivoted, and nothing can reach the host any more; or 0 */
  uint32_t root_readonly;
  uint32_t mount_label; /* SELinux's of the files of what is mounted anew, or 0 */
  struct plan_list mounts;
  struct plan_list devices;
  struct plan_list symlinks;
  struct plan_list masked;
  struct plan_list readonly;
  struct plan_list sysctls;

  struct plan_list cgroup_tasks; /* v1: "tasks" files that the init writes "0" into */
  uint32_t cgroup_v2;            /* directory for CLONE_INTO_CGROUP, or 0 */
  uint32_t oom_events;           /* file with a line "oom_kill N", or 0 */

  /* For others than the agent: the monitor ends when its child is ready (a container then waits for "start" on
   * MONITOR_FD_SOCKET) or runs (a further command), and whoever collects orphans inherits it. It has the monitor's
   * standard streams; the master side of its terminal goes to MONITOR_FD_STDERR. */
  uint32_t detached;
  uint32_t start_word;         /* an eventfd is there: if it says 1 by the time the init is ready, its command runs */
  uint32_t hooks_before_pivot; /* the init waits for the library's word when all is mounted */
  uint32_t preserved;          /* how many descriptors, detached only; at most PRESERVED_MAX */

  /* exec only */
  int32_t target_pid;   /* the container's init */
  uint32_t exec_cgroup; /* a directory of this exec's own, below one of the container's; removed at the end */
  uint32_t timeout_ms;  /* 0: none */
  uint32_t max_output_bytes;

  /* not exec; a session's exec_cgroup is absent */
  uint32_t stream_flags;  /* PLAN_TERMINAL ... */
  uint16_t terminal_rows; /* 0: as the kernel has it */
  uint16_t terminal_columns;

  struct plan_process process;
};

static inline const char *plan_string(const struct plan *plan, uint32_t offset) {
  return offset == 0 ? (const char *)0 : (const char *)plan + offset;
}

/* The node's number of an id of the container; UINT32_MAX when it has none. Without a range they are the same. */
static inline uint32_t plan_host_id(const struct plan_id_range *ranges, uint32_t count, uint32_t id) {
  for (uint32_t i = 0; i < count; i++) {
    if (id >= ranges[i].first && id - ranges[i].first < ranges[i].count) return ranges[i].host + (id - ranges[i].first);
  }
  return count == 0 ? id : UINT32_MAX;
}

static inline const void *plan_items(const struct plan *plan, struct plan_list list) {
  return (const char *)plan + list.offset;
}

/* What the monitor tells the library (and the init tells the monitor), one message. */
enum {
  REPORT_READY = 1,
  REPORT_FAILED = 2,
  REPORT_TERMINAL = 3,
  REPORT_HOOKS = 4,
  REPORT_TREE = 5,
  REPORT_SECCOMP = 6,
  REPORT_STARTING = 7, /* of an init that is ready and does not wait */
  REPORT_STARTED = 8   /* its command runs, since at_ms */
};

struct report {
  int32_t kind;
  int32_t pid;
  int64_t at_ms;
  struct shoal_error error;
};

#endif

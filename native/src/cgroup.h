/* Control groups of a container. Two back-ends, chosen by where the host mounts the memory controller: v1 (also hybrid:
 * v1 controllers beside a cgroup2 without any) and v2. */
#ifndef SHOAL_CGROUP_H
#define SHOAL_CGROUP_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shoal.h"

#define CGROUP_DIRS_MAX 12
#define CGROUP_PATH_MAX 512
#define CGROUP_DEVICES_MAX 400
#define CGROUP_BLKIO_MAX 64
#define CGROUP_NAMED_MAX 32

/* Where the hierarchies are mounted. */
struct cgroup_layout {
  char v2[128]; /* mount point of cgroup2, "" if there is none */
  size_t v1_count;
  struct {
    char controller[16];
    char mount[128];
  } v1[24];
};

struct cgroup_device_rule {
  bool allow;
  char type;     /* a, b, c */
  int64_t major; /* -1: all */
  int64_t minor;
  char access[4]; /* of r, w, m */
};

enum {
  CGROUP_BLKIO_WEIGHT,
  CGROUP_BLKIO_READ_BPS,
  CGROUP_BLKIO_WRITE_BPS,
  CGROUP_BLKIO_READ_IOPS,
  CGROUP_BLKIO_WRITE_IOPS
};

struct cgroup_blkio_amount {
  size_t kind;
  int64_t major, minor, value; /* of rates: 0 is no limit */
};

enum { CGROUP_HUGE, CGROUP_RDMA, CGROUP_FILE };

/* Names and values are borrowed from the config. */
struct cgroup_named {
  int kind;
  const char *name;       /* a size of pages, a device, a file of v2 */
  int64_t amount, second; /* bytes; handles and objects, -1: not given */
  const char *value;      /* of a file */
};

/* linux.resources; the has_ flags say what was given. */
struct cgroup_limits {
  bool has_memory, has_swap, has_reservation, has_shares, has_quota, has_period, has_pids;
  int64_t memory_bytes, swap_bytes, reservation_bytes; /* -1: no limit; swap is memory + swap, as in OCI */
  int64_t cpu_shares, cpu_quota_us, cpu_period_us, pids;
  const char *cpus, *mems; /* borrowed from the config */
  bool has_blkio_weight;
  int64_t blkio_weight;
  size_t blkio_count;
  struct cgroup_blkio_amount blkio[CGROUP_BLKIO_MAX];
  bool has_swappiness, has_idle, has_burst, no_oom_killer;
  int64_t swappiness, cpu_idle, cpu_burst_us;
  size_t named_count;
  struct cgroup_named named[CGROUP_NAMED_MAX];
  size_t device_count;
  struct cgroup_device_rule devices[CGROUP_DEVICES_MAX];
};

/* The directories of one container. */
struct cgroup_set {
  size_t count;
  struct {
    char controller[16]; /* "unified" for cgroup2 */
    char path[CGROUP_PATH_MAX];
  } dirs[CGROUP_DIRS_MAX];
};

struct cgroup_backend {
  /* Names the directories for a container at path; creates nothing. */
  int (*plan)(const struct cgroup_layout *layout, const char *path, const struct cgroup_limits *limits,
              struct cgroup_set *set, struct shoal_error *err);
  /* Makes one directory's parents fit to hold it; called when its mkdir said ENOENT. */
  int (*prepare_parent)(const struct cgroup_layout *layout, const char *directory, struct shoal_error *err);
  int (*apply)(const struct cgroup_set *set, const struct cgroup_limits *limits, struct shoal_error *err);
  const char *oom_controller; /* the directory that has oom_file */
  const char *oom_file;
};

extern const struct cgroup_backend cgroup_v1;
extern const struct cgroup_backend cgroup_v2;

/* Reads a mountinfo(5) text. Does not change it. */
void cgroup_layout_parse(const char *mountinfo, struct cgroup_layout *layout);

/* The host's, read once. */
const struct cgroup_layout *cgroup_layout_host(void);
const struct cgroup_backend *cgroup_backend_for(const struct cgroup_layout *layout);

/* Accepts an absolute path of plain components: no "..", no ".", nothing empty. */
bool cgroup_path_valid(const char *path);

/* resources may be NULL. devices is linux.devices: what is created there is also allowed. */
int cgroup_limits_parse(const cJSON *resources, const cJSON *devices, struct cgroup_limits *limits,
                        struct shoal_error *err);

int cgroup_create(const struct cgroup_backend *backend, const struct cgroup_layout *layout,
                  const struct cgroup_set *set, struct shoal_error *err);

/* Changes the limits that resources (linux.resources) names, of groups that exist. Devices stay as they were made. */
int cgroup_update(const struct cgroup_set *set, const cJSON *resources, struct shoal_error *err);

/* Kills whatever is in the directory or below it and removes it; absent is fine. Bounded: 3 s, then -EBUSY. */
int cgroup_remove(const char *path, struct shoal_error *err);

/* The directory of a controller in the set, or NULL. */
const char *cgroup_set_find(const struct cgroup_set *set, const char *controller);

/* cgroup-blkio.c. v1: dir is NULL for a container that was made without the controller. */
int cgroup_blkio_parse(const cJSON *block, struct cgroup_limits *limits, struct shoal_error *err);
bool cgroup_blkio_asked(const struct cgroup_limits *limits);
int cgroup_blkio_apply_v1(const char *dir, const struct cgroup_limits *limits, struct shoal_error *err);
int cgroup_blkio_apply_v2(const char *dir, const struct cgroup_limits *limits, struct shoal_error *err);

/* cgroup-named.c. v1: of the set's directories. */
int cgroup_named_parse(const cJSON *resources, struct cgroup_limits *limits, struct shoal_error *err);
bool cgroup_named_asked(const struct cgroup_limits *limits, int kind);
int cgroup_named_apply_v1(const struct cgroup_set *set, const struct cgroup_limits *limits, struct shoal_error *err);
int cgroup_named_apply_v2(const char *dir, const struct cgroup_limits *limits, struct shoal_error *err);

/* Internals that the back-ends share. */
int cgroup_write(const char *directory, const char *file, const char *value, struct shoal_error *err);
int cgroup_write_number(const char *directory, const char *file, int64_t value, struct shoal_error *err);
int cgroup_set_add(struct cgroup_set *set, const char *controller, const char *mount, const char *path,
                   struct shoal_error *err);
int cgroup_make_parents(const char *directory, struct shoal_error *err);
/* Offers the controllers that the directory has to its children; rare: those that few containers have a limit of, too.
 */
void cgroup_v2_enable(const char *directory, bool rare);

#endif

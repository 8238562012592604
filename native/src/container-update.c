/* Changing the limits of a container that runs. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cgroup.h"
#include "run-dir.h"
#include "shoal-container.h"

/* v1 takes no limit of memory and swap below that of memory, so which has to come first depends on what there is. */
static void write_swap_first(const struct cgroup_set *set, const struct cgroup_limits *limits) {
  struct shoal_error ignored;
  const char *memory = cgroup_set_find(set, "memory");
  if (memory != NULL && limits->has_swap)
    (void)cgroup_write_number(memory, "memory.memsw.limit_in_bytes", limits->swap_bytes, &ignored);
}

int cgroup_update(const struct cgroup_set *set, const cJSON *resources, struct shoal_error *err) {
  struct cgroup_limits limits;
  const struct cgroup_backend *backend = cgroup_backend_for(cgroup_layout_host());
  int rc = cgroup_limits_parse(resources, NULL, &limits, err);
  if (rc < 0) return rc;
  /* On v1 a rule is a change, so none is written. */
  limits.device_count = 0;
  bool wants_cpuset = limits.cpus != NULL || limits.mems != NULL;
  if (backend == &cgroup_v1 && wants_cpuset && cgroup_set_find(set, "cpuset") == NULL)
    return shoal_fail(err, ENOTSUP, "cgroup",
                      "cpuset: on cgroup v1 a container made without one gets it at its next start");
  write_swap_first(set, &limits);
  return backend->apply(set, &limits, err);
}

int shoal_container_update(const char *run_dir, const char *resources_json, struct shoal_error *err) {
  struct cgroup_set set;
  int dir_fd = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (dir_fd < 0) return shoal_fail(err, errno, "run directory", "open %s", run_dir);
  cJSON *resources = cJSON_Parse(resources_json);
  int rc = resources == NULL ? shoal_fail(err, EINVAL, "request", "not JSON") : run_dir_read_cgroups(dir_fd, &set, err);
  close(dir_fd);
  if (rc == 0 && set.count == 0) rc = shoal_fail(err, ENOENT, "cgroup", "the container is gone");
  if (rc == 0) rc = cgroup_update(&set, resources, err);
  cJSON_Delete(resources);
  return rc;
}

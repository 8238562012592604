/* What is kept of a container: DIR/container.json, beside the files of run-dir.h. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci/oci.h"
#include "plan.h"
#include "run-dir.h"

#define RECORD "container.json"

bool store_id_valid(const char *id) {
  size_t length = strlen(id);
  for (const char *c = id; *c != '\0'; c++) {
    if (!isalnum((unsigned char)*c) && strchr("_+.-", *c) == NULL) return false;
  }
  return length > 0 && length < 200 && strcmp(id, ".") != 0 && strcmp(id, "..") != 0;
}

static int prepare(const struct oci *oci, const char *id, struct container *container) {
  memset(container, 0, sizeof *container);
  container->dir_fd = -1;
  if (!store_id_valid(id)) return log_failure("invalid container ID format: '%s'", id);
  (void)snprintf(container->id, sizeof container->id, "%s", id);
  if (snprintf(container->dir, sizeof container->dir, "%s/%s", oci->root, id) >= (int)sizeof container->dir)
    return log_failure("--root: too long");
  return 0;
}

int store_open(const struct oci *oci, const char *id, struct container *container) {
  char path[OCI_PATH_MAX + 32];
  if (prepare(oci, id, container) != 0) return EXIT_NOT_DONE;
  container->dir_fd = open(container->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (container->dir_fd < 0 && errno == ENOENT) return log_failure("container \"%s\" does not exist", id);
  if (container->dir_fd < 0) return log_failure("open %s: %s", container->dir, strerror(errno));
  (void)snprintf(path, sizeof path, "%s/" RECORD, container->dir);
  char *text = file_read(path);
  container->record = text == NULL ? cJSON_CreateObject() : cJSON_Parse(text);
  free(text);
  if (container->record != NULL) return 0;
  close(container->dir_fd);
  return log_failure("%s: damaged", path);
}

static int make_parents(const char *path) {
  char part[OCI_PATH_MAX];
  (void)snprintf(part, sizeof part, "%s", path);
  for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    if (mkdir(part, 0711) < 0 && errno != EEXIST) return log_failure("mkdir %s: %s", part, strerror(errno));
    *slash = '/';
  }
  return 0;
}

int store_make(const struct oci *oci, const char *id, struct container *container) {
  struct shoal_error err;
  if (prepare(oci, id, container) != 0) return EXIT_NOT_DONE;
  int rc = mkdir(container->dir, 0700);
  if (rc < 0 && errno == ENOENT) {
    if (make_parents(container->dir) != 0) return EXIT_NOT_DONE;
    rc = mkdir(container->dir, 0700);
  }
  if (rc < 0 && errno == EEXIST) return log_failure("container with given ID already exists: %s", id);
  if (rc < 0) return log_failure("mkdir %s: %s", container->dir, strerror(errno));
  container->dir_fd = run_dir_open(container->dir, &err);
  if (container->dir_fd < 0) return log_error("", &err);
  store_lock(container);
  container->record = cJSON_CreateObject();
  return 0;
}

void store_lock(struct container *container) {
  while (flock(container->dir_fd, LOCK_EX) < 0 && errno == EINTR)
    continue;
}

void store_unlock(struct container *container) { (void)flock(container->dir_fd, LOCK_UN); }

int store_save(struct container *container) {
  char path[OCI_PATH_MAX + 32];
  (void)snprintf(path, sizeof path, "%s/" RECORD, container->dir);
  char *text = cJSON_PrintUnformatted(container->record);
  int rc = text == NULL ? -ENOMEM : file_replace(path, text);
  cJSON_free(text);
  return rc < 0 ? log_failure("write %s: %s", path, strerror(-rc)) : 0;
}

void store_close(struct container *container) {
  if (container->dir_fd >= 0) close(container->dir_fd);
  cJSON_Delete(container->record);
  container->record = NULL;
  container->dir_fd = -1;
}

pid_t store_pid(const struct container *container) {
  const cJSON *pid = json_member(container->record, "pid");
  return cJSON_IsNumber(pid) ? pid->valueint : 0;
}

unsigned long long process_start_time(pid_t pid) {
  char path[64], state;
  unsigned long long start = 0;
  (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  char *text = pid > 0 ? file_read(path) : NULL;
  /* The name, in parentheses, may have anything in it. */
  char *rest = text == NULL ? NULL : strrchr(text, ')');
  if (rest == NULL ||
      sscanf(rest, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state,
             &start) != 2 ||
      state == 'Z' || state == 'X')
    start = 0;
  free(text);
  return start;
}

enum status store_status(const struct container *container) {
  const cJSON *start = json_member(container->record, "startTime");
  if (!cJSON_IsNumber(start)) return STATUS_CREATING;
  unsigned long long now = process_start_time(store_pid(container));
  if (now == 0 || (double)now != start->valuedouble) return STATUS_STOPPED;
  struct cgroup_set set;
  if (groups_read(container, &set) == 0 && groups_frozen(&set)) return STATUS_PAUSED;
  return faccessat(container->dir_fd, RUN_SOCKET, F_OK, 0) == 0 ? STATUS_CREATED : STATUS_RUNNING;
}

const char *store_status_name(enum status status) {
  static const char *const names[] = {"creating", "created", "running", "paused", "stopped"};
  return names[status];
}

static void copy_member(cJSON *to, const cJSON *from, const char *name) {
  const cJSON *member = json_member(from, name);
  if (member != NULL) cJSON_AddItemToObject(to, name, cJSON_Duplicate(member, true));
}

cJSON *store_state(const struct container *container, enum status status) {
  cJSON *state = cJSON_CreateObject();
  cJSON_AddStringToObject(state, "ociVersion", OCI_VERSION);
  cJSON_AddStringToObject(state, "id", container->id);
  cJSON_AddNumberToObject(state, "pid", status == STATUS_STOPPED ? 0 : store_pid(container));
  cJSON_AddStringToObject(state, "status", store_status_name(status));
  copy_member(state, container->record, "bundle");
  copy_member(state, container->record, "rootfs");
  copy_member(state, container->record, "created");
  copy_member(state, container->record, "annotations");
  cJSON_AddStringToObject(state, "owner", "");
  return state;
}

#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REMOVE_TRIES 60
#define REMOVE_WAIT_MS 50

int cgroup_write(const char *directory, const char *file, const char *value, struct shoal_error *err) {
  char path[CGROUP_PATH_MAX + 64];
  (void)snprintf(path, sizeof path, "%s/%s", directory, file);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return shoal_fail(err, errno, "cgroup", "open %s", path);
  ssize_t n = write(fd, value, strlen(value));
  int code = errno;
  close(fd);
  return n < 0 ? shoal_fail(err, code, "cgroup", "write '%s' to %s", value, path) : 0;
}

int cgroup_write_number(const char *directory, const char *file, int64_t value, struct shoal_error *err) {
  char text[32];
  (void)snprintf(text, sizeof text, "%lld", (long long)value);
  return cgroup_write(directory, file, text, err);
}

bool cgroup_path_valid(const char *path) {
  if (path[0] != '/' || path[1] == '\0' || strlen(path) > 256) return false;
  for (const char *part = path; *part == '/';) {
    part++;
    size_t length = strcspn(part, "/");
    if (length == 0 || (length == 1 && part[0] == '.') || (length == 2 && part[0] == '.' && part[1] == '.'))
      return false;
    part += length;
  }
  return strpbrk(path, "\n\\") == NULL;
}

/* The controllers of a v1 mount are among its super options: "rw,cpu,cpuacct". */
static void add_v1(struct cgroup_layout *layout, const char *mount, const char *options) {
  static const char *const known[] = {"memory", "cpu",        "cpuacct", "cpuset",   "devices", "freezer", "blkio",
                                      "pids",   "perf_event", "net_cls", "net_prio", "hugetlb", "rdma"};
  char copy[256], *state = NULL;
  (void)snprintf(copy, sizeof copy, "%s", options);
  for (char *word = strtok_r(copy, ",", &state); word != NULL; word = strtok_r(NULL, ",", &state)) {
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
      if (strcmp(word, known[i]) != 0 || layout->v1_count == sizeof layout->v1 / sizeof layout->v1[0]) continue;
      (void)snprintf(layout->v1[layout->v1_count].controller, sizeof layout->v1[0].controller, "%s", word);
      (void)snprintf(layout->v1[layout->v1_count].mount, sizeof layout->v1[0].mount, "%s", mount);
      layout->v1_count++;
    }
  }
}

void cgroup_layout_parse(const char *mountinfo, struct cgroup_layout *layout) {
  memset(layout, 0, sizeof *layout);
  for (const char *line = mountinfo; *line != '\0';) {
    const char *end = strchrnul(line, '\n');
    char text[1024], mount[128], type[32], options[256];
    (void)snprintf(text, sizeof text, "%.*s", (int)(end - line), line);
    const char *rest = strstr(text, " - ");
    if (rest != NULL && sscanf(text, "%*s %*s %*s %*s %127s", mount) == 1 &&
        sscanf(rest, " - %31s %*s %255s", type, options) == 2) {
      if (strcmp(type, "cgroup2") == 0 && layout->v2[0] == '\0') memcpy(layout->v2, mount, sizeof layout->v2);
      if (strcmp(type, "cgroup") == 0) add_v1(layout, mount, options);
    }
    line = *end == '\0' ? end : end + 1;
  }
}

static struct cgroup_layout host_layout;

static void read_host_layout(void) {
  char *text = NULL;
  size_t size = 0;
  FILE *file = fopen("/proc/self/mountinfo", "re");
  if (file == NULL) return;
  if (getdelim(&text, &size, '\0', file) > 0) cgroup_layout_parse(text, &host_layout);
  free(text);
  (void)fclose(file);
}

const struct cgroup_layout *cgroup_layout_host(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, read_host_layout);
  return &host_layout;
}

const struct cgroup_backend *cgroup_backend_for(const struct cgroup_layout *layout) {
  for (size_t i = 0; i < layout->v1_count; i++) {
    if (strcmp(layout->v1[i].controller, "memory") == 0) return &cgroup_v1;
  }
  return layout->v2[0] != '\0' ? &cgroup_v2 : NULL;
}

const char *cgroup_set_find(const struct cgroup_set *set, const char *controller) {
  for (size_t i = 0; i < set->count; i++) {
    if (strcmp(set->dirs[i].controller, controller) == 0) return set->dirs[i].path;
  }
  return NULL;
}

int cgroup_set_add(struct cgroup_set *set, const char *controller, const char *mount, const char *path,
                   struct shoal_error *err) {
  char full[CGROUP_PATH_MAX];
  if (set->count == CGROUP_DIRS_MAX || snprintf(full, sizeof full, "%s%s", mount, path) >= (int)sizeof full)
    return shoal_fail(err, ENAMETOOLONG, "cgroup", "%s%s", mount, path);
  (void)snprintf(set->dirs[set->count].controller, sizeof set->dirs[0].controller, "%s", controller);
  memcpy(set->dirs[set->count].path, full, sizeof full);
  set->count++;
  return 0;
}

int cgroup_make_parents(const char *directory, struct shoal_error *err) {
  char path[CGROUP_PATH_MAX];
  (void)snprintf(path, sizeof path, "%s", directory);
  for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    if (mkdir(path, 0755) < 0 && errno != EEXIST && errno != EROFS)
      return shoal_fail(err, errno, "cgroup", "mkdir %s", path);
    *slash = '/';
  }
  return 0;
}

/* On v1 several controllers may share one mount, and so one directory. */
static bool made_before(const struct cgroup_set *set, size_t index) {
  for (size_t i = 0; i < index; i++) {
    if (strcmp(set->dirs[i].path, set->dirs[index].path) == 0) return true;
  }
  return false;
}

int cgroup_create(const struct cgroup_backend *backend, const struct cgroup_layout *layout,
                  const struct cgroup_set *set, struct shoal_error *err) {
  for (size_t i = 0; i < set->count; i++) {
    const char *path = set->dirs[i].path;
    if (made_before(set, i)) continue;
    if (mkdir(path, 0755) == 0) continue;
    if (errno != ENOENT) return shoal_fail(err, errno, "cgroup", "mkdir %s", path);
    int rc = backend->prepare_parent(layout, path, err);
    if (rc < 0) return rc;
    if (mkdir(path, 0755) < 0) return shoal_fail(err, errno, "cgroup", "mkdir %s", path);
  }
  return 0;
}

static void kill_members(const char *path) {
  char file[CGROUP_PATH_MAX + 32];
  struct shoal_error ignored;
  (void)snprintf(file, sizeof file, "%s/cgroup.procs", path);
  FILE *procs = fopen(file, "re");
  if (procs == NULL) return;
  int pid;
  while (fscanf(procs, "%d", &pid) == 1) {
    /* cgroup.kill (Linux 5.14) cannot miss a fork; the list can, hence the caller's retries. */
    if (cgroup_write(path, "cgroup.kill", "1", &ignored) == 0) break;
    if (pid > 1) (void)kill(pid, SIGKILL);
  }
  (void)fclose(procs);
}

static int remove_once(const char *path) {
  if (rmdir(path) == 0 || errno == ENOENT) return 0;
  DIR *dir = opendir(path);
  if (dir == NULL) return errno == ENOENT ? 0 : -errno;
  struct dirent *entry;
  while ((entry = readdir(dir)) != NULL) {
    char child[CGROUP_PATH_MAX];
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    if (snprintf(child, sizeof child, "%s/%s", path, entry->d_name) < (int)sizeof child) (void)remove_once(child);
  }
  closedir(dir);
  if (rmdir(path) == 0 || errno == ENOENT) return 0;
  kill_members(path);
  return -EBUSY;
}

int cgroup_remove(const char *path, struct shoal_error *err) {
  const struct timespec pause = {.tv_sec = 0, .tv_nsec = REMOVE_WAIT_MS * 1000000L};
  const struct timespec first = {.tv_sec = 0, .tv_nsec = 1000000L};
  for (int i = 0; i < REMOVE_TRIES; i++) {
    if (remove_once(path) == 0) return 0;
    (void)nanosleep(i < 10 ? &first : &pause, NULL);
  }
  return shoal_fail(err, EBUSY, "cgroup", "remove %s", path);
}

/* kill, delete, pause and resume. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "oci/oci.h"

/* A number, or a name with or without SIG; 0: no signal. */
static int parse_signal(const char *text) {
  char *end;
  long number = strtol(text, &end, 10);
  if (*end == '\0' && end != text) return number >= 1 && number <= 64 ? (int)number : 0;
  if (strncasecmp(text, "SIG", 3) == 0) text += 3;
  for (int i = 1; i < 32; i++) {
    const char *name = sigabbrev_np(i);
    if (name != NULL && strcasecmp(name, text) == 0) return i;
  }
  if (strncasecmp(text, "RTMIN", 5) == 0) return 34 + atoi(text + 5);
  if (strncasecmp(text, "RTMAX", 5) == 0) return 64 + atoi(text + 5);
  return 0;
}

static int send_signal(const struct container *container, int signal, bool all) {
  struct cgroup_set set;
  enum status status = store_status(container);
  if (all && groups_read(container, &set) == 0) return groups_signal(&set, signal);
  if (status == STATUS_STOPPED || status == STATUS_CREATING) return log_failure("container not running");
  if (kill(store_pid(container), signal) < 0) return log_failure("unable to signal init: %s", strerror(errno));
  return 0;
}

int command_kill(const struct oci *oci, int argc, char *argv[]) {
  static const struct option known[] = {{"all", no_argument, NULL, 'a'}, {NULL, 0, NULL, 0}};
  struct container container;
  bool all = false;
  int option;
  while ((option = getopt_long(argc, argv, "+a", known, NULL)) != -1) {
    if (option != 'a') return EXIT_NOT_DONE;
    all = true;
  }
  if (argc - optind < 1 || argc - optind > 2)
    return log_failure("kill: a container ID and at most a signal are needed");
  const char *name = argc - optind == 2 ? argv[optind + 1] : "TERM";
  int signal = parse_signal(name);
  if (signal < 1 || signal > 64) return log_failure("unknown signal \"%s\"", name);
  if (store_open(oci, argv[optind], &container) != 0) return EXIT_NOT_DONE;
  int code = send_signal(&container, signal, all);
  store_close(&container);
  return code;
}

static int delete (struct container *container, bool force) {
  struct shoal_error err = {0};
  enum status status = store_status(container);
  bool idle = status == STATUS_STOPPED || status == STATUS_CREATED;
  if (!idle && !force)
    return log_failure("cannot delete container %s that is not stopped: %s", container->id, store_status_name(status));
  return container_remove(container, &err) < 0 ? log_error("delete", &err) : 0;
}

int command_delete(const struct oci *oci, int argc, char *argv[]) {
  static const struct option known[] = {{"force", no_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};
  struct container container;
  char path[OCI_PATH_MAX];
  bool force = false;
  int option;
  while ((option = getopt_long(argc, argv, "+f", known, NULL)) != -1) {
    if (option != 'f') return EXIT_NOT_DONE;
    force = true;
  }
  const char *id = only_argument(argc, argv, "container ID");
  if (id == NULL) return EXIT_NOT_DONE;
  (void)snprintf(path, sizeof path, "%s/%s", oci->root, id);
  if (force && store_id_valid(id) && access(path, F_OK) < 0 && errno == ENOENT) return 0;
  if (store_open(oci, id, &container) != 0) return EXIT_NOT_DONE;
  store_lock(&container);
  int code = delete (&container, force);
  store_close(&container);
  return code;
}

static int freeze(const struct oci *oci, int argc, char *argv[], bool on) {
  struct container container;
  struct cgroup_set set;
  struct shoal_error err = {0};
  if (getopt(argc, argv, "+") != -1) return EXIT_NOT_DONE;
  const char *id = only_argument(argc, argv, "container ID");
  if (id == NULL || store_open(oci, id, &container) != 0) return EXIT_NOT_DONE;
  store_lock(&container);
  enum status status = store_status(&container);
  int code = 0;
  if (on && status != STATUS_RUNNING && status != STATUS_CREATED)
    code = log_failure("container not running or created: %s", store_status_name(status));
  if (!on && status != STATUS_PAUSED) code = log_failure("container not paused");
  if (code == 0 && (groups_read(&container, &set) < 0 || groups_freeze(&set, on, &err) < 0))
    code = log_error(on ? "pause" : "resume", &err);
  store_close(&container);
  return code;
}

int command_pause(const struct oci *oci, int argc, char *argv[]) { return freeze(oci, argc, argv, true); }

int command_resume(const struct oci *oci, int argc, char *argv[]) { return freeze(oci, argc, argv, false); }

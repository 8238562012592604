/* What is asked of systemd, through its own library. That is loaded only when an engine wants scopes: a host with
 * systemd has it, and nothing else here needs it. */
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "oci/systemd.h"

#define LIBRARY "libsystemd.so.0"
#define MANAGER "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
/* Where the manager listens itself, for root: on a host without a message bus. */
#define PRIVATE_ADDRESS "unix:path=/run/systemd/private"
#define JOB_SECONDS 60

/* sd-bus.h */
struct bus_error {
  const char *name, *message;
  int need_free;
};
typedef int bus_handler(void *message, void *context, struct bus_error *error);

static struct {
  int (*open_system)(void **bus);
  int (*make)(void **bus);
  int (*set_address)(void *bus, const char *address);
  int (*start)(void *bus);
  int (*match)(void *bus, void **slot, const char *sender, const char *path, const char *interface, const char *member,
               bus_handler *handler, void *context);
  int (*call)(void *bus, const char *destination, const char *path, const char *interface, const char *member,
              struct bus_error *error, void **reply, const char *types, ...);
  int (*read)(void *message, const char *types, ...);
  void *(*message_unref)(void *message);
  int (*process)(void *bus, void **message);
  int (*wait)(void *bus, uint64_t timeout_us);
  void *(*end)(void *bus);
  void (*error_free)(struct bus_error *error);
} bus_api;

static const char *const symbols[] = {
    "sd_bus_open_system",  "sd_bus_new",         "sd_bus_set_address",       "sd_bus_start",
    "sd_bus_match_signal", "sd_bus_call_method", "sd_bus_message_read",      "sd_bus_message_unref",
    "sd_bus_process",      "sd_bus_wait",        "sd_bus_flush_close_unref", "sd_bus_error_free"};
_Static_assert(sizeof symbols / sizeof symbols[0] == sizeof bus_api / sizeof(void *), "a symbol for each function");

static int load(struct shoal_error *err) {
  void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return shoal_fail(err, ENOENT, "systemd", "--systemd-cgroup needs " LIBRARY);
  for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
    void *symbol = dlsym(library, symbols[i]);
    if (symbol == NULL) return shoal_fail(err, ENOSYS, "systemd", LIBRARY " has no %s", symbols[i]);
    memcpy((char *)&bus_api + i * sizeof symbol, &symbol, sizeof symbol);
  }
  return 0;
}

static int connect_bus(void **bus, struct shoal_error *err) {
  int rc = load(err);
  if (rc < 0 || bus_api.open_system(bus) >= 0) return rc;
  rc = bus_api.make(bus);
  if (rc >= 0) rc = bus_api.set_address(*bus, PRIVATE_ADDRESS);
  if (rc >= 0) rc = bus_api.start(*bus);
  return rc < 0 ? shoal_fail(err, -rc, "systemd", "neither a system bus nor the manager answers") : 0;
}

struct job {
  char path[256];
  char result[32]; /* "" until its end */
};

static int on_job_removed(void *message, void *context, struct bus_error *error) {
  struct job *job = context;
  uint32_t id;
  const char *path, *unit, *result;
  (void)error;
  if (bus_api.read(message, "uoss", &id, &path, &unit, &result) >= 0 && strcmp(path, job->path) == 0)
    (void)snprintf(job->result, sizeof job->result, "%s", result);
  return 0;
}

/* Limits are the business of the group below, so the scope has none, not even the usual one of tasks. What is accounted
 * for makes systemd give the scope the controllers. */
static int start_unit(void *bus, const struct unit_call *call, struct bus_error *error, void **reply) {
  return bus_api.call(bus, MANAGER, call->method, error, reply, "ssa(sv)a(sa(sv))", call->unit, "fail", 11,
                      "Description", "s", call->description, "Slice", "s", call->slice, "PIDs", "au", 1,
                      (uint32_t)call->pid, "Delegate", "b", 1, "DefaultDependencies", "b", 0, "CollectMode", "s",
                      "inactive-or-failed", "CPUAccounting", "b", 1, "MemoryAccounting", "b", 1, "IOAccounting", "b", 1,
                      "TasksAccounting", "b", 1, "TasksMax", "t", UINT64_MAX, 0);
}

static int begin_job(void *bus, const struct unit_call *call, struct job *job, struct shoal_error *err) {
  struct bus_error error = {0};
  void *reply = NULL;
  const char *path = NULL;
  int rc = call->slice != NULL ? start_unit(bus, call, &error, &reply)
                               : bus_api.call(bus, MANAGER, call->method, &error, &reply, "ss", call->unit, "replace");
  if (rc >= 0) rc = bus_api.read(reply, "o", &path);
  if (rc >= 0) (void)snprintf(job->path, sizeof job->path, "%s", path);
  bool absent = error.name != NULL && strcmp(error.name, "org.freedesktop.systemd1.NoSuchUnit") == 0;
  if (rc < 0)
    rc = shoal_fail(err, absent ? ENOENT : -rc, "systemd", "%s: %s", call->unit,
                    error.message == NULL ? strerror(-rc) : error.message);
  bus_api.error_free(&error);
  if (reply != NULL) (void)bus_api.message_unref(reply);
  return rc < 0 ? rc : 0;
}

static int await_job(void *bus, const char *unit, const struct job *job, struct shoal_error *err) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  const time_t end = now.tv_sec + JOB_SECONDS;
  while (job->result[0] == '\0') {
    int rc = bus_api.process(bus, NULL);
    if (rc == 0) rc = bus_api.wait(bus, 1000000);
    if (rc < 0) return shoal_fail(err, -rc, "systemd", "%s: the connection ended", unit);
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec > end) return shoal_fail(err, ETIMEDOUT, "systemd", "%s: the job does not end", unit);
  }
  return strcmp(job->result, "done") == 0 ? 0 : shoal_fail(err, ECANCELED, "systemd", "%s: %s", unit, job->result);
}

int systemd_job(const struct unit_call *call, struct shoal_error *err) {
  struct job job = {0};
  struct bus_error error = {0};
  void *bus = NULL;
  int rc = connect_bus(&bus, err);
  if (rc == 0) {
    /* Before the call, so that the job's end can not be missed. */
    int code = bus_api.match(bus, NULL, NULL, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
                             "JobRemoved", on_job_removed, &job);
    if (code >= 0) code = bus_api.call(bus, MANAGER, "Subscribe", &error, NULL, "");
    if (code < 0)
      rc = shoal_fail(err, -code, "systemd", "subscribe: %s", error.message == NULL ? strerror(-code) : error.message);
    bus_api.error_free(&error);
  }
  if (rc == 0) rc = begin_job(bus, call, &job, err);
  if (rc == 0) rc = await_job(bus, call->unit, &job, err);
  if (bus != NULL) (void)bus_api.end(bus);
  return rc;
}

/* Starts the monitor binary. It never runs from its file: the library copies the file into a sealed memfd once and runs
 * that, so that no container can overwrite the monitor through /proc/PID/exe (CVE-2019-5736). */
#ifndef SHOAL_MONITOR_SPAWN_H
#define SHOAL_MONITOR_SPAWN_H

#include <stdbool.h>

#include "shoal.h"

struct monitor_spawn {
  const char *path; /* of the monitor's file */
  const char *mode; /* src/monitor/main.c */
  int plan_fd;
  int result_fd; /* the monitor's end */
  int dir_fd;    /* run directory (create) or pidfd of the container's init (exec, session) */
  int socket_fd; /* bound control socket (create), standard input and output (session), or -1 */
  int stderr_fd; /* session, console socket of a detached one, start word (create), the pool's socket (ready), or -1 */
  bool inherit;  /* the caller's standard streams instead of /dev/null */
  int preserved; /* how many of the caller's descriptors from 3 on, at most PRESERVED_MAX */
};

/* The spawned process detaches itself; this returns as soon as it has. */
int monitor_spawn(const struct monitor_spawn *request, struct shoal_error *err);

#endif

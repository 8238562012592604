/* Containers. Requests are JSON texts; see agent/native/container.ts for their shape. A container's control socket,
 * RUN_DIR/monitor.sock, speaks lines: "start", "kill N", "state", "wait"; src/monitor/control.c describes them. */
#ifndef SHOAL_CONTAINER_H
#define SHOAL_CONTAINER_H

#include "shoal.h"

/* Makes the container up to the point of running its command, and a monitor for it; before that the request's "batch",
 * if there is one (shoal-file-batch.h), which stays if the rest fails. Returns the init's pid in the caller's pid
 * namespace. seccomp_json: the profile as text, or NULL to take config.linux.seccomp.
 * Runs its command at once if the request's "startWord" says so by then: an eventfd of the caller's (shoal_start_word)
 * that 1 was written to. *started_at_ms: when it began to run, in milliseconds since 1970; 0: it
 * waits for "start", whatever the word says later. Fails, and leaves nothing, when the command can not be run (step
 * "exec"). */
SHOAL_EXPORT int shoal_container_run(const char *request_json, const char *seccomp_json, int64_t *started_at_ms,
                                     struct shoal_error *err);

/* A word that has not been said. Returns the descriptor, which is the caller's to close once the container is made. */
SHOAL_EXPORT int shoal_start_word(struct shoal_error *err);

/* Makes one monitor for a container to come, unless there are enough; it ends with this process. path: of the monitor's
 * file, as the containers' requests have it ("monitorPath"). Returns how many more would be kept. */
SHOAL_EXPORT int shoal_monitor_ready(const char *path, struct shoal_error *err);

/* Starts a command in a running container. Returns a connected stream socket from which the caller reads one line of
 * JSON, then the output; closing it early kills the command and all its descendants. seccomp_json:
 * NULL for the container's own filter. */
SHOAL_EXPORT int shoal_container_exec(const char *request_json, const char *seccomp_json, struct shoal_error *err);

/* The caller's ends of three stream sockets. */
struct shoal_session {
  int32_t control_fd; /* JSON lines from the monitor, lines to it: src/monitor/session.c */
  int32_t streams_fd; /* standard input and output, or both ways of the terminal */
  int32_t stderr_fd;
};

/* Starts a command in a running container that goes on whatever becomes of the caller. The request says which streams
 * are attached and whether it has a terminal; a stream that is not attached is at its end. seccomp_json as above. */
SHOAL_EXPORT int shoal_container_session(const char *request_json, const char *seccomp_json,
                                         struct shoal_session *session, struct shoal_error *err);

/* Changes limits of a container that runs: resources_json is a linux.resources object with those that change. */
SHOAL_EXPORT int shoal_container_update(const char *run_dir, const char *resources_json, struct shoal_error *err);

/* Kills what is left of the container, removes its cgroups and what is in the run directory, and the directory. */
SHOAL_EXPORT int shoal_container_delete(const char *run_dir, struct shoal_error *err);

#endif

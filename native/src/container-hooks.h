#ifndef SHOAL_CONTAINER_HOOKS_H
#define SHOAL_CONTAINER_HOOKS_H

#include <cjson/cJSON.h>
#include <sys/types.h>

#include "shoal.h"

/* hooks: {program, state, prestart, createRuntime, createContainer}. Runs them for the container whose init waits, and
 * tells the monitor at the other end of the socket to let it go on, or to give up. */
int container_hooks(const cJSON *hooks, pid_t init, int monitor, struct shoal_error *err);

#endif

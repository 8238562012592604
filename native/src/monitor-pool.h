/* Monitors that are there before a container needs one: its start then need not wait for a new process. Each holds the
 * other end of a socket of ours, and ends with it: none is left behind by a process that is killed. */
#ifndef SHOAL_MONITOR_POOL_H
#define SHOAL_MONITOR_POOL_H

#include <stdbool.h>

#include "monitor-spawn.h"

/* Gives one the descriptors of a container that is to be created. False when there is none from this file. */
bool monitor_pool_use(const struct monitor_spawn *request);

#endif

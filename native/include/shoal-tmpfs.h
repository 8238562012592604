/* File systems in memory, for what must never reach a disk. */
#ifndef SHOAL_TMPFS_H
#define SHOAL_TMPFS_H

#include "shoal.h"

/* Makes sure that the existing directory path is on a tmpfs: mounts one over it (mode 0700, nosuid, nodev, options such
 * as "size=64m" may be given) unless it is on one already. Returns 0 or -errno. */
SHOAL_EXPORT int shoal_tmpfs_ensure(const char *path, const char *options, struct shoal_error *err);

#endif

/* File systems in memory, for what must never reach a disk. */
#ifndef SHOAL_TMPFS_H
#define SHOAL_TMPFS_H

#include "shoal.h"

/* Makes sure that the existing directory path is on a tmpfs: mounts one over it (mode 0700, nosuid, nodev, options such
 * as "size=64m" may be given) unless it is on one already. Returns 0 or -errno. */
SHOAL_EXPORT int shoal_tmpfs_ensure(const char *path, const char *options, struct shoal_error *err);

/* Mounts a new tmpfs over the existing directory path (nosuid, nodev, noexec), in place of one that is mounted there.
 * Returns 0 or -errno. */
SHOAL_EXPORT int shoal_tmpfs_mount(const char *path, const char *options, struct shoal_error *err);

/* Unmounts what is mounted at path; who has it mounted elsewhere keeps it. 0 when nothing is, or path is not there.
 * Returns 0 or -errno. */
SHOAL_EXPORT int shoal_tmpfs_remove(const char *path, struct shoal_error *err);

#endif

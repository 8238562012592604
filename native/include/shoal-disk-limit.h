/* Limits of what may be written below a directory, by project quotas of its file system (ext4, xfs). */
#ifndef SHOAL_DISK_LIMIT_H
#define SHOAL_DISK_LIMIT_H

#include "shoal.h"

/* Returns 0 when the file system of path can limit directories, else -ENOTSUP, and says what it is and lacks. */
SHOAL_EXPORT int shoal_disk_limit_check(const char *path, struct shoal_error *err);

/* Everything that is written from now on below the existing directories upper and work (which may be NULL) takes no
 * more than so many bytes together. Both are one project of the file system, which they keep: a second call changes the
 * limit. Returns 0 or -errno; -ENOTSUP as above. */
SHOAL_EXPORT int shoal_disk_limit_set(const char *upper, const char *work, uint64_t bytes, struct shoal_error *err);

/* Forgets the limit of the directory's project; what is in it stays. 0 also where there is none. */
SHOAL_EXPORT int shoal_disk_limit_clear(const char *upper, struct shoal_error *err);

#endif

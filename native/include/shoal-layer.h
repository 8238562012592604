/* Unpacking of one image layer (OCI image-spec, layer.md) into a directory that serves as an overlayfs lower layer. */
#ifndef SHOAL_LAYER_H
#define SHOAL_LAYER_H

#include "shoal.h"

struct shoal_layer_result {
  char diff_id[72];   /* "sha256:" and the digest of the uncompressed tar stream */
  int64_t size_bytes; /* sum of the sizes of the regular files */
  int64_t entries;    /* entries read from the archive */
};

/* Unpacks the tar archive at tar_path (plain, gzip or zstd) into the existing, empty directory dest_dir.
 *
 * Whiteouts become what overlayfs understands: a character device 0/0, and trusted.overlay.opaque on a directory.
 * Every path and link target of the archive is resolved as if dest_dir were the root (openat2, RESOLVE_IN_ROOT), so an
 * archive can not reach outside; a name that climbs above the root with ".." is refused with -EINVAL. Of the extended
 * attributes user.* and security.capability are kept. Needs root. On failure dest_dir is left partly filled.
 * Returns 0 or -errno; -EBADMSG means that the archive is damaged. */
SHOAL_EXPORT int shoal_layer_unpack(const char *tar_path, const char *dest_dir, struct shoal_layer_result *result,
                                    struct shoal_error *err);

/* Whether the directory of an unpacked layer hides what the layers below it have: 1 or 0, also when it is none. */
SHOAL_EXPORT int shoal_layer_is_opaque(const char *directory);

#endif

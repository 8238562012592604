/* What the files layer*.c share: the stream that is decompressed and hashed, and the directory that is filled. */
#ifndef SHOAL_LAYER_INTERNAL_H
#define SHOAL_LAYER_INTERNAL_H

#include <archive.h>
#include <archive_entry.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shoal-layer.h"

/* layer-stream.c: the archive's bytes, decompressed and hashed as the tar reader asks for them. */
struct layer_stream {
  struct archive *raw; /* decompresses only */
  struct sha256_ctx hash;
  int fd;
};

int layer_stream_open(struct layer_stream *stream, const char *path, struct shoal_error *err);
/* An archive_read_callback over a struct layer_stream. */
la_ssize_t layer_stream_read(struct archive *tar, void *stream, const void **buffer);
/* Reads what the tar reader left (padding after the end marker belongs to the digest) and writes the diff id. */
int layer_stream_finish(struct layer_stream *stream, struct archive *tar, char diff_id[72], struct shoal_error *err);
void layer_stream_close(struct layer_stream *stream);

/* layer-tree.c: the directory, entered only through openat2 with RESOLVE_IN_ROOT. */
struct layer_dir_times {
  char *path;
  struct timespec times[2];
};

struct layer_tree {
  int root_fd;
  int parent_fd; /* of the entry at hand; kept, as neighbours follow one another in archives */
  char parent[PATH_MAX];
  struct layer_dir_times *dirs; /* set at the end: filling a directory changes its times */
  size_t dir_count;
  size_t dir_capacity;
};

int layer_tree_open(struct layer_tree *tree, const char *path, struct shoal_error *err);
void layer_tree_close(struct layer_tree *tree);
/* Cleans a name of the archive lexically: no leading slash, no "." and no ".."; "" is the root. */
int layer_clean_path(const char *path, char clean[PATH_MAX]);
/* openat2 below the root, symlinks resolved as if it were "/". A descriptor or -errno. */
int layer_tree_resolve(const struct layer_tree *tree, const char *path, int flags);
/* Opens (and creates where missing) the directory that holds the clean path; *name is its last component. The
 * descriptor belongs to the tree and holds until the next call. */
int layer_tree_enter(struct layer_tree *tree, const char *path, const char **name, struct shoal_error *err);
/* Removes name in the entered directory, with what is below it. Nothing there is no error. */
int layer_tree_remove(struct layer_tree *tree, const char *name);
int layer_tree_remember_times(struct layer_tree *tree, const char *path, const struct timespec times[2]);
void layer_tree_restore_times(const struct layer_tree *tree);
/* Marks a directory so that overlayfs shows nothing of the layers below it. */
int layer_mark_opaque(int dir_fd, const char *name);
int layer_is_whiteout(const struct stat *st);

/* layer-entry.c: one entry of the archive into the tree. */
int layer_entry_apply(struct layer_tree *tree, struct archive *tar, struct archive_entry *entry,
                      struct shoal_error *err);

static inline void layer_close_fd(const int *fd) {
  if (*fd >= 0) (void)close(*fd);
}
#define cleanup_layer_fd __attribute__((cleanup(layer_close_fd)))

#endif

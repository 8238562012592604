/* shoal-files: works on the files of containers and volumes in a process of its own, which ends with the work.
 *
 * The agent gives it one line of JSON on descriptor 3 (main.c) and, for a container that runs, that container's mount
 * namespace as descriptor 4. It enters the container's root (view.c), gives up what it does not need (lockdown.c), and
 * works: archives come from standard input or go to standard output; what it has to say goes as lines of JSON to
 * descriptor 3 (reply.c). From the moment it is inside the container's root, nothing there is trusted. */
#ifndef SHOAL_FILES_H
#define SHOAL_FILES_H

#include <archive.h>
#include <archive_entry.h>
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shoal.h"

enum { FILES_FD_TALK = 3, FILES_FD_NAMESPACE = 4 };

/* The longest path, and the deepest tree, that is walked: a container may make them longer. */
enum { FILES_PATH_MAX = 64 * 1024, FILES_DEPTH_MAX = 1024 };

/* --- reply.c. Each function that fails has said so with one of these before it returns -1. */

/* kind: what the agent makes an error class of: "not-found", "invalid", "read-only", "failed". Returns -1. */
int reply_error(const char *kind, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
void reply_object(cJSON *object); /* takes it */
void reply_done(void);

/* --- view.c */

/* Becomes a process whose root is the container's, and opens it. root_only: without what is mounted below. */
int view_enter(const cJSON *request, bool root_only);
/* Resolves as a process inside would, but no magic links. follow: the last component, too. A descriptor or -errno. */
int view_open(int root_fd, const char *path, int flags);
/* This process's descriptors, as the host's procfs shows them: opened before the root changes. */
extern int view_self_fds;
/* The regular file behind an O_PATH descriptor, opened to be read. Opening what is not a regular file may block or do
 * things, and what has been looked at by name may be something else by now. A descriptor or -errno. */
int view_reopen(int path_fd, int flags);

/* --- lockdown.c */

/* To be called when nothing is to be mounted or entered any more. trusted: trusted.* attributes are to be read. */
int lockdown(bool trusted);

/* --- stat.c */

/* Replies with what the path is. On success info has it, and *fd is an O_PATH descriptor of it. */
int stat_reply(int root_fd, const char *path, struct stat *info, int *fd);

/* --- pack.c: a tree to a tar archive on standard output. */
int pack_path(int root_fd, const char *path);
int pack_root(int root_fd);

/* --- unpack.c: a tar archive from standard input into a directory. */
struct unpack_options {
  bool keep_kinds; /* a directory is not replaced by something else, nor the other way */
  bool owned;      /* all belongs to these */
  uid_t uid;
  gid_t gid;
};
int unpack_path(int root_fd, const char *path, const struct unpack_options *options);

/* --- unpack-entry.c */
struct unpack {
  struct archive *tar;
  int root_fd;
  const char *base; /* the directory's path inside the root */
  const struct unpack_options *options;
  struct unpack_times *times; /* of directories, set at the end: filling them changes them */
  size_t times_count, times_capacity;
};
int unpack_entry(struct unpack *unpack, struct archive_entry *entry);
void unpack_restore_times(struct unpack *unpack);
/* Says why a change was refused; a read-only mount has words of its own. Returns -1. */
int unpack_refused(const struct unpack *unpack, int code, const char *what, const char *path);

/* --- changes.c: what the container changed in its image: lines "C PATH", "A PATH", "D PATH", each ended by NUL. */
int changes_write(int upper_fd, int image_fd);

/* --- size.c: replies with the bytes of the regular files below each path, one after the other. */
int size_reply(const cJSON *paths);

/* --- mount.c: the file systems of volumes. */
int mount_volume(const cJSON *request);
int unmount_volume(const cJSON *request);

/* --- small things that all need */
static inline void files_close(const int *fd) {
  if (*fd >= 0) (void)close(*fd);
}
#define cleanup_fd __attribute__((cleanup(files_close)))

static inline const char *files_text(const cJSON *object, const char *name) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
  return text == NULL ? "" : text;
}

#endif

/* The files of a container's log: PATH.0, PATH.1 and so on, the newest written to. When it is full, the next one is
 * begun, and the oldest of more than there may be is removed. A file never changes its name, so that who reads one
 * finds the next by its number, and no line is at two places. */
#ifndef SHOAL_MONITOR_LOG_FILE_H
#define SHOAL_MONITOR_LOG_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plan.h"

struct log_file {
  const char *path; /* without the number; NULL: nothing is kept */
  int fd;
  bool torn; /* the last write was cut short: the next one starts on a new line */
  uint64_t number;
  uint64_t size;      /* of this file */
  uint64_t max_bytes; /* of each file; 0: no limit */
  uint32_t max_files;
  uint64_t dropped_bytes; /* what a full disk swallowed */
};

/* Opens the file that the plan names, to go on at its end. */
int log_file_open(struct log_file *file, const struct plan *plan, struct shoal_error *err);

/* Whether so much more is too much for the file. */
bool log_file_is_full(const struct log_file *file, size_t size);

/* Begins the next file; an empty one stays. If that can not be, the old one goes on. */
void log_file_rotate(struct log_file *file);

/* Appends whole records. A full disk must not stop the container: what can not be written is counted and forgotten. */
void log_file_write(struct log_file *file, const char *data, size_t size);

#endif

/* The container's two output pipes and the log file they end up in. */
#ifndef SHOAL_MONITOR_OUTPUT_H
#define SHOAL_MONITOR_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "monitor/log.h"
#include "shoal.h"

struct output_pipe {
  int fd; /* our end, non-blocking; -1 when it has ended */
  struct log_stream stream;
};

struct output {
  int log_fd;
  bool torn; /* the last write was cut short: the next one starts on a new line */
  uint64_t dropped_bytes;
  size_t pending;
  char buffer[2 * LOG_LINE_MAX];
  struct output_pipe pipes[2];
};

/* Opens the log file and the pipes; child_ends are the container's stdout and stderr. */
int output_open(struct output *output, const char *log_path, uint32_t uid, int child_ends[2], struct shoal_error *err);

/* Copies what one pipe has now; returns false when there was nothing (or nothing more to come). */
bool output_copy(struct output *output, struct output_pipe *pipe);

/* Everything that is still in the pipes. Does not wait: a process that left the container may hold them open. */
void output_drain(struct output *output);

#endif

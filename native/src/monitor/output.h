/* The container's output, two pipes or one terminal, and the log that it ends up in. */
#ifndef SHOAL_MONITOR_OUTPUT_H
#define SHOAL_MONITOR_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "monitor/log-file.h"
#include "monitor/log.h"

struct output_pipe {
  int fd; /* our end, non-blocking; -1 when it has ended */
  struct log_stream stream;
};

/* Hears all of the output as it is read; stream: 1 or 2. */
typedef void (*output_tap)(void *context, int stream, const char *data, size_t size);

struct output {
  struct log_file log;
  size_t pending;
  output_tap tap;
  void *tap_context;
  char buffer[2 * LOG_LINE_MAX];
  struct output_pipe pipes[2]; /* with a terminal only the first */
};

/* Opens the log; there is no output yet. */
int output_open(struct output *output, const struct plan *plan, output_tap tap, void *context, struct shoal_error *err);

/* Opens the pipes; child_ends are the container's stdout and stderr, its user's own. */
int output_pipes(struct output *output, uint32_t uid, int child_ends[2], struct shoal_error *err);

/* All output comes from this terminal, the master side, which becomes the output's. */
void output_terminal(struct output *output, int master_fd);

/* Copies what one pipe has now; returns how much, 0 when there was nothing (or nothing more to come). */
size_t output_copy(struct output *output, struct output_pipe *pipe);

/* What is in the pipes now, although somebody may hold them open still, and the rest of unfinished lines. */
void output_drain(struct output *output);

#endif

#include "monitor/output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* A pipe holds no more (pipe-max-size of pipe(7)): what comes beyond it was written later. */
#define DRAIN_BYTES (1u << 20)

static int open_pipe(struct output_pipe *end, const char *name, uint32_t uid, int *child_end, struct shoal_error *err) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) < 0) return shoal_fail(err, errno, "stdio", "pipe");
  end->fd = fds[0];
  end->stream.name = name;
  *child_end = fds[1];
  if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0) return shoal_fail(err, errno, "stdio", "fcntl");
  /* So that the container's user can open /dev/stdout, which leads to this pipe. */
  if (uid != 0 && fchown(fds[1], uid, (gid_t)-1) < 0) return shoal_fail(err, errno, "stdio", "fchown");
  return 0;
}

int output_open(struct output *output, const struct plan *plan, output_tap tap, void *context,
                struct shoal_error *err) {
  output->tap = tap;
  output->tap_context = context;
  output->pipes[0].fd = output->pipes[1].fd = -1;
  return log_file_open(&output->log, plan, err);
}

int output_pipes(struct output *output, uint32_t uid, int child_ends[2], struct shoal_error *err) {
  int rc = open_pipe(&output->pipes[0], "stdout", uid, &child_ends[0], err);
  return rc < 0 ? rc : open_pipe(&output->pipes[1], "stderr", uid, &child_ends[1], err);
}

void output_terminal(struct output *output, int master_fd) {
  output->pipes[0].fd = master_fd;
  output->pipes[0].stream.name = "stdout";
}

static void flush(struct output *output) {
  log_file_write(&output->log, output->buffer, output->pending);
  output->pending = 0;
}

static void buffer_record(void *context, const char *header, size_t header_size, const char *content, size_t size) {
  struct output *output = context;
  size_t record = header_size + size + 1;
  if (output->pending + record > sizeof output->buffer) flush(output);
  if (log_file_is_full(&output->log, output->pending + record)) {
    flush(output);
    log_file_rotate(&output->log);
  }
  char *at = output->buffer + output->pending;
  memcpy(at, header, header_size);
  memcpy(at + header_size, content, size);
  at[header_size + size] = '\n';
  output->pending += record;
}

size_t output_copy(struct output *output, struct output_pipe *pipe) {
  size_t room;
  struct timespec now;
  if (pipe->fd < 0) return 0;
  char *to = log_room(&pipe->stream, &room);
  ssize_t n;
  while ((n = read(pipe->fd, to, room)) < 0 && errno == EINTR)
    continue;
  if (n < 0 && errno == EAGAIN) return 0;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  if (n > 0) {
    /* First: log_feed moves what is there. */
    output->tap(output->tap_context, pipe == &output->pipes[0] ? 1 : 2, to, (size_t)n);
    log_feed(&pipe->stream, (size_t)n, now, buffer_record, output);
  } else {
    /* A terminal that nobody has open any more says EIO. */
    log_finish(&pipe->stream, now, buffer_record, output);
    close(pipe->fd);
    pipe->fd = -1;
  }
  flush(output);
  return n > 0 ? (size_t)n : 0;
}

void output_drain(struct output *output) {
  struct timespec now;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  for (int i = 0; i < 2; i++) {
    size_t left = DRAIN_BYTES, n;
    while (left > 0 && (n = output_copy(output, &output->pipes[i])) > 0)
      left -= n < left ? n : left;
    log_finish(&output->pipes[i].stream, now, buffer_record, output);
  }
  flush(output);
}

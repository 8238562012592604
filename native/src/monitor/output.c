#include "monitor/output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
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

int output_open(struct output *output, const char *log_path, output_tap tap, void *context, struct shoal_error *err) {
  output->tap = tap;
  output->tap_context = context;
  output->pipes[0].fd = output->pipes[1].fd = -1;
  output->log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  return output->log_fd < 0 ? shoal_fail(err, errno, "log", "open %s", log_path) : 0;
}

int output_pipes(struct output *output, uint32_t uid, int child_ends[2], struct shoal_error *err) {
  int rc = open_pipe(&output->pipes[0], "stdout", uid, &child_ends[0], err);
  return rc < 0 ? rc : open_pipe(&output->pipes[1], "stderr", uid, &child_ends[1], err);
}

void output_terminal(struct output *output, int master_fd) {
  output->pipes[0].fd = master_fd;
  output->pipes[0].stream.name = "stdout";
}

uint64_t output_log_size(const struct output *output) {
  struct stat info;
  return fstat(output->log_fd, &info) < 0 ? 0 : (uint64_t)info.st_size;
}

/* A full disk must not stop the container: what cannot be written is counted and forgotten. */
static bool write_log(struct output *output, const char *data, size_t size) {
  ssize_t n;
  while ((n = write(output->log_fd, data, size)) < 0 && errno == EINTR)
    continue;
  if (n == (ssize_t)size) return true;
  size_t written = n < 0 ? 0 : (size_t)n;
  output->dropped_bytes += size - written;
  output->torn = output->torn || written > 0;
  return false;
}

static void flush(struct output *output) {
  size_t size = output->pending;
  output->pending = 0;
  if (size == 0) return;
  if (output->torn) {
    output->torn = false;
    if (!write_log(output, "\n", 1)) {
      output->torn = true;
      output->dropped_bytes += size;
      return;
    }
  }
  (void)write_log(output, output->buffer, size);
}

static void buffer_record(void *context, const char *header, size_t header_size, const char *content, size_t size) {
  struct output *output = context;
  if (output->pending + header_size + size + 1 > sizeof output->buffer) flush(output);
  char *at = output->buffer + output->pending;
  memcpy(at, header, header_size);
  memcpy(at + header_size, content, size);
  at[header_size + size] = '\n';
  output->pending += header_size + size + 1;
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

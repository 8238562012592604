#include "monitor/output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

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

int output_open(struct output *output, const char *log_path, uint32_t uid, int child_ends[2], struct shoal_error *err) {
  output->log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (output->log_fd < 0) return shoal_fail(err, errno, "log", "open %s", log_path);
  int rc = open_pipe(&output->pipes[0], "stdout", uid, &child_ends[0], err);
  return rc < 0 ? rc : open_pipe(&output->pipes[1], "stderr", uid, &child_ends[1], err);
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

bool output_copy(struct output *output, struct output_pipe *pipe) {
  size_t room;
  struct timespec now;
  if (pipe->fd < 0) return false;
  char *to = log_room(&pipe->stream, &room);
  ssize_t n = read(pipe->fd, to, room);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return errno == EINTR;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  if (n > 0) {
    log_feed(&pipe->stream, (size_t)n, now, buffer_record, output);
  } else {
    log_finish(&pipe->stream, now, buffer_record, output);
    close(pipe->fd);
    pipe->fd = -1;
  }
  flush(output);
  return n > 0;
}

void output_drain(struct output *output) {
  struct timespec now;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  for (int i = 0; i < 2; i++) {
    while (output_copy(output, &output->pipes[i]))
      continue;
    log_finish(&output->pipes[i].stream, now, buffer_record, output);
  }
  flush(output);
}

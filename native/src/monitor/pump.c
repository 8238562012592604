#include "monitor/pump.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* A pipe holds no more (pipe-max-size of pipe(7)): what comes beyond it was written later. */
#define LEFT_BYTES (1u << 20)

/* So that neither a fast source nor a fast sink keeps the caller from its other work. */
#define TURNS 8

static void close_end(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* The sink may be a socket that another pump reads from: closing one descriptor of two would not end its stream. */
static void close_sink(struct pump *pump) {
  if (pump->to >= 0) (void)shutdown(pump->to, SHUT_WR);
  close_end(&pump->to);
}

void pump_init(struct pump *pump, int from, int to) {
  pump->from = from;
  pump->to = to;
  pump->last = false;
  pump->left = LEFT_BYTES;
  pump->start = pump->size = 0;
}

bool pump_done(const struct pump *pump) { return pump->from < 0 && pump->size == 0; }

void pump_poll(const struct pump *pump, struct pollfd entries[PUMP_POLLS]) {
  entries[0] = (struct pollfd){.fd = pump->size == 0 ? pump->from : -1, .events = POLLIN};
  entries[1] = (struct pollfd){.fd = pump->size > 0 ? pump->to : -1, .events = POLLOUT};
}

/* Returns false when there is nothing to read now. A terminal whose other side is closed says EIO. */
static bool fill(struct pump *pump) {
  ssize_t n = pump->last && pump->left == 0 ? 0 : read(pump->from, pump->data, sizeof pump->data);
  if (n < 0 && errno == EINTR) return true;
  if (n < 0 && errno == EAGAIN && !pump->last) return false;
  if (n <= 0) {
    close_end(&pump->from);
    return false;
  }
  pump->start = 0;
  pump->size = (size_t)n;
  if (pump->last) pump->left -= (size_t)n < pump->left ? (size_t)n : pump->left;
  return true;
}

/* Returns false when the sink takes nothing now. */
static bool empty(struct pump *pump) {
  if (pump->to < 0) {
    pump->size = 0;
    return true;
  }
  ssize_t n = write(pump->to, pump->data + pump->start, pump->size);
  if (n < 0 && errno == EINTR) return true;
  if (n < 0 && errno == EAGAIN) return false;
  if (n < 0) {
    close_end(&pump->to);
    return true;
  }
  pump->start += (size_t)n;
  pump->size -= (size_t)n;
  return true;
}

void pump_run(struct pump *pump) {
  for (int i = 0; (i < TURNS || pump->last) && !pump_done(pump); i++) {
    if (pump->size == 0 && !fill(pump)) break;
    if (pump->size > 0 && !empty(pump)) break;
  }
  if (pump_done(pump)) close_sink(pump);
}

void pump_finish(struct pump *pump) {
  pump->last = true;
  pump_run(pump);
}

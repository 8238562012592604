/* Who is attached to the container: each client gets a copy of its output from then on and may write its standard
 * input.
 *
 * There is one piece of output at a time: more is read from the container only when every client has taken it. So a
 * slow client slows the container, as a slow reader of a pipe does, and nothing is held here but that piece. A client
 * that has not taken a piece ATTACH_STALL_MS after it came is dropped. Input is read from a client only when the
 * container has taken what came before.
 *
 * Output is framed as Docker frames it, one frame a piece: stream (1, 2), three zeroes, the size as 32 bits big-endian,
 * the data. With a terminal it is as it comes. Input is as it comes; that a client shuts its side down ends its input.
 */
#ifndef SHOAL_MONITOR_ATTACH_H
#define SHOAL_MONITOR_ATTACH_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor/log.h"
#include "shoal.h"

#define ATTACH_CLIENTS 256
#define ATTACH_POLLS (1 + ATTACH_CLIENTS)
#define ATTACH_STALL_MS 10000
/* After the end nothing waits for a client, so it has more time to take the rest. */
#define ATTACH_END_MS 30000
#define ATTACH_INPUT_BYTES 4096
#define ATTACH_FRAME_HEADER 8
#define ATTACH_REST_BYTES (3u << 20)

struct attach_client {
  int fd;
  bool input;  /* it may still write */
  bool output; /* it gets a copy */
  bool gone;   /* it has closed; what it wrote is not all read yet */
  size_t sent;
  int64_t
      deadline_ms; /* by when it has to have taken the piece, or its last input has to be taken; 0: nothing is due */
};

struct attach {
  bool framed;
  bool stdin_once; /* the first client whose input ends takes the container's standard input along */
  bool stdin_ending;
  int stdin_fd;    /* the container's, non-blocking, ours; -1: what comes for it is forgotten */
  bool collecting; /* pieces are put one after the other: nobody waits for the clients any more */
  size_t count;
  size_t input_start, input_size;
  size_t size, capacity;
  char *data; /* the piece: `own`, or while collecting, memory of its own */
  struct attach_client clients[ATTACH_CLIENTS];
  char input[ATTACH_INPUT_BYTES];
  char own[ATTACH_FRAME_HEADER + LOG_LINE_MAX];
};

/* stdin_fd becomes the attachment's; with a terminal it is a copy of the master side. */
void attach_init(struct attach *attach, bool terminal, bool stdin_once, int stdin_fd);

/* The descriptor, a stream socket, becomes the attachment's if this succeeds. */
int attach_add(struct attach *attach, int fd, bool input, bool output, struct shoal_error *err);

/* A piece for one client alone, which has just been added; what its socket does not take is forgotten. */
void attach_replay(struct attach *attach, int stream, const char *data, size_t size);

/* A piece for all; at most LOG_LINE_MAX bytes. Not to be called while attach_busy, unless collecting. */
void attach_output(struct attach *attach, int stream, const char *data, size_t size);

/* Some client has not taken the piece yet: nothing shall be read from the container. */
bool attach_busy(const struct attach *attach);

/* Fills entries, which has room for ATTACH_POLLS; returns how many. attach_handle then looks at their revents; no
 * client may be added in between. */
size_t attach_poll(struct attach *attach, struct pollfd *entries);
void attach_handle(struct attach *attach, const struct pollfd *entries);

/* For poll(2): until the first deadline; -1: none. */
int attach_timeout_ms(const struct attach *attach);

/* From now on attach_output never waits, for up to ATTACH_REST_BYTES, frames included; what is beyond is forgotten. */
void attach_collect(struct attach *attach);

/* Sends what is left, for at most ATTACH_END_MS, and closes everything. */
void attach_finish(struct attach *attach);

#endif

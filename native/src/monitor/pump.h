/* Copies from one descriptor to another without ever blocking. A reader that has gone does not stop its writer: what
 * comes for it is read and forgotten. Knows nothing of what it copies. */
#ifndef SHOAL_MONITOR_PUMP_H
#define SHOAL_MONITOR_PUMP_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#define PUMP_BYTES 32768
#define PUMP_POLLS 2

/* Both descriptors are the pump's, and non-blocking. */
struct pump {
  int from;    /* -1: at its end */
  int to;      /* -1: nobody takes it */
  bool last;   /* what there is now is all that shall be copied */
  size_t left; /* of that, at most */
  size_t start, size;
  char data[PUMP_BYTES];
};

void pump_init(struct pump *pump, int from, int to);

/* What to wait for. Nothing when the pump is done. */
void pump_poll(const struct pump *pump, struct pollfd entries[PUMP_POLLS]);

/* Copies what can be copied now. At the source's end, once all of it is written, both descriptors are closed. */
void pump_run(struct pump *pump);

/* From now on the pump ends with what is there already, whoever still holds the source open. */
void pump_finish(struct pump *pump);

/* Nothing is left to copy, and nothing will come. */
bool pump_done(const struct pump *pump);

#endif

/* The control socket. A client sends one line and gets one line:
 *   start    "ok" when the command runs; "error <errno> <step>\t<detail>" when it could not be run
 *   kill N   "ok", or "error 3 ..." when the init is gone
 *   state    the state as JSON
 *   wait     the state as JSON, once the container has stopped
 *   resize ROWS COLUMNS    "ok", or "error 25 ..." when there is no terminal
 *   attach [stdin] [output [replay]]    "ok NUMBER BYTES", the log's newest file and its size; from then on the
 * connection is one of attach.h: nothing may follow the line before that answer. replay: what of a line is not in the
 * log yet comes first. A connection that ends without a line means that the monitor ended: the state file then has the
 * last word. */
#ifndef SHOAL_MONITOR_CONTROL_H
#define SHOAL_MONITOR_CONTROL_H

#include <poll.h>

#include "monitor/monitor.h"

#define CONTROL_CLIENTS 24
#define CONTROL_LINE_MAX 64

struct control_client {
  int fd; /* -1: free */
  bool waits_for_start;
  bool waits_for_exit;
  size_t used;
  char line[CONTROL_LINE_MAX];
};

/* What the commands do. context is the handlers' own. */
struct control_handlers {
  int (*start)(void *context, struct shoal_error *err); /* 0: the answer follows through control_answer_start */
  int (*kill)(void *context, int signal, struct shoal_error *err);
  size_t (*state)(void *context, char out[STATE_TEXT_MAX]);
  int (*resize)(void *context, unsigned int rows, unsigned int columns, struct shoal_error *err);
  /* 0: the descriptor is the handler's; `answer` is sent before anything else. */
  int (*attach)(void *context, int fd, bool input, bool output, char answer[CONTROL_LINE_MAX], struct shoal_error *err);
  /* After the answer. */
  void (*replay)(void *context);
  void *context;
};

struct control {
  int listen_fd;
  struct control_handlers handlers;
  struct control_client clients[CONTROL_CLIENTS];
};

void control_init(struct control *control, int listen_fd, struct control_handlers handlers);

/* Fills 1 + CONTROL_CLIENTS entries; control_handle then looks at their revents. */
void control_poll(const struct control *control, struct pollfd *entries);
void control_handle(struct control *control, const struct pollfd *entries);

/* error NULL: started. */
void control_answer_start(struct control *control, const struct shoal_error *error);

/* The container has stopped: answers who waits and closes all. */
void control_finish(struct control *control);

#endif

#include "monitor/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor/terminal.h"

void control_init(struct control *control, int listen_fd, struct control_handlers handlers) {
  control->listen_fd = listen_fd;
  control->handlers = handlers;
  for (size_t i = 0; i < CONTROL_CLIENTS; i++)
    control->clients[i].fd = -1;
}

/* Answers are far smaller than a socket's buffer, so a client that does not read cannot hold us up. */
static void answer(const struct control_client *client, const char *text, size_t size) {
  (void)send(client->fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void answer_error(const struct control_client *client, const struct shoal_error *error) {
  char text[256];
  int n = snprintf(text, sizeof text, "error %d %s\t%s\n", error->code, error->step, error->detail);
  answer(client, text, (size_t)n);
}

static void answer_state(const struct control *control, const struct control_client *client) {
  char text[STATE_TEXT_MAX];
  answer(client, text, control->handlers.state(control->handlers.context, text));
}

static void forget(struct control_client *client) {
  memset(client, 0, sizeof *client);
  client->fd = -1;
}

static void drop(struct control_client *client) {
  close(client->fd);
  forget(client);
}

static void answer_done(const struct control_client *client, int rc, const struct shoal_error *error) {
  if (rc == 0) {
    answer(client, "ok\n", 3);
  } else {
    answer_error(client, error);
  }
}

/* The words after "attach". With the answer the connection is no longer ours. */
static void attach(struct control *control, struct control_client *client, const char *words) {
  const struct control_handlers *handlers = &control->handlers;
  struct shoal_error error = {0};
  char text[CONTROL_LINE_MAX];
  bool input = strstr(words, " stdin") != NULL, output = strstr(words, " output") != NULL;
  bool replay = strstr(words, " replay") != NULL;
  if (handlers->attach(handlers->context, client->fd, input, output, text, &error) < 0) {
    answer_error(client, &error);
    return;
  }
  answer(client, text, strlen(text));
  if (replay) handlers->replay(handlers->context);
  forget(client);
}

static void run_line(struct control *control, struct control_client *client, const char *line) {
  struct shoal_error error = {0};
  const struct control_handlers *handlers = &control->handlers;
  void *context = handlers->context;
  unsigned int rows, columns;
  if (strcmp(line, "state") == 0) {
    answer_state(control, client);
  } else if (strcmp(line, "wait") == 0) {
    client->waits_for_exit = true;
  } else if (strcmp(line, "start") == 0) {
    client->waits_for_start = handlers->start(context, &error) == 0;
    if (!client->waits_for_start) answer_error(client, &error);
  } else if (strncmp(line, "kill ", 5) == 0) {
    answer_done(client, handlers->kill(context, atoi(line + 5), &error), &error);
  } else if (strncmp(line, "resize ", 7) == 0 && terminal_parse_size(line + 7, &rows, &columns)) {
    answer_done(client, handlers->resize(context, rows, columns, &error), &error);
  } else if (strncmp(line, "attach", 6) == 0 && (line[6] == ' ' || line[6] == '\0')) {
    attach(control, client, line + 6);
  } else {
    (void)shoal_fail(&error, EINVAL, "control", "unknown command");
    answer_error(client, &error);
  }
}

static void read_client(struct control *control, struct control_client *client) {
  ssize_t n = recv(client->fd, client->line + client->used, sizeof client->line - client->used, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    drop(client);
    return;
  }
  client->used += (size_t)n;
  char *newline;
  while ((newline = memchr(client->line, '\n', client->used)) != NULL) {
    size_t size = (size_t)(newline - client->line) + 1;
    *newline = '\0';
    run_line(control, client, client->line);
    if (client->fd < 0) return;
    client->used -= size;
    memmove(client->line, client->line + size, client->used);
  }
  if (client->used == sizeof client->line) drop(client);
}

static struct control_client *free_client(struct control *control) {
  for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
    if (control->clients[i].fd < 0) return &control->clients[i];
  }
  return NULL;
}

void control_poll(const struct control *control, struct pollfd *entries) {
  bool room = false;
  for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
    entries[1 + i] = (struct pollfd){.fd = control->clients[i].fd, .events = POLLIN};
    room = room || control->clients[i].fd < 0;
  }
  /* Who finds no room waits in the socket's backlog. */
  entries[0] = (struct pollfd){.fd = room ? control->listen_fd : -1, .events = POLLIN};
}

void control_handle(struct control *control, const struct pollfd *entries) {
  for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
    if (entries[1 + i].revents != 0 && control->clients[i].fd >= 0) read_client(control, &control->clients[i]);
  }
  struct control_client *client = free_client(control);
  if (entries[0].revents == 0 || client == NULL) return;
  int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) return;
  client->fd = fd;
  read_client(control, client);
}

void control_answer_start(struct control *control, const struct shoal_error *error) {
  for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
    struct control_client *client = &control->clients[i];
    if (client->fd < 0 || !client->waits_for_start) continue;
    client->waits_for_start = false;
    if (error == NULL) {
      answer(client, "ok\n", 3);
    } else {
      answer_error(client, error);
    }
  }
}

void control_finish(struct control *control) {
  for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
    if (control->clients[i].fd < 0) continue;
    if (control->clients[i].waits_for_exit) answer_state(control, &control->clients[i]);
    drop(&control->clients[i]);
  }
  close(control->listen_fd);
}

#include "monitor/attach.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void attach_init(struct attach *attach, bool terminal, bool stdin_once, int stdin_fd) {
  attach->framed = !terminal;
  attach->stdin_once = stdin_once && !terminal;
  attach->stdin_fd = stdin_fd;
  attach->data = attach->own;
  attach->capacity = sizeof attach->own;
}

int attach_add(struct attach *attach, int fd, bool input, bool output, struct shoal_error *err) {
  if (attach->count == ATTACH_CLIENTS)
    return shoal_fail(err, EUSERS, "attach", "%d clients are attached already", ATTACH_CLIENTS);
  /* The piece that others are still taking came before this client. */
  attach->clients[attach->count++] =
      (struct attach_client){.fd = fd, .input = input, .output = output, .sent = attach->size};
  return 0;
}

static void close_stdin(struct attach *attach) {
  if (attach->stdin_fd >= 0) close(attach->stdin_fd);
  attach->stdin_fd = -1;
  attach->input_size = 0;
}

static void end_input(struct attach *attach, struct attach_client *client) {
  if (client->input && attach->stdin_once) attach->stdin_ending = true;
  client->input = false;
  if (attach->stdin_ending && attach->input_size == 0) close_stdin(attach);
}

/* The last client takes the place of the one that goes. */
static void drop(struct attach *attach, size_t i) {
  end_input(attach, &attach->clients[i]);
  close(attach->clients[i].fd);
  attach->clients[i] = attach->clients[--attach->count];
}

static size_t frame_header(const struct attach *attach, int stream, size_t size, char out[ATTACH_FRAME_HEADER]) {
  if (!attach->framed) return 0;
  memset(out, 0, ATTACH_FRAME_HEADER);
  out[0] = (char)stream;
  for (int i = 0; i < 4; i++)
    out[4 + i] = (char)(size >> (24 - 8 * i));
  return ATTACH_FRAME_HEADER;
}

static bool hears(const struct attach_client *client) { return client->output && !client->gone; }

/* Returns false when the client is gone for good. */
static bool send_piece(struct attach *attach, struct attach_client *client) {
  while (hears(client) && client->sent < attach->size) {
    ssize_t n = send(client->fd, attach->data + client->sent, attach->size - client->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return true;
    if (n < 0) return false;
    client->sent += (size_t)n;
  }
  client->sent = attach->size;
  if (!client->gone) client->deadline_ms = 0;
  return true;
}

bool attach_busy(const struct attach *attach) {
  if (attach->collecting) return false;
  for (size_t i = 0; i < attach->count; i++) {
    if (attach->clients[i].sent < attach->size) return true;
  }
  return false;
}

void attach_output(struct attach *attach, int stream, const char *data, size_t size) {
  char header[ATTACH_FRAME_HEADER];
  if (attach->count == 0 || size == 0) return;
  size_t before = frame_header(attach, stream, size, header);
  if (!attach->collecting) {
    attach->size = 0;
    for (size_t i = 0; i < attach->count; i++)
      attach->clients[i].sent = 0;
  }
  if (attach->size + before + size > attach->capacity) return;
  memcpy(attach->data + attach->size, header, before);
  memcpy(attach->data + attach->size + before, data, size);
  attach->size += before + size;
  if (attach->collecting) return;
  int64_t deadline_ms = now_ms() + ATTACH_STALL_MS;
  for (size_t i = attach->count; i-- > 0;) {
    if (hears(&attach->clients[i])) attach->clients[i].deadline_ms = deadline_ms;
    if (!send_piece(attach, &attach->clients[i])) drop(attach, i);
  }
}

void attach_replay(struct attach *attach, int stream, const char *data, size_t size) {
  char header[ATTACH_FRAME_HEADER];
  if (attach->count == 0 || size == 0) return;
  int fd = attach->clients[attach->count - 1].fd;
  size_t before = frame_header(attach, stream, size, header);
  /* The socket is empty and its buffer larger than a line. */
  (void)!send(fd, header, before, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE);
  (void)!send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void write_input(struct attach *attach) {
  while (attach->input_size > 0 && attach->stdin_fd >= 0) {
    ssize_t n = write(attach->stdin_fd, attach->input + attach->input_start, attach->input_size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0 && attach->framed) {
      close_stdin(attach);
      return;
    }
    /* A terminal that nobody has open takes nothing; somebody may open it again. */
    attach->input_start += n < 0 ? attach->input_size : (size_t)n;
    attach->input_size -= n < 0 ? attach->input_size : (size_t)n;
  }
  attach->input_size = 0;
  if (attach->stdin_ending) close_stdin(attach);
}

static bool takes_input(const struct attach *attach) { return attach->input_size == 0 && !attach->stdin_ending; }

/* Returns false at the end of what the client sends. */
static bool read_input(struct attach *attach, struct attach_client *client) {
  ssize_t n = recv(client->fd, attach->input, sizeof attach->input, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) return false;
  attach->input_start = 0;
  attach->input_size = (size_t)n;
  write_input(attach);
  return true;
}

size_t attach_poll(struct attach *attach, struct pollfd *entries) {
  entries[0] = (struct pollfd){.fd = attach->input_size > 0 ? attach->stdin_fd : -1, .events = POLLOUT};
  for (size_t i = 0; i < attach->count; i++) {
    const struct attach_client *client = &attach->clients[i];
    short events = 0;
    if (client->input && (takes_input(attach) || attach->stdin_fd < 0)) events |= POLLIN;
    if (hears(client) && client->sent < attach->size) events |= POLLOUT;
    /* What has hung up would say so again and again. */
    entries[1 + i] = (struct pollfd){.fd = client->gone && events == 0 ? -1 : client->fd, .events = events};
  }
  return 1 + attach->count;
}

/* Returns false when the client is to be dropped. */
static bool handle_client(struct attach *attach, struct attach_client *client, const struct pollfd *entry) {
  bool may_read = takes_input(attach) || attach->stdin_fd < 0;
  bool hung_up = (entry->revents & (POLLHUP | POLLERR)) != 0;
  if ((entry->revents & POLLOUT) != 0 && !hung_up && !send_piece(attach, client)) return false;
  if (client->input && may_read && entry->revents != 0 && !read_input(attach, client)) end_input(attach, client);
  if (!hung_up) return true;
  if (!client->input) return false;
  if (!client->gone) client->deadline_ms = now_ms() + ATTACH_STALL_MS;
  client->gone = true;
  client->sent = attach->size;
  return true;
}

void attach_handle(struct attach *attach, const struct pollfd *entries) {
  if (attach->count == 0 && attach->input_size == 0) return;
  if (entries[0].revents != 0) write_input(attach);
  int64_t now = now_ms();
  for (size_t i = attach->count; i-- > 0;) {
    struct attach_client *client = &attach->clients[i];
    bool late = client->deadline_ms != 0 && now >= client->deadline_ms;
    if (late || !handle_client(attach, client, &entries[1 + i])) drop(attach, i);
  }
}

int attach_timeout_ms(const struct attach *attach) {
  int64_t first = 0;
  for (size_t i = 0; i < attach->count; i++) {
    int64_t deadline_ms = attach->clients[i].deadline_ms;
    if (deadline_ms != 0 && (first == 0 || deadline_ms < first)) first = deadline_ms;
  }
  if (first == 0) return -1;
  int64_t left = first - now_ms();
  return left < 0 ? 0 : (int)left;
}

void attach_collect(struct attach *attach) {
  attach->collecting = true;
  if (attach->count == 0) return;
  /* Only what is written to is really there. -1 is what MAP_ANONYMOUS wants. */
  /* cppcheck-suppress invalidFunctionArg */
  char *bigger = mmap(NULL, ATTACH_REST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (bigger == MAP_FAILED) return;
  memcpy(bigger, attach->data, attach->size);
  attach->data = bigger;
  attach->capacity = ATTACH_REST_BYTES;
}

void attach_finish(struct attach *attach) {
  int64_t deadline_ms = now_ms() + ATTACH_END_MS;
  attach->collecting = false;
  close_stdin(attach);
  for (;;) {
    struct pollfd entries[ATTACH_CLIENTS];
    for (size_t i = attach->count; i-- > 0;) {
      struct attach_client *client = &attach->clients[i];
      if (!send_piece(attach, client) || client->sent == attach->size) drop(attach, i);
    }
    int64_t left = deadline_ms - now_ms();
    if (attach->count == 0 || left <= 0) break;
    for (size_t i = 0; i < attach->count; i++)
      entries[i] = (struct pollfd){.fd = attach->clients[i].fd, .events = POLLOUT};
    (void)poll(entries, attach->count, (int)left);
  }
  while (attach->count > 0)
    drop(attach, 0);
  if (attach->data != attach->own) (void)munmap(attach->data, ATTACH_REST_BYTES);
  attach->data = attach->own;
}

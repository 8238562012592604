#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "monitor/attach.c"

static struct attach attach;

/* A client's own end. */
static int client(bool input, bool output) {
  int fds[2];
  struct shoal_error err;
  CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  CHECK_INT(attach_add(&attach, fds[0], input, output, &err), 0);
  return fds[1];
}

static void turn(void) {
  for (;;) {
    struct pollfd entries[ATTACH_POLLS];
    size_t count = attach_poll(&attach, entries);
    if (poll(entries, count, 0) <= 0) return;
    attach_handle(&attach, entries);
  }
}

static void expect(int fd, const char *wanted, size_t size) {
  char got[256];
  CHECK_INT(recv(fd, got, sizeof got, 0), size);
  CHECK(memcmp(got, wanted, size) == 0);
}

static bool at_end(int fd) {
  char byte;
  return recv(fd, &byte, 1, 0) == 0;
}

static size_t take_all(int fd) {
  static char buffer[65536];
  size_t size = 0;
  for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;)
    size += (size_t)n;
  return size;
}

static void begin(bool terminal, bool once, int stdin_fd) {
  memset(&attach, 0, sizeof attach);
  attach_init(&attach, terminal, once, stdin_fd);
}

static void finish(void) { attach_finish(&attach); }

static void output_is_framed_for_each(void) {
  begin(false, false, -1);
  int first = client(false, true), second = client(false, true), writer = client(true, false);
  attach_output(&attach, 1, "out\n", 4);
  attach_output(&attach, 2, "err\n", 4);
  CHECK(!attach_busy(&attach));
  CHECK_INT(attach_timeout_ms(&attach), -1);
  for (int i = 0; i < 2; i++)
    expect(i == 0 ? first : second, "\1\0\0\0\0\0\0\4out\n\2\0\0\0\0\0\0\4err\n", 24);
  finish();
  CHECK(at_end(first) && at_end(second) && at_end(writer));
  close(first);
  close(second);
  close(writer);
}

static void a_terminal_has_no_frames(void) {
  begin(true, false, -1);
  int fd = client(false, true);
  attach_output(&attach, 1, "a", 1);
  int late = client(false, true);
  attach_replay(&attach, 1, "$ ", 2);
  attach_output(&attach, 1, "b", 1);
  expect(fd, "ab", 2);
  expect(late, "$ b", 3);
  finish();
  close(fd);
  close(late);
}

static size_t fill(int fd) {
  static char piece[LOG_LINE_MAX];
  size_t size = 0;
  while (!attach_busy(&attach)) {
    attach_output(&attach, 1, piece, sizeof piece);
    size += sizeof piece + ATTACH_FRAME_HEADER;
  }
  (void)fd;
  return size;
}

static void a_slow_client_holds_back_the_next_piece(void) {
  begin(false, false, -1);
  int slow = client(false, true), fast = client(false, true);
  size_t size = fill(slow);
  int timeout_ms = attach_timeout_ms(&attach);
  CHECK(timeout_ms > 0 && timeout_ms <= ATTACH_STALL_MS);
  size_t got = take_all(fast);
  turn();
  got += take_all(fast);
  CHECK_INT(got, size);
  CHECK(attach_busy(&attach));
  got = take_all(slow);
  turn();
  CHECK(!attach_busy(&attach));
  CHECK_INT(attach_timeout_ms(&attach), -1);
  CHECK_INT(got + take_all(slow), size);
  finish();
  close(slow);
  close(fast);
}

static void who_takes_nothing_is_dropped(void) {
  begin(false, false, -1);
  struct pollfd entries[ATTACH_POLLS];
  int stuck = client(false, true);
  (void)fill(stuck);
  /* As if the time had passed. */
  attach.clients[0].deadline_ms = now_ms() - 1;
  CHECK_INT(attach_timeout_ms(&attach), 0);
  size_t count = attach_poll(&attach, entries);
  (void)poll(entries, count, 0);
  attach_handle(&attach, entries);
  CHECK_INT(attach.count, 0);
  CHECK(!attach_busy(&attach));
  (void)take_all(stuck);
  CHECK(at_end(stuck));
  close(stuck);
}

static void who_leaves_is_forgotten(void) {
  begin(false, false, -1);
  int fds[8];
  for (int i = 0; i < 8; i++)
    fds[i] = client(i % 2 == 0, i % 3 != 0);
  for (int i = 0; i < 8; i += 2)
    close(fds[i]);
  turn();
  CHECK_INT(attach.count, 4);
  for (int i = 1; i < 8; i += 2)
    close(fds[i]);
  attach_output(&attach, 1, "x", 1);
  turn();
  CHECK_INT(attach.count, 0);
  finish();
}

static void input_goes_through(void) {
  int pipe_fds[2];
  CHECK_INT(pipe2(pipe_fds, O_NONBLOCK), 0);
  begin(false, false, pipe_fds[1]);
  int first = client(true, false), second = client(true, true);
  CHECK_INT(send(first, "one ", 4, 0), 4);
  turn();
  CHECK_INT(send(second, "two", 3, 0), 3);
  close(first);
  turn();
  char got[16];
  CHECK_INT(read(pipe_fds[0], got, sizeof got), 7);
  CHECK(memcmp(got, "one two", 7) == 0);
  /* It outlives who writes, and one that only ends its input stays for the output. */
  CHECK_INT(shutdown(second, SHUT_WR), 0);
  turn();
  CHECK_INT(attach.count, 1);
  CHECK(read(pipe_fds[0], got, sizeof got) < 0);
  attach_output(&attach, 1, "x", 1);
  expect(second, "\1\0\0\0\0\0\0\1x", 9);
  finish();
  CHECK_INT(read(pipe_fds[0], got, sizeof got), 0);
  close(second);
  close(pipe_fds[0]);
}

static void input_waits_for_the_container(void) {
  static char block[65536], got[65536];
  int pipe_fds[2];
  CHECK_INT(pipe2(pipe_fds, O_NONBLOCK), 0);
  begin(false, true, pipe_fds[1]);
  int fd = client(true, false);
  size_t sent = 0, seen = 0;
  for (ssize_t n; (n = send(fd, block, sizeof block, 0)) > 0;) {
    sent += (size_t)n;
    turn();
  }
  CHECK(sent > sizeof block);
  /* What it wrote is not lost when it goes, and then ends the container's input: stdin_once. */
  close(fd);
  for (;;) {
    turn();
    ssize_t n = read(pipe_fds[0], got, sizeof got);
    if (n == 0) break;
    if (n > 0) seen += (size_t)n;
  }
  CHECK_INT(seen, sent);
  CHECK_INT(attach.count, 0);
  CHECK_INT(attach.stdin_fd, -1);
  finish();
  close(pipe_fds[0]);
}

static void a_gone_writer_is_not_waited_for_for_ever(void) {
  static char block[65536];
  int pipe_fds[2];
  struct pollfd entries[ATTACH_POLLS];
  CHECK_INT(pipe2(pipe_fds, O_NONBLOCK), 0);
  begin(false, false, pipe_fds[1]);
  int fd = client(true, true);
  while (send(fd, block, sizeof block, 0) > 0)
    turn();
  close(fd);
  turn();
  CHECK_INT(attach.count, 1);
  CHECK(attach.clients[0].gone);
  /* It takes no part in the output. */
  attach_output(&attach, 1, "x", 1);
  CHECK(!attach_busy(&attach));
  CHECK(attach_timeout_ms(&attach) > 0);
  attach.clients[0].deadline_ms = now_ms() - 1;
  size_t count = attach_poll(&attach, entries);
  (void)poll(entries, count, 0);
  attach_handle(&attach, entries);
  CHECK_INT(attach.count, 0);
  finish();
  close(pipe_fds[0]);
}

static void a_container_that_reads_no_more_stops_nobody(void) {
  int pipe_fds[2];
  CHECK_INT(pipe2(pipe_fds, O_NONBLOCK), 0);
  begin(false, false, pipe_fds[1]);
  int fd = client(true, true);
  close(pipe_fds[0]);
  for (int i = 0; i < 100; i++) {
    CHECK_INT(send(fd, "nobody reads this", 17, 0), 17);
    turn();
  }
  CHECK_INT(attach.stdin_fd, -1);
  CHECK_INT(attach.count, 1);
  finish();
  close(fd);
}

static void the_rest_is_collected_at_the_end(void) {
  static char piece[LOG_LINE_MAX];
  begin(false, false, -1);
  int slow = client(false, true);
  size_t size = fill(slow);
  attach_collect(&attach);
  for (int i = 0; i < 20; i++)
    attach_output(&attach, 2, piece, sizeof piece);
  size += 20 * (sizeof piece + ATTACH_FRAME_HEADER);
  CHECK(!attach_busy(&attach));
  if (fork() == 0) {
    /* A reader for the time of attach_finish; its end is the answer. */
    struct pollfd readable = {.fd = slow, .events = POLLIN};
    size_t got = 0;
    while (attach.count > 0)
      close(attach.clients[--attach.count].fd);
    while (poll(&readable, 1, -1) > 0) {
      size_t n = take_all(slow);
      got += n;
      if (n == 0) break;
    }
    _exit(got == size ? 7 : 1);
  }
  close(slow);
  finish();
  int status = 0;
  CHECK(wait(&status) > 0);
  CHECK_INT(WEXITSTATUS(status), 7);
}

static void there_are_limits(void) {
  struct shoal_error err;
  int fds[ATTACH_CLIENTS];
  begin(false, false, -1);
  for (size_t i = 0; i < ATTACH_CLIENTS; i++)
    fds[i] = client(false, true);
  CHECK_INT(attach_add(&attach, 0, false, true, &err), -EUSERS);
  attach_output(&attach, 1, "x", 1);
  for (size_t i = 0; i < ATTACH_CLIENTS; i++) {
    expect(fds[i], "\1\0\0\0\0\0\0\1x", 9);
    close(fds[i]);
  }
  turn();
  CHECK_INT(attach.count, 0);
  finish();
}

int main(void) {
  (void)signal(SIGPIPE, SIG_IGN);
  output_is_framed_for_each();
  a_terminal_has_no_frames();
  a_slow_client_holds_back_the_next_piece();
  who_takes_nothing_is_dropped();
  who_leaves_is_forgotten();
  input_goes_through();
  input_waits_for_the_container();
  a_gone_writer_is_not_waited_for_for_ever();
  a_container_that_reads_no_more_stops_nobody();
  the_rest_is_collected_at_the_end();
  there_are_limits();
  return 0;
}

#include <fcntl.h>
#include <signal.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"
#include "monitor/control.c"
#include "monitor/sys.c"
#include "monitor/terminal.c"
#include "run-dir.h"
#include "shoal-container.h"

static int starts, last_signal;

static int on_start(void *context, struct shoal_error *err) {
  (void)context;
  return starts++ == 0 ? 0 : shoal_fail(err, EALREADY, "start", "before");
}

static int on_kill(void *context, int signal, struct shoal_error *err) {
  (void)context;
  last_signal = signal;
  return signal == 64 ? shoal_fail(err, ESRCH, "kill", "gone") : 0;
}

static size_t on_state(void *context, char out[STATE_TEXT_MAX]) {
  (void)context;
  return (size_t)snprintf(out, STATE_TEXT_MAX, "{}\n");
}

static int on_resize(void *context, unsigned int rows, unsigned int columns, struct shoal_error *err) {
  (void)context;
  return rows == 24 && columns == 80 ? 0 : shoal_fail(err, ENOTTY, "resize", "none");
}

static int attached_fd = -1;
static bool attached_input, attached_output, replayed;

static int on_attach(void *context, int fd, bool input, bool output, char answer[CONTROL_LINE_MAX],
                     struct shoal_error *err) {
  (void)context;
  if (attached_fd >= 0) return shoal_fail(err, EUSERS, "attach", "full");
  attached_fd = fd;
  attached_input = input;
  attached_output = output;
  (void)strcpy(answer, "ok 42\n");
  return 0;
}

static void on_replay(void *context) {
  (void)context;
  replayed = send(attached_fd, "part", 4, 0) == 4;
}

static struct control control;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static void turn(void) {
  struct pollfd entries[1 + CONTROL_CLIENTS];
  for (;;) {
    control_poll(&control, entries);
    if (poll(entries, 1 + CONTROL_CLIENTS, 0) <= 0) return;
    control_handle(&control, entries);
  }
}

static int client(void) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  CHECK(fd >= 0);
  CHECK_INT(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
  return fd;
}

static void say(int fd, const char *text) {
  CHECK_INT(send(fd, text, strlen(text), 0), strlen(text));
  turn();
}

static const char *hear(int fd) {
  static char text[1024];
  ssize_t n = recv(fd, text, sizeof text - 1, 0);
  text[n > 0 ? n : 0] = '\0';
  return n < 0 ? "(nothing yet)" : n == 0 ? "(closed)" : text;
}

static void commands_are_answered(void) {
  int fd = client();
  say(fd, "state\n");
  CHECK_STR(hear(fd), "{}\n");
  say(fd, "kill 15\n");
  CHECK_STR(hear(fd), "ok\n");
  CHECK_INT(last_signal, 15);
  say(fd, "kill 64\n");
  CHECK_STR(hear(fd), "error 3 kill\tgone\n");
  say(fd, "nonsense\n");
  CHECK_STR(hear(fd), "error 22 control\tunknown command\n");
  say(fd, "sta");
  CHECK_STR(hear(fd), "(nothing yet)");
  say(fd, "te\nstate\n");
  CHECK_STR(hear(fd), "{}\n{}\n");
  close(fd);
  turn();
}

static void an_attached_connection_is_handed_over(void) {
  int fd = client(), other = client();
  say(other, "resize 24 80\n");
  CHECK_STR(hear(other), "ok\n");
  for (size_t i = 0; i < 5; i++) {
    static const char *const bad[] = {"resize 24\n", "resize 24 \n", "resize -1 80\n", "resize 24 80x\n",
                                      "resize 99999 80\n"};
    say(other, bad[i]);
    CHECK_STR(hear(other), "error 22 control\tunknown command\n");
  }
  say(other, "resize 1 1\n");
  CHECK_STR(hear(other), "error 25 resize\tnone\n");
  say(fd, "attach output replay\n");
  CHECK_STR(hear(fd), "ok 42\npart");
  CHECK(replayed && attached_output && !attached_input);
  /* It is no longer the control's: nothing answers. */
  say(fd, "state\n");
  CHECK_STR(hear(fd), "(nothing yet)");
  say(other, "attach stdin\n");
  CHECK_STR(hear(other), "error 87 attach\tfull\n");
  say(other, "attachment\n");
  CHECK_STR(hear(other), "error 22 control\tunknown command\n");
  close(attached_fd);
  close(fd);
  close(other);
  turn();
}

static void start_is_answered_later(void) {
  int first = client(), second = client();
  say(first, "start\n");
  CHECK_STR(hear(first), "(nothing yet)");
  say(second, "start\n");
  CHECK_STR(hear(second), "error 114 start\tbefore\n");
  control_answer_start(&control, NULL);
  CHECK_STR(hear(first), "ok\n");
  close(first);
  close(second);
  turn();
}

static void an_endless_line_is_cut_off(void) {
  char garbage[CONTROL_LINE_MAX + 1];
  int fd = client();
  memset(garbage, 'x', sizeof garbage - 1);
  garbage[sizeof garbage - 1] = '\0';
  say(fd, garbage);
  CHECK_STR(hear(fd), "(closed)");
  close(fd);
}

static void who_finds_no_room_waits(void) {
  int fds[CONTROL_CLIENTS + 1];
  for (size_t i = 0; i <= CONTROL_CLIENTS; i++)
    fds[i] = client();
  for (size_t i = 0; i <= CONTROL_CLIENTS; i++)
    say(fds[i], "wait\n");
  say(fds[CONTROL_CLIENTS], "state\n");
  CHECK_STR(hear(fds[CONTROL_CLIENTS]), "(nothing yet)");
  close(fds[0]);
  turn();
  CHECK_STR(hear(fds[CONTROL_CLIENTS]), "{}\n");
  control_finish(&control);
  for (size_t i = 1; i <= CONTROL_CLIENTS; i++) {
    CHECK_STR(hear(fds[i]), "{}\n");
    CHECK_STR(hear(fds[i]), "(closed)");
    close(fds[i]);
  }
}

static void on_signal(int signal) { (void)signal; }

/* Answers the state twice, the first time late, with signals before. */
static _Noreturn void slow_monitor(int listen_fd, pid_t asker) {
  const struct timespec pause = {.tv_sec = 0, .tv_nsec = 20000000L};
  char text[64], line[16];
  int n = snprintf(text, sizeof text, "{\"status\":\"running\",\"pid\":%d}\n", (int)asker);
  for (int i = 0; i < 2; i++) {
    int fd = accept(listen_fd, NULL, NULL);
    CHECK(recv(fd, line, sizeof line, 0) > 0);
    for (int k = 0; k < 5; k++) {
      (void)nanosleep(&pause, NULL);
      (void)kill(asker, SIGUSR1);
    }
    CHECK_INT(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
    close(fd);
  }
  _exit(0);
}

/* The library's side. A request without a process is as far as it gets: the container has been found to run. */
static void a_signal_does_not_end_a_call(void) {
  const struct sigaction action = {.sa_handler = on_signal};
  char directory[] = "/tmp/shoal-control-XXXXXX", request[128];
  struct shoal_error error = {0};
  int status;
  CHECK(mkdtemp(directory) != NULL);
  int dir_fd = run_dir_open(directory, &error), listen_fd = run_dir_bind(dir_fd, &error);
  CHECK(listen_fd >= 0);
  CHECK_INT(fcntl(listen_fd, F_SETFL, 0), 0);
  CHECK_INT(listen(listen_fd, 4), 0);
  CHECK_INT(sigaction(SIGUSR1, &action, NULL), 0);
  pid_t asker = getpid(), pid = fork();
  if (pid == 0) slow_monitor(listen_fd, asker);
  (void)snprintf(request, sizeof request, "{\"runDir\":\"%s\"}", directory);
  CHECK_INT(shoal_container_exec(request, NULL, &error), -EINVAL);
  CHECK_STR(error.detail, "process: missing");
  while (waitpid(pid, &status, 0) < 0)
    CHECK_INT(errno, EINTR);
  CHECK_INT(status, 0);
  CHECK_INT(run_dir_clear(dir_fd, directory, &error), 0);
  close(dir_fd);
  close(listen_fd);
}

int main(void) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  (void)snprintf(address.sun_path, sizeof address.sun_path, "/tmp/shoal-control-%d", (int)getpid());
  CHECK_INT(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
  CHECK_INT(listen(fd, 64), 0);
  control_init(&control, fd,
               (struct control_handlers){.start = on_start,
                                         .kill = on_kill,
                                         .state = on_state,
                                         .resize = on_resize,
                                         .attach = on_attach,
                                         .replay = on_replay,
                                         .context = NULL});
  commands_are_answered();
  an_attached_connection_is_handed_over();
  start_is_answered_later();
  an_endless_line_is_cut_off();
  who_finds_no_room_waits();
  a_signal_does_not_end_a_call();
  (void)unlink(address.sun_path);
  return 0;
}

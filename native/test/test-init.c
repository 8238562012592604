/* shoal-init as it is built, run as a child: it is no process 1 here, but a subreaper. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static char program[512];

/* Its standard output is out_fd, its standard error goes nowhere. */
static pid_t start(const char *const args[], int out_fd) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid != 0) return pid;
  const char *argv[16] = {program, "--"};
  for (size_t i = 0; args[i] != NULL; i++)
    argv[2 + i] = args[i];
  int null_fd = open("/dev/null", O_RDWR);
  (void)dup2(null_fd, 0);
  (void)dup2(out_fd >= 0 ? out_fd : null_fd, 1);
  (void)dup2(null_fd, 2);
  (void)execv(program, (char *const *)(uintptr_t)argv);
  _exit(99);
}

static int end_of(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    CHECK_INT(errno, EINTR);
  CHECK(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static int run(const char *const args[]) { return end_of(start(args, -1)); }

static void the_end_is_the_commands(void) {
  CHECK_INT(run((const char *const[]){"true", NULL}), 0);
  CHECK_INT(run((const char *const[]){"sh", "-c", "exit 7", NULL}), 7);
  CHECK_INT(run((const char *const[]){"sh", "-c", "kill -9 $$", NULL}), 137);
  CHECK_INT(run((const char *const[]){"/no/such/command", NULL}), 127);
  CHECK_INT(run((const char *const[]){"/", NULL}), 126);
}

/* The child says on the pipe when its traps are set. */
static void signals_are_passed_on(void) {
  static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGQUIT};
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
    char script[128], byte;
    int fds[2];
    CHECK_INT(pipe2(fds, O_CLOEXEC), 0);
    (void)snprintf(script, sizeof script, "trap 'exit %d' %d; echo; while true; do sleep 0.01; done", 40 + signals[i],
                   signals[i]);
    pid_t pid = start((const char *const[]){"sh", "-c", script, NULL}, fds[1]);
    close(fds[1]);
    CHECK_INT(read(fds[0], &byte, 1), 1);
    CHECK_INT(kill(pid, signals[i]), 0);
    CHECK_INT(end_of(pid), 40 + signals[i]);
    close(fds[0]);
  }
}

/* The command's child is an orphan at once, and a zombie soon, unless somebody reaps it: /proc has it no longer then.
 */
static void orphans_are_reaped(void) {
  static const char *const script = "pid=$(sh -c 'sh -c \"echo \\$\\$; exec sleep 0.05\" >&3 & ' 3>&1 >/dev/null);"
                                    "for i in $(seq 1 1000); do [ -e /proc/$pid ] || exit 5; sleep 0.01; done; exit 6";
  CHECK_INT(run((const char *const[]){"sh", "-c", script, NULL}), 5);
}

/* What was blocked or ignored for us is so for the command; what the init blocks for itself is not. */
static void the_command_has_its_own_signals(void) {
  CHECK_INT(run((const char *const[]){"sh", "-c", "grep -q '^SigBlk:.0*$' /proc/self/status", NULL}), 0);
}

static void it_says_how_it_is_used(void) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    (void)!freopen("/dev/null", "w", stderr);
    (void)execl(program, program, "true", (char *)NULL);
    _exit(99);
  }
  CHECK_INT(end_of(pid), 2);
}

int main(int argc, char *argv[]) {
  /* test/vm runs the tests in a directory of their own, with the monitor's path as the argument. */
  const char *base = strrchr(argv[0], '/');
  size_t size = base == NULL ? 0 : (size_t)(base - argv[0]);
  (void)argc;
  (void)snprintf(program, sizeof program, "%.*s/../shoal-init", (int)size, argv[0]);
  if (access(program, X_OK) < 0) (void)snprintf(program, sizeof program, "%.*s/shoal-init", (int)size, argv[0]);
  /* A shell does not trap what was ignored when it began, as in a job that runs in the background. */
  CHECK(signal(SIGINT, SIG_DFL) != SIG_ERR);
  the_end_is_the_commands();
  signals_are_passed_on();
  orphans_are_reaped();
  the_command_has_its_own_signals();
  it_says_how_it_is_used();
  return 0;
}

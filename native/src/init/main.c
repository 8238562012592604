/* shoal-init: the first process of a container whose service asks for one (init: true).
 *
 *   shoal-init -- COMMAND [ARG ...]
 *
 * Runs the command, passes on to it every signal that it gets, reaps what the command leaves behind, and ends as the
 * command does: with its exit code, 128 + n after signal n, 127 when there is no such command, 126 when it cannot be
 * run. With a terminal the command's process group is the one in the foreground. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the process does to itself; blocked, it would not end it. */
static const int own_faults[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS};

static _Noreturn void run(char *argv[], const sigset_t *mask) {
  (void)setpgid(0, 0);
  /* From the background this raises SIGTTOU, which is blocked still. Without a terminal it fails, and nothing is lost.
   */
  (void)tcsetpgrp(STDIN_FILENO, getpid());
  (void)sigprocmask(SIG_SETMASK, mask, NULL);
  (void)execvp(argv[0], argv);
  int code = errno;
  (void)fprintf(stderr, "shoal-init: %s: %s\n", argv[0], strerror(code));
  _exit(code == ENOENT ? 127 : 126);
}

/* Returns true, and how the command ended, once it has; whatever else has ended is only waited for. */
static bool reap(pid_t command, int *exit_code) {
  bool ended = false;
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (pid != command) continue;
    ended = true;
    *exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  return ended;
}

int main(int argc, char *argv[]) {
  sigset_t mask, all;
  int exit_code = 0;
  if (argc < 3 || strcmp(argv[1], "--") != 0) {
    (void)fprintf(stderr, "usage: shoal-init -- COMMAND [ARG ...]\n");
    return 2;
  }
  sigfillset(&all);
  for (size_t i = 0; i < sizeof own_faults / sizeof own_faults[0]; i++)
    sigdelset(&all, own_faults[i]);
  if (sigprocmask(SIG_SETMASK, &all, &mask) < 0) return 126;
  /* In the pid namespace of others, orphans would go to their first process. */
  if (getpid() != 1) (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  pid_t command = fork();
  if (command < 0) {
    (void)fprintf(stderr, "shoal-init: fork: %s\n", strerror(errno));
    return 126;
  }
  if (command == 0) run(argv + 2, &mask);
  for (;;) {
    int signal = sigwaitinfo(&all, NULL);
    if (signal == SIGCHLD) {
      if (reap(command, &exit_code)) return exit_code;
    } else if (signal > 0) {
      (void)kill(command, signal);
    }
  }
}

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "oci/oci.h"

static sigset_t all_signals(void) {
  sigset_t set;
  sigfillset(&set);
  return set;
}

void foreground_prepare(void) {
  sigset_t set = all_signals();
  (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  (void)sigprocmask(SIG_BLOCK, &set, NULL);
}

/* -1: it has not ended. */
static int reap(pid_t wanted) {
  int status, code = -1;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid == wanted) code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  return code;
}

int foreground_wait(pid_t pid) {
  sigset_t set = all_signals();
  for (;;) {
    int code = reap(pid), signal;
    if (code >= 0) return code;
    if (sigwait(&set, &signal) != 0 || signal == SIGCHLD) continue;
    (void)kill(pid, signal);
  }
}

/* One more process of a running container, between clone3 and its command: cgroups, namespaces, standard streams. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "monitor/monitor.h"
#include "monitor/terminal.h"

#define SYNC_FD 3
#define OTHER_NAMESPACES (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

static int take_stdio(const int stdio[3], struct shoal_error *err) {
  for (int i = 0; i < 3; i++) {
    if (stdio[i] >= 0 && dup2(stdio[i], i) < 0) return shoal_fail(err, errno, "stdio", "dup2");
  }
  return 0;
}

void exec_child(const struct plan *plan, int sync_fd, const int stdio[3]) {
  struct shoal_error error = {0};
  (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  (void)setsid();
  int rc = schedule_on(&plan->process.initial_cpus, &error);
  if (rc == 0) rc = process_join_cgroups(plan, &error);
  if (rc == 0) rc = schedule_on(&plan->process.final_cpus, &error);
  if (rc == 0) rc = process_limits(plan, 0, &error);
  if (rc == 0) rc = label_for_exec(plan, &error);
  int foreign = userns_foreign(plan->target_pid);
  if (rc == 0 && setns(MONITOR_FD_TARGET, OTHER_NAMESPACES | foreign) < 0)
    rc = shoal_fail(&error, errno, "namespace", "join");
  if (rc == 0 && (foreign & CLONE_NEWUSER) != 0) rc = userns_become_root(&error);
  bool terminal = (plan->stream_flags & PLAN_TERMINAL) != 0;
  if (rc == 0) rc = terminal ? terminal_make(plan, sync_fd, &error) : take_stdio(stdio, &error);
  if (rc == 0 && (dup3(sync_fd, SYNC_FD, O_CLOEXEC) < 0 || descriptors_close(SYNC_FD + 1, plan) < 0))
    rc = shoal_fail(&error, errno, "stdio", "dup3");
  if (rc == 0) {
    sync_fd = SYNC_FD;
    rc = process_working_directory(plan, &error);
  }
  if (rc == 0 && plan->detached) rc = process_find_command(plan, &error);
  if (rc == 0) (void)process_run(plan, &sync_fd, &error);
  report_failure(sync_fd, &error);
  process_end(error.code == ENOENT ? 127 : 126);
}

/* shoal-monitor: the process beside each container.
 *
 * The library spawns it with a plan (MONITOR_FD_PLAN); it detaches itself and clones the container's init (init.c) into
 * new namespaces. The init joins the cgroups, builds the root (filesystem.c, mounts.c) and reports that it is ready;
 * the monitor writes the state file, answers the library, and serves the control socket (control.c). "start" lets the
 * init become the container's command (process.c). From then on the monitor copies the output into the log (log.c,
 * output.c) and waits; when the init has ended, it records the exit in the state file, tells who waits, and ends.
 *
 * The exit is durable in the state file, so nobody has to collect it. If the monitor dies, the init's parent-death
 * signal kills the container. The agent may die and come back at any time: it finds the state file and the socket.
 *
 * Mode "exec" runs one more command in a container and keeps its output (exec.c); mode "session" runs one
 * that people talk to (session.c). Modes "detached" and "detached-exec" are for those who collect the exit themselves
 * (detached.c). Mode "ready" waits until there is a container to create (ready.c). */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/monitor.h"

static const struct plan *map_plan(void) {
  struct stat info;
  if (fstat(MONITOR_FD_PLAN, &info) < 0 || info.st_size < (off_t)sizeof(struct plan)) return NULL;
  const struct plan *plan = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, MONITOR_FD_PLAN, 0);
  if (plan == MAP_FAILED || plan->magic != PLAN_MAGIC || plan->size != (uint32_t)info.st_size ||
      plan->preserved > PRESERVED_MAX)
    return NULL;
  close(MONITOR_FD_PLAN);
  return plan;
}

/* Termination is asked for through the control socket; a signal meant for others must not fail a task. */
static void block_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGPIPE);
  (void)sigprocmask(SIG_BLOCK, &set, NULL);
}

static const struct plan *own_plan(void) {
  const struct plan *plan = map_plan();
  return plan == NULL || descriptors_close(MONITOR_FD_END, plan) < 0 ? NULL : plan;
}

int main(int argc, char *argv[]) {
  bool ready = argc == 2 && strcmp(argv[1], "ready") == 0;
  const struct plan *plan = ready || argc != 2 ? NULL : own_plan();
  if (ready ? ready_begin() < 0 : plan == NULL) return 2;
  pid_t pid = fork();
  if (pid != 0) _exit(pid < 0 ? 1 : 0);
  (void)prctl(PR_SET_NAME, "shoal-monitor", 0, 0, 0);
  block_signals();
  (void)umask(022);
  if (chdir("/") < 0) return 1;
  if (ready) {
    if (!ready_await()) return 0;
    plan = map_plan();
    if (plan == NULL) return 2;
    container_main(plan);
  }
  if (strcmp(argv[1], "session") == 0) session_main(plan);
  if (strcmp(argv[1], "detached") == 0) detached_container_main(plan);
  if (strcmp(argv[1], "detached-exec") == 0) detached_exec_main(plan);
  if (strcmp(argv[1], "create") == 0) container_main(plan);
  close(MONITOR_FD_STDERR);
  if (strcmp(argv[1], "exec") == 0) exec_main(plan);
  return 2;
}

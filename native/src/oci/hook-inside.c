/* createContainer: the program is the host's, and the namespaces are the container's, whose root is not pivoted yet. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci/oci.h"

static const struct {
  const char *name;
  int flag;
} namespaces[] = {{"user", CLONE_NEWUSER}, {"cgroup", CLONE_NEWCGROUP}, {"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS},
                  {"net", CLONE_NEWNET},   {"time", CLONE_NEWTIME},     {"mnt", CLONE_NEWNS}};

/* Those of the process that are not ours, the pid namespace aside. */
static int foreign(pid_t pid) {
  int flags = 0;
  for (size_t i = 0; i < sizeof namespaces / sizeof namespaces[0]; i++) {
    char path[64], own[64];
    struct stat theirs, ours;
    (void)snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, namespaces[i].name);
    (void)snprintf(own, sizeof own, "/proc/self/ns/%s", namespaces[i].name);
    if (stat(path, &theirs) == 0 && stat(own, &ours) == 0 && theirs.st_ino != ours.st_ino) flags |= namespaces[i].flag;
  }
  return flags;
}

/* Says an errno through the pipe unless the program runs. */
static _Noreturn void become(const char *path, char **args, char **env, const int fds[3], int flags) {
  sigset_t none;
  sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);
  int target = fds[0], input = fds[1], pipe_fd = fds[2], code = 0;
  if (flags != 0 && setns(target, flags) < 0) code = errno;
  if (code == 0 && (flags & CLONE_NEWUSER) != 0) {
    (void)setgroups(0, NULL);
    if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0) code = errno;
  }
  if (code == 0 && (dup2(input, 0) < 0 || dup2(2, 1) < 0 || close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)) code = errno;
  if (code == 0) {
    (void)execve(path, args, env);
    code = errno;
  }
  (void)!write(pipe_fd, &code, sizeof code);
  _exit(127);
}

int hook_spawn_inside(void *context, const cJSON *hook, int input, pid_t *pid, struct shoal_error *err) {
  const pid_t inside = *(const pid_t *)context;
  const char *path = json_member(hook, "path")->valuestring;
  char **args = hook_strings(json_member(hook, "args"), path), **env = hook_strings(json_member(hook, "env"), NULL);
  int pipe_fds[2] = {-1, -1}, code = 0;
  int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC), target = pidfd_open(inside, 0);
  if (args == NULL || env == NULL || own < 0 || target < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0) code = errno;
  /* Children are born in that pid namespace until it is put back. */
  if (code == 0 && setns(target, CLONE_NEWPID) < 0) code = errno;
  if (code == 0) {
    const int fds[3] = {target, input, pipe_fds[1]};
    *pid = fork();
    if (*pid == 0) become(path, args, env, fds, foreign(inside));
    if (*pid < 0) code = errno;
    if (setns(own, CLONE_NEWPID) < 0) code = errno;
    close(pipe_fds[1]);
    pipe_fds[1] = -1;
    int said;
    /* The end of the pipe: it runs. */
    if (code == 0 && read(pipe_fds[0], &said, sizeof said) == (ssize_t)sizeof said) code = said;
    if (code != 0 && *pid > 0) {
      (void)kill(*pid, SIGKILL);
      (void)waitpid(*pid, NULL, 0);
    }
  }
  if (own >= 0) close(own);
  if (target >= 0) close(target);
  if (pipe_fds[0] >= 0) close(pipe_fds[0]);
  if (pipe_fds[1] >= 0) close(pipe_fds[1]);
  free(args);
  free(env);
  return code == 0 ? 0 : shoal_fail(err, code, HOOK_STEP, "%s", path);
}

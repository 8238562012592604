#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "monitor/monitor.h"
#include "monitor/terminal.h"

#define CLOSE_RANGE_CLOEXEC_FLAG 4u
#define PATH_SIZE 4096

/* "0" names the writer itself, and only then the kernel moves it without stopping every fork of the host (writing a pid
 * takes cgroup_threadgroup_rwsem for writing, which costs milliseconds). */
int process_join_cgroups(const struct plan *plan, struct shoal_error *err) {
  const uint32_t *files = plan_items(plan, plan->cgroup_tasks);
  for (uint32_t i = 0; i < plan->cgroup_tasks.count; i++) {
    const char *path = plan_string(plan, files[i]);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "0", 1) < 0) return shoal_fail(err, errno, "cgroup", "join %s", path);
    close(fd);
  }
  return 0;
}

static int set_oom_score(pid_t pid, int score, struct shoal_error *err) {
  char text[16], path[40] = "/proc/self/oom_score_adj";
  int n = snprintf(text, sizeof text, "%d", score);
  if (pid != 0) (void)snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)pid);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  int rc = fd < 0 || write(fd, text, (size_t)n) < 0 ? shoal_fail(err, errno, "oom_score_adj", "%d", score) : 0;
  if (fd >= 0) close(fd);
  return rc;
}

int process_limits(const struct plan *plan, pid_t pid, struct shoal_error *err) {
  const struct plan_process *process = &plan->process;
  const struct plan_rlimit *limits = plan_items(plan, process->rlimits);
  for (uint32_t i = 0; i < process->rlimits.count; i++) {
    struct rlimit limit = {.rlim_cur = limits[i].soft, .rlim_max = limits[i].hard};
    if (prlimit(pid, (int)limits[i].resource, &limit, NULL) < 0)
      return shoal_fail(err, errno, "rlimit", "resource %u", limits[i].resource);
  }
  int rc = schedule_apply(plan, pid, err);
  if (rc < 0) return rc;
  if (process->has_oom_score_adj) return set_oom_score(pid, process->oom_score_adj, err);
  /* An agent that is protected from the OOM killer does not pass that on. Lowering would need a capability. */
  (void)set_oom_score(pid, 0, NULL);
  return 0;
}

int process_working_directory(const struct plan *plan, struct shoal_error *err) {
  char actual[PATH_SIZE];
  const char *cwd = plan_string(plan, plan->process.cwd);
  if (chdir(cwd) < 0) return shoal_fail(err, errno, "cwd", "%s", cwd);
  /* The kernel says "(unreachable)..." for a directory outside of the root, which is how a leaked descriptor
   * (/proc/self/fd/N as cwd, CVE-2024-21626) would show. The raw call: a libc may hide the prefix. */
  if (syscall(SYS_getcwd, actual, sizeof actual) < 0 || actual[0] != '/')
    return shoal_fail(err, EPERM, "cwd", "%s is outside of the container", cwd);
  return 0;
}

static int set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[2] = {
      {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
      {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)}};
  return (int)syscall(SYS_capset, &header, data);
}

/* Of the bounding set only what is held can be dropped; the loop ends at the kernel's last capability. */
static int drop_bounding(uint64_t keep, struct shoal_error *err) {
  for (int i = 0; i < 64 && prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++) {
    if ((keep & (1ull << i)) == 0 && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
      return shoal_fail(err, errno, "capabilities", "bounding %d", i);
  }
  return 0;
}

/* A session keyring of its own: the agent's is none of the container's business. Kernels without keys have none. */
static void leave_keyring(void) { (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL); }

static int become_user(const struct plan *plan, struct shoal_error *err) {
  const struct plan_process *process = &plan->process;
  const gid_t *gids = plan_items(plan, process->gids);
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) return shoal_fail(err, errno, "user", "keep capabilities");
  if (setgroups(process->gids.count, gids) < 0) return shoal_fail(err, errno, "user", "groups");
  if (setresgid(process->gid, process->gid, process->gid) < 0)
    return shoal_fail(err, errno, "user", "gid %u", process->gid);
  if (setresuid(process->uid, process->uid, process->uid) < 0)
    return shoal_fail(err, errno, "user", "uid %u", process->uid);
  (void)umask(process->umask);
  return 0;
}

/* Whoever answers for the system calls that the filter asks about gets its descriptor from the runtime. */
static int load_filter(const struct plan *plan, int sync_fd, struct shoal_error *err) {
  struct sock_fprog program = {.len = (unsigned short)plan->process.seccomp.count,
                               .filter = (struct sock_filter *)(uintptr_t)plan_items(plan, plan->process.seccomp)};
  if (program.len == 0) return 0;
  int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, plan->process.seccomp_flags, &program);
  if (listener < 0) return shoal_fail(err, errno, "seccomp", "load");
  if ((plan->process.seccomp_flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) == 0) return 0;
  /* It closes by itself when the command runs. */
  return terminal_send(sync_fd, REPORT_SECCOMP, listener) < 0 ? shoal_fail(err, errno, "seccomp", "hand over") : 0;
}

/* Loading a filter needs CAP_SYS_ADMIN or no_new_privs. Without the latter the capability is kept until it is loaded,
 * so the filter has to let capset, prctl and execve through; OCI's runc asks the same of a profile. */
static int drop_privileges(const struct plan *plan, int sync_fd, struct shoal_error *err) {
  const struct plan_capabilities *wanted = &plan->process.capabilities;
  const uint64_t admin = 1ull << CAP_SYS_ADMIN;
  leave_keyring();
  int rc = schedule_process(plan, err);
  if (rc == 0) rc = drop_bounding(wanted->bounding, err);
  if (rc == 0) rc = become_user(plan, err);
  if (rc < 0) return rc;
  if (set_capabilities(wanted->effective | admin, wanted->permitted | admin, wanted->inheritable) < 0)
    return shoal_fail(err, errno, "capabilities", "a capability that the agent itself lacks is asked for");
  if (plan->process.no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return shoal_fail(err, errno, "no_new_privs", "prctl");
  rc = load_filter(plan, sync_fd, err);
  if (rc < 0) return rc;
  if (set_capabilities(wanted->effective, wanted->permitted, wanted->inheritable) < 0)
    return shoal_fail(err, errno, "capabilities", "capset");
  (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (unsigned long i = 0; i < 64; i++) {
    if ((wanted->ambient & (1ull << i)) != 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0)
      return shoal_fail(err, errno, "capabilities", "ambient %lu", i);
  }
  return 0;
}

/* What the spawning C library ignored for itself (its internal signals 32 and 33) would stay ignored over execve. */
static void default_signals(void) {
  const struct {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
  } action = {.handler = SIG_DFL};
  sigset_t none;
  for (int i = 32; i <= 34; i++)
    (void)syscall(SYS_rt_sigaction, i, &action, NULL, sizeof action.mask);
  sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static char **string_array(const struct plan *plan, struct plan_list list) {
  const uint32_t *offsets = plan_items(plan, list);
  char **array = malloc((list.count + 1) * sizeof *array);
  if (array == NULL) return NULL;
  for (uint32_t i = 0; i < list.count; i++)
    array[i] = (char *)(uintptr_t)plan_string(plan, offsets[i]);
  array[list.count] = NULL;
  return array;
}

static const char *search_path(char *const env[]) {
  for (; *env != NULL; env++) {
    if (strncmp(*env, "PATH=", 5) == 0) return *env + 5;
  }
  return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

static const char *program(const struct plan *plan) {
  const uint32_t *args = plan_items(plan, plan->process.args);
  return plan_string(plan, plan->process.program != 0 ? plan->process.program : args[0]);
}

/* As execvp(3), but with the container's own PATH, and no shell for a file that is no program. Returns an errno; a file
 * that is there but may not be run wins over one that is not there. */
static int run_command(const char *name, char *const argv[], char *const env[]) {
  char path[PATH_SIZE];
  int code = ENOENT;
  if (strchr(name, '/') != NULL) {
    (void)execve(name, argv, env);
    return errno;
  }
  if (name[0] == '\0') return ENOENT;
  for (const char *dir = search_path(env); dir != NULL;) {
    const char *end = strchr(dir, ':');
    size_t size = end == NULL ? strlen(dir) : (size_t)(end - dir);
    if (snprintf(path, sizeof path, "%.*s/%s", (int)size, size == 0 ? "." : dir, name) < (int)sizeof path) {
      struct stat info;
      if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        code = code == ENOENT ? EACCES : code;
      } else {
        (void)execve(path, argv, env);
        if (errno != ENOENT && errno != ENOTDIR && code == ENOENT) code = errno;
      }
    }
    dir = end == NULL ? NULL : end + 1;
  }
  return code;
}

/* 0 for a file that somebody may run, else an errno. */
static int check_file(const char *path) {
  struct stat info;
  if (stat(path, &info) < 0) return errno;
  return S_ISREG(info.st_mode) && (info.st_mode & 0111) != 0 ? 0 : EACCES;
}

/* Nothing is freed: execve or the end does that, and free(3) alone would make the monitor a tenth larger. */
int process_find_command(const struct plan *plan, struct shoal_error *err) {
  char path[PATH_SIZE];
  const char *name = program(plan);
  char **env = string_array(plan, plan->process.env);
  int code = ENOENT;
  if (env == NULL) return shoal_fail(err, ENOMEM, "exec", "out of memory");
  const char *dir = strchr(name, '/') != NULL || name[0] == '\0' ? NULL : search_path(env);
  if (strchr(name, '/') != NULL) code = check_file(name);
  while (dir != NULL && code != 0) {
    const char *end = strchrnul(dir, ':');
    if (snprintf(path, sizeof path, "%.*s/%s", end == dir ? 1 : (int)(end - dir), end == dir ? "." : dir, name) <
        (int)sizeof path) {
      int found = check_file(path);
      if (found == 0 || code == ENOENT) code = found == ENOTDIR ? ENOENT : found;
    }
    dir = *end == '\0' ? NULL : end + 1;
  }
  if (code == 0) return 0;
  if (code == EACCES) return shoal_fail(err, EACCES, "exec", "\"%s\": permission denied", name);
  if (code != ENOENT) return shoal_fail(err, code, "exec", "\"%s\": %s", name, strerror(code));
  const char *reason = strchr(name, '/') != NULL ? "no such file or directory" : "executable file not found in $PATH";
  return shoal_fail(err, ENOENT, "exec", "\"%s\": %s", name, reason);
}

int process_run(const struct plan *plan, int *sync_fd, struct shoal_error *err) {
  char **argv = string_array(plan, plan->process.args);
  char **env = string_array(plan, plan->process.env);
  if (argv == NULL || env == NULL) return shoal_fail(err, ENOMEM, "exec", "out of memory");
  int rc = descriptors_place(plan, sync_fd, err);
  if (rc == 0) rc = drop_privileges(plan, *sync_fd, err);
  if (rc < 0) return rc;
  struct pollfd parent = {.fd = *sync_fd, .events = 0};
  /* Changing the user has cleared it; from here on only a set-user-ID command could. */
  if (prctl(PR_SET_PDEATHSIG, plan->detached ? 0 : SIGKILL, 0, 0, 0) < 0)
    return shoal_fail(err, errno, "exec", "parent-death signal");
  if (!plan->detached && poll(&parent, 1, 0) > 0 && (parent.revents & POLLHUP) != 0) _exit(1);
  (void)sys_close_range(3 + plan->preserved, ~0u, CLOSE_RANGE_CLOEXEC_FLAG);
  default_signals();
  int code = run_command(program(plan), argv, env);
  return shoal_fail(err, code, "exec", "%s: %s", program(plan), strerror(code));
}

/* A filter that lets nothing through but errors refuses to end the process as well, and _exit would ask for ever: an
 * instruction that is none ends it, also as the init of its namespace. */
_Noreturn void process_end(int code) {
  (void)syscall(SYS_exit_group, code);
  __builtin_trap();
}

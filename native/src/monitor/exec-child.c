/* One more process of a running container, between clone3 and its command: cgroups, namespaces, standard streams. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "monitor/monitor.h"

#define SYNC_FD 3
#define TTY_MODE_UNLOCKED 0
#define OTHER_NAMESPACES (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

/* The path is the container's own to change, so what it leads to is looked at before it is used. */
static int open_terminal(const struct plan *plan, int *slave, struct shoal_error *err) {
  struct statfs info;
  const int unlock = 0;
  struct winsize size = {.ws_row = plan->session_rows, .ws_col = plan->session_columns};
  int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW);
  if (master < 0) return shoal_fail(err, errno, "terminal", "open /dev/pts/ptmx");
  if (fstatfs(master, &info) < 0 || info.f_type != DEVPTS_SUPER_MAGIC)
    return shoal_fail(err, ENODEV, "terminal", "/dev/pts is no devpts");
  if (ioctl(master, TIOCSPTLCK, &unlock) < 0) return shoal_fail(err, errno, "terminal", "unlock");
  *slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (*slave < 0) return shoal_fail(err, errno, "terminal", "open the peer");
  if (size.ws_row > 0 && size.ws_col > 0) (void)ioctl(master, TIOCSWINSZ, &size);
  if (fchown(*slave, plan->process.uid, (gid_t)-1) < 0) return shoal_fail(err, errno, "terminal", "owner");
  return master;
}

static int send_terminal(int sync_fd, int master, struct shoal_error *err) {
  struct report report = {.kind = REPORT_TERMINAL};
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control = {0};
  struct iovec part = {.iov_base = &report, .iov_len = sizeof report};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes};
  message.msg_controllen = sizeof control.bytes;
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(head), &master, sizeof master);
  return sendmsg(sync_fd, &message, MSG_NOSIGNAL) < 0 ? shoal_fail(err, errno, "terminal", "hand over") : 0;
}

/* The terminal becomes the new session's controlling one, so that Ctrl-C and a hang-up reach the command. */
static int take_terminal(const struct plan *plan, int sync_fd, struct shoal_error *err) {
  int slave = -1;
  int master = open_terminal(plan, &slave, err);
  int rc = master < 0 ? master : send_terminal(sync_fd, master, err);
  if (rc == 0 && ioctl(slave, TIOCSCTTY, 0) < 0) rc = shoal_fail(err, errno, "terminal", "take");
  for (int i = 0; rc == 0 && i < 3; i++) {
    if (dup2(slave, i) < 0) rc = shoal_fail(err, errno, "stdio", "dup2");
  }
  return rc;
}

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
  int rc = process_join_cgroups(plan, &error);
  if (rc == 0) rc = process_limits(plan, &error);
  if (rc == 0 && setns(MONITOR_FD_TARGET, OTHER_NAMESPACES) < 0) rc = shoal_fail(&error, errno, "namespace", "join");
  bool terminal = (plan->session_flags & PLAN_SESSION_TERMINAL) != 0;
  if (rc == 0) rc = terminal ? take_terminal(plan, sync_fd, &error) : take_stdio(stdio, &error);
  if (rc == 0 && (dup3(sync_fd, SYNC_FD, O_CLOEXEC) < 0 || sys_close_range(SYNC_FD + 1, ~0u, 0) < 0))
    rc = shoal_fail(&error, errno, "stdio", "dup3");
  if (rc == 0) {
    sync_fd = SYNC_FD;
    rc = process_working_directory(plan, &error);
  }
  if (rc == 0) (void)process_run(plan, SYNC_FD, &error);
  report_failure(sync_fd, &error);
  _exit(error.code == ENOENT ? 127 : 126);
}

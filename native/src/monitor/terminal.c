#include "monitor/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "monitor/monitor.h"

#define OPEN_TREE_CLONE_FLAG 1u

/* A message with at most one descriptor. */
struct message {
  struct iovec part;
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  struct msghdr head;
};

static struct msghdr *prepare(struct message *message, struct report *report) {
  *message = (struct message){.part = {.iov_base = report, .iov_len = sizeof *report}};
  message->head = (struct msghdr){.msg_iov = &message->part, .msg_iovlen = 1, .msg_control = message->control.bytes};
  message->head.msg_controllen = sizeof message->control.bytes;
  return &message->head;
}

/* The path is the container's own to change, so what it leads to is looked at before it is used. */
static int open_pair(const struct plan *plan, int *slave, struct shoal_error *err) {
  struct statfs info;
  const int unlock = 0;
  int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW);
  if (master < 0) return shoal_fail(err, errno, "terminal", "open /dev/pts/ptmx");
  if (fstatfs(master, &info) < 0 || info.f_type != DEVPTS_SUPER_MAGIC)
    return shoal_fail(err, ENODEV, "terminal", "/dev/pts is no devpts");
  if (ioctl(master, TIOCSPTLCK, &unlock) < 0) return shoal_fail(err, errno, "terminal", "unlock");
  *slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (*slave < 0) return shoal_fail(err, errno, "terminal", "open the peer");
  if (plan->terminal_rows > 0 && plan->terminal_columns > 0)
    terminal_resize(master, plan->terminal_rows, plan->terminal_columns);
  if (fchown(*slave, plan->process.uid, (gid_t)-1) < 0) return shoal_fail(err, errno, "terminal", "owner");
  return master;
}

static void add_rights(struct msghdr *head, int fd) {
  struct cmsghdr *rights = CMSG_FIRSTHDR(head);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(rights), &fd, sizeof fd);
}

int terminal_pass(int console_fd, int master_fd) {
  static char name[] = "/dev/ptmx";
  struct message message;
  struct msghdr *head = prepare(&message, NULL);
  message.part = (struct iovec){.iov_base = name, .iov_len = sizeof name - 1};
  add_rights(head, master_fd);
  return sendmsg(console_fd, head, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int terminal_send(int sync_fd, int kind, int fd) { return terminal_send_of(sync_fd, kind, 0, fd); }

int terminal_send_of(int sync_fd, int kind, pid_t pid, int fd) {
  struct report report = {.kind = kind, .pid = pid};
  struct message message;
  struct msghdr *head = prepare(&message, &report);
  add_rights(head, fd);
  return sendmsg(sync_fd, head, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int terminal_make(const struct plan *plan, int sync_fd, struct shoal_error *err) {
  int slave = -1;
  int master = open_pair(plan, &slave, err);
  int rc = master < 0 ? master : 0;
  if (rc == 0 && terminal_send(sync_fd, REPORT_TERMINAL, master) < 0)
    rc = shoal_fail(err, errno, "terminal", "hand over");
  if (rc == 0 && ioctl(slave, TIOCSCTTY, 0) < 0) rc = shoal_fail(err, errno, "terminal", "take");
  for (int i = 0; rc == 0 && i < 3; i++) {
    if (dup2(slave, i) < 0) rc = shoal_fail(err, errno, "stdio", "dup2");
  }
  if (slave >= 0) close(slave);
  if (master >= 0) close(master);
  return rc;
}

int terminal_console(struct shoal_error *err) {
  int target = open("/dev/console", O_WRONLY | O_CREAT | O_EXCL | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW, 0620);
  /* What is there already is covered, whatever it is; it is not opened. */
  if (target >= 0) close(target);
  target = open("/dev/console", O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (target < 0) return shoal_fail(err, errno, "terminal", "/dev/console");
  int tree = sys_open_tree(STDIN_FILENO, "", AT_EMPTY_PATH | OPEN_TREE_CLONE_FLAG | O_CLOEXEC);
  int rc = tree < 0 || sys_move_mount(tree, target) < 0 ? shoal_fail(err, errno, "terminal", "mount /dev/console") : 0;
  if (tree >= 0) close(tree);
  close(target);
  return rc;
}

ssize_t terminal_receive(int sync_fd, struct report *report, int *master_fd) {
  struct message message;
  struct msghdr *head = prepare(&message, report);
  ssize_t n = recvmsg(sync_fd, head, MSG_CMSG_CLOEXEC);
  struct cmsghdr *rights = n < 0 ? NULL : CMSG_FIRSTHDR(head);
  if (rights == NULL || rights->cmsg_type != SCM_RIGHTS || rights->cmsg_len != CMSG_LEN(sizeof(int))) return n;
  if (*master_fd >= 0) close(*master_fd);
  memcpy(master_fd, CMSG_DATA(rights), sizeof *master_fd);
  (void)fcntl(*master_fd, F_SETFL, fcntl(*master_fd, F_GETFL) | O_NONBLOCK);
  return n;
}

static const char *parse_number(const char *text, unsigned int *out) {
  const char *digit = text;
  for (*out = 0; *digit >= '0' && *digit <= '9' && *out <= UINT16_MAX; digit++)
    *out = *out * 10 + (unsigned int)(*digit - '0');
  return digit == text || *out > UINT16_MAX ? NULL : digit;
}

bool terminal_parse_size(const char *text, unsigned int *rows, unsigned int *columns) {
  const char *rest = parse_number(text, rows);
  if (rest == NULL || *rest != ' ') return false;
  rest = parse_number(rest + 1, columns);
  return rest != NULL && *rest == '\0';
}

void terminal_resize(int master_fd, unsigned int rows, unsigned int columns) {
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
  if (master_fd >= 0) (void)ioctl(master_fd, TIOCSWINSZ, &size);
}

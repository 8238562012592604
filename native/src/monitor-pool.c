#include "monitor-pool.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shoal-container.h"

/* Who starts more at once waits for the others to come up. */
#define POOL_SIZE 4
#define GIVEN_MAX 5

static struct {
  pthread_mutex_t lock;
  size_t count;
  int fds[POOL_SIZE];
  char path[1024]; /* of the file that all of them are copies of */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* -1: none. */
static int take(const char *path) {
  int fd = -1;
  pthread_mutex_lock(&pool.lock);
  if (pool.count > 0 && strcmp(pool.path, path) == 0) fd = pool.fds[--pool.count];
  pthread_mutex_unlock(&pool.lock);
  return fd;
}

/* They get the numbers that they have in the request's order: see src/monitor/ready.c. */
static int give(int control_fd, const struct monitor_spawn *request) {
  const int fds[GIVEN_MAX] = {request->plan_fd, request->result_fd, request->dir_fd, request->socket_fd,
                              request->stderr_fd};
  const size_t size = (request->stderr_fd < 0 ? GIVEN_MAX - 1 : GIVEN_MAX) * sizeof(int);
  char go = 0;
  struct iovec part = {.iov_base = &go, .iov_len = 1};
  union {
    char bytes[CMSG_SPACE(sizeof fds)];
    struct cmsghdr align;
  } control = {.bytes = {0}};
  struct msghdr head = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = CMSG_SPACE(size)};
  struct cmsghdr *rights = CMSG_FIRSTHDR(&head);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(rights), fds, size);
  ssize_t n;
  while ((n = sendmsg(control_fd, &head, MSG_NOSIGNAL)) < 0 && errno == EINTR)
    continue;
  return n == 1 ? 0 : -errno;
}

bool monitor_pool_use(const struct monitor_spawn *request) {
  int fd;
  /* One that somebody has killed is passed over. */
  while ((fd = take(request->path)) >= 0) {
    int rc = give(fd, request);
    close(fd);
    if (rc == 0) return true;
  }
  return false;
}

/* Under the lock. */
static int count_wanted(const char *path) {
  return pool.count > 0 && strcmp(pool.path, path) != 0 ? 0 : (int)(POOL_SIZE - pool.count);
}

static bool is_wanted(const char *path) {
  pthread_mutex_lock(&pool.lock);
  bool wanted = count_wanted(path) > 0;
  pthread_mutex_unlock(&pool.lock);
  return wanted;
}

/* Takes over the descriptor. */
static int add(const char *path, int fd) {
  pthread_mutex_lock(&pool.lock);
  bool fits = count_wanted(path) > 0;
  if (fits) {
    (void)strcpy(pool.path, path);
    pool.fds[pool.count++] = fd;
  }
  int wanted = count_wanted(path);
  pthread_mutex_unlock(&pool.lock);
  if (!fits) close(fd);
  return wanted;
}

int shoal_monitor_ready(const char *path, struct shoal_error *err) {
  int pair[2];
  if (strlen(path) >= sizeof pool.path) return shoal_fail(err, ENAMETOOLONG, "monitor", "%s", path);
  if (!is_wanted(path)) return 0;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return shoal_fail(err, errno, "monitor", "socketpair");
  const struct monitor_spawn request = {.path = path,
                                        .mode = "ready",
                                        .plan_fd = -1,
                                        .result_fd = -1,
                                        .dir_fd = -1,
                                        .socket_fd = -1,
                                        .stderr_fd = pair[1]};
  int rc = monitor_spawn(&request, err);
  close(pair[1]);
  if (rc == 0) return add(path, pair[0]);
  close(pair[0]);
  return rc;
}

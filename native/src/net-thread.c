/* Namespaces belong to threads: each call gets one, which enters, acts and ends. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net-netfilter.h"

struct call {
  net_work *work;
  void *arg;
  struct shoal_error *err;
  int result;
};

static void *run_call(void *arg) {
  struct call *call = arg;
  call->result = call->work(call->arg, call->err);
  return NULL;
}

int net_on_thread(net_work *work, void *arg, struct shoal_error *err) {
  struct call call = {.work = work, .arg = arg, .err = err};
  pthread_t thread;
  int code = pthread_create(&thread, NULL, run_call, &call);
  if (code) return shoal_fail(err, code, "thread", "%s", strerror(code));
  pthread_join(thread, NULL);
  return call.result;
}

int net_enter_seen(const char *netns, struct stat *is, struct shoal_error *err) {
  int home = netns == NULL || netns[0] == 0;
  int fd = open(home ? "/proc/self/ns/net" : netns, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return shoal_fail(err, errno, "open netns", "%s", home ? "own" : netns);
  int bad = fstat(fd, is) || setns(fd, CLONE_NEWNET);
  int result = bad ? shoal_fail(err, errno, "setns", "%s", home ? "own" : netns) : 0;
  close(fd);
  return result;
}

int net_enter(const char *netns, struct shoal_error *err) {
  struct stat is;
  return net_enter_seen(netns, &is, err);
}

/* A bind mount keeps the namespace alive; the directory is made shared as ip-netns(8) does, so that a delete in one
 * mount namespace reaches the others. */
static int prepare_directory(const char *path, struct shoal_error *err) {
  char directory[256];
  const char *slash = strrchr(path, '/');
  size_t length = slash == NULL ? 0 : (size_t)(slash - path);
  if (length == 0 || length >= sizeof directory) return shoal_fail(err, EINVAL, "netns path", "%s", path);
  memcpy(directory, path, length);
  directory[length] = 0;
  if (mkdir(directory, 0755) && errno != EEXIST) return shoal_fail(err, errno, "mkdir", "%s", directory);
  if (mount("", directory, "none", MS_SHARED | MS_REC, NULL) == 0) return 0;
  if (errno != EINVAL || mount(directory, directory, "none", MS_BIND | MS_REC, NULL) ||
      mount("", directory, "none", MS_SHARED | MS_REC, NULL))
    return shoal_fail(err, errno, "share", "%s", directory);
  return 0;
}

static int is_namespace(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  struct stat there, here;
  int is = home >= 0 && !fstat(fd, &there) && !fstat(home, &here) && there.st_dev == here.st_dev;
  close(fd);
  if (home >= 0) close(home);
  return is;
}

/* Leaves the thread in the new namespace. */
int net_namespace_add(const char *path, struct shoal_error *err) {
  if (is_namespace(path)) return net_enter(path, err);
  if (prepare_directory(path, err)) return -err->code;
  int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0);
  if (fd < 0) return shoal_fail(err, errno, "create", "%s", path);
  close(fd);
  if (unshare(CLONE_NEWNET)) return shoal_fail(err, errno, "unshare", "%s", path);
  if (mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL)) {
    int code = errno;
    unlink(path);
    return shoal_fail(err, code, "mount", "%s", path);
  }
  return 0;
}

int net_namespace_delete(const char *path, struct shoal_error *err) {
  net_netfilter_forget(path);
  if (umount2(path, MNT_DETACH) && errno != EINVAL && errno != ENOENT)
    return shoal_fail(err, errno, "umount", "%s", path);
  if (unlink(path) && errno != ENOENT) return shoal_fail(err, errno, "unlink", "%s", path);
  return 0;
}

static int make_new(void *arg, struct shoal_error *err) {
  struct net_link link;
  int *fd = arg;
  if (unshare(CLONE_NEWNET)) return shoal_fail(err, errno, "unshare", "network");
  int result = net_link_open(&link, NETLINK_ROUTE, err);
  if (result) return result;
  result = net_link_up(&link, "lo", NULL, 0);
  net_link_close(&link);
  if (result) return shoal_fail(err, -result, "loopback", "up");
  *fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  return *fd < 0 ? shoal_fail(err, errno, "open netns", "new") : 0;
}

int shoal_net_new(struct shoal_error *err) {
  int fd = -1;
  int result = net_on_thread(make_new, &fd, err);
  return result ? result : fd;
}

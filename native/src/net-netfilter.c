/* Netfilter's sockets are kept. To close one after a transaction that removed anything waits for the kernel to be done
 * with what was removed, 10 to 50 ms, and until then no other transaction of the namespace begins. Descriptors are a
 * process's, so one thread has them, with descriptors of its own: no program that the process starts inherits any. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "net-netfilter.h"

#define KEPT 64
/* A kept socket keeps its namespace: those of processes end with them. */
#define PROCESSES "/proc/"

struct kept {
  char netns[256];
  dev_t device;
  ino_t inode;
  unsigned long used;
  struct net_netfilter sockets;
};

struct request {
  const char *netns;
  net_netfilter_work *work; /* NULL: forget what is kept of netns */
  void *arg;
  struct shoal_error *err;
  int result, done;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER; /* one request at a time */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of `current` */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct request *current;
static int start_error;

/* The thread's own. */
static struct kept kept[KEPT];
static unsigned long uses;

static void drop(struct kept *one) {
  net_link_close(&one->sockets.link);
  if (one->sockets.nft != NULL) nft_ctx_free(one->sockets.nft);
  *one = (struct kept){0};
}

static void forget(const char *netns) {
  for (size_t i = 0; i < KEPT; i++)
    if (kept[i].sockets.nft != NULL && strcmp(kept[i].netns, netns) == 0) drop(&kept[i]);
}

static int open_sockets(struct net_netfilter *sockets, struct shoal_error *err) {
  sockets->nft = nft_ctx_new(NFT_CTX_DEFAULT);
  if (sockets->nft == NULL) return shoal_fail(err, ENOMEM, "nft", "no context");
  nft_ctx_buffer_output(sockets->nft);
  nft_ctx_buffer_error(sockets->nft);
  return net_link_open(&sockets->link, NETLINK_NETFILTER, err);
}

/* Those of a namespace that was made anew under the same name are not those of the one before. */
static struct kept *find(const char *netns, const struct stat *is) {
  struct kept *oldest = &kept[0];
  for (size_t i = 0; i < KEPT; i++) {
    if (kept[i].sockets.nft != NULL && strcmp(kept[i].netns, netns) == 0) {
      if (kept[i].device == is->st_dev && kept[i].inode == is->st_ino) return &kept[i];
      drop(&kept[i]);
    }
    if (kept[i].used < oldest->used) oldest = &kept[i];
  }
  if (oldest->sockets.nft != NULL) drop(oldest);
  oldest->device = is->st_dev;
  oldest->inode = is->st_ino;
  (void)strncpy(oldest->netns, netns, sizeof oldest->netns - 1);
  return oldest;
}

static int serve(const struct request *request) {
  struct stat is;
  int result = net_enter_seen(request->netns, &is, request->err);
  if (result) return result;
  struct kept *one = find(request->netns, &is);
  if (one->sockets.nft == NULL) result = open_sockets(&one->sockets, request->err);
  if (!result) result = request->work(&one->sockets, request->arg);
  one->used = ++uses;
  /* What a failure leaves in them is not known. */
  if (result || strncmp(request->netns, PROCESSES, strlen(PROCESSES)) == 0) drop(one);
  return result;
}

static void *run(void *unused) {
  (void)unused;
  (void)close_range(3, ~0U, CLOSE_RANGE_UNSHARE);
  pthread_mutex_lock(&lock);
  for (;;) {
    while (current == NULL || current->done)
      pthread_cond_wait(&changed, &lock);
    if (current->work == NULL)
      forget(current->netns);
    else
      current->result = serve(current);
    /* Where a thread is cannot go. */
    (void)net_enter(NULL, NULL);
    current->done = 1;
    pthread_cond_broadcast(&changed);
  }
  return NULL;
}

static void start(void) {
  pthread_t thread;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  start_error = pthread_create(&thread, NULL, run, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!start_error) pthread_detach(thread);
}

int net_netfilter(const char *netns, net_netfilter_work *work, void *arg, struct shoal_error *err) {
  struct request request = {.netns = netns == NULL ? "" : netns, .work = work, .arg = arg, .err = err};
  if (strlen(request.netns) >= sizeof kept[0].netns) return shoal_fail(err, ENAMETOOLONG, "netns", "%s", netns);
  pthread_once(&once, start);
  if (start_error) return shoal_fail(err, start_error, "thread", "%s", strerror(start_error));
  pthread_mutex_lock(&turn);
  pthread_mutex_lock(&lock);
  current = &request;
  pthread_cond_broadcast(&changed);
  while (!request.done)
    pthread_cond_wait(&changed, &lock);
  current = NULL;
  pthread_mutex_unlock(&lock);
  pthread_mutex_unlock(&turn);
  return request.result;
}

void net_netfilter_forget(const char *netns) { (void)net_netfilter(netns, NULL, NULL, NULL); }

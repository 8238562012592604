/* nftables through libnftables: the language of nft(8), one transaction a call. */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net-internal.h"

/* libnftables keeps some process-wide state; its callers take turns. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

/* To close a netfilter socket after a transaction that removed anything waits for the kernel to be done with what was
 * removed, some 10 ms. A copy of the descriptor leaves that to the end of a thread that has descriptors of its own. */
static void leave_open(int fd) {
  int domain = 0, protocol = 0;
  socklen_t size = sizeof domain;
  if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) || domain != AF_NETLINK) return;
  if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) || protocol != NETLINK_NETFILTER) return;
  (void)fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static int run_in_turn(const char *commands, int json, char **output, char *why, size_t why_size) {
  int fd = net_next_fd();
  struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
  if (nft == NULL) return -ENOMEM;
  nft_ctx_buffer_output(nft);
  nft_ctx_buffer_error(nft);
  nft_ctx_output_set_flags(nft, (json ? NFT_CTX_OUTPUT_JSON : 0) | NFT_CTX_OUTPUT_NUMERIC_ALL);
  int result = nft_run_cmd_from_buffer(nft, commands) ? -EINVAL : 0;
  if (result) {
    const char *words = nft_ctx_get_error_buffer(nft);
    (void)snprintf(why, why_size, "%s", words == NULL ? "refused" : words);
    if (words != NULL && strstr(words, "No such file or directory") != NULL) result = -ENOENT;
  } else if (output != NULL) {
    const char *text = nft_ctx_get_output_buffer(nft);
    *output = strdup(text == NULL ? "" : text);
    result = *output == NULL ? -ENOMEM : 0;
  }
  leave_open(fd);
  nft_ctx_free(nft);
  return result;
}

int net_nft_run(const char *commands, int json, char **output, char *why, size_t why_size) {
  pthread_mutex_lock(&turn);
  int result = run_in_turn(commands, json, output, why, why_size);
  pthread_mutex_unlock(&turn);
  return result;
}

int net_op_nft(struct net_op *op) {
  const char *commands = net_text(op->json, "commands");
  return commands == NULL ? -EINVAL : net_nft_run(commands, 0, NULL, op->why, sizeof op->why);
}

struct nft_call {
  const char *netns, *commands;
  char **output;
  int json;
};

static int nft_there(void *arg, struct shoal_error *err) {
  struct nft_call *call = arg;
  char why[128] = "";
  int result = net_enter(call->netns, err);
  if (result) return result;
  result = net_nft_run(call->commands, call->json, call->output, why, sizeof why);
  return result ? shoal_fail(err, -result, "nft", "%s", why) : 0;
}

int shoal_net_nft(const char *netns, const char *commands, int json, char **output, struct shoal_error *err) {
  struct nft_call call = {.netns = netns, .commands = commands, .output = output, .json = json};
  if (commands == NULL) return shoal_fail(err, EINVAL, "nft", "no commands");
  return net_on_thread(nft_there, &call, err);
}

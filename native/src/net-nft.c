/* nftables through libnftables: the language of nft(8), one transaction a call. Its process-wide state is touched on
 * one thread only, that of net-netfilter.c. */
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net-netfilter.h"

/* What libnftables remembers of so much text is not kept. */
#define KEPT_TEXT 65536

struct nft_call {
  const char *commands;
  char **output;
  int json;
  char why[128];
};

static int run_in(struct nft_ctx *nft, struct nft_call *call) {
  if (nft_run_cmd_from_buffer(nft, call->commands)) {
    const char *words = nft_ctx_get_error_buffer(nft);
    (void)snprintf(call->why, sizeof call->why, "%s", words == NULL ? "refused" : words);
    return words != NULL && strstr(words, "No such file or directory") != NULL ? -ENOENT : -EINVAL;
  }
  if (call->output == NULL) return 0;
  const char *text = nft_ctx_get_output_buffer(nft);
  *call->output = strdup(text == NULL ? "" : text);
  return *call->output == NULL ? -ENOMEM : 0;
}

static int run_once(struct nft_call *call) {
  struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
  if (nft == NULL) return -ENOMEM;
  nft_ctx_buffer_output(nft);
  nft_ctx_buffer_error(nft);
  nft_ctx_output_set_flags(nft, (call->json ? NFT_CTX_OUTPUT_JSON : 0) | NFT_CTX_OUTPUT_NUMERIC_ALL);
  int result = run_in(nft, call);
  nft_ctx_free(nft);
  return result;
}

static int run(struct net_netfilter *sockets, void *arg) {
  struct nft_call *call = arg;
  return call->output != NULL || strlen(call->commands) > KEPT_TEXT ? run_once(call) : run_in(sockets->nft, call);
}

static void put_data(struct nlmsghdr *request, uint16_t type, const void *data, size_t size) {
  struct nlattr *nest = mnl_attr_nest_start(request, type);
  mnl_attr_put(request, NFTA_DATA_VALUE, size, data);
  mnl_attr_nest_end(request, nest);
}

void net_nft_put_element(struct nlmsghdr *request, const char *table, const char *set, const struct net_address *key,
                         uint32_t value) {
  mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_TABLE, table);
  mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_SET, set);
  struct nlattr *list = mnl_attr_nest_start(request, NFTA_SET_ELEM_LIST_ELEMENTS);
  struct nlattr *element = mnl_attr_nest_start(request, NFTA_LIST_ELEM);
  put_data(request, NFTA_SET_ELEM_KEY, key->bytes, key->size);
  if (value) put_data(request, NFTA_SET_ELEM_DATA, &value, sizeof value);
  mnl_attr_nest_end(request, element);
  mnl_attr_nest_end(request, list);
}

int net_nft_run(struct net_netfilter *sockets, const char *commands) {
  struct nft_call call = {.commands = commands};
  return run(sockets, &call);
}

int net_op_nft(struct net_op *op) {
  struct shoal_error err = {0};
  struct nft_call call = {.commands = net_text(op->json, "commands")};
  if (call.commands == NULL) return -EINVAL;
  int result = net_netfilter(op->netns, run, &call, &err);
  if (result) (void)snprintf(op->why, sizeof op->why, "%s", call.why[0] ? call.why : err.detail);
  return result;
}

int shoal_net_nft(const char *netns, const char *commands, int json, char **output, struct shoal_error *err) {
  struct nft_call call = {.commands = commands, .output = output, .json = json};
  if (commands == NULL) return shoal_fail(err, EINVAL, "nft", "no commands");
  int result = net_netfilter(netns, run, &call, err);
  return result && call.why[0] ? shoal_fail(err, -result, "nft", "%s", call.why) : result;
}

/* How fast a device sends: a token bucket as its queue. */
#include <errno.h>
#include <limits.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "net-internal.h"

/* What may go at once: a fiftieth of a second's, and a few packets at least. What waits beyond that is dropped. */
#define BURST_MIN (32u << 10)
#define QUEUE_MIN (64u << 10)

static uint32_t at_least(uint64_t bytes, uint32_t least) {
  if (bytes < least) return least;
  return bytes > INT_MAX ? INT_MAX : (uint32_t)bytes;
}

static void put_bucket(struct nlmsghdr *request, uint64_t rate) {
  uint32_t burst = at_least(rate / 50, BURST_MIN);
  struct tc_tbf_qopt parms = {
      .rate.rate = rate > UINT32_MAX ? UINT32_MAX : (uint32_t)rate,
      .rate.linklayer = TC_LINKLAYER_ETHERNET,
      .limit = at_least((uint64_t)burst + rate / 10, BURST_MIN + QUEUE_MIN),
  };
  mnl_attr_put_strz(request, TCA_KIND, "tbf");
  struct nlattr *options = mnl_attr_nest_start(request, TCA_OPTIONS);
  mnl_attr_put(request, TCA_TBF_PARMS, sizeof parms, &parms);
  if (rate > UINT32_MAX) mnl_attr_put_u64(request, TCA_TBF_RATE64, rate);
  mnl_attr_put_u32(request, TCA_TBF_BURST, burst);
  mnl_attr_nest_end(request, options);
}

int net_op_rate(struct net_op *op, int add) {
  char buffer[512];
  double rate = net_number(op->json, "bytesPerSecond", 0);
  const char *dev = net_text(op->json, "dev");
  if (dev == NULL || (add && rate < 1)) return -EINVAL;
  unsigned int index = if_nametoindex(dev);
  if (index == 0) return add ? -ENODEV : 0;
  struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
  request->nlmsg_type = add ? RTM_NEWQDISC : RTM_DELQDISC;
  request->nlmsg_flags = add ? NLM_F_CREATE | NLM_F_REPLACE : 0;
  struct tcmsg *header = mnl_nlmsg_put_extra_header(request, sizeof *header);
  header->tcm_ifindex = (int)index;
  header->tcm_parent = TC_H_ROOT;
  if (add) put_bucket(request, (uint64_t)rate);
  int result = net_link_talk(op->route, request, op->why, sizeof op->why);
  /* What a device has that nobody gave it one can not be taken from it. */
  return !add && (result == -ENOENT || result == -EINVAL || result == -ENODEV) ? 0 : result;
}

static int find_rate(const struct nlattr *attr, void *arg) {
  double *rate = arg;
  if (mnl_attr_get_type(attr) == TCA_TBF_RATE64 && mnl_attr_get_payload_len(attr) == sizeof(uint64_t))
    *rate = (double)mnl_attr_get_u64(attr);
  if (mnl_attr_get_type(attr) == TCA_TBF_PARMS && mnl_attr_get_payload_len(attr) >= sizeof(struct tc_tbf_qopt) &&
      *rate == 0) {
    const struct tc_tbf_qopt *parms = mnl_attr_get_payload(attr);
    *rate = parms->rate.rate;
  }
  return MNL_CB_OK;
}

int net_visit_rate(const struct nlmsghdr *message, void *list) {
  const struct tcmsg *header = mnl_nlmsg_get_payload(message);
  const struct nlattr *attr, *options = NULL;
  const char *kind = "";
  char name[IFNAMSIZ];
  double rate = 0;
  mnl_attr_for_each(attr, message, sizeof *header) {
    if (mnl_attr_get_type(attr) == TCA_KIND) kind = mnl_attr_get_str(attr);
    if (mnl_attr_get_type(attr) == TCA_OPTIONS) options = attr;
  }
  if (header->tcm_parent != TC_H_ROOT || strcmp(kind, "tbf") != 0 || options == NULL) return MNL_CB_OK;
  mnl_attr_parse_nested(options, find_rate, &rate);
  if (if_indextoname((unsigned int)header->tcm_ifindex, name) == NULL) return MNL_CB_OK;
  cJSON *found = cJSON_CreateObject();
  cJSON_AddItemToArray(list, found);
  cJSON_AddStringToObject(found, "dev", name);
  cJSON_AddNumberToObject(found, "bytesPerSecond", rate);
  return MNL_CB_OK;
}

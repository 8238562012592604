/* The table of operations and the loop over batches. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net-internal.h"

/* /proc/sys/net shows the namespace of the thread that opens it. */
int net_op_sysctl(struct net_op *op) {
  char path[256];
  const char *name = net_text(op->json, "path"), *value = net_text(op->json, "value");
  if (name == NULL || value == NULL || strstr(name, "..") != NULL || strlen(name) > 200) return -EINVAL;
  (void)snprintf(path, sizeof path, "/proc/sys/net/%s", name);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT && net_flag(op->json, "optional") ? 0 : -errno;
  int result = write(fd, value, strlen(value)) < 0 ? -errno : 0;
  close(fd);
  return result;
}

static int address_add(struct net_op *op) { return net_op_address(op, 1); }
static int address_delete(struct net_op *op) { return net_op_address(op, 0); }
static int route_add(struct net_op *op) { return net_op_route(op, 1); }
static int route_delete(struct net_op *op) { return net_op_route(op, 0); }
static int rule_add(struct net_op *op) { return net_op_rule(op, 1); }
static int rule_delete(struct net_op *op) { return net_op_rule(op, 0); }
static int neighbour_add(struct net_op *op) { return net_op_neighbour(op, 1); }
static int neighbour_delete(struct net_op *op) { return net_op_neighbour(op, 0); }
static int fdb_add(struct net_op *op) { return net_op_fdb(op, 1); }
static int fdb_delete(struct net_op *op) { return net_op_fdb(op, 0); }
static int rate_add(struct net_op *op) { return net_op_rate(op, 1); }
static int rate_delete(struct net_op *op) { return net_op_rate(op, 0); }
static int wireguard_peer_add(struct net_op *op) { return net_op_wireguard_peer(op, 1); }
static int wireguard_peer_delete(struct net_op *op) { return net_op_wireguard_peer(op, 0); }

/* Making a namespace moves the thread into it, so a thread of its own does it. */
static int add_there(void *path, struct shoal_error *err) { return net_namespace_add(path, err); }

static int namespace_op(struct net_op *op, int add) {
  struct shoal_error err = {0};
  const char *path = net_text(op->json, "path");
  if (path == NULL) return -EINVAL;
  int result = add ? net_on_thread(add_there, (void *)path, &err) : net_namespace_delete(path, &err);
  if (result) (void)snprintf(op->why, sizeof op->why, "%s %.90s", err.step, err.detail);
  return result;
}

static int namespace_add(struct net_op *op) { return namespace_op(op, 1); }
static int namespace_delete(struct net_op *op) { return namespace_op(op, 0); }

static const struct {
  const char *name;
  int (*run)(struct net_op *op);
} operations[] = {
    {"link-add", net_op_link_add},
    {"link-set", net_op_link_set},
    {"link-del", net_op_link_delete},
    {"link-move", net_op_link_move},
    {"macvlan-check", net_op_macvlan_check},
    {"addr-add", address_add},
    {"addr-del", address_delete},
    {"route-add", route_add},
    {"route-del", route_delete},
    {"rule-add", rule_add},
    {"rule-del", rule_delete},
    {"neigh-add", neighbour_add},
    {"neigh-del", neighbour_delete},
    {"fdb-add", fdb_add},
    {"fdb-del", fdb_delete},
    {"rate-add", rate_add},
    {"rate-del", rate_delete},
    {"wg-check", net_op_wireguard_check},
    {"wg-peer-add", wireguard_peer_add},
    {"wg-peer-del", wireguard_peer_delete},
    {"sysctl", net_op_sysctl},
    {"nft", net_op_nft},
    {"fast-path-add", net_op_fast_path_add},
    {"fast-path-del", net_op_fast_path_delete},
    {"ct-flush", net_op_conntrack_flush},
    {"netns-add", namespace_add},
    {"netns-del", namespace_delete},
};

static int run_operation(const char *netns, struct net_link *route, const cJSON *json, struct shoal_error *err) {
  struct net_op op = {.netns = netns, .route = route, .json = json};
  const char *name = net_text(json, "op");
  for (size_t i = 0; name != NULL && i < sizeof operations / sizeof operations[0]; i++) {
    if (strcmp(operations[i].name, name) != 0) continue;
    int result = operations[i].run(&op);
    if (result == 0) return 0;
    char *text = cJSON_PrintUnformatted(json);
    shoal_fail(err, -result, name, "%s: %s", op.why[0] ? op.why : strerror(-result), text == NULL ? "" : text);
    cJSON_free(text);
    return result;
  }
  return shoal_fail(err, EINVAL, "operation", "unknown: %s", name == NULL ? "(none)" : name);
}

static int run_batch(const cJSON *batch, struct shoal_error *err) {
  struct net_link route;
  const cJSON *op;
  const char *netns = net_text(batch, "netns");
  int result = net_enter(netns, err);
  if (!result) result = net_link_open(&route, NETLINK_ROUTE, err);
  if (result) return result;
  cJSON_ArrayForEach(op, cJSON_GetObjectItemCaseSensitive(batch, "ops")) {
    result = run_operation(netns, &route, op, err);
    if (result) break;
  }
  net_link_close(&route);
  return result;
}

static int run_batches(void *arg, struct shoal_error *err) {
  const cJSON *batch;
  int result = 0;
  cJSON_ArrayForEach(batch, (const cJSON *)arg) {
    result = run_batch(batch, err);
    if (result) break;
  }
  return result;
}

int shoal_net_apply(const char *batches, struct shoal_error *err) {
  cJSON *parsed = batches == NULL ? NULL : cJSON_Parse(batches);
  if (!cJSON_IsArray(parsed)) {
    cJSON_Delete(parsed);
    return shoal_fail(err, EINVAL, "batches", "not a JSON array");
  }
  int result = net_on_thread(run_batches, parsed, err);
  cJSON_Delete(parsed);
  return result;
}

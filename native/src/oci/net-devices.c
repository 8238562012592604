/* linux.netDevices: devices of the host that become the container's, with their addresses. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config.h"
#include "oci/oci.h"

#define STEP "netDevices"
#define ADDRESSES_MAX 64

struct address {
  struct ifaddrmsg head;
  uint8_t local[16], peer[16], broadcast[4];
  bool has_local, has_peer, has_broadcast;
};

struct addresses {
  struct address items[ADDRESSES_MAX];
  size_t count;
};

struct request {
  struct nlmsghdr head;
  union {
    struct ifinfomsg link;
    struct ifaddrmsg address;
  } body;
  char attributes[256];
};

/* One that the kernel takes (net/core/dev.c, dev_valid_name). */
static bool is_device_name(const char *name) {
  size_t length = strlen(name);
  return length > 0 && length < IFNAMSIZ && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
         strpbrk(name, "/: \t\n\v\f\r%") == NULL;
}

static const char *inside_name(const cJSON *device) {
  const char *name = cJSON_GetStringValue(json_member(device, "name"));
  return name == NULL || name[0] == '\0' ? device->string : name;
}

int net_devices_check(const cJSON *devices, const cJSON *config) {
  static const char *const allowed[] = {"name", NULL};
  struct shoal_error err = {0};
  const cJSON *item, *other;
  if (devices == NULL || cJSON_IsNull(devices)) return 0;
  if (!cJSON_IsObject(devices)) return log_failure("linux.netDevices: not an object");
  if (devices->child != NULL && !bundle_lists_namespace(config, "network"))
    return log_failure("linux.netDevices: the container needs a network namespace of its own");
  cJSON_ArrayForEach(item, devices) {
    const cJSON *name = json_member(item, "name");
    if (!cJSON_IsObject(item) || (name != NULL && !cJSON_IsString(name)))
      return log_failure("linux.netDevices.%s: an object with a name is expected", item->string);
    if (json_only(item, "linux.netDevices", allowed, &err) < 0) return log_error("config", &err);
    if (!is_device_name(item->string) || !is_device_name(inside_name(item)))
      return log_failure("linux.netDevices: '%s', '%s': not names of devices", item->string, inside_name(item));
    cJSON_ArrayForEach(other, devices) {
      if (other != item && strcmp(inside_name(other), inside_name(item)) == 0)
        return log_failure("linux.netDevices: two devices named %s", inside_name(item));
    }
  }
  return 0;
}

static void begin(struct request *request, uint16_t type, uint16_t flags, size_t body) {
  memset(request, 0, sizeof *request);
  request->head.nlmsg_len = (uint32_t)NLMSG_LENGTH(body);
  request->head.nlmsg_type = type;
  request->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
  request->head.nlmsg_seq = 1;
}

/* All attributes of a request here are short: they fit. */
static void put(struct request *request, uint16_t type, const void *data, size_t size) {
  struct rtattr *attribute = (struct rtattr *)((char *)request + NLMSG_ALIGN(request->head.nlmsg_len));
  attribute->rta_type = type;
  attribute->rta_len = (uint16_t)RTA_LENGTH(size);
  memcpy(RTA_DATA(attribute), data, size);
  request->head.nlmsg_len = NLMSG_ALIGN(request->head.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
}

/* Sends, and hands each answer to visit until the acknowledgement or the end of a dump. 0 or -errno. */
static int talk(int fd, const struct request *request, void (*visit)(const struct nlmsghdr *, void *), void *arg) {
  static char buffer[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
  if (send(fd, request, request->head.nlmsg_len, 0) < 0) return -errno;
  for (;;) {
    ssize_t size = recv(fd, buffer, sizeof buffer, 0);
    if (size < 0) return -errno;
    size_t left = (size_t)size;
    for (const struct nlmsghdr *answer = (struct nlmsghdr *)buffer; NLMSG_OK(answer, left);
         answer = NLMSG_NEXT(answer, left)) {
      if (answer->nlmsg_type == NLMSG_DONE) return 0;
      if (answer->nlmsg_type == NLMSG_ERROR) return ((const struct nlmsgerr *)NLMSG_DATA(answer))->error;
      if (visit != NULL) visit(answer, arg);
    }
  }
}

static void note_index(const struct nlmsghdr *answer, void *arg) {
  if (answer->nlmsg_type == RTM_NEWLINK) *(int *)arg = ((const struct ifinfomsg *)NLMSG_DATA(answer))->ifi_index;
}

/* 0: there is none. */
static int index_of(int fd, const char *name) {
  struct request request;
  int index = 0;
  begin(&request, RTM_GETLINK, NLM_F_ACK, sizeof request.body.link);
  put(&request, IFLA_IFNAME, name, strlen(name) + 1);
  (void)talk(fd, &request, note_index, &index);
  return index;
}

static void take(const struct rtattr *attribute, void *out, size_t size, bool *has) {
  if (RTA_PAYLOAD(attribute) > size) return;
  memcpy(out, RTA_DATA(attribute), RTA_PAYLOAD(attribute));
  *has = true;
}

struct wanted_addresses {
  struct addresses *out;
  int index;
};

/* Those that were given to it, for all the world: the others come and go with the network that it is on. */
static void note_address(const struct nlmsghdr *answer, void *arg) {
  const struct wanted_addresses *wanted = arg;
  const struct ifaddrmsg *head = NLMSG_DATA(answer);
  struct address address = {.head = *head};
  uint32_t flags = head->ifa_flags;
  size_t left = IFA_PAYLOAD(answer);
  if (answer->nlmsg_type != RTM_NEWADDR || (int)head->ifa_index != wanted->index) return;
  for (const struct rtattr *at = IFA_RTA(head); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
    if (at->rta_type == IFA_FLAGS) memcpy(&flags, RTA_DATA(at), sizeof flags);
    if (at->rta_type == IFA_LOCAL) take(at, address.local, sizeof address.local, &address.has_local);
    if (at->rta_type == IFA_ADDRESS) take(at, address.peer, sizeof address.peer, &address.has_peer);
    if (at->rta_type == IFA_BROADCAST) take(at, address.broadcast, sizeof address.broadcast, &address.has_broadcast);
  }
  bool stays = (flags & IFA_F_PERMANENT) != 0 && head->ifa_scope == RT_SCOPE_UNIVERSE;
  if (stays && wanted->out->count < ADDRESSES_MAX) wanted->out->items[wanted->out->count++] = address;
}

static int read_addresses(int fd, int index, struct addresses *out) {
  struct request request;
  struct wanted_addresses wanted = {.out = out, .index = index};
  begin(&request, RTM_GETADDR, NLM_F_DUMP, sizeof request.body.address);
  return talk(fd, &request, note_address, &wanted);
}

/* Under its new name at once, so that it meets none of its old name there; down, as one that is up has no new name. */
static int move(int fd, int index, int into_fd, const char *name) {
  struct request request;
  begin(&request, RTM_NEWLINK, NLM_F_ACK, sizeof request.body.link);
  request.body.link.ifi_index = index;
  request.body.link.ifi_change = IFF_UP;
  put(&request, IFLA_NET_NS_FD, &into_fd, sizeof into_fd);
  put(&request, IFLA_IFNAME, name, strlen(name) + 1);
  return talk(fd, &request, NULL, NULL);
}

static int give_address(int fd, int index, const struct address *address) {
  struct request request;
  size_t size = address->head.ifa_family == AF_INET6 ? 16 : 4;
  begin(&request, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, sizeof request.body.address);
  request.body.address = address->head;
  request.body.address.ifa_index = (uint32_t)index;
  /* Nobody else has it: it was the device's until now. */
  request.body.address.ifa_flags = IFA_F_PERMANENT | (size == 16 ? IFA_F_NODAD : 0);
  if (address->has_local) put(&request, IFA_LOCAL, address->local, size);
  if (address->has_peer) put(&request, IFA_ADDRESS, address->peer, size);
  if (address->has_broadcast) put(&request, IFA_BROADCAST, address->broadcast, sizeof address->broadcast);
  return talk(fd, &request, NULL, NULL);
}

static int bring_up(int fd, int index) {
  struct request request;
  begin(&request, RTM_NEWLINK, NLM_F_ACK, sizeof request.body.link);
  request.body.link.ifi_index = index;
  request.body.link.ifi_flags = request.body.link.ifi_change = IFF_UP;
  return talk(fd, &request, NULL, NULL);
}

/* Sockets in both namespaces, and the container's itself. */
struct ends {
  int host, inside, netns;
};

static int open_ends(pid_t pid, struct ends *ends, struct shoal_error *err) {
  char path[64];
  (void)snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
  ends->netns = open(path, O_RDONLY | O_CLOEXEC);
  int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  ends->host = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  int rc = ends->netns < 0 || own < 0 || ends->host < 0 || setns(ends->netns, CLONE_NEWNET) < 0
               ? shoal_fail(err, errno, STEP, "open %s", path)
               : 0;
  if (rc == 0) {
    ends->inside = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (setns(own, CLONE_NEWNET) < 0 || ends->inside < 0) rc = shoal_fail(err, errno, STEP, "leave %s", path);
  }
  if (own >= 0) close(own);
  return rc;
}

static int hand_over(const struct ends *ends, const cJSON *device, struct shoal_error *err) {
  struct addresses addresses = {0};
  const char *name = inside_name(device);
  int index = index_of(ends->host, device->string);
  if (index == 0) return shoal_fail(err, ENODEV, STEP, "the host has no device %s", device->string);
  if (index_of(ends->inside, name) != 0) return shoal_fail(err, EEXIST, STEP, "%s is there already", name);
  int rc = read_addresses(ends->host, index, &addresses);
  if (rc == 0) rc = move(ends->host, index, ends->netns, name);
  if (rc < 0) return shoal_fail(err, -rc, STEP, "%s as %s", device->string, name);
  index = index_of(ends->inside, name);
  /* Up first: what is down loses its IPv6 addresses. */
  rc = index == 0 ? -ENODEV : bring_up(ends->inside, index);
  for (size_t i = 0; rc == 0 && i < addresses.count; i++)
    rc = give_address(ends->inside, index, &addresses.items[i]);
  return rc < 0 ? shoal_fail(err, -rc, STEP, "addresses of %s", name) : 0;
}

int net_devices_hand_over(const cJSON *devices, pid_t pid, struct shoal_error *err) {
  struct ends ends = {.host = -1, .inside = -1, .netns = -1};
  const cJSON *item;
  if (devices == NULL || devices->child == NULL) return 0;
  int rc = open_ends(pid, &ends, err);
  cJSON_ArrayForEach(item, devices) {
    if (rc == 0) rc = hand_over(&ends, item, err);
  }
  if (ends.host >= 0) close(ends.host);
  if (ends.inside >= 0) close(ends.inside);
  if (ends.netns >= 0) close(ends.netns);
  return rc;
}

/* Encrypted networks on a kernel that has WireGuard: two hosts made of namespaces, and the plans that two agents make
 * for them (test/vm/wireguard-plans.ts), carried out in their order while containers send to one another and the wire
 * between the hosts is listened to. For the virtual machine of test/vm, as root. vm-wireguard DIRECTORY    the plans;
 * prints a line of TAP for each test, and what the kernel then holds */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plans.h"

#define HOST_A "/run/netns/host-a"
#define HOST_B "/run/netns/host-b"
#define TASK_A "/run/netns/task-a"
#define TASK_B "/run/netns/task-b"
#define ADDRESS_A "10.7.0.10"
#define ADDRESS_B "10.7.0.11"
#define ADDRESS6_A "fd00:7::a"
#define ADDRESS6_B "fd00:7::b"
#define SECRET "nobody-else-may-read-this"
#define WIREGUARD_PORT 51831
#define VXLAN_PORT 4789
/* 1500, less WireGuard's 80 and VXLAN's 50. */
#define INNER_MTU 1370

static void make_hosts(void) {
  apply(NULL, "[{\"netns\":null,\"ops\":[{\"op\":\"netns-add\",\"path\":\"" HOST_A "\"},"
              "{\"op\":\"netns-add\",\"path\":\"" HOST_B "\"},{\"op\":\"netns-add\",\"path\":\"" TASK_A "\"},"
              "{\"op\":\"netns-add\",\"path\":\"" TASK_B "\"}]},"
              "{\"netns\":\"" HOST_A "\",\"ops\":[{\"op\":\"link-set\",\"name\":\"lo\",\"up\":true},"
              "{\"op\":\"link-add\",\"kind\":\"veth\",\"name\":\"eth0\",\"mtu\":1500,"
              "\"peer\":{\"name\":\"eth0\",\"netns\":\"" HOST_B "\",\"mtu\":1500}},"
              "{\"op\":\"addr-add\",\"dev\":\"eth0\",\"address\":\"192.0.2.1/24\"}]},"
              /* It could leave in plain text, if it were let. */
              "{\"netns\":\"" HOST_A "\",\"ops\":[{\"op\":\"route-add\",\"dst\":\"0.0.0.0/0\",\"dev\":\"eth0\","
              "\"via\":\"192.0.2.2\"}]},"
              "{\"netns\":\"" HOST_B "\",\"ops\":[{\"op\":\"link-set\",\"name\":\"lo\",\"up\":true},"
              "{\"op\":\"addr-add\",\"dev\":\"eth0\",\"address\":\"192.0.2.2/24\"}]}]");
}

/* Listens to all that the first host sends and receives. */
static int listen_to_wire(void) {
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), host = open(HOST_A, O_RDONLY | O_CLOEXEC);
  int size = 8 << 20;
  CHECK(home >= 0 && host >= 0 && setns(host, CLONE_NEWNET) == 0);
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
  struct sockaddr_ll at = {
      .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex("eth0")};
  CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0);
  CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) == 0);
  CHECK(setns(home, CLONE_NEWNET) == 0);
  close(home);
  close(host);
  return fd;
}

struct heard {
  int wireguard[2]; /* by the slot of the key */
  int vxlan, plain, fragments, largest;
  int ipv6; /* but for what the hosts say of themselves */
};

static void look_at(struct heard *heard, const uint8_t *frame, size_t length) {
  const struct iphdr *ip = (const struct iphdr *)(frame + ETH_HLEN);
  if (memmem(frame, length, SECRET, strlen(SECRET)) != NULL) heard->plain++;
  if (frame[12] == 0x86 && frame[13] == 0xdd && frame[ETH_HLEN + 6] != IPPROTO_ICMPV6 && frame[ETH_HLEN + 6] != 0)
    heard->ipv6++;
  if (length < ETH_HLEN + sizeof *ip + sizeof(struct udphdr) || frame[12] != 8 || frame[13] != 0) return;
  if ((int)length - ETH_HLEN > heard->largest) heard->largest = (int)length - ETH_HLEN;
  if (ntohs(ip->frag_off) & (IP_MF | IP_OFFMASK)) heard->fragments++;
  if (ip->protocol != IPPROTO_UDP) return;
  uint16_t port = ntohs(((const struct udphdr *)((const uint8_t *)ip + ip->ihl * 4))->dest);
  if (port == VXLAN_PORT || port == VXLAN_PORT + 1 || (ntohl(ip->daddr) >> 28) == 0xf) heard->vxlan++;
  if (port == WIREGUARD_PORT || port == WIREGUARD_PORT + 1) heard->wireguard[port - WIREGUARD_PORT]++;
}

/* All since the last look. */
static struct heard look(int wire) {
  /* So that the header behind Ethernet's 14 bytes is aligned. */
  static _Alignas(8) uint8_t space[65536];
  uint8_t *frame = space + 2;
  struct heard heard = {0};
  for (ssize_t length; (length = recv(wire, frame, sizeof space - 2, 0)) > 0;)
    look_at(&heard, frame, (size_t)length);
  return heard;
}

/* A socket of a container, that never splits what it sends. */
static int open_in(const char *netns, const char *address, uint16_t port) {
  int whole = IP_PMTUDISC_DO;
  int fd = shoal_net_socket(netns, SOCK_DGRAM, address, port, &err);
  CHECK(fd >= 0 && setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &whole, sizeof whole) == 0);
  return fd;
}

static int arrives(int fd, int wait_ms, const char *text, size_t size) {
  static char got[2048];
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  while (poll(&ready, 1, wait_ms) == 1) {
    ssize_t length = recv(fd, got, sizeof got, 0);
    if (length == (ssize_t)size && memcmp(got, text, size) == 0) return 1;
  }
  return 0;
}

/* One datagram from a to b and one back, each waited for. */
static int exchange(int a, int b, size_t size) {
  static unsigned int count;
  char text[2048] = SECRET;
  struct sockaddr_in to_a = at(ADDRESS_A, 7000), to_b = at(ADDRESS_B, 7000);
  (void)snprintf(text + strlen(SECRET), 32, " %u", ++count);
  if (sendto(a, text, size, 0, (struct sockaddr *)&to_b, sizeof to_b) != (ssize_t)size) return 0;
  if (!arrives(b, 20000, text, size)) return 0;
  if (sendto(b, text, size, 0, (struct sockaddr *)&to_a, sizeof to_a) != (ssize_t)size) return 0;
  return arrives(a, 20000, text, size);
}

static uint16_t checksum(const void *data, size_t size) {
  const uint8_t *bytes = data;
  uint32_t sum = 0;
  for (size_t i = 0; i < size; i += 2)
    sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
  while (sum >> 16)
    sum = (sum & 0xffff) + (sum >> 16);
  return htons((uint16_t)~sum);
}

/* What another node's tunnel would send: a datagram from b to a in an Ethernet frame, with VXLAN's header. */
static size_t forge(uint8_t *packet, uint32_t vni, const char *text) {
  static const uint8_t ethernet[] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
  uint8_t header[] = {8, 0, 0, 0, (uint8_t)(vni >> 16), (uint8_t)(vni >> 8), (uint8_t)vni, 0};
  size_t size = sizeof(struct udphdr) + strlen(text);
  struct udphdr udp = {.source = htons(7000), .dest = htons(7000), .len = htons((uint16_t)size)};
  struct iphdr ip = {.version = 4,
                     .ihl = 5,
                     .tot_len = htons((uint16_t)(sizeof ip + size)),
                     .ttl = 9,
                     .protocol = IPPROTO_UDP,
                     .saddr = at(ADDRESS_B, 0).sin_addr.s_addr,
                     .daddr = at(ADDRESS_A, 0).sin_addr.s_addr};
  ip.check = checksum(&ip, sizeof ip);
  uint8_t *end = packet;
  end = mempcpy(end, header, sizeof header);
  end = mempcpy(end, ethernet, sizeof ethernet);
  end = mempcpy(end, &ip, sizeof ip);
  end = mempcpy(end, &udp, sizeof udp);
  return (size_t)((uint8_t *)mempcpy(end, text, strlen(text)) - packet);
}

/* Whether a forged packet that is sent from a namespace to an address reaches the container. */
static int enters(const char *netns, const char *from, const char *to, const char *text, int wait_ms, int a) {
  uint8_t packet[256];
  struct sockaddr_in target = at(to, VXLAN_PORT + 1);
  size_t size = forge(packet, 0x1001, text);
  int fd = shoal_net_socket(netns, SOCK_DGRAM, from, 0, &err);
  CHECK(fd >= 0);
  /* A refusal at once is as good. */
  (void)sendto(fd, packet, size, 0, (struct sockaddr *)&target, sizeof target);
  close(fd);
  return arrives(a, wait_ms, text, strlen(text));
}

static void test_wire(int wire, int a, int b) {
  CHECK(exchange(a, b, 200));
  struct heard heard = look(wire);
  (void)printf("ok - an encrypted network carries datagrams between two hosts\n");
  CHECK(heard.wireguard[0] > 0 && heard.wireguard[1] == 0);
  CHECK_INT(heard.plain, 0);
  CHECK_INT(heard.vxlan, 0);
  (void)printf("ok - the wire between them shows WireGuard and no plain text\n");
  CHECK(exchange(a, b, INNER_MTU - 28));
  CHECK(!exchange(a, b, INNER_MTU - 27));
  heard = look(wire);
  CHECK_INT(heard.fragments, 0);
  CHECK(heard.largest > 1400 && heard.largest <= 1500);
  (void)printf("ok - the largest packet passes whole, and a larger one is refused\n");
}

static void test_forged(int a) {
  /* So it would enter: from the other host, through WireGuard. */
  CHECK(enters(HOST_B, "0.0.0.0", "240.183.0.2", "from its node", 20000, a));
  CHECK(!enters(HOST_B, "0.0.0.0", "192.0.2.1", "from outside", 500, a));
  CHECK(!enters(TASK_B, ADDRESS_B, "240.183.0.2", "from a container", 500, a));
  CHECK(!enters(TASK_B, ADDRESS_B, "192.0.2.1", "from a container", 500, a));
  (void)printf("ok - what does not come through WireGuard does not enter, nor what a container sends there\n");
}

static void test_broken(int wire, int a, int b) {
  struct sockaddr_in to_b = at(ADDRESS_B, 7000);
  (void)look(wire);
  carry_out(HOST_A, "break-a");
  for (int i = 0; i < 20; i++)
    (void)sendto(a, SECRET, strlen(SECRET), 0, (struct sockaddr *)&to_b, sizeof to_b);
  CHECK(!arrives(b, 500, SECRET, strlen(SECRET)));
  struct heard heard = look(wire);
  CHECK_INT(heard.plain, 0);
  CHECK_INT(heard.vxlan, 0);
  (void)printf("ok - without the device nothing leaves in plain text\n");
  carry_out(HOST_A, "mend-a");
  CHECK(exchange(a, b, 200));
  (void)printf("ok - a device that somebody removed is put back\n");
}

/* Each plan is carried out while datagrams go to and fro; one that is lost is not sent again. */
static void test_replaced(int wire, int a, int b) {
  static const struct {
    const char *host, *plan;
  } steps[] = {{HOST_A, "a1"}, {HOST_B, "b1"}, {HOST_A, "a2"}, {HOST_B, "b2"}, {HOST_A, "a3"}, {HOST_B, "b3"}};
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    pid_t child = fork();
    if (child == 0) {
      carry_out(steps[i].host, steps[i].plan);
      _exit(0);
    }
    int status = 0;
    for (int more = 20; more > 0;) {
      int whole = exchange(a, b, 200);
      if (!whole) (void)printf("# lost with plan %s of %s: %s\n", steps[i].plan, steps[i].host, strerror(errno));
      CHECK(whole);
      if (child > 0 && waitpid(child, &status, WNOHANG) == child) child = 0;
      if (child == 0) more--;
    }
    CHECK_INT(status, 0);
  }
  (void)look(wire);
  CHECK(exchange(a, b, 200));
  struct heard heard = look(wire);
  CHECK(heard.wireguard[1] > 0);
  CHECK_INT(heard.plain, 0);
  CHECK_INT(heard.vxlan, 0);
  (void)printf("ok - a key is replaced, and no datagram is lost\n");
}

static struct sockaddr_in6 at6(const char *address, uint16_t port) {
  struct sockaddr_in6 result = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  CHECK(inet_pton(AF_INET6, address, &result.sin6_addr) == 1);
  return result;
}

static void send_all(int fd, size_t size) {
  static char text[4096];
  for (size_t i = 0; i + strlen(SECRET) <= sizeof text; i += strlen(SECRET))
    memcpy(text + i, SECRET, strlen(SECRET));
  for (size_t sent = 0; sent < size;) {
    ssize_t n = send(fd, text, size - sent < sizeof text ? size - sent : sizeof text, 0);
    CHECK(n > 0);
    sent += (size_t)n;
  }
}

/* Connects from a container to another one's address, and sends so many bytes from a child. */
static void pump6(size_t size) {
  struct sockaddr_in6 to = at6(ADDRESS6_B, 7001);
  int listener = shoal_net_socket(TASK_B, SOCK_STREAM, ADDRESS6_B, 7001, &err);
  CHECK(listener >= 0);
  pid_t child = fork();
  if (child == 0) {
    int here = open(TASK_A, O_RDONLY | O_CLOEXEC);
    CHECK(here >= 0 && setns(here, CLONE_NEWNET) == 0);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    send_all(fd, size);
    _exit(0);
  }
  struct pollfd ready = {.fd = listener, .events = POLLIN};
  CHECK_INT(poll(&ready, 1, 20000), 1);
  int fd = accept(listener, NULL, NULL);
  CHECK(fd >= 0);
  static char got[65536];
  size_t have = 0;
  for (ssize_t n; (n = recv(fd, got, sizeof got, 0)) > 0;)
    have += (size_t)n;
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK_INT(status, 0);
  CHECK_INT(have, size);
  close(fd);
  close(listener);
}

static void test_ipv6(int wire) {
  static char text[2048] = SECRET;
  int a = shoal_net_socket(TASK_A, SOCK_DGRAM, ADDRESS6_A, 7000, &err);
  int b = shoal_net_socket(TASK_B, SOCK_DGRAM, ADDRESS6_B, 7000, &err);
  struct sockaddr_in6 to_a = at6(ADDRESS6_A, 7000), to_b = at6(ADDRESS6_B, 7000);
  CHECK(a >= 0 && b >= 0);
  (void)look(wire);
  for (size_t size = 200; size <= INNER_MTU - 48; size += INNER_MTU - 48 - 200) {
    CHECK_INT(sendto(a, text, size, 0, (struct sockaddr *)&to_b, sizeof to_b), size);
    CHECK(arrives(b, 20000, text, size));
    CHECK_INT(sendto(b, text, size, 0, (struct sockaddr *)&to_a, sizeof to_a), size);
    CHECK(arrives(a, 20000, text, size));
  }
  struct heard heard = look(wire);
  CHECK(heard.wireguard[0] + heard.wireguard[1] >= 4);
  pump6(1 << 20);
  struct heard more = look(wire);
  /* All of it went by here, though the listener may not have had room for all. */
  CHECK(more.wireguard[0] + more.wireguard[1] > 100);
  CHECK_INT(heard.plain + more.plain, 0);
  CHECK_INT(heard.vxlan + more.vxlan, 0);
  CHECK_INT(heard.ipv6 + more.ipv6, 0);
  CHECK_INT(heard.fragments + more.fragments, 0);
  (void)printf("ok - IPv6 goes through it: datagrams up to the largest, a megabyte of TCP, nothing in plain text\n");
}

/* For the comparison with what should be. */
static void tell(const char *host, const char *name) {
  pid_t child = fork();
  if (child == 0) {
    char *text = NULL;
    int fd = open(host, O_RDONLY | O_CLOEXEC);
    if (setns(fd, CLONE_NEWNET) || shoal_net_dump(NULL, "ipv4/conf/sw*/rp_filter", &text, &err)) _exit(1);
    (void)printf("# dump %s %s\n", name, text);
    (void)fflush(stdout);
    _exit(0);
  }
  int status;
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  CHECK_INT(status, 0);
}

int main(int argc, char **argv) {
  CHECK_INT(argc, 2);
  plans = argv[1];
  (void)setvbuf(stdout, NULL, _IOLBF, 0);
  make_hosts();
  carry_out(HOST_A, "a0");
  carry_out(HOST_B, "b0");
  carry_out(HOST_A, "attach-a");
  carry_out(HOST_B, "attach-b");
  int wire = listen_to_wire(), a = open_in(TASK_A, ADDRESS_A, 7000), b = open_in(TASK_B, ADDRESS_B, 7000);
  test_wire(wire, a, b);
  test_forged(a);
  test_broken(wire, a, b);
  test_replaced(wire, a, b);
  test_ipv6(wire);
  tell(HOST_A, "a");
  tell(HOST_B, "b");
  return 0;
}

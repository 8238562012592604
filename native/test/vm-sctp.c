/* Published SCTP ports and VIPs on a kernel that has SCTP: two hosts and a client outside, made of namespaces, and the
 * plans that two agents make for them (test/vm/sctp-plans.ts). For the virtual machine of test/vm, as root.
 * vm-sctp DIRECTORY    the plans; prints a line of TAP for each test */
#include <errno.h>

#include "plans.h"

#define HOST_A "/run/netns/sctp-host-a"
#define HOST_B "/run/netns/sctp-host-b"
#define OUTSIDE "/run/netns/sctp-outside"
#define TASK_A "/run/netns/sctp-task-a"
#define TASK_B "/run/netns/sctp-task-b"
#define PUBLISHED_PORT 8443
#define TARGET_PORT 7000
/* More than fits into one packet, so that it comes in chunks. */
#define LARGE 40000

static void make_hosts(void) {
  apply(NULL, "[{\"netns\":null,\"ops\":[{\"op\":\"netns-add\",\"path\":\"" HOST_A "\"},"
              "{\"op\":\"netns-add\",\"path\":\"" HOST_B "\"},{\"op\":\"netns-add\",\"path\":\"" OUTSIDE "\"},"
              "{\"op\":\"netns-add\",\"path\":\"" TASK_A "\"},{\"op\":\"netns-add\",\"path\":\"" TASK_B "\"}]},"
              "{\"netns\":\"" HOST_A "\",\"ops\":[{\"op\":\"link-set\",\"name\":\"lo\",\"up\":true},"
              "{\"op\":\"link-add\",\"kind\":\"veth\",\"name\":\"eth0\",\"mtu\":1500,"
              "\"peer\":{\"name\":\"eth0\",\"netns\":\"" HOST_B "\",\"mtu\":1500}},"
              "{\"op\":\"addr-add\",\"dev\":\"eth0\",\"address\":\"192.0.2.1/24\"},"
              "{\"op\":\"link-add\",\"kind\":\"veth\",\"name\":\"eth1\",\"mtu\":1500,"
              "\"peer\":{\"name\":\"eth0\",\"netns\":\"" OUTSIDE "\",\"mtu\":1500}},"
              "{\"op\":\"addr-add\",\"dev\":\"eth1\",\"address\":\"198.51.100.1/24\"}]},"
              "{\"netns\":\"" HOST_B "\",\"ops\":[{\"op\":\"link-set\",\"name\":\"lo\",\"up\":true},"
              "{\"op\":\"link-set\",\"name\":\"eth0\",\"up\":true},"
              "{\"op\":\"addr-add\",\"dev\":\"eth0\",\"address\":\"192.0.2.2/24\"}]},"
              "{\"netns\":\"" OUTSIDE "\",\"ops\":[{\"op\":\"link-set\",\"name\":\"eth0\",\"up\":true},"
              "{\"op\":\"addr-add\",\"dev\":\"eth0\",\"address\":\"198.51.100.9/24\"},"
              "{\"op\":\"route-add\",\"dst\":\"0.0.0.0/0\",\"dev\":\"eth0\",\"via\":\"198.51.100.1\"}]}]");
}

static int sctp_in(const char *netns) {
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there = open(netns, O_RDONLY | O_CLOEXEC);
  struct timeval patience = {.tv_sec = 30};
  CHECK(home >= 0 && there >= 0 && setns(there, CLONE_NEWNET) == 0);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_SCTP);
  if (fd < 0) (void)fprintf(stderr, "# no SCTP socket: %s\n", strerror(errno));
  CHECK(fd >= 0 && setns(home, CLONE_NEWNET) == 0);
  CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0);
  CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
  close(home);
  close(there);
  return fd;
}

static int listen_in(const char *netns) {
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(TARGET_PORT)};
  int fd = sctp_in(netns);
  CHECK(bind(fd, (struct sockaddr *)&any, sizeof any) == 0 && listen(fd, 8) == 0);
  return fd;
}

/* Sends so many bytes and takes them at the other end, all of them and unchanged. */
static void pass(int from, int to, size_t size) {
  static char sent[LARGE], got[LARGE];
  for (size_t i = 0; i < size; i++)
    sent[i] = (char)(i * 31 + size);
  CHECK_INT(send(from, sent, size, 0), size);
  for (size_t have = 0; have < size;) {
    ssize_t n = recv(to, got + have, size - have, 0);
    if (n <= 0) (void)fprintf(stderr, "# %zu of %zu bytes: %s\n", have, size, strerror(errno));
    CHECK(n > 0);
    have += (size_t)n;
  }
  CHECK(memcmp(sent, got, size) == 0);
}

/* An association from a namespace to an address, which comes out at the listener with this one as the client's. */
static void associate(int listener, const char *netns, struct sockaddr_in to, const char *seen) {
  int client = sctp_in(netns);
  int failed = connect(client, (struct sockaddr *)&to, sizeof to);
  if (failed) (void)fprintf(stderr, "# connect: %s\n", strerror(errno));
  CHECK_INT(failed, 0);
  struct sockaddr_in peer;
  socklen_t size = sizeof peer;
  int server = accept(listener, (struct sockaddr *)&peer, &size);
  CHECK(server >= 0);
  char text[INET_ADDRSTRLEN];
  CHECK_STR(inet_ntop(AF_INET, &peer.sin_addr, text, sizeof text), seen);
  for (int i = 0; i < 20; i++) {
    pass(client, server, 200);
    pass(server, client, 1200);
  }
  pass(client, server, LARGE);
  pass(server, client, LARGE);
  close(client);
  close(server);
}

static void is_refused(const char *netns, struct sockaddr_in to) {
  int client = sctp_in(netns);
  CHECK_INT(connect(client, (struct sockaddr *)&to, sizeof to), -1);
  CHECK_INT(errno, ECONNREFUSED);
  close(client);
}

int main(int argc, char **argv) {
  CHECK_INT(argc, 2);
  plans = argv[1];
  (void)setvbuf(stdout, NULL, _IOLBF, 0);
  make_hosts();
  carry_out(HOST_A, "sctp-a");
  carry_out(HOST_B, "sctp-b");
  carry_out(HOST_A, "sctp-attach-a");
  carry_out(HOST_B, "sctp-attach-b");
  int listener = listen_in(TASK_B);
  associate(listener, OUTSIDE, at("192.0.2.1", PUBLISHED_PORT), "198.51.100.9");
  (void)printf("ok - a published SCTP port answers by a node without the task, and the task sees the client\n");
  associate(listener, TASK_A, at("10.8.0.200", TARGET_PORT), "10.8.0.10");
  (void)printf("ok - a VIP leads SCTP to a task on another node\n");
  is_refused(OUTSIDE, at("192.0.2.1", TARGET_PORT));
  (void)printf("ok - an SCTP port that is not published is refused\n");
  return 0;
}

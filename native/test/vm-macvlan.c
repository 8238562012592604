/* Networks of the driver macvlan on a kernel that has it: a host and a machine on its LAN, both namespaces, and the
 * plans that an agent makes for its containers (test/vm/macvlan-plans.ts), carried out in their order. For the virtual
 * machine of test/vm, as root. vm-macvlan DIRECTORY    the plans; prints a line of TAP for each test, and what the host
 * then holds */
#include <net/if.h>
#include <poll.h>

#include "plans.h"

#define HOST "/run/netns/host-m"
#define LAN "/run/netns/lan-m"
#define SANDBOX "/run/netns/shoal-vm-nodemmmm-2001"
#define NAME_SERVER "169.254.0.2"
#define TASK(name) "/run/netns/m-" name

struct end {
  const char *netns, *address;
};

static int open_end(struct end end) {
  int fd = shoal_net_socket(end.netns, SOCK_DGRAM, end.address, 7100, &err);
  if (fd < 0) (void)fprintf(stderr, "# %s %s: %s\n", end.netns, end.address, err.detail);
  CHECK(fd >= 0);
  return fd;
}

static int arrives(int fd, int wait_ms, const char *text, size_t size) {
  char got[64];
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  while (poll(&ready, 1, wait_ms) == 1) {
    ssize_t length = recv(fd, got, sizeof got, 0);
    if (length == (ssize_t)size && memcmp(got, text, size) == 0) return 1;
  }
  return 0;
}

/* A datagram from one to the other, and one back to the address that the first came from, which is told. */
static int exchange(struct end from, struct end to, int wait_ms, const char *seen_as) {
  static const char text[] = "over the LAN";
  int a = open_end(from), b = open_end(to), good = 0;
  struct sockaddr_in target = at(to.address, 7100), source;
  socklen_t size = sizeof source;
  char got[64], name[INET_ADDRSTRLEN];
  struct pollfd ready = {.fd = b, .events = POLLIN};
  (void)sendto(a, text, sizeof text, 0, (struct sockaddr *)&target, sizeof target);
  if (poll(&ready, 1, wait_ms) == 1 &&
      recvfrom(b, got, sizeof got, 0, (struct sockaddr *)&source, &size) == (ssize_t)sizeof text) {
    CHECK(inet_ntop(AF_INET, &source.sin_addr, name, sizeof name) != NULL);
    CHECK_STR(name, seen_as);
    CHECK(sendto(b, text, sizeof text, 0, (struct sockaddr *)&source, size) == (ssize_t)sizeof text);
    good = arrives(a, wait_ms, text, sizeof text);
  }
  close(a);
  close(b);
  return good;
}

static const struct end machine = {LAN, "10.7.0.254"}, beyond = {LAN, "203.0.113.9"},
                        tagged_machine = {LAN, "10.8.0.254"};
static const struct end one = {TASK("one"), "10.7.0.10"}, two = {TASK("two"), "10.7.0.11"};
static const struct end tagged = {TASK("tagged"), "10.8.0.10"};
static const struct end alone = {TASK("alone"), "10.9.0.10"}, apart = {TASK("apart"), "10.9.0.11"};
/* The address is any: what is sent from it has that of the route. */
static const struct end any_one = {TASK("one"), "0.0.0.0"};
static const struct end resolver = {SANDBOX, NAME_SERVER};

static void test_lan(void) {
  CHECK(exchange(one, machine, 20000, "10.7.0.10"));
  CHECK(exchange(machine, two, 20000, "10.7.0.254"));
  CHECK(exchange(one, two, 20000, "10.7.0.10"));
  (void)printf("ok - containers of macvlan are on the LAN, and reach one another\n");
  CHECK(exchange(any_one, beyond, 20000, "10.7.0.10"));
  (void)printf("ok - their way out is the gateway of the LAN\n");
  CHECK(exchange(any_one, resolver, 20000, "10.7.0.10"));
  (void)printf("ok - their name server is reached, and knows who asks\n");
  CHECK(!exchange(alone, apart, 1000, "10.9.0.10"));
  (void)printf("ok - in the mode private they do not reach one another\n");
}

static int exists(const char *netns, const char *name) {
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there = open(netns, O_RDONLY | O_CLOEXEC);
  CHECK(home >= 0 && there >= 0 && setns(there, CLONE_NEWNET) == 0);
  int result = if_nametoindex(name) != 0;
  CHECK(setns(home, CLONE_NEWNET) == 0);
  close(home);
  close(there);
  return result;
}

static void test_vlan(void) {
  CHECK(exchange(tagged, tagged_machine, 20000, "10.8.0.10"));
  (void)printf("ok - the parent of a VLAN is made, and its packets are tagged\n");
  carry_out(HOST, "break");
  CHECK(!exists(TASK("tagged"), "eth0"));
  carry_out(HOST, "mend");
  CHECK(exchange(tagged, tagged_machine, 20000, "10.8.0.10"));
  (void)printf("ok - a container that lost its interface with the parent gets it back\n");
}

static void test_no_parent(void) {
  CHECK(shoal_net_apply("[{\"netns\":\"" HOST "\",\"ops\":[{\"op\":\"link-add\",\"kind\":\"macvlan\",\"name\":\"eth5\","
                        "\"into\":\"" TASK("one") "\",\"parent\":\"eth9\",\"mode\":\"bridge\"}]}]",
                        &err) != 0);
  CHECK(strstr(err.detail, "there is no device eth9 on this node") != NULL);
  (void)printf("ok - a parent that is not there is named\n");
}

static void tell(const char *name) {
  char *text = NULL;
  CHECK_INT(shoal_net_dump(HOST, NULL, &text, &err), 0);
  (void)printf("# dump %s %s\n", name, text);
  shoal_net_free(text);
}

int main(int argc, char **argv) {
  CHECK_INT(argc, 2);
  plans = argv[1];
  (void)setvbuf(stdout, NULL, _IOLBF, 0);
  CHECK_INT(shoal_net_apply("[{\"netns\":null,\"ops\":[{\"op\":\"macvlan-check\"}]}]", &err), 0);
  carry_out(NULL, "setup");
  carry_out(HOST, "begin");
  static const char *const attachments[] = {"attach-one", "attach-two", "attach-tagged", "attach-alone",
                                            "attach-apart"};
  for (size_t i = 0; i < sizeof attachments / sizeof attachments[0]; i++)
    carry_out(HOST, attachments[i]);
  test_lan();
  test_vlan();
  test_no_parent();
  tell("macvlan");
  carry_out(HOST, "end");
  CHECK(!exists(HOST, "eth1.50") && exists(HOST, "eth1"));
  CHECK(access(SANDBOX, F_OK) != 0);
  (void)printf("ok - the network's end leaves nothing of it on the host\n");
  return 0;
}

/* The network calls against the kernel, in namespaces of this test's own. Needs root. */
#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shoal-net.h"

#define A "/run/netns/shoal-test-c-a"
#define B "/run/netns/shoal-test-c-b"

static struct shoal_error err;

static void check_at(int line, int good, const char *what) {
  if (good) return;
  (void)fprintf(stderr, "test-net.c:%d: %s (%s: %s)\n", line, what, err.step, err.detail);
  shoal_net_apply("[{\"netns\":null,\"ops\":[{\"op\":\"netns-del\",\"path\":\"" A "\"},"
                  "{\"op\":\"netns-del\",\"path\":\"" B "\"}]}]",
                  NULL);
  exit(1);
}
#define CHECK(condition) check_at(__LINE__, (condition), #condition)

static int apply(const char *netns, const char *ops) {
  char text[4096];
  (void)snprintf(text, sizeof text,
                 netns == NULL ? "[{\"netns\":null,\"ops\":[%s%s]}]" : "[{\"netns\":\"%s\",\"ops\":[%s]}]",
                 netns == NULL ? "" : netns, ops);
  return shoal_net_apply(text, &err);
}

static cJSON *dump(const char *netns) {
  char *json = NULL;
  CHECK(shoal_net_dump(netns, "ipv4/ip_forward,ipv4/neigh/*/proxy_delay", &json, &err) == 0);
  cJSON *root = cJSON_Parse(json);
  shoal_net_free(json);
  CHECK(root != NULL);
  return root;
}

/* The first member of a list whose field has this text. */
static cJSON *find(const cJSON *root, const char *list, const char *field, const char *text) {
  cJSON *item;
  cJSON_ArrayForEach(item, cJSON_GetObjectItem(root, list)) {
    const char *value = cJSON_GetStringValue(cJSON_GetObjectItem(item, field));
    if (value != NULL && strcmp(value, text) == 0) return item;
  }
  return NULL;
}

static int has_namespace(const char *path) {
  struct stat status;
  return stat(path, &status) == 0;
}

static void test_namespaces(void) {
  CHECK(apply(NULL, "{\"op\":\"netns-add\",\"path\":\"" A "\"},{\"op\":\"netns-add\",\"path\":\"" B "\"}") == 0);
  CHECK(apply(NULL, "{\"op\":\"netns-add\",\"path\":\"" A "\"}") == 0);
  CHECK(has_namespace(A) && has_namespace(B));
  CHECK(apply("/run/netns/shoal-test-c-none", "") == -ENOENT);
}

static void test_links(void) {
  const char *veth = "{\"op\":\"link-add\",\"kind\":\"veth\",\"name\":\"v0\",\"mtu\":1400,"
                     "\"peer\":{\"name\":\"e0\",\"netns\":\"" B "\",\"mtu\":1400}}";
  CHECK(apply(A, veth) == 0);
  cJSON *before = dump(B);
  CHECK(apply(A, veth) == 0);
  cJSON *after = dump(B);
  CHECK(cJSON_Compare(find(before, "links", "name", "e0"), find(after, "links", "name", "e0"), 1));
  cJSON_Delete(before);
  cJSON_Delete(after);
  /* The kernel would make one a processor, and take them away again. */
  if (system("ip -V 2>/dev/null | grep -q iproute2") == 0) {
    CHECK(system("ip -n shoal-test-c-a -d link show v0 | grep -q 'numtxqueues 1 numrxqueues 1 '") == 0);
    CHECK(system("ip -n shoal-test-c-b -d link show e0 | grep -q 'numtxqueues 1 numrxqueues 1 '") == 0);
  }
  CHECK(apply(B, "{\"op\":\"link-set\",\"name\":\"e0\",\"up\":true}") == 0);
  CHECK(apply(B, "{\"op\":\"link-del\",\"name\":\"e9\"}") == 0);
  CHECK(apply(B, "{\"op\":\"link-set\",\"name\":\"e9\",\"up\":true}") == -ENODEV);
  CHECK(apply(A, "{\"op\":\"link-set\",\"name\":\"a-name-too-long-for-a-link\",\"up\":true}") == -EINVAL);
  /* Its socket stays in A, the device goes to B. */
  const char *vxlan = "{\"op\":\"link-add\",\"kind\":\"vxlan\",\"name\":\"vx0\",\"into\":\"" B "\",\"id\":77,"
                      "\"port\":4790,\"local\":\"10.9.0.1\",\"mtu\":1350,\"mac\":\"02:00:00:00:00:07\"}";
  CHECK(apply(A, vxlan) == 0);
  CHECK(apply(A, vxlan) == 0);
  cJSON *root = dump(B);
  cJSON *link = find(root, "links", "name", "vx0");
  CHECK(cJSON_GetObjectItem(link, "id")->valueint == 77 && cJSON_GetObjectItem(link, "port")->valueint == 4790);
  CHECK(strcmp(cJSON_GetObjectItem(link, "mac")->valuestring, "02:00:00:00:00:07") == 0);
  cJSON_Delete(root);
}

/* Each operation twice: to add what is there and to delete what is not is success. */
static void twice(const char *netns, const char *op) {
  CHECK(apply(netns, op) == 0);
  CHECK(apply(netns, op) == 0);
}

static void test_routes(void) {
  twice(A, "{\"op\":\"addr-add\",\"dev\":\"v0\",\"address\":\"10.9.1.1/24\"}");
  twice(B, "{\"op\":\"addr-add\",\"dev\":\"e0\",\"address\":\"10.9.1.2/24\"}");
  twice(A, "{\"op\":\"route-add\",\"dst\":\"10.9.2.0/24\",\"dev\":\"v0\",\"via\":\"10.9.1.2\"}");
  twice(B, "{\"op\":\"route-add\",\"dst\":\"0.0.0.0/0\",\"dev\":\"vx0\",\"via\":\"192.0.2.7\",\"onlink\":true,"
           "\"table\":10001}");
  twice(B, "{\"op\":\"rule-add\",\"priority\":2000,\"table\":10001,\"fwmark\":3}");
  twice(B, "{\"op\":\"neigh-add\",\"dev\":\"vx0\",\"address\":\"192.0.2.7\",\"mac\":\"02:00:00:00:00:08\"}");
  twice(B, "{\"op\":\"rate-add\",\"dev\":\"vx0\",\"bytesPerSecond\":125000}");
  twice(B, "{\"op\":\"rate-add\",\"dev\":\"vx0\",\"bytesPerSecond\":12500000000}");
  cJSON *rates = dump(B);
  CHECK(cJSON_GetArraySize(cJSON_GetObjectItem(rates, "rates")) == 1);
  CHECK(cJSON_GetNumberValue(cJSON_GetObjectItem(find(rates, "rates", "dev", "vx0"), "bytesPerSecond")) == 12500000000);
  cJSON_Delete(rates);
  twice(B, "{\"op\":\"rate-add\",\"dev\":\"vx0\",\"bytesPerSecond\":8000}");
  rates = dump(B);
  CHECK(cJSON_GetNumberValue(cJSON_GetObjectItem(find(rates, "rates", "dev", "vx0"), "bytesPerSecond")) == 8000);
  cJSON_Delete(rates);
  twice(B, "{\"op\":\"rate-del\",\"dev\":\"vx0\"}");
  CHECK(apply(B, "{\"op\":\"rate-add\",\"dev\":\"none\",\"bytesPerSecond\":1}") == -ENODEV);
  CHECK(apply(B, "{\"op\":\"rate-add\",\"dev\":\"vx0\"}") == -EINVAL);
  rates = dump(B);
  CHECK(cJSON_GetArraySize(cJSON_GetObjectItem(rates, "rates")) == 0);
  cJSON_Delete(rates);
  twice(B, "{\"op\":\"fdb-add\",\"dev\":\"vx0\",\"mac\":\"02:00:00:00:00:08\",\"dst\":\"192.0.2.7\"}");
  cJSON *root = dump(B);
  const cJSON *route = find(root, "routes", "via", "192.0.2.7");
  CHECK(cJSON_GetObjectItem(route, "table")->valueint == 10001 && cJSON_IsTrue(cJSON_GetObjectItem(route, "onlink")));
  CHECK(find(root, "neighbours", "mac", "02:00:00:00:00:08") != NULL);
  CHECK(find(root, "fdb", "dst", "192.0.2.7") != NULL);
  cJSON_Delete(root);
  /* Another destination takes the place of the one before, so that there is always one. */
  twice(B, "{\"op\":\"fdb-add\",\"dev\":\"vx0\",\"mac\":\"02:00:00:00:00:08\",\"dst\":\"192.0.2.9\"}");
  twice(B, "{\"op\":\"fdb-del\",\"dev\":\"vx0\",\"mac\":\"02:00:00:00:00:08\",\"dst\":\"192.0.2.7\"}");
  root = dump(B);
  CHECK(find(root, "fdb", "dst", "192.0.2.7") == NULL && find(root, "fdb", "dst", "192.0.2.9") != NULL);
  cJSON_Delete(root);
  twice(B, "{\"op\":\"fdb-del\",\"dev\":\"vx0\",\"mac\":\"02:00:00:00:00:08\",\"dst\":\"192.0.2.9\"}");
  twice(B, "{\"op\":\"neigh-del\",\"dev\":\"vx0\",\"address\":\"192.0.2.7\"}");
  twice(B, "{\"op\":\"rule-del\",\"priority\":2000,\"table\":10001,\"fwmark\":3}");
  twice(B, "{\"op\":\"route-del\",\"dst\":\"0.0.0.0/0\",\"table\":10001}");
  twice(A, "{\"op\":\"addr-del\",\"dev\":\"v9\",\"address\":\"10.9.9.1/24\"}");
  root = dump(B);
  CHECK(find(root, "routes", "via", "192.0.2.7") == NULL && find(root, "fdb", "dst", "192.0.2.9") == NULL);
  cJSON_Delete(root);
}

/* What a sandbox and a container have of IPv6: no detection of duplicates, so the address is there at once. */
static void test_ipv6(void) {
  twice(A, "{\"op\":\"addr-add\",\"dev\":\"v0\",\"address\":\"fe80::1/64\"}");
  twice(B, "{\"op\":\"addr-add\",\"dev\":\"e0\",\"address\":\"fd00:9::c/64\"}");
  twice(A, "{\"op\":\"route-add\",\"dst\":\"fd00:9::c/128\",\"dev\":\"v0\"}");
  twice(B, "{\"op\":\"route-add\",\"dst\":\"fd00:9::/64\",\"dev\":\"e0\",\"via\":\"fe80::1\"}");
  twice(B, "{\"op\":\"route-add\",\"dst\":\"::/0\",\"dev\":\"e0\",\"via\":\"fe80::1\",\"table\":10001}");
  twice(B, "{\"op\":\"rule-add\",\"priority\":2001,\"table\":10001,\"from\":\"fd00:9::c/128\"}");
  twice(B, "{\"op\":\"rule-add\",\"priority\":2002,\"table\":10001,\"fwmark\":3,\"ipv6\":true}");
  twice(B, "{\"op\":\"neigh-add\",\"dev\":\"vx0\",\"address\":\"fe80::7\",\"mac\":\"02:00:00:00:00:09\"}");
  cJSON *root = dump(B);
  CHECK(find(root, "addresses", "address", "fd00:9::c/64") != NULL);
  CHECK(find(root, "routes", "dst", "fd00:9::/64") != NULL && find(root, "routes", "dst", "::/0") != NULL);
  CHECK(strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(find(root, "routes", "dst", "fd00:9::/64"), "via")),
               "fe80::1") == 0);
  const cJSON *rule = find(root, "rules", "from", "fd00:9::c/128");
  CHECK(rule != NULL && cJSON_IsTrue(cJSON_GetObjectItem(rule, "ipv6")));
  CHECK(
      strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(find(root, "neighbours", "mac", "02:00:00:00:00:09"), "address")),
             "fe80::7") == 0);
  cJSON_Delete(root);
  twice(B, "{\"op\":\"rule-del\",\"priority\":2001,\"table\":10001,\"from\":\"fd00:9::c/128\"}");
  twice(B, "{\"op\":\"rule-del\",\"priority\":2002,\"table\":10001,\"fwmark\":3,\"ipv6\":true}");
  twice(B, "{\"op\":\"neigh-del\",\"dev\":\"vx0\",\"address\":\"fe80::7\"}");
  twice(B, "{\"op\":\"route-del\",\"dst\":\"::/0\",\"table\":10001}");
  twice(B, "{\"op\":\"addr-del\",\"dev\":\"e0\",\"address\":\"fd00:9::c/64\"}");
  root = dump(B);
  CHECK(find(root, "addresses", "address", "fd00:9::c/64") == NULL && find(root, "routes", "dst", "::/0") == NULL);
  CHECK(find(root, "rules", "from", "fd00:9::c/128") == NULL);
  cJSON_Delete(root);
  CHECK(apply(B, "{\"op\":\"route-add\",\"dst\":\"fd00:9::/64\",\"dev\":\"e0\",\"via\":\"10.9.1.1\"}") == -EINVAL);
  CHECK(apply(B, "{\"op\":\"addr-add\",\"dev\":\"e0\",\"address\":\"fd00:9::c/129\"}") == -EINVAL);
}

static void test_sysctls_and_nft(void) {
  CHECK(apply(A, "{\"op\":\"sysctl\",\"path\":\"ipv4/ip_forward\",\"value\":\"1\"}") == 0);
  CHECK(apply(A, "{\"op\":\"sysctl\",\"path\":\"../kernel/hostname\",\"value\":\"x\"}") == -EINVAL);
  CHECK(apply(A, "{\"op\":\"sysctl\",\"path\":\"ipv4/none\",\"value\":\"x\"}") == -ENOENT);
  CHECK(apply(A, "{\"op\":\"sysctl\",\"path\":\"ipv4/none\",\"value\":\"x\",\"optional\":true}") == 0);
  cJSON *root = dump(A);
  const cJSON *sysctls = cJSON_GetObjectItem(root, "sysctls");
  CHECK(strcmp(cJSON_GetObjectItem(sysctls, "ipv4/ip_forward")->valuestring, "1") == 0);
  CHECK(cJSON_GetObjectItem(sysctls, "ipv4/neigh/v0/proxy_delay") != NULL);
  cJSON_Delete(root);
  CHECK(apply(A, "{\"op\":\"nft\",\"commands\":\"add table ip shoal\"}") == 0);
  char *text = NULL;
  CHECK(shoal_net_nft(A, "list tables", 1, &text, &err) == 0 && strstr(text, "\"shoal\"") != NULL);
  shoal_net_free(text);
  CHECK(shoal_net_nft(B, "list table ip shoal", 1, &text, &err) == -ENOENT);
  CHECK(shoal_net_nft(B, "no such words", 0, &text, &err) == -EINVAL && err.detail[0] != 0);
}

static int accepts(int fd) {
  int value = -1;
  socklen_t size = sizeof value;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) ? -1 : value;
}

static void test_sockets(void) {
  struct sockaddr_in at;
  socklen_t size = sizeof at;
  int fd = shoal_net_socket(A, SOCK_STREAM, "10.9.1.1", 5300, &err);
  CHECK(fd >= 0 && getsockname(fd, (struct sockaddr *)&at, &size) == 0 && ntohs(at.sin_port) == 5300);
  CHECK(accepts(fd) == 1);
  close(fd);
  CHECK(shoal_net_socket(B, SOCK_DGRAM, "10.9.1.1", 5300, &err) == -EADDRNOTAVAIL);
  int client = shoal_net_socket(A, SOCK_STREAM, "0.0.0.0", 0, &err);
  CHECK(client >= 0 && accepts(client) == 0);
  close(client);
  CHECK(shoal_net_socket(A, 9, "10.9.1.1", 5300, &err) == -EINVAL);
  CHECK(shoal_net_socket(A, SOCK_DGRAM, "nonsense", 5300, &err) == -EINVAL);
}

/* The next datagram's one byte, or 0. The sockets do not block, and the kernel may deliver a little later than it
 * sends.
 */
static char receive(int fd) {
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  char byte = 0;
  return poll(&ready, 1, 10000) == 1 && recv(fd, &byte, 1, 0) == 1 ? byte : 0;
}

/* A flow that was translated is forgotten, and the next datagram finds the backend of now. */
static void test_conntrack(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(7000)};
  CHECK(apply(A, "{\"op\":\"link-set\",\"name\":\"lo\",\"up\":true},"
                 "{\"op\":\"addr-add\",\"dev\":\"lo\",\"address\":\"10.9.3.1/32\"},"
                 "{\"op\":\"addr-add\",\"dev\":\"lo\",\"address\":\"10.9.3.2/32\"},"
                 "{\"op\":\"nft\",\"commands\":\"add chain ip shoal out { type nat hook output priority -100; }\\n"
                 "add rule ip shoal out ip daddr 10.9.4.4 dnat to 10.9.3.1\"},"
                 "{\"op\":\"route-add\",\"dst\":\"10.9.4.0/24\",\"dev\":\"v0\"}") == 0);
  int one = shoal_net_socket(A, SOCK_DGRAM, "10.9.3.1", 7000, &err);
  int two = shoal_net_socket(A, SOCK_DGRAM, "10.9.3.2", 7000, &err);
  int client = shoal_net_socket(A, SOCK_DGRAM, "10.9.1.1", 0, &err);
  CHECK(one >= 0 && two >= 0 && client >= 0);
  inet_pton(AF_INET, "10.9.4.4", &to.sin_addr);
  CHECK(sendto(client, "a", 1, 0, (struct sockaddr *)&to, sizeof to) == 1);
  CHECK(receive(one) == 'a');
  CHECK(apply(A, "{\"op\":\"nft\",\"commands\":\"flush chain ip shoal out\\n"
                 "add rule ip shoal out ip daddr 10.9.4.4 dnat to 10.9.3.2\"}") == 0);
  CHECK(sendto(client, "b", 1, 0, (struct sockaddr *)&to, sizeof to) == 1);
  CHECK(receive(one) == 'b');
  CHECK(apply(A, "{\"op\":\"ct-flush\",\"protocol\":6,\"backends\":[\"10.9.3.1\"]},"
                 "{\"op\":\"ct-flush\",\"protocol\":17,\"backends\":[\"10.9.1.1\"]}") == 0);
  CHECK(sendto(client, "x", 1, 0, (struct sockaddr *)&to, sizeof to) == 1);
  CHECK(receive(one) == 'x');
  CHECK(apply(A, "{\"op\":\"ct-flush\",\"protocol\":17,\"backends\":[\"10.9.3.1\"]}") == 0);
  CHECK(sendto(client, "c", 1, 0, (struct sockaddr *)&to, sizeof to) == 1);
  CHECK(receive(two) == 'c');
  close(one);
  close(two);
  close(client);
}

/* As over IPv4: what was translated to a backend that is named is forgotten, and nothing else. */
static void test_conntrack_ipv6(void) {
  struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(7001)};
  CHECK(apply(A, "{\"op\":\"addr-add\",\"dev\":\"lo\",\"address\":\"fd00:9::1/128\"},"
                 "{\"op\":\"addr-add\",\"dev\":\"lo\",\"address\":\"fd00:9::2/128\"},"
                 "{\"op\":\"nft\",\"commands\":\"add table ip6 shoal\\n"
                 "add chain ip6 shoal out { type nat hook output priority -100; }\\n"
                 "add rule ip6 shoal out ip6 daddr fd00:9::4 dnat to fd00:9::1\"},"
                 "{\"op\":\"route-add\",\"dst\":\"fd00:9::4/128\",\"dev\":\"v0\"}") == 0);
  int one = shoal_net_socket(A, SOCK_DGRAM, "fd00:9::1", 7001, &err);
  int two = shoal_net_socket(A, SOCK_DGRAM, "fd00:9::2", 7001, &err);
  int client = shoal_net_socket(A, SOCK_DGRAM, "::", 0, &err);
  inet_pton(AF_INET6, "fd00:9::4", &to.sin6_addr);
  CHECK(one >= 0 && two >= 0 && client >= 0 && sendto(client, "a", 1, 0, (struct sockaddr *)&to, sizeof to) == 1);
  CHECK(receive(one) == 'a');
  CHECK(apply(A, "{\"op\":\"nft\",\"commands\":\"flush chain ip6 shoal out\\n"
                 "add rule ip6 shoal out ip6 daddr fd00:9::4 dnat to fd00:9::2\"}") == 0);
  CHECK(apply(A, "{\"op\":\"ct-flush\",\"protocol\":17,\"backends\":[\"fd00:9::9\"]}") == 0);
  CHECK(sendto(client, "b", 1, 0, (struct sockaddr *)&to, sizeof to) == 1);
  CHECK(receive(one) == 'b');
  CHECK(apply(A, "{\"op\":\"ct-flush\",\"protocol\":17,\"backends\":[\"10.9.3.1\",\"10.9.3.8\",\"10.9.3.9\","
                 "\"fd00:9::1\"]}") == 0);
  CHECK(sendto(client, "c", 1, 0, (struct sockaddr *)&to, sizeof to) == 1);
  CHECK(receive(two) == 'c');
  close(one);
  close(two);
  close(client);
}

#define SEEN_RULE "meta l4proto udp ct status dnat "
/* Room for two addresses and the mark. */
#define SEEN_TABLE                                                                                                     \
  "add table ip seen\\nadd set ip seen used { type ipv4_addr; size 3; flags dynamic; }\\n"                             \
  "add chain ip seen notes { type nat hook postrouting priority -190; }\\n"                                            \
  "add rule ip seen notes " SEEN_RULE "add @used { ip daddr }\\n"                                                      \
  "add rule ip seen notes " SEEN_RULE "ip daddr != @used delete @used { ip daddr & 0.0.0.0 }"

static int flush_seen(const char *backend) {
  char text[256];
  (void)snprintf(
      text, sizeof text,
      "{\"op\":\"ct-flush\",\"protocol\":17,\"backends\":[\"%s\"],\"seen\":{\"table\":\"seen\",\"set\":\"used\"}}",
      backend);
  return apply(A, text);
}

static int is_seen(const char *address) {
  char *text = NULL, quoted[64];
  CHECK(shoal_net_nft(A, "list set ip seen used", 1, &text, &err) == 0);
  (void)snprintf(quoted, sizeof quoted, "\"%s\"", address);
  int is = strstr(text, quoted) != NULL;
  shoal_net_free(text);
  return is;
}

/* From now on new flows to 10.9.4.4 are led to this address of lo. */
static void lead_to(const char *backend) {
  char text[512];
  (void)snprintf(
      text, sizeof text,
      "{\"op\":\"addr-add\",\"dev\":\"lo\",\"address\":\"%s/32\"},{\"op\":\"nft\",\"commands\":\"flush chain "
      "ip shoal out\\nadd rule ip shoal out ip daddr 10.9.4.4 dnat to %s\"}",
      backend, backend);
  CHECK(apply(A, text) == 0);
}

static int datagram_at(const char *address) {
  int fd = shoal_net_socket(A, SOCK_DGRAM, address, 7000, &err);
  CHECK(fd >= 0);
  return fd;
}

static void say(int client, const char *byte) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(7000)};
  inet_pton(AF_INET, "10.9.4.4", &to.sin_addr);
  CHECK(client >= 0 && sendto(client, byte, 1, 0, (struct sockaddr *)&to, sizeof to) == 1);
}

/* Flows of before the set are found by a walk, which then has it complete; what is not in it is not looked for; and a
 * set that was full, or is another, has not all. */
static void test_conntrack_seen(void) {
  lead_to("10.9.3.1");
  lead_to("10.9.3.2");
  int one = datagram_at("10.9.3.1"), two = datagram_at("10.9.3.2");
  int old = shoal_net_socket(A, SOCK_DGRAM, "10.9.1.1", 0, &err);
  int fresh = shoal_net_socket(A, SOCK_DGRAM, "10.9.1.1", 0, &err);
  lead_to("10.9.3.1");
  say(old, "a");
  CHECK(receive(one) == 'a');
  CHECK(apply(A, "{\"op\":\"nft\",\"commands\":\"" SEEN_TABLE "\"}") == 0);
  CHECK(flush_seen("10.9.3.9") == 0);
  CHECK(is_seen("0.0.0.0") && is_seen("10.9.3.1") && !is_seen("10.9.3.9"));
  /* It has all, says the set: a walk would have found this one. */
  CHECK(apply(A, "{\"op\":\"nft\",\"commands\":\"delete element ip seen used { 10.9.3.1 }\"}") == 0);
  lead_to("10.9.3.2");
  CHECK(flush_seen("10.9.3.1") == 0);
  say(old, "b");
  CHECK(receive(one) == 'b');
  /* The rules note what is new, and what was forgotten is noted no more. */
  say(fresh, "c");
  CHECK(receive(two) == 'c' && is_seen("10.9.3.2"));
  lead_to("10.9.3.1");
  CHECK(flush_seen("10.9.3.2") == 0 && !is_seen("10.9.3.2") && is_seen("0.0.0.0"));
  say(fresh, "d");
  CHECK(receive(one) == 'd' && is_seen("10.9.3.1"));
  /* Full: the third address does not go in, and the mark goes out. */
  const char *many[] = {"10.9.3.2", "10.9.3.3"};
  for (int i = 0; i < 2; i++) {
    int client = shoal_net_socket(A, SOCK_DGRAM, "10.9.1.1", 0, &err);
    lead_to(many[i]);
    int server = i == 0 ? two : datagram_at(many[i]);
    say(client, "e");
    CHECK(receive(server) == 'e');
    if (i == 1) close(server);
    close(client);
  }
  CHECK(is_seen("10.9.3.2") && !is_seen("10.9.3.3") && !is_seen("0.0.0.0"));
  CHECK(flush_seen("10.9.3.1") == 0);
  lead_to("10.9.3.2");
  say(old, "f");
  CHECK(receive(two) == 'f' && !is_seen("0.0.0.0"));
  /* Another set in its place knows of nothing. */
  CHECK(apply(A, "{\"op\":\"nft\",\"commands\":\"delete table ip seen\\n" SEEN_TABLE "\"}") == 0);
  lead_to("10.9.3.1");
  CHECK(flush_seen("10.9.3.2") == 0 && is_seen("0.0.0.0"));
  say(old, "g");
  CHECK(receive(one) == 'g');
  /* No set at all: as if none was named. */
  CHECK(apply(A, "{\"op\":\"nft\",\"commands\":\"delete table ip seen\"}") == 0);
  lead_to("10.9.3.2");
  CHECK(flush_seen("10.9.3.1") == 0);
  say(old, "h");
  CHECK(receive(two) == 'h');
  CHECK(flush_seen("nonsense") == -EINVAL);
  CHECK(apply(A, "{\"op\":\"ct-flush\",\"protocol\":17,\"backends\":[],\"seen\":{\"table\":\"seen\"}}") == -EINVAL);
  close(one);
  close(two);
  close(old);
  close(fresh);
}

#define KEY_FILE "/tmp/shoal-test-c.key"
#define PRIVATE_KEY "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="
#define PUBLIC_KEY "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
#define OTHER_KEY "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="
#define WIREGUARD                                                                                                      \
  "{\"op\":\"link-add\",\"kind\":\"wireguard\",\"name\":\"sw0\",\"mtu\":1420,\"port\":51999,\"keyFile\":\"" KEY_FILE   \
  "\"}"

static void write_key(const char *text) {
  FILE *file = fopen(KEY_FILE, "we");
  CHECK(file != NULL && fputs(text, file) >= 0);
  CHECK(fclose(file) == 0);
}

/* Keys of RFC 7748, 6.1. */
static void test_wireguard(void) {
  write_key(PRIVATE_KEY "\n");
  int result = apply(A, "{\"op\":\"wg-check\"}");
  if (result) {
    CHECK(result == -EOPNOTSUPP && strstr(err.detail, "no WireGuard") != NULL);
    CHECK(apply(A, WIREGUARD) == -EOPNOTSUPP && strstr(err.detail, "no WireGuard") != NULL);
    CHECK(apply(A, "{\"op\":\"wg-peer-del\",\"dev\":\"sw0\",\"publicKey\":\"" OTHER_KEY "\"}") == 0);
    CHECK(unlink(KEY_FILE) == 0);
    return;
  }
  twice(A, WIREGUARD);
  twice(A, "{\"op\":\"wg-peer-add\",\"dev\":\"sw0\",\"publicKey\":\"" OTHER_KEY "\",\"address\":\"192.0.2.9\","
           "\"port\":51998,\"allowed\":\"240.0.0.9/32\"}");
  cJSON *root = dump(A);
  const cJSON *link = find(root, "links", "name", "sw0"), *peer = find(link, "peers", "publicKey", OTHER_KEY);
  CHECK(strcmp(cJSON_GetObjectItem(link, "publicKey")->valuestring, PUBLIC_KEY) == 0);
  CHECK(cJSON_IsTrue(cJSON_GetObjectItem(link, "up")) && cJSON_GetObjectItem(link, "port")->valueint == 51999);
  CHECK(strcmp(cJSON_GetObjectItem(peer, "address")->valuestring, "192.0.2.9") == 0);
  CHECK(strcmp(cJSON_GetArrayItem(cJSON_GetObjectItem(peer, "allowed"), 0)->valuestring, "240.0.0.9/32") == 0);
  char *text = cJSON_PrintUnformatted(root);
  CHECK(strstr(text, PRIVATE_KEY) == NULL);
  cJSON_free(text);
  cJSON_Delete(root);
  twice(A, "{\"op\":\"wg-peer-del\",\"dev\":\"sw0\",\"publicKey\":\"" OTHER_KEY "\"}");
  CHECK(apply(A, "{\"op\":\"wg-peer-add\",\"dev\":\"sw0\",\"publicKey\":\"short\",\"address\":\"192.0.2.9\","
                 "\"port\":1,\"allowed\":\"240.0.0.9/32\"}") == -EINVAL);
  write_key("not a key\n");
  CHECK(apply(A, WIREGUARD) == -EINVAL && strstr(err.detail, "its key") != NULL);
  CHECK(unlink(KEY_FILE) == 0 && apply(A, WIREGUARD) == -ENOENT);
  twice(A, "{\"op\":\"link-del\",\"name\":\"sw0\"}");
}

static void test_refusals(void) {
  CHECK(shoal_net_apply(NULL, &err) == -EINVAL);
  CHECK(shoal_net_apply("{", &err) == -EINVAL);
  CHECK(shoal_net_apply("[{}]", &err) == 0);
  CHECK(apply(A, "{\"op\":\"fly\"}") == -EINVAL && strstr(err.detail, "fly") != NULL);
  CHECK(apply(A, "{}") == -EINVAL);
  CHECK(apply(A, "{\"op\":\"link-add\",\"kind\":\"veth\"}") == -EINVAL);
  CHECK(apply(A, "{\"op\":\"route-add\",\"dst\":\"10.0.0.0/33\",\"dev\":\"v0\"}") == -EINVAL);
  CHECK(apply(A, "{\"op\":\"route-add\",\"dst\":\"10.0.0.0/8\",\"dev\":\"v7\"}") == -ENODEV);
}

/* What is kept of a namespace neither holds it when it goes nor is used for the next one of its name. */
static void test_nothing_is_held(void) {
  char *text = NULL;
  CHECK(apply(B, "{\"op\":\"link-add\",\"kind\":\"veth\",\"name\":\"held\",\"mtu\":1400,"
                 "\"peer\":{\"name\":\"holds\",\"netns\":\"" A "\"}},"
                 "{\"op\":\"nft\",\"commands\":\"add table ip here\"}") == 0);
  CHECK(apply(A, "{\"op\":\"nft\",\"commands\":\"no such words\"}") == -EINVAL);
  CHECK(apply(A, "{\"op\":\"nft\",\"commands\":\"add table ip gone\"}") == 0);
  CHECK(apply(NULL, "{\"op\":\"netns-del\",\"path\":\"" A "\"}") == 0);
  /* The pair goes with the namespace that its other end was in. */
  for (int tries = 0, is = 1; is; tries++) {
    cJSON *root = dump(B);
    is = find(root, "links", "name", "held") != NULL;
    cJSON_Delete(root);
    CHECK(tries < 1000);
    usleep(is ? 10000 : 0);
  }
  CHECK(apply(NULL, "{\"op\":\"netns-add\",\"path\":\"" A "\"}") == 0);
  CHECK(apply(A, "{\"op\":\"nft\",\"commands\":\"add table ip next\"}") == 0);
  CHECK(shoal_net_nft(A, "list tables", 1, &text, &err) == 0 && strstr(text, "next") != NULL);
  CHECK(strstr(text, "gone") == NULL);
  shoal_net_free(text);
  CHECK(shoal_net_nft(B, "list tables", 1, &text, &err) == 0 && strstr(text, "here") != NULL);
  CHECK(strstr(text, "next") == NULL);
  shoal_net_free(text);
}

static void test_removal(void) {
  twice(NULL, "{\"op\":\"netns-del\",\"path\":\"" A "\"},{\"op\":\"netns-del\",\"path\":\"" B "\"}");
  CHECK(!has_namespace(A) && !has_namespace(B));
}

int main(void) {
  if (geteuid() != 0) {
    (void)puts("skipped: needs root");
    return 0;
  }
  apply(NULL, "{\"op\":\"netns-del\",\"path\":\"" A "\"},{\"op\":\"netns-del\",\"path\":\"" B "\"}");
  test_namespaces();
  test_links();
  test_routes();
  test_ipv6();
  test_sysctls_and_nft();
  test_sockets();
  test_conntrack();
  test_conntrack_ipv6();
  test_conntrack_seen();
  test_wireguard();
  test_refusals();
  test_nothing_is_held();
  test_removal();
  (void)puts("ok");
  return 0;
}

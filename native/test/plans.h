/* Plans that agents would make, carried out in network namespaces by the tests for the virtual machine (there is no
 * Node in it). */
#ifndef SHOAL_TEST_PLANS_H
#define SHOAL_TEST_PLANS_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "shoal-net.h"

#define PLAN_MAX (1 << 18)

static const char *plans;
static struct shoal_error err;

static void apply(const char *netns, const char *batches) {
  pid_t child = fork();
  if (child == 0) {
    int fd = netns == NULL ? -1 : open(netns, O_RDONLY | O_CLOEXEC);
    int bad = netns != NULL && setns(fd, CLONE_NEWNET) ? 1 : shoal_net_apply(batches, &err);
    if (bad) (void)fprintf(stderr, "# %s: %s\n", err.step, err.detail);
    _exit(bad ? 1 : 0);
  }
  int status;
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  CHECK_INT(status, 0);
}

/* What the agent of a host would do now. */
static void carry_out(const char *host, const char *name) {
  static char text[PLAN_MAX];
  char path[256];
  (void)snprintf(path, sizeof path, "%s/%s.json", plans, name);
  FILE *file = fopen(path, "re");
  CHECK(file != NULL);
  size_t length = fread(text, 1, sizeof text - 1, file);
  (void)fclose(file);
  CHECK(length > 0 && length < sizeof text - 1);
  text[length] = 0;
  apply(host, text);
}

static struct sockaddr_in at(const char *address, uint16_t port) {
  struct sockaddr_in result = {.sin_family = AF_INET, .sin_port = htons(port)};
  CHECK(inet_pton(AF_INET, address, &result.sin_addr) == 1);
  return result;
}

#endif

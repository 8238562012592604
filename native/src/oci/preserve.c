/* Descriptors of the caller's that the command shall have: those of socket activation (sd_listen_fds(3)), and those
 * that
 * --preserve-fds counts, from 3 on. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oci/oci.h"
#include "plan.h"

#define FIRST 3

static int number_of(const char *text) {
  char *end;
  long number = text == NULL ? 0 : strtol(text, &end, 10);
  if (text != NULL && (end == text || *end != '\0' || number < 0 || number > PRESERVED_MAX)) return -1;
  return (int)number;
}

/* They are meant for us if LISTEN_PID says so. */
static int activated_count(void) {
  const char *pid = getenv("LISTEN_PID");
  if (pid == NULL || atol(pid) != (long)getpid()) return 0;
  return number_of(getenv("LISTEN_FDS"));
}

int preserve_claim(struct preserved *preserved, const char *count, bool activation) {
  int asked = number_of(count), activated = activation ? activated_count() : 0;
  if (asked < 0) return log_failure("--preserve-fds: '%s' is not a number up to %d", count, PRESERVED_MAX);
  if (activated < 0 || asked + activated > PRESERVED_MAX)
    return log_failure("more than %d descriptors cannot be preserved", PRESERVED_MAX);
  preserved->activated = activated;
  preserved->total = activated + asked;
  for (int fd = FIRST; fd < FIRST + preserved->total; fd++) {
    int flags = fcntl(fd, F_GETFD);
    /* Our own are all marked so: that would be one that was not open when we began. */
    if (flags < 0 || (flags & FD_CLOEXEC) != 0) return log_failure("--preserve-fds: descriptor %d is not open", fd);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  return 0;
}

void preserve_tell(const struct preserved *preserved, cJSON *process) {
  char text[32];
  if (preserved->activated == 0) return;
  cJSON *env = cJSON_GetObjectItemCaseSensitive(process, "env");
  if (env == NULL) env = cJSON_AddArrayToObject(process, "env");
  (void)snprintf(text, sizeof text, "LISTEN_FDS=%d", preserved->activated);
  cJSON_AddItemToArray(env, cJSON_CreateString(text));
  cJSON_AddItemToArray(env, cJSON_CreateString("LISTEN_PID=1"));
}

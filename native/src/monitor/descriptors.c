/* The descriptors that the command shall have besides the standard streams (--preserve-fds, socket activation). Until
 * it is run they are out of the way, from MONITOR_FD_PRESERVED on. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "monitor/monitor.h"

#define FIRST 3

int descriptors_close(unsigned int first, const struct plan *plan) {
  if (plan->preserved == 0) return sys_close_range(first, ~0u, 0);
  if (sys_close_range(first, MONITOR_FD_PRESERVED - 1, 0) < 0) return -1;
  return sys_close_range(MONITOR_FD_PRESERVED + plan->preserved, ~0u, 0);
}

int descriptors_place(const struct plan *plan, int *sync_fd, struct shoal_error *err) {
  int count = (int)plan->preserved;
  if (count == 0) return 0;
  int moved = fcntl(*sync_fd, F_DUPFD_CLOEXEC, MONITOR_FD_PRESERVED + count);
  if (moved < 0) return shoal_fail(err, errno, "preserve-fds", "fcntl");
  *sync_fd = moved;
  /* Upwards: what a place held before has been placed already. */
  for (int i = 0; i < count; i++) {
    if (dup2(MONITOR_FD_PRESERVED + i, FIRST + i) < 0) return shoal_fail(err, errno, "preserve-fds", "dup2");
  }
  return 0;
}

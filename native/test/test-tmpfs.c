/* shoal_tmpfs_ensure, in a mount namespace of its own. Needs root. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "check.h"
#include "shoal-tmpfs.h"

#define TMPFS 0x01021994

static long type_of(const char *path) {
  struct statfs info;
  return statfs(path, &info) < 0 ? -1 : (long)info.f_type;
}

int main(void) {
  char dir[] = "/var/tmp/shoal-tmpfs-XXXXXX";
  struct shoal_error err = {0};

  CHECK(unshare(CLONE_NEWNS) == 0);
  CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
  CHECK(mkdtemp(dir) != NULL);
  CHECK(shoal_tmpfs_ensure(dir, "mode=0700,size=1m", &err) == 0);
  CHECK(type_of(dir) == TMPFS);
  /* Again: nothing is mounted on top. */
  CHECK(shoal_tmpfs_ensure(dir, "mode=0700,size=1m", &err) == 0);
  CHECK(umount(dir) == 0);
  CHECK(type_of(dir) != TMPFS);
  CHECK(shoal_tmpfs_ensure(dir, "size=nonsense", &err) == -EINVAL);
  CHECK(strcmp(err.step, "mount tmpfs") == 0);
  CHECK(shoal_tmpfs_ensure("/var/tmp/shoal-none", "", &err) == -ENOENT);
  CHECK(rmdir(dir) == 0);
  return 0;
}

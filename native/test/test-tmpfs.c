/* shoal_tmpfs_ensure, _mount and _remove, in a mount namespace of its own. Needs root. */
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
  /* One of its own, also where memory is below already; the next one takes its place, and all are gone at the end. */
  CHECK(shoal_tmpfs_mount(dir, "mode=1777,size=1m", &err) == 0);
  CHECK(type_of(dir) == TMPFS);
  char file[sizeof dir + 8];
  (void)snprintf(file, sizeof file, "%s/file", dir);
  FILE *made = fopen(file, "w");
  CHECK(made != NULL && fclose(made) == 0);
  CHECK(shoal_tmpfs_mount(dir, "mode=1777,size=2m", &err) == 0);
  CHECK(access(file, F_OK) < 0);
  CHECK(shoal_tmpfs_remove(dir, &err) == 0);
  CHECK(type_of(dir) != TMPFS);
  CHECK(shoal_tmpfs_remove(dir, &err) == 0);
  CHECK(shoal_tmpfs_remove("/var/tmp/shoal-none", &err) == 0);
  CHECK(shoal_tmpfs_mount(dir, "size=nonsense", &err) == -EINVAL);
  CHECK(rmdir(dir) == 0);
  return 0;
}

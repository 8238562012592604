#include "files/files.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>

int mount_volume(const cJSON *request) {
  const char *target = files_text(request, "target"), *type = files_text(request, "type");
  const char *source = files_text(request, "source"), *data = files_text(request, "data");
  const cJSON *flags = cJSON_GetObjectItemCaseSensitive(request, "flags");
  unsigned long bits = flags == NULL ? 0 : (unsigned long)flags->valuedouble;
  if (mount(source, target, type, bits, *data == '\0' ? NULL : data) < 0)
    return reply_error("failed", errno, "mount %s of type %s: %s", source, type, strerror(errno));
  /* A bind mount takes its attributes only when it is mounted again: mount(2). */
  unsigned long attributes = bits & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_RELATIME);
  if ((bits & MS_BIND) == 0 || attributes == 0) return 0;
  if (mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | attributes, NULL) == 0) return 0;
  int code = errno;
  (void)umount2(target, MNT_DETACH);
  return reply_error("failed", code, "mount options of %s: %s", source, strerror(code));
}

int unmount_volume(const cJSON *request) {
  const char *target = files_text(request, "target");
  /* Lazily: who still works on a file there (a copy that is under way) ends its work. */
  if (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
    return reply_error("failed", errno, "umount %s: %s", target, strerror(errno));
  return 0;
}

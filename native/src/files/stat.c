#include "files/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a link that leads nowhere would lead, from its words alone. */
static void broken_target(const char *path, const char *words, char out[PATH_MAX]) {
  char joined[2 * PATH_MAX], *rest = NULL;
  const char *slash = strrchr(path, '/');
  int above = slash == NULL ? 0 : (int)(slash - path);
  (void)snprintf(joined, sizeof joined, "%.*s/%s", words[0] == '/' ? 0 : above, path, words);
  size_t length = 0;
  for (char *part = strtok_r(joined, "/", &rest); part != NULL; part = strtok_r(NULL, "/", &rest)) {
    if (strcmp(part, ".") == 0) continue;
    if (strcmp(part, "..") == 0) {
      while (length > 0 && out[--length] != '/')
        continue;
    } else if (length + strlen(part) + 2 < PATH_MAX) {
      length += (size_t)snprintf(out + length, PATH_MAX - length, "/%s", part);
    }
  }
  if (length == 0) out[length++] = '/';
  out[length] = '\0';
}

/* The end of the link, as the container names it. */
static int link_target(int root_fd, int link_fd, const char *path, char out[PATH_MAX]) {
  char name[16], words[PATH_MAX];
  cleanup_fd int target = view_open(root_fd, path, O_PATH);
  ssize_t n;
  if (target >= 0) {
    (void)snprintf(name, sizeof name, "%d", target);
    n = readlinkat(view_self_fds, name, out, PATH_MAX - 1);
    if (n < 0) return -errno;
    out[n] = '\0';
    return 0;
  }
  n = readlinkat(link_fd, "", words, sizeof words - 1);
  if (n < 0) return -errno;
  words[n] = '\0';
  broken_target(path, words, out);
  return 0;
}

int stat_reply(int root_fd, const char *path, struct stat *info, int *fd) {
  char target[PATH_MAX] = "";
  int found = view_open(root_fd, path, O_PATH | O_NOFOLLOW);
  if (found == -ENOENT) return reply_error("not-found", ENOENT, "no such file");
  if (found < 0) return reply_error("invalid", -found, "%s: %s", path, strerror(-found));
  int rc = fstat(found, info) < 0 ? -errno : 0;
  if (rc == 0 && S_ISLNK(info->st_mode)) rc = link_target(root_fd, found, path, target);
  if (rc < 0) {
    (void)close(found);
    return reply_error("failed", -rc, "%s: %s", path, strerror(-rc));
  }
  cJSON *object = cJSON_CreateObject();
  cJSON *stat = cJSON_AddObjectToObject(object, "stat");
  (void)cJSON_AddNumberToObject(stat, "sizeBytes", (double)info->st_size);
  (void)cJSON_AddNumberToObject(stat, "mode", (double)info->st_mode);
  (void)cJSON_AddNumberToObject(stat, "mtimeSeconds", (double)info->st_mtim.tv_sec);
  (void)cJSON_AddNumberToObject(stat, "mtimeNanos", (double)info->st_mtim.tv_nsec);
  (void)cJSON_AddStringToObject(stat, "linkTarget", target);
  reply_object(object);
  *fd = found;
  return 0;
}

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oci/oci.h"

#define FILE_MAX_BYTES (16u << 20)

static char *read_all(int fd) {
  size_t size = 0, capacity = 65536;
  char *text = malloc(capacity);
  while (text != NULL) {
    ssize_t n = read(fd, text + size, capacity - size - 1);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) {
      text[size] = '\0';
      return text;
    }
    size += n > 0 ? (size_t)n : 0;
    char *bigger = n < 0 || size >= FILE_MAX_BYTES ? NULL : text;
    if (n > 0 && size >= FILE_MAX_BYTES) errno = EFBIG;
    if (bigger != NULL && size + 1 >= capacity) bigger = realloc(text, capacity *= 2);
    if (bigger == NULL) free(text);
    text = bigger;
  }
  return NULL;
}

char *file_read(const char *path) {
  bool standard = strcmp(path, "-") == 0;
  int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NULL;
  char *text = read_all(fd);
  int code = errno;
  if (!standard) close(fd);
  errno = code;
  return text;
}

int file_replace(const char *path, const char *text) {
  char fresh[OCI_PATH_MAX + 16];
  (void)snprintf(fresh, sizeof fresh, "%s.%d", path, (int)getpid());
  int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return -errno;
  size_t size = strlen(text);
  ssize_t n = write(fd, text, size);
  int code = n < 0 ? errno : n == (ssize_t)size ? 0 : ENOSPC;
  close(fd);
  if (code == 0 && rename(fresh, path) < 0) code = errno;
  if (code != 0) (void)unlink(fresh);
  return -code;
}

int json_print(const cJSON *value, bool indented) {
  char *text = indented ? cJSON_Print(value) : cJSON_PrintUnformatted(value);
  if (text == NULL) return log_failure("out of memory");
  (void)puts(text);
  cJSON_free(text);
  return 0;
}

#include "file-batch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "shoal-file-batch.h"

#define PATH_SIZE 4096

static int read_entry(const cJSON *entry, const char *kind, const char **path, mode_t *mode, struct shoal_error *err) {
  int64_t bits = -1;
  int rc = json_string(entry, kind, "path", true, path, err);
  if (rc == 0 && (*path)[0] != '/') rc = shoal_fail(err, EINVAL, "files", "%s.path: '%s' is not absolute", kind, *path);
  if (rc == 0) rc = json_integer(entry, kind, "mode", &bits, NULL, err);
  if (rc == 0 && (bits < 0 || bits > 0777)) rc = shoal_fail(err, EINVAL, "files", "%s.mode of %s", kind, *path);
  *mode = (mode_t)bits;
  return rc;
}

/* What is missing above it, too. Returns 0 or an errno. */
static int make_with_parents(const char *path, mode_t mode) {
  char part[PATH_SIZE];
  if (mkdir(path, mode) == 0 || errno == EEXIST) return 0;
  if (errno != ENOENT || strlen(path) >= sizeof part) return errno;
  (void)strcpy(part, path);
  for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    if (mkdir(part, mode) < 0 && errno != EEXIST) return errno;
    *slash = '/';
  }
  return mkdir(path, mode) == 0 || errno == EEXIST ? 0 : errno;
}

static int make_directory(const cJSON *entry, struct shoal_error *err) {
  const char *path;
  mode_t mode;
  int rc = read_entry(entry, "directory", &path, &mode, err);
  if (rc < 0) return rc;
  int code = make_with_parents(path, mode);
  return code == 0 ? 0 : shoal_fail(err, code, "files: mkdir", "%s", path);
}

static int write_whole(int fd, const char *text) {
  for (size_t left = strlen(text); left > 0;) {
    ssize_t n = write(fd, text, left);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? -errno : -EIO;
    text += n;
    left -= (size_t)n;
  }
  return 0;
}

/* One that a crash left behind keeps its mode when it is opened again: it is given the right one. */
static int write_file(const char *path, mode_t mode, const char *text, struct shoal_error *err) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return shoal_fail(err, errno, "files: open", "%s", path);
  int rc = fchmod(fd, mode) < 0 ? -errno : write_whole(fd, text);
  if (close(fd) < 0 && rc == 0) rc = -errno;
  return rc < 0 ? shoal_fail(err, -rc, "files: write", "%s", path) : 0;
}

static int make_file(const cJSON *entry, struct shoal_error *err) {
  const char *path, *text;
  char temporary[PATH_SIZE];
  mode_t mode;
  bool replace = false;
  int rc = read_entry(entry, "file", &path, &mode, err);
  if (rc == 0) rc = json_string(entry, "file", "text", true, &text, err);
  if (rc == 0) rc = json_bool(entry, "file", "replace", &replace, err);
  if (rc < 0 || !replace) return rc < 0 ? rc : write_file(path, mode, text, err);
  if (snprintf(temporary, sizeof temporary, "%s.new", path) >= (int)sizeof temporary)
    return shoal_fail(err, ENAMETOOLONG, "files: write", "%s", path);
  rc = write_file(temporary, mode, text, err);
  if (rc == 0 && rename(temporary, path) < 0) rc = shoal_fail(err, errno, "files: rename", "%s", path);
  return rc;
}

int file_batch_directories(const cJSON *request, struct shoal_error *err) {
  const cJSON *entry;
  int rc = 0;
  cJSON_ArrayForEach(entry, json_member(request, "directories")) {
    if (rc == 0) rc = make_directory(entry, err);
  }
  return rc;
}

int file_batch_files(const cJSON *request, struct shoal_error *err) {
  const cJSON *entry;
  int rc = 0;
  cJSON_ArrayForEach(entry, json_member(request, "files")) {
    if (rc == 0) rc = make_file(entry, err);
  }
  return rc;
}

int shoal_file_batch_write(const char *request_json, struct shoal_error *err) {
  cJSON *request = cJSON_Parse(request_json);
  int rc = request == NULL ? shoal_fail(err, EINVAL, "files", "not JSON") : file_batch_directories(request, err);
  if (rc == 0) rc = file_batch_files(request, err);
  cJSON_Delete(request);
  return rc;
}

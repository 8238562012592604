#include "monitor/log-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void name_of(char name[PLAN_LOG_NAME_MAX], const struct log_file *file, uint64_t number) {
  (void)snprintf(name, PLAN_LOG_NAME_MAX, "%s.%llu", file->path, (unsigned long long)number);
}

static int open_number(const struct log_file *file, uint64_t number) {
  char name[PLAN_LOG_NAME_MAX];
  name_of(name, file, number);
  return open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

int log_file_open(struct log_file *file, const struct plan *plan, struct shoal_error *err) {
  struct stat info;
  file->path = plan_string(plan, plan->log_path);
  file->number = plan->log_number;
  file->max_bytes = plan->log_max_bytes;
  file->max_files = plan->log_max_files;
  if (file->path == NULL) return 0;
  file->fd = open_number(file, file->number);
  if (file->fd < 0 || fstat(file->fd, &info) < 0) return shoal_fail(err, errno, "log", "open %s", file->path);
  file->size = (uint64_t)info.st_size;
  return 0;
}

bool log_file_is_full(const struct log_file *file, size_t size) {
  return file->max_bytes > 0 && file->size + size > file->max_bytes;
}

void log_file_rotate(struct log_file *file) {
  char oldest[PLAN_LOG_NAME_MAX];
  if (file->path == NULL || file->size == 0) return;
  int fd = open_number(file, file->number + 1);
  if (fd < 0) return;
  close(file->fd);
  file->fd = fd;
  file->number++;
  file->size = 0;
  file->torn = false;
  if (file->number < file->max_files) return;
  name_of(oldest, file, file->number - file->max_files);
  (void)unlink(oldest);
}

static bool append(struct log_file *file, const char *data, size_t size) {
  ssize_t n;
  while ((n = write(file->fd, data, size)) < 0 && errno == EINTR)
    continue;
  size_t written = n < 0 ? 0 : (size_t)n;
  file->size += written;
  if (written == size) return true;
  file->dropped_bytes += size - written;
  file->torn = file->torn || written > 0;
  return false;
}

void log_file_write(struct log_file *file, const char *data, size_t size) {
  if (file->path == NULL || size == 0) return;
  if (file->torn) {
    file->torn = false;
    if (!append(file, "\n", 1)) {
      file->torn = true;
      file->dropped_bytes += size;
      return;
    }
  }
  (void)append(file, data, size);
}

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "oci/oci.h"

static struct {
  int fd; /* -1: only standard error */
  bool json;
} target = {.fd = -1};

int log_open(const char *path, bool json) {
  target.json = json;
  if (path == NULL || path[0] == '\0') return 0;
  target.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  return target.fd < 0 ? log_failure("open %s: %s", path, strerror(errno)) : 0;
}

/* One line, as logrus writes it: engines read the last one of level "error". */
static void write_line(int fd, const char *level, const char *message) {
  char time_text[40], *line = NULL;
  struct tm broken;
  time_t now = time(NULL);
  (void)strftime(time_text, sizeof time_text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &broken));
  cJSON *text = cJSON_CreateString(message);
  char *quoted = cJSON_PrintUnformatted(text);
  cJSON_Delete(text);
  int n = target.json ? asprintf(&line, "{\"level\":\"%s\",\"msg\":%s,\"time\":\"%s\"}\n", level, quoted, time_text)
                      : asprintf(&line, "time=\"%s\" level=%s msg=%s\n", time_text, level, quoted);
  cJSON_free(quoted);
  if (n < 0) return;
  (void)!write(fd, line, (size_t)n);
  free(line);
}

static void report(const char *level, const char *format, va_list args) {
  char message[2048];
  (void)vsnprintf(message, sizeof message, format, args);
  if (target.fd >= 0) write_line(target.fd, level, message);
  write_line(STDERR_FILENO, level, message);
}

void log_warning(const char *format, ...) {
  va_list args;
  va_start(args, format);
  report("warning", format, args);
  va_end(args);
}

int log_failure(const char *format, ...) {
  va_list args;
  va_start(args, format);
  report("error", format, args);
  va_end(args);
  return EXIT_NOT_DONE;
}

int log_error(const char *what, const struct shoal_error *error) {
  const char *reason = strerror(error->code);
  bool said = strcmp(error->step, "exec") == 0 || strcmp(error->step, "config") == 0 || error->code == 0;
  return log_failure("%s%s%s: %s%s%s", what, what[0] == '\0' ? "" : ": ", error->step, error->detail, said ? "" : ": ",
                     said ? "" : reason);
}

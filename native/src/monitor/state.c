#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "monitor/monitor.h"

#define RUN_STATE_NEW RUN_STATE ".new"

int64_t state_now_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void state_escape(const char *text, char *out, size_t size) {
  static const char digits[] = "0123456789abcdef";
  size_t at = 0;
  for (; *text != '\0' && at + 7 < size; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') {
      out[at++] = '\\';
      out[at++] = (char)c;
    } else if (c < 0x20 || c >= 0x7f) {
      /* Bytes beyond ASCII come from file names of any encoding; as Latin-1 they are at least valid JSON. */
      memcpy(out + at, "\\u00", 4);
      out[at + 4] = digits[c >> 4];
      out[at + 5] = digits[c & 15];
      at += 6;
    } else {
      out[at++] = (char)c;
    }
  }
  out[at] = '\0';
}

size_t state_format(const struct container_state *state, pid_t monitor_pid, char out[STATE_TEXT_MAX]) {
  char detail[256];
  int at = snprintf(out, STATE_TEXT_MAX,
                    "{\"id\":\"%s\",\"status\":\"%s\",\"pid\":%d,\"monitorPid\":%d,\"createdAtMs\":%lld", state->id,
                    state->status, (int)state->pid, (int)monitor_pid, (long long)state->created_at_ms);
  if (state->started_at_ms != 0)
    at += snprintf(out + at, STATE_TEXT_MAX - (size_t)at, ",\"startedAtMs\":%lld", (long long)state->started_at_ms);
  if (state->finished_at_ms != 0) {
    at += snprintf(out + at, STATE_TEXT_MAX - (size_t)at, ",\"finishedAtMs\":%lld,\"exitCode\":%d,\"oomKilled\":%s",
                   (long long)state->finished_at_ms, state->exit_code, state->oom_killed ? "true" : "false");
    if (state->signal != 0) at += snprintf(out + at, STATE_TEXT_MAX - (size_t)at, ",\"signal\":%d", state->signal);
  }
  if (state->log_dropped_bytes != 0)
    at += snprintf(out + at, STATE_TEXT_MAX - (size_t)at, ",\"logDroppedBytes\":%llu",
                   (unsigned long long)state->log_dropped_bytes);
  if (state->start_error.code != 0) {
    state_escape(state->start_error.detail, detail, sizeof detail);
    at +=
        snprintf(out + at, STATE_TEXT_MAX - (size_t)at, ",\"startError\":\"%s: %s\"", state->start_error.step, detail);
  }
  at += snprintf(out + at, STATE_TEXT_MAX - (size_t)at, "}\n");
  return (size_t)at;
}

int state_write(int dir_fd, const struct container_state *state) {
  char text[STATE_TEXT_MAX];
  size_t size = state_format(state, getpid(), text);
  int fd = openat(dir_fd, RUN_STATE_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return -errno;
  ssize_t n = write(fd, text, size);
  close(fd);
  if (n != (ssize_t)size) return -ENOSPC;
  return renameat(dir_fd, RUN_STATE_NEW, dir_fd, RUN_STATE) < 0 ? -errno : 0;
}

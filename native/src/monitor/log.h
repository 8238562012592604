/* The container's output as CRI log lines: "<RFC3339 with nanoseconds, UTC> stdout|stderr F|P <content>\n", P for a
 * part of a line that was too long.
 * https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md Pure: bytes and a time
 * in, bytes out through a function. */
#ifndef SHOAL_MONITOR_LOG_H
#define SHOAL_MONITOR_LOG_H

#include <stddef.h>
#include <time.h>

#define LOG_LINE_MAX 16384
#define LOG_HEADER_MAX 64

/* One write of a whole record (header, content, newline). */
typedef void (*log_sink)(void *context, const char *header, size_t header_size, const char *content, size_t size);

struct log_stream {
  const char *name; /* "stdout" or "stderr" */
  size_t used;
  char line[LOG_LINE_MAX]; /* the line that is not complete yet */
};

/* Where the next bytes are to be read to: at least one byte of room. */
char *log_room(struct log_stream *stream, size_t *size);

/* size bytes have been put where log_room said. Emits every line that they complete, and a part when the line is full.
 */
void log_feed(struct log_stream *stream, size_t size, struct timespec now, log_sink sink, void *context);

/* The stream has ended: emits what is left of a line without its newline, as a full one. */
void log_finish(struct log_stream *stream, struct timespec now, log_sink sink, void *context);

/* Writes "2026-01-02T03:04:05.000000006Z"; returns its length. */
size_t log_format_time(char out[LOG_HEADER_MAX], struct timespec now);

#endif

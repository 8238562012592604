#include "monitor/log.h"

#include <string.h>

/* Digits by hand: printf would bring its whole machinery into a process that is kept small. */
static char *put_number(char *out, unsigned long number, int digits) {
  for (int i = digits - 1; i >= 0; i--) {
    out[i] = (char)('0' + number % 10);
    number /= 10;
  }
  return out + digits;
}

size_t log_format_time(char out[LOG_HEADER_MAX], struct timespec now) {
  struct tm utc;
  char *at = out;
  (void)gmtime_r(&now.tv_sec, &utc);
  at = put_number(at, (unsigned long)utc.tm_year + 1900, 4);
  *at++ = '-';
  at = put_number(at, (unsigned long)utc.tm_mon + 1, 2);
  *at++ = '-';
  at = put_number(at, (unsigned long)utc.tm_mday, 2);
  *at++ = 'T';
  at = put_number(at, (unsigned long)utc.tm_hour, 2);
  *at++ = ':';
  at = put_number(at, (unsigned long)utc.tm_min, 2);
  *at++ = ':';
  at = put_number(at, (unsigned long)utc.tm_sec, 2);
  *at++ = '.';
  at = put_number(at, (unsigned long)now.tv_nsec, 9);
  *at++ = 'Z';
  return (size_t)(at - out);
}

static size_t append(char *out, size_t at, const char *text) {
  size_t size = strlen(text);
  memcpy(out + at, text, size);
  return at + size;
}

static void emit(const struct log_stream *stream, const char *content, size_t size, const char *tag,
                 struct timespec now, log_sink sink, void *context) {
  char header[LOG_HEADER_MAX];
  size_t at = log_format_time(header, now);
  at = append(header, at, " ");
  at = append(header, at, stream->name);
  at = append(header, at, tag);
  sink(context, header, at, content, size);
}

char *log_room(struct log_stream *stream, size_t *size) {
  *size = sizeof stream->line - stream->used;
  return stream->line + stream->used;
}

void log_feed(struct log_stream *stream, size_t size, struct timespec now, log_sink sink, void *context) {
  char *start = stream->line;
  char *search = stream->line + stream->used;
  char *end = search + size;
  char *newline;
  while (search < end && (newline = memchr(search, '\n', (size_t)(end - search))) != NULL) {
    emit(stream, start, (size_t)(newline - start), " F ", now, sink, context);
    start = search = newline + 1;
  }
  stream->used = (size_t)(end - start);
  if (stream->used == sizeof stream->line) {
    emit(stream, start, stream->used, " P ", now, sink, context);
    stream->used = 0;
  } else if (start != stream->line) {
    memmove(stream->line, start, stream->used);
  }
}

void log_finish(struct log_stream *stream, struct timespec now, log_sink sink, void *context) {
  if (stream->used == 0) return;
  emit(stream, stream->line, stream->used, " F ", now, sink, context);
  stream->used = 0;
}

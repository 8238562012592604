#include "check.h"
#include "monitor/log.c"

static char written[8 * LOG_LINE_MAX];
static size_t written_size;

static void collect(void *context, const char *header, size_t header_size, const char *content, size_t size) {
  (void)context;
  CHECK(written_size + header_size + size + 1 < sizeof written);
  memcpy(written + written_size, header, header_size);
  memcpy(written + written_size + header_size, content, size);
  written_size += header_size + size;
  written[written_size++] = '\n';
  written[written_size] = '\0';
}

static void feed(struct log_stream *stream, const char *text, size_t size) {
  const struct timespec now = {.tv_sec = 1767323045, .tv_nsec = 6};
  while (size > 0) {
    size_t room;
    char *to = log_room(stream, &room);
    CHECK(room > 0);
    size_t part = size < room ? size : room;
    memcpy(to, text, part);
    log_feed(stream, part, now, collect, NULL);
    text += part;
    size -= part;
  }
}

static struct log_stream *fresh(void) {
  static struct log_stream stream;
  memset(&stream, 0, sizeof stream);
  stream.name = "stdout";
  written_size = 0;
  written[0] = '\0';
  return &stream;
}

#define AT "2026-01-02T03:04:05.000000006Z stdout "

static void lines_are_framed(void) {
  struct log_stream *stream = fresh();
  feed(stream, "one\ntwo\n\nthr", 12);
  CHECK_STR(written, AT "F one\n" AT "F two\n" AT "F \n");
  feed(stream, "ee\n", 3);
  CHECK_STR(written, AT "F one\n" AT "F two\n" AT "F \n" AT "F three\n");
  CHECK_INT(stream->used, 0);
}

static void the_end_needs_no_newline(void) {
  const struct timespec now = {.tv_sec = 1767323045, .tv_nsec = 6};
  struct log_stream *stream = fresh();
  feed(stream, "rest", 4);
  CHECK_STR(written, "");
  log_finish(stream, now, collect, NULL);
  CHECK_STR(written, AT "F rest\n");
  log_finish(stream, now, collect, NULL);
  CHECK_STR(written, AT "F rest\n");
}

static void long_lines_are_cut_and_nothing_is_lost(void) {
  static char line[2 * LOG_LINE_MAX + 10];
  struct log_stream *stream = fresh();
  memset(line, 'x', sizeof line);
  line[sizeof line - 1] = '\n';
  feed(stream, line, sizeof line);
  size_t header = strlen(AT "P ");
  CHECK_INT(written_size, 3 * (header + 1) + sizeof line - 1);
  CHECK(strncmp(written, AT "P x", header + 1) == 0);
  CHECK(strncmp(written + header + LOG_LINE_MAX + 1, AT "P x", header + 1) == 0);
  CHECK(strncmp(written + 2 * (header + LOG_LINE_MAX + 1), AT "F xxxxxxxxx\n", header + 10) == 0);
}

static void zero_bytes_are_content(void) {
  struct log_stream *stream = fresh();
  feed(stream, "a\0b\n", 4);
  CHECK_INT(written_size, strlen(AT "F ") + 4);
  CHECK(memcmp(written + strlen(AT "F "), "a\0b\n", 4) == 0);
}

int main(void) {
  lines_are_framed();
  the_end_needs_no_newline();
  long_lines_are_cut_and_nothing_is_lost();
  zero_bytes_are_content();
  return 0;
}

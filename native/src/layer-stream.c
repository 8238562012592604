#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "layer-internal.h"

enum { READ_BLOCK_BYTES = 128 * 1024 };

/* Two readers on top of one another: this one only decompresses (format "raw"), the tar reader gets its output. One
 * reader for both would not show the uncompressed stream, whose digest is the diff id. */
int layer_stream_open(struct layer_stream *stream, const char *path, struct shoal_error *err) {
  struct archive_entry *entry;
  int result;

  sha256_init(&stream->hash);
  stream->fd = -1;
  stream->raw = archive_read_new();
  if (stream->raw == NULL) return shoal_fail(err, ENOMEM, "open layer", "%s", path);
  (void)archive_read_support_filter_gzip(stream->raw);
  (void)archive_read_support_filter_zstd(stream->raw);
  (void)archive_read_support_format_empty(stream->raw);
  (void)archive_read_support_format_raw(stream->raw);
  stream->fd = open(path, O_RDONLY | O_CLOEXEC);
  if (stream->fd < 0) return shoal_fail(err, errno, "open layer", "%s", path);
  result = archive_read_open_fd(stream->raw, stream->fd, READ_BLOCK_BYTES);
  if (result != ARCHIVE_OK) return shoal_fail(err, EBADMSG, "read layer", "%s", archive_error_string(stream->raw));
  result = archive_read_next_header(stream->raw, &entry);
  if (result == ARCHIVE_OK || result == ARCHIVE_WARN || result == ARCHIVE_EOF) return 0;
  return shoal_fail(err, EBADMSG, "read layer", "%s", archive_error_string(stream->raw));
}

la_ssize_t layer_stream_read(struct archive *tar, void *data, const void **buffer) {
  struct layer_stream *stream = data;
  size_t size = 0;
  la_int64_t offset;

  while (size == 0) {
    int result = archive_read_data_block(stream->raw, buffer, &size, &offset);
    if (result == ARCHIVE_EOF) return 0;
    if (result != ARCHIVE_OK && result != ARCHIVE_WARN) {
      archive_set_error(tar, archive_errno(stream->raw), "%s", archive_error_string(stream->raw));
      return -1;
    }
  }
  sha256_update(&stream->hash, size, *buffer);
  return (la_ssize_t)size;
}

int layer_stream_finish(struct layer_stream *stream, struct archive *tar, char diff_id[72], struct shoal_error *err) {
  static const char prefix[] = "sha256:";
  uint8_t digest[SHA256_DIGEST_SIZE];
  const void *buffer;
  la_ssize_t size;

  do {
    size = layer_stream_read(tar, stream, &buffer);
  } while (size > 0);
  if (size < 0) return shoal_fail(err, EBADMSG, "read layer", "%s", archive_error_string(stream->raw));
  sha256_digest(&stream->hash, sizeof digest, digest);
  memcpy(diff_id, prefix, sizeof prefix);
  for (size_t i = 0; i < sizeof digest; i++)
    (void)snprintf(diff_id + 7 + 2 * i, 3, "%02x", digest[i]);
  return 0;
}

void layer_stream_close(struct layer_stream *stream) {
  if (stream->raw != NULL) (void)archive_read_free(stream->raw);
  if (stream->fd >= 0) (void)close(stream->fd);
}

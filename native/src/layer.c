/* How a layer is unpacked: layer-stream decompresses and hashes, libarchive reads tar from it, layer-entry makes each
 * entry in the directory that layer-tree holds. */
#include <errno.h>
#include <locale.h>
#include <string.h>
#include <sys/xattr.h>

#include "layer-internal.h"

static int unpack_entries(struct archive *tar, struct layer_tree *tree, struct shoal_layer_result *result,
                          struct shoal_error *err) {
  struct archive_entry *entry;
  int status, code;

  while ((status = archive_read_next_header(tar, &entry)) == ARCHIVE_OK || status == ARCHIVE_WARN) {
    code = layer_entry_apply(tree, tar, entry, err);
    if (code < 0) return code;
    result->entries++;
    if (archive_entry_filetype(entry) == AE_IFREG && archive_entry_hardlink(entry) == NULL)
      result->size_bytes += archive_entry_size(entry);
  }
  if (status != ARCHIVE_EOF) return shoal_fail(err, EBADMSG, "read layer", "%s", archive_error_string(tar));
  layer_tree_restore_times(tree);
  return 0;
}

static int unpack_stream(struct layer_stream *stream, struct layer_tree *tree, struct shoal_layer_result *result,
                         struct shoal_error *err) {
  struct archive *tar = archive_read_new();
  int code;

  if (tar == NULL) return shoal_fail(err, ENOMEM, "unpack layer", "no memory");
  (void)archive_read_support_format_empty(tar);
  (void)archive_read_support_format_tar(tar);
  if (archive_read_open(tar, stream, NULL, layer_stream_read, NULL) != ARCHIVE_OK)
    code = shoal_fail(err, EBADMSG, "read layer", "%s", archive_error_string(tar));
  else
    code = unpack_entries(tar, tree, result, err);
  if (code == 0) code = layer_stream_finish(stream, tar, result->diff_id, err);
  (void)archive_read_free(tar);
  return code;
}

int shoal_layer_unpack(const char *tar_path, const char *dest_dir, struct shoal_layer_result *result,
                       struct shoal_error *err) {
  struct layer_stream stream = {.fd = -1};
  struct layer_tree tree;
  int code;
  /* libarchive converts names to the thread's character set, and drops those that do not fit into "C" */
  locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
  locale_t before = utf8 == (locale_t)0 ? (locale_t)0 : uselocale(utf8);

  memset(result, 0, sizeof *result);
  code = layer_tree_open(&tree, dest_dir, err);
  if (code == 0) code = layer_stream_open(&stream, tar_path, err);
  if (code == 0) code = unpack_stream(&stream, &tree, result, err);
  layer_stream_close(&stream);
  layer_tree_close(&tree);
  if (utf8 != (locale_t)0) {
    (void)uselocale(before);
    freelocale(utf8);
  }
  return code;
}

int shoal_layer_is_opaque(const char *directory) {
  char value[2];
  return lgetxattr(directory, "trusted.overlay.opaque", value, sizeof value) == 1 && value[0] == 'y';
}

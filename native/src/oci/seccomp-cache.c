/* Compiled seccomp profiles, kept below --root: libseccomp takes longer than all the rest of a container's start, and
 * engines give nearly all containers one profile. A file has the profile's text in it, and is taken only for exactly
 * that text, compiled by the same libseccomp. There are SLOTS files at most. */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci/oci.h"
#include "seccomp-filter.h"

#define SLOTS 16
#define MAGIC 0x53484f44u /* another one whenever a profile is compiled to another program */
#define BYTES_MAX (4u << 20)

struct header {
  uint32_t magic;
  uint32_t library; /* libseccomp's version */
  uint32_t text_size;
  uint32_t count;
  uint32_t flags;
  uint32_t reserved;
};

static uint32_t library_version(void) {
  const struct scmp_version *version = seccomp_version();
  return version->major << 16 | version->minor << 8 | version->micro;
}

static void slot_path(const char *root, const char *text, char out[OCI_PATH_MAX]) {
  uint64_t hash = 14695981039346656037ull; /* FNV-1a: it only spreads, the text itself is compared */
  for (const char *c = text; *c != '\0'; c++)
    hash = (hash ^ (unsigned char)*c) * 1099511628211ull;
  (void)snprintf(out, OCI_PATH_MAX, "%s/.seccomp-%u", root, (unsigned int)(hash % SLOTS));
}

static struct header *read_slot(const char *path, size_t *size) {
  struct stat info;
  struct header *data = NULL;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return NULL;
  bool ours = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() && (info.st_mode & 022) == 0 &&
              info.st_size > (off_t)sizeof *data && info.st_size < (off_t)BYTES_MAX;
  if (ours) data = malloc((size_t)info.st_size);
  if (data != NULL && read(fd, data, (size_t)info.st_size) == info.st_size) {
    *size = (size_t)info.st_size;
  } else {
    free(data);
    data = NULL;
  }
  close(fd);
  return data;
}

static bool matches(const struct header *head, size_t size, const char *text) {
  size_t text_size = strlen(text);
  return head->magic == MAGIC && head->library == library_version() && head->text_size == text_size &&
         head->count > 0 && size == sizeof *head + text_size + head->count * sizeof(struct sock_filter) &&
         memcmp(head + 1, text, text_size) == 0;
}

static void set_filter(struct plan_builder *builder, const void *instructions, size_t count, uint32_t flags) {
  struct plan_list list = plan_add_list(builder, instructions, count, sizeof(struct sock_filter));
  plan_builder_head(builder)->process.seccomp = list;
  plan_builder_head(builder)->process.seccomp_flags = flags;
}

/* What cannot be kept is compiled again next time. */
static void write_slot(const char *path, const char *text, const struct seccomp_filter *filter) {
  char fresh[OCI_PATH_MAX + 16];
  struct header head = {.magic = MAGIC,
                        .library = library_version(),
                        .text_size = (uint32_t)strlen(text),
                        .count = (uint32_t)filter->count,
                        .flags = filter->flags};
  (void)snprintf(fresh, sizeof fresh, "%s.%d", path, (int)getpid());
  FILE *file = fopen(fresh, "wxe");
  if (file == NULL) return;
  bool good = fchmod(fileno(file), 0600) == 0 && fwrite(&head, sizeof head, 1, file) == 1 &&
              fwrite(text, head.text_size, 1, file) == 1 &&
              fwrite(filter->instructions, sizeof *filter->instructions, filter->count, file) == filter->count;
  good = fclose(file) == 0 && good;
  if (!good || rename(fresh, path) < 0) (void)unlink(fresh);
}

int seccomp_cached(const char *root, const cJSON *profile, struct plan_builder *builder, struct shoal_error *err) {
  char path[OCI_PATH_MAX];
  size_t size = 0;
  struct seccomp_filter *filter;
  char *text = cJSON_PrintUnformatted(profile);
  if (text == NULL) return shoal_fail(err, ENOMEM, "seccomp", "out of memory");
  slot_path(root, text, path);
  struct header *kept = read_slot(path, &size);
  bool hit = kept != NULL && matches(kept, size, text);
  if (hit) set_filter(builder, (const char *)(kept + 1) + kept->text_size, kept->count, kept->flags);
  free(kept);
  int rc = hit ? 0 : seccomp_filter_get(text, &filter, err);
  if (!hit && rc == 0) {
    set_filter(builder, filter->instructions, filter->count, filter->flags);
    write_slot(path, text, filter);
    seccomp_filter_put(filter);
  }
  cJSON_free(text);
  return rc;
}

#include "plan-build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int plan_builder_init(struct plan_builder *builder) {
  memset(builder, 0, sizeof *builder);
  builder->capacity = 32768;
  builder->data = calloc(1, builder->capacity);
  if (builder->data == NULL) return -ENOMEM;
  builder->size = sizeof(struct plan);
  plan_builder_head(builder)->magic = PLAN_MAGIC;
  return 0;
}

void plan_builder_free(struct plan_builder *builder) {
  free(builder->data);
  builder->data = NULL;
}

struct plan *plan_builder_head(struct plan_builder *builder) {
  return (struct plan *)(void *)builder->data;
}

static bool reserve(struct plan_builder *builder, size_t size) {
  size_t capacity = builder->capacity;
  if (builder->failed || size > PLAN_SIZE_MAX || builder->size + size + 16 > PLAN_SIZE_MAX) {
    builder->failed = true;
    return false;
  }
  while (builder->size + size + 16 > capacity)
    capacity *= 2;
  if (capacity == builder->capacity) return true;
  unsigned char *bigger = realloc(builder->data, capacity);
  if (bigger == NULL) {
    builder->failed = true;
    return false;
  }
  memset(bigger + builder->capacity, 0, capacity - builder->capacity);
  builder->data = bigger;
  builder->capacity = capacity;
  return true;
}

uint32_t plan_add(struct plan_builder *builder, const void *bytes, size_t size) {
  if (!reserve(builder, size)) return 0;
  size_t offset = (builder->size + 7) & ~(size_t)7;
  if (size > 0) memcpy(builder->data + offset, bytes, size);
  builder->size = offset + size;
  return (uint32_t)offset;
}

uint32_t plan_add_string(struct plan_builder *builder, const char *string) {
  size_t size = strlen(string) + 1;
  if (!reserve(builder, size)) return 0;
  size_t offset = builder->size;
  memcpy(builder->data + offset, string, size);
  builder->size += size;
  return (uint32_t)offset;
}

struct plan_list plan_add_list(struct plan_builder *builder, const void *items, size_t count, size_t item_size) {
  struct plan_list list = {0, 0};
  if (count == 0) return list;
  list.offset = plan_add(builder, items, count * item_size);
  if (list.offset != 0) list.count = (uint32_t)count;
  return list;
}

int plan_builder_finish(struct plan_builder *builder, struct shoal_error *err) {
  if (builder->failed) return shoal_fail(err, E2BIG, "plan", "the config is too large");
  plan_builder_head(builder)->size = (uint32_t)builder->size;
  int fd = memfd_create("shoal-plan", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return shoal_fail(err, errno, "plan", "memfd_create");
  for (size_t done = 0; done < builder->size;) {
    ssize_t n = write(fd, builder->data + done, builder->size - done);
    if (n < 0) {
      int code = errno;
      close(fd);
      return shoal_fail(err, code, "plan", "write");
    }
    done += (size_t)n;
  }
  (void)fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  return fd;
}

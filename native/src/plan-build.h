/* Lays out a plan. A builder that ran out of memory stays failed; plan_builder_finish reports it once. */
#ifndef SHOAL_PLAN_BUILD_H
#define SHOAL_PLAN_BUILD_H

#include <stdbool.h>
#include <stddef.h>

#include "plan.h"

struct plan_builder {
  unsigned char *data;
  size_t size;
  size_t capacity;
  bool failed;
};

int plan_builder_init(struct plan_builder *builder);
void plan_builder_free(struct plan_builder *builder);

/* The plan's fixed part. Valid until the next call that adds something. */
struct plan *plan_builder_head(struct plan_builder *builder);

/* Copies bytes in, 8-byte aligned; returns their offset, 0 on failure. */
uint32_t plan_add(struct plan_builder *builder, const void *bytes, size_t size);
uint32_t plan_add_string(struct plan_builder *builder, const char *string);

/* An array of count items of item_size bytes. */
struct plan_list plan_add_list(struct plan_builder *builder, const void *items, size_t count, size_t item_size);

/* A sealed memfd with the plan in it, or -errno. */
int plan_builder_finish(struct plan_builder *builder, struct shoal_error *err);

#endif

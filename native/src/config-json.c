#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

static bool listed(const char *name, const char *const allowed[]) {
  for (size_t i = 0; allowed[i] != NULL; i++) {
    if (strcmp(allowed[i], name) == 0) return true;
  }
  return false;
}

/* null, false, "", {} and [] ask for nothing, so they are no reason to refuse. */
static bool asks_for_nothing(const cJSON *value) {
  if (cJSON_IsNull(value) || cJSON_IsFalse(value)) return true;
  if (cJSON_IsString(value)) return value->valuestring[0] == '\0';
  return (cJSON_IsArray(value) || cJSON_IsObject(value)) && value->child == NULL;
}

int json_only(const cJSON *object, const char *path, const char *const allowed[], struct shoal_error *err) {
  if (object == NULL) return 0;
  if (!cJSON_IsObject(object)) return CONFIG_FAIL(err, EINVAL, "%s: not an object", path);
  for (const cJSON *member = object->child; member != NULL; member = member->next) {
    if (listed(member->string, allowed) || asks_for_nothing(member)) continue;
    return CONFIG_FAIL(err, ENOTSUP, "%s%s%s is not supported", path, path[0] == '\0' ? "" : ".", member->string);
  }
  return 0;
}

const cJSON *json_member(const cJSON *object, const char *key) {
  const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, key);
  return cJSON_IsNull(member) ? NULL : member;
}

int json_string(const cJSON *object, const char *path, const char *key, bool required, const char **out,
                struct shoal_error *err) {
  const cJSON *member = json_member(object, key);
  *out = NULL;
  if (member == NULL && !required) return 0;
  if (!cJSON_IsString(member)) return CONFIG_FAIL(err, EINVAL, "%s.%s: a string is needed", path, key);
  *out = member->valuestring;
  return 0;
}

int json_integer(const cJSON *object, const char *path, const char *key, int64_t *out, bool *present,
                 struct shoal_error *err) {
  const cJSON *member = json_member(object, key);
  if (present != NULL) *present = member != NULL;
  if (member == NULL) return 0;
  if (!cJSON_IsNumber(member) || isnan(member->valuedouble) || floor(member->valuedouble) != member->valuedouble) {
    return CONFIG_FAIL(err, EINVAL, "%s.%s: an integer is needed", path, key);
  }
  if (member->valuedouble >= 9223372036854775807.0) {
    *out = INT64_MAX;
  } else if (member->valuedouble < -9007199254740992.0) {
    return CONFIG_FAIL(err, ERANGE, "%s.%s: out of range", path, key);
  } else {
    *out = (int64_t)member->valuedouble;
  }
  return 0;
}

int json_bool(const cJSON *object, const char *path, const char *key, bool *out, struct shoal_error *err) {
  const cJSON *member = json_member(object, key);
  *out = false;
  if (member == NULL) return 0;
  if (!cJSON_IsBool(member)) return CONFIG_FAIL(err, EINVAL, "%s.%s: true or false is needed", path, key);
  *out = cJSON_IsTrue(member);
  return 0;
}

int json_string_list(struct config_context *context, const cJSON *object, const char *path, const char *key,
                     struct plan_list *out) {
  const cJSON *array = json_member(object, key);
  *out = (struct plan_list){0, 0};
  if (array == NULL) return 0;
  if (!cJSON_IsArray(array)) return CONFIG_FAIL(context->err, EINVAL, "%s.%s: an array is needed", path, key);
  size_t count = (size_t)cJSON_GetArraySize(array);
  uint32_t *offsets = calloc(count + 1, sizeof *offsets);
  if (offsets == NULL) return CONFIG_FAIL(context->err, ENOMEM, "%s.%s", path, key);
  size_t i = 0;
  for (const cJSON *item = array->child; item != NULL; item = item->next) {
    if (!cJSON_IsString(item)) {
      free(offsets);
      return CONFIG_FAIL(context->err, EINVAL, "%s.%s[%zu]: a string is needed", path, key, i);
    }
    offsets[i++] = plan_add_string(context->builder, item->valuestring);
  }
  *out = plan_add_list(context->builder, offsets, count, sizeof *offsets);
  free(offsets);
  return 0;
}

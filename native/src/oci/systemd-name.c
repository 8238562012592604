/* Names of slices and scopes, and where their cgroups are: systemd.slice(5). */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "oci/oci.h"
#include "oci/systemd.h"

static bool plain(const char *name) {
  for (const char *c = name; *c != '\0'; c++) {
    if (!isalnum((unsigned char)*c) && strchr("-_.@\\", *c) == NULL) return false;
  }
  return name[0] != '\0' && name[0] != '.';
}

static bool ends(const char *text, const char *end) {
  size_t length = strlen(text), wanted = strlen(end);
  return length > wanted && strcmp(text + length - wanted, end) == 0;
}

/* "a-b.slice" is in "a.slice": its cgroup is /a.slice/a-b.slice. "-.slice" is the root. */
static int slice_path(const char *slice, char *out, size_t size) {
  size_t used = 0, length = strlen(slice) - strlen(".slice");
  out[0] = '\0';
  if (strcmp(slice, "-.slice") == 0) return 0;
  for (size_t i = 0; i <= length; i++) {
    bool between = i < length && slice[i] == '-';
    if (between && (i == 0 || i + 1 == length || slice[i - 1] == '-')) return -1;
    if (!between && i < length) continue;
    int n = snprintf(out + used, size - used, "/%.*s.slice", (int)i, slice);
    if (n < 0 || (size_t)n >= size - used) return -1;
    used += (size_t)n;
  }
  return 0;
}

/* The three parts; what is absent is empty. */
static int split(const char *given, char *slice, char *prefix, char *name) {
  const char *first = strchr(given, ':'), *second = first == NULL ? NULL : strchr(first + 1, ':');
  if (second == NULL || strchr(second + 1, ':') != NULL || strlen(given) >= UNIT_NAME_MAX) return -1;
  (void)snprintf(slice, UNIT_NAME_MAX, "%.*s", (int)(first - given), given);
  (void)snprintf(prefix, UNIT_NAME_MAX, "%.*s", (int)(second - first - 1), first + 1);
  (void)snprintf(name, UNIT_NAME_MAX, "%s", second + 1);
  return 0;
}

int scope_name(const char *given, const char *id, struct scope *scope, char *path, size_t size) {
  char prefix[UNIT_NAME_MAX] = "shoal-oci", name[UNIT_NAME_MAX], above[512];
  memset(scope, 0, sizeof *scope);
  (void)snprintf(name, sizeof name, "%s", id);
  bool named = given != NULL && given[0] != '\0';
  if (named && split(given, scope->slice, prefix, name) < 0)
    return log_failure("linux.cgroupsPath: with --systemd-cgroup SLICE:PREFIX:NAME is needed, not '%s'", given);
  if (scope->slice[0] == '\0') (void)snprintf(scope->slice, sizeof scope->slice, "system.slice");
  int n = snprintf(scope->unit, sizeof scope->unit, "%s%s%s.scope", prefix, prefix[0] == '\0' ? "" : "-", name);
  if (n >= (int)sizeof scope->unit || name[0] == '\0' || ends(name, ".slice") || !plain(scope->unit))
    return log_failure("linux.cgroupsPath: '%s' makes no name of a scope", named ? given : id);
  if (!ends(scope->slice, ".slice") || !plain(scope->slice) || slice_path(scope->slice, above, sizeof above) < 0)
    return log_failure("linux.cgroupsPath: '%s' is not the name of a slice", scope->slice);
  if (snprintf(path, size, "%s/%s/" SCOPE_GROUP, above, scope->unit) >= (int)size)
    return log_failure("linux.cgroupsPath: too long");
  return 0;
}

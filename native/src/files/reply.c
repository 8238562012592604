#include "files/files.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void say(const char *text, size_t size) {
  while (size > 0) {
    ssize_t n = write(FILES_FD_TALK, text, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return; /* nobody listens any more: we are about to be killed */
    text += n;
    size -= (size_t)n;
  }
}

void reply_object(cJSON *object) {
  char *text = object == NULL ? NULL : cJSON_PrintUnformatted(object);
  if (text != NULL) {
    say(text, strlen(text));
    say("\n", 1);
  }
  free(text);
  cJSON_Delete(object);
}

int reply_error(const char *kind, int code, const char *format, ...) {
  char message[1024];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(message, sizeof message, format, args);
  va_end(args);
  cJSON *object = cJSON_CreateObject();
  cJSON *error = cJSON_AddObjectToObject(object, "error");
  (void)cJSON_AddStringToObject(error, "kind", kind);
  (void)cJSON_AddNumberToObject(error, "code", code);
  (void)cJSON_AddStringToObject(error, "message", message);
  reply_object(object);
  return -1;
}

void reply_done(void) {
  cJSON *object = cJSON_CreateObject();
  (void)cJSON_AddBoolToObject(object, "done", 1);
  reply_object(object);
}

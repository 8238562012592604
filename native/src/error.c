#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shoal.h"

int shoal_fail(struct shoal_error *err, int code, const char *step, const char *format, ...) {
  if (err != NULL) {
    va_list args;
    err->code = code;
    (void)snprintf(err->step, sizeof err->step, "%s", step);
    va_start(args, format);
    (void)vsnprintf(err->detail, sizeof err->detail, format, args);
    va_end(args);
  }
  return -code;
}

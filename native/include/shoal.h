/* The public face of libshoal. Every export returns 0 (or a non-negative result where it says so) or -errno, and on
 * failure fills the caller's struct shoal_error; nobody reads errno afterwards. No export leaves state behind on the
 * calling thread: one that needs another namespace enters it on a thread or child of its own. */
#ifndef SHOAL_H
#define SHOAL_H

#include <stddef.h>
#include <stdint.h>

#define SHOAL_EXPORT __attribute__((visibility("default")))

struct shoal_error {
  int32_t code;     /* errno of the failing call */
  char step[32];    /* what was being done, e.g. "mount /proc" */
  char detail[128]; /* what it was done to, or the library's own message */
};

/* Fills err (which may be NULL) and returns -code, so that a caller can write: return shoal_fail(err, errno, ...). */
int shoal_fail(struct shoal_error *err, int code, const char *step, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif

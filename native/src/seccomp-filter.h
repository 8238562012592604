/* Seccomp profiles (OCI linux.seccomp) compiled to BPF by libseccomp. Compiling takes milliseconds and most containers
 * share one profile, so the last few results are kept, keyed by the profile's text. */
#ifndef SHOAL_SECCOMP_FILTER_H
#define SHOAL_SECCOMP_FILTER_H

#include <cjson/cJSON.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shoal.h"

struct seccomp_filter {
  struct sock_filter *instructions;
  size_t count;
  uint32_t flags; /* SECCOMP_FILTER_FLAG_* */
  int references;
};

/* A compiled profile, to be given back with seccomp_filter_put. Thread-safe; the lock is not held while compiling. */
int seccomp_filter_get(const char *profile_json, struct seccomp_filter **out, struct shoal_error *err);
/* Whether it asks somebody about any system call. */
bool seccomp_notifies(const cJSON *profile);
/* The program as libseccomp writes it, neither shortened nor kept. The instructions are the caller's. */
int seccomp_filter_build(const cJSON *profile, struct seccomp_filter *out, struct shoal_error *err);
void seccomp_filter_put(struct seccomp_filter *filter);

#endif

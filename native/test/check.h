/* Assertions for the C tests: the first failure says where and ends the program. */
#ifndef SHOAL_TEST_CHECK_H
#define SHOAL_TEST_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      (void)fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                                  \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)

#define CHECK_INT(actual, expected)                                                                                    \
  do {                                                                                                                 \
    long long check_a = (long long)(actual), check_e = (long long)(expected);                                          \
    if (check_a != check_e) {                                                                                          \
      (void)fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #actual, check_a, check_e);           \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)

#define CHECK_STR(actual, expected)                                                                                    \
  do {                                                                                                                 \
    const char *check_a = (actual), *check_e = (expected);                                                             \
    if (check_a == NULL || strcmp(check_a, check_e) != 0) {                                                            \
      (void)fprintf(stderr, "%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #actual,                          \
                    check_a == NULL ? "(null)" : check_a, check_e);                                                    \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)

#endif

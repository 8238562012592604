/* libseccomp tests system calls one by one, although most have neighbours that are treated alike. The filter is
 * translated by the kernel at each start of a container, in a time that grows with its length; so the tests of the
 * call's number are written again, as ranges. */
#ifndef SHOAL_SECCOMP_SHORTEN_H
#define SHOAL_SECCOMP_SHORTEN_H

#include <linux/filter.h>
#include <stddef.h>

/* Writes a program that answers every call as the given one does, into `out`, which has room for `count` instructions.
 * Returns its length, or 0 if it would not be shorter, or the program does what is not understood here. */
size_t seccomp_shorten(const struct sock_filter *program, size_t count, struct sock_filter *out);

#endif

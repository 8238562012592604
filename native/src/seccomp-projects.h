/* What goes before a compiled seccomp profile where the disk of a container has a limit: the owner of a file could move
 * it, or what is made in a directory, into another project and out of the limit. Everything else goes on to the
 * profile. */
#ifndef SHOAL_SECCOMP_PROJECTS_H
#define SHOAL_SECCOMP_PROJECTS_H

#include <linux/filter.h>
#include <stdint.h>

#define SECCOMP_PROJECTS_SIZE 22

void seccomp_projects_write(struct sock_filter out[SECCOMP_PROJECTS_SIZE]);

#endif

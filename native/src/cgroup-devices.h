/* The device filter of cgroup v2: what v1 has as devices.allow and devices.deny is there a BPF program
 * (BPF_PROG_TYPE_CGROUP_DEVICE, kernel Documentation/admin-guide/cgroup-v2.rst "Device controller"). */
#ifndef SHOAL_CGROUP_DEVICES_H
#define SHOAL_CGROUP_DEVICES_H

#include <linux/bpf.h>

#include "cgroup.h"

#define DEVICE_PROGRAM_MAX (8 + CGROUP_DEVICES_MAX * 8)

/* Compiles the rules, of which the last that matches decides, as with v1; none: denied. Returns the number of
 * instructions. Pure. */
size_t cgroup_devices_compile(const struct cgroup_limits *limits, struct bpf_insn out[DEVICE_PROGRAM_MAX]);

/* Attaches the program to the cgroup, for as long as that exists. */
int cgroup_devices_attach(const char *directory, const struct cgroup_limits *limits, struct shoal_error *err);

#endif

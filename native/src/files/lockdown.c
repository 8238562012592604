/* What is left of a root process once it is among a container's files: the rights to read and write them as the node's
 * root does, and none to run, map, mount, enter or trace anything. A library that a container put in the way of ours
 * (CVE-2019-14271) could not even be mapped. */
#include "files/files.h"

#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define MEMORY_MAX (512UL << 20)
#define DESCRIPTORS_MAX 4096UL

static int keep_capabilities(bool trusted) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2], held[2];
  const unsigned int kept[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
                               CAP_FSETID, CAP_MKNOD,        CAP_SETFCAP};
  memset(data, 0, sizeof data);
  memset(held, 0, sizeof held);
  if (syscall(SYS_capget, &header, held) < 0) return -1;
  for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
    data[CAP_TO_INDEX(kept[i])].permitted |= CAP_TO_MASK(kept[i]);
  if (trusted) data[CAP_TO_INDEX(CAP_SYS_ADMIN)].permitted |= CAP_TO_MASK(CAP_SYS_ADMIN);
  for (size_t i = 0; i < 2; i++) {
    data[i].permitted &= held[i].permitted; /* the agent itself may have been given fewer */
    data[i].effective = data[i].permitted;
  }
  return (int)syscall(SYS_capset, &header, data);
}

static int limit(void) {
  const struct rlimit none = {0, 0}, memory = {MEMORY_MAX, MEMORY_MAX};
  struct rlimit files;
  if (setrlimit(RLIMIT_CORE, &none) < 0) return -1;
#ifndef __SANITIZE_ADDRESS__
  if (setrlimit(RLIMIT_AS, &memory) < 0) return -1;
#else
  (void)memory;
#endif
  if (getrlimit(RLIMIT_NOFILE, &files) < 0) return -1;
  files.rlim_cur = files.rlim_max < DESCRIPTORS_MAX ? files.rlim_max : DESCRIPTORS_MAX;
  return setrlimit(RLIMIT_NOFILE, &files);
}

static int filter(void) {
  const int refused[] = {SCMP_SYS(execve),        SCMP_SYS(execveat),        SCMP_SYS(fork),
                         SCMP_SYS(vfork),         SCMP_SYS(ptrace),          SCMP_SYS(process_vm_readv),
                         SCMP_SYS(kill),          SCMP_SYS(tkill),           SCMP_SYS(process_vm_writev),
                         SCMP_SYS(mount),         SCMP_SYS(umount2),         SCMP_SYS(pivot_root),
                         SCMP_SYS(chroot),        SCMP_SYS(setns),           SCMP_SYS(unshare),
                         SCMP_SYS(open_tree),     SCMP_SYS(move_mount),      SCMP_SYS(fsopen),
                         SCMP_SYS(mount_setattr), SCMP_SYS(socket),          SCMP_SYS(connect),
                         SCMP_SYS(bpf),           SCMP_SYS(perf_event_open), SCMP_SYS(open_by_handle_at),
                         SCMP_SYS(init_module),   SCMP_SYS(finit_module),    SCMP_SYS(keyctl),
                         SCMP_SYS(reboot),        SCMP_SYS(swapon),          SCMP_SYS(userfaultfd)};
  const struct scmp_arg_cmp executable = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC);
  scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);
  if (context == NULL) return -1;
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < sizeof refused / sizeof refused[0]; i++)
    rc = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
  if (rc == 0) rc = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 1, executable);
  if (rc == 0) rc = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mprotect), 1, executable);
  if (rc == 0) rc = seccomp_load(context);
  seccomp_release(context);
  errno = -rc;
  return rc < 0 ? -1 : 0;
}

int lockdown(bool trusted) {
  if (limit() < 0) return reply_error("failed", errno, "limits: %s", strerror(errno));
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return reply_error("failed", errno, "no_new_privs");
  if (keep_capabilities(trusted) < 0) return reply_error("failed", errno, "capabilities: %s", strerror(errno));
  /* A change of capabilities resets it: a root process of the container must not be able to trace this one. */
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return reply_error("failed", errno, "dumpable");
  if (filter() < 0) return reply_error("failed", errno, "seccomp: %s", strerror(errno));
  return 0;
}

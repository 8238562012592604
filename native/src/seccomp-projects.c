#include "seccomp-projects.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>

#define X32_BIT 0x40000000u
#define FILE_SETATTR 469u /* of every architecture; Linux 6.17 */
#define LOW_HALF (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0)

/* ioctl, as each way into this kernel numbers it. */
static const struct {
  uint32_t arch, number;
} entries[] = {
#if defined(__x86_64__)
    {AUDIT_ARCH_X86_64, SYS_ioctl},
    {AUDIT_ARCH_X86_64, X32_BIT | 514},
    {AUDIT_ARCH_I386, 54},
#elif defined(__aarch64__)
    {AUDIT_ARCH_AARCH64, SYS_ioctl},
    {AUDIT_ARCH_ARM, 54},
    {AUDIT_ARCH_ARMEB, 54},
#else
#error "how does a program of this architecture call ioctl?"
#endif
};

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
/* Both are counted from the next instruction on. */
#define IF(value, then, otherwise) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (then), (otherwise))
#define ERROR(code) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (code))
#define IOCTL(i, to) LOAD(arch), IF(entries[i].arch, 0, 2), LOAD(nr), IF(entries[i].number, (to), 0)

void seccomp_projects_write(struct sock_filter out[SECCOMP_PROJECTS_SIZE]) {
  const struct sock_filter program[] = {
      IOCTL(0, 12),
      IOCTL(1, 8),
      IOCTL(2, 4),
      LOAD(nr),
      IF(FILE_SETATTR, 7, 0),
      IF(X32_BIT | FILE_SETATTR, 6, 0),
      BPF_STMT(BPF_JMP | BPF_JA, 6),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1]) + LOW_HALF),
      IF(FS_IOC_FSSETXATTR, 2, 0),
      IF(FS_IOC_SETFLAGS, 1, 0),
      IF(FS_IOC32_SETFLAGS, 0, 2),
      ERROR(EPERM),
      ERROR(ENOSYS),
  };
  _Static_assert(sizeof program / sizeof program[0] == SECCOMP_PROJECTS_SIZE, "its size");
  memcpy(out, program, sizeof program);
}

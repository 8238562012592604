#include "cgroup-devices.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(to, offset_)                                                                                              \
  (struct bpf_insn) { .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = (to), .src_reg = BPF_REG_1, .off = (offset_) }
#define ALU(op, to, value)                                                                                             \
  (struct bpf_insn) { .code = BPF_ALU | (op) | BPF_K, .dst_reg = (to), .imm = (value) }
#define COPY(to, from)                                                                                                 \
  (struct bpf_insn) { .code = BPF_ALU | BPF_MOV | BPF_X, .dst_reg = (to), .src_reg = (from) }
#define JUMP(op, reg, value)                                                                                           \
  (struct bpf_insn) { .code = BPF_JMP32 | (op) | BPF_K, .dst_reg = (reg), .imm = (value) }
#define EXIT                                                                                                           \
  (struct bpf_insn) { .code = BPF_JMP | BPF_EXIT }

enum { ACCESS = BPF_REG_2, TYPE = BPF_REG_3, MAJOR = BPF_REG_4, MINOR = BPF_REG_5, SCRATCH = BPF_REG_0 };

static int access_bits(const char *access) {
  int bits = 0;
  for (; *access != '\0'; access++)
    bits |= *access == 'm' ? BPF_DEVCG_ACC_MKNOD : *access == 'r' ? BPF_DEVCG_ACC_READ : BPF_DEVCG_ACC_WRITE;
  return bits;
}

/* One rule: jump behind it unless it matches, else return its verdict. */
static size_t compile_rule(const struct cgroup_device_rule *rule, struct bpf_insn *out) {
  const int all = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;
  int bits = access_bits(rule->access);
  bool jumps[8] = {false};
  size_t n = 0;
#define UNLESS(op, reg, value) (jumps[n] = true, out[n++] = JUMP(op, reg, value))
  if (rule->type != 'a') UNLESS(BPF_JNE, TYPE, rule->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
  if (bits != all) {
    out[n++] = COPY(SCRATCH, ACCESS);
    /* Allowed if nothing else is asked for; denied if any of it is. */
    out[n++] = ALU(BPF_AND, SCRATCH, rule->allow ? all & ~bits : bits);
    UNLESS(rule->allow ? BPF_JNE : BPF_JEQ, SCRATCH, 0);
  }
  if (rule->major >= 0) UNLESS(BPF_JNE, MAJOR, (int32_t)rule->major);
  if (rule->minor >= 0) UNLESS(BPF_JNE, MINOR, (int32_t)rule->minor);
#undef UNLESS
  out[n++] = ALU(BPF_MOV, BPF_REG_0, rule->allow);
  out[n++] = EXIT;
  for (size_t i = 0; i < n; i++) {
    if (jumps[i]) out[i].off = (int16_t)(n - i - 1);
  }
  return n;
}

size_t cgroup_devices_compile(const struct cgroup_limits *limits, struct bpf_insn out[DEVICE_PROGRAM_MAX]) {
  size_t n = 0;
  out[n++] = LOAD(ACCESS, 0);
  out[n++] = COPY(TYPE, ACCESS);
  out[n++] = ALU(BPF_AND, TYPE, 0xffff);
  out[n++] = ALU(BPF_RSH, ACCESS, 16);
  out[n++] = LOAD(MAJOR, 4);
  out[n++] = LOAD(MINOR, 8);
  for (size_t i = limits->device_count; i-- > 0;) {
    const struct cgroup_device_rule *rule = &limits->devices[i];
    n += compile_rule(rule, out + n);
    /* It matches all: nothing before it counts, and the verifier refuses what cannot be reached. */
    if (rule->type == 'a' && rule->major < 0 && rule->minor < 0 && strlen(rule->access) == 3) return n;
  }
  out[n++] = ALU(BPF_MOV, BPF_REG_0, 0);
  out[n++] = EXIT;
  return n;
}

static int bpf_call(enum bpf_cmd command, union bpf_attr *attributes) {
  return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

int cgroup_devices_attach(const char *directory, const struct cgroup_limits *limits, struct shoal_error *err) {
  struct bpf_insn program[DEVICE_PROGRAM_MAX];
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.insns = (uint64_t)(uintptr_t)program;
  attributes.insn_cnt = (uint32_t)cgroup_devices_compile(limits, program);
  attributes.license = (uint64_t)(uintptr_t) "Apache-2.0";
  int program_fd = bpf_call(BPF_PROG_LOAD, &attributes);
  if (program_fd < 0) return shoal_fail(err, errno, "cgroup", "load of the device filter");
  int directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  memset(&attributes, 0, sizeof attributes);
  attributes.target_fd = (uint32_t)directory_fd;
  attributes.attach_bpf_fd = (uint32_t)program_fd;
  attributes.attach_type = BPF_CGROUP_DEVICE;
  attributes.attach_flags = BPF_F_ALLOW_MULTI;
  int rc = 0;
  if (directory_fd < 0 || bpf_call(BPF_PROG_ATTACH, &attributes) < 0)
    rc = shoal_fail(err, errno, "cgroup", "device filter of %s", directory);
  close(program_fd);
  if (directory_fd >= 0) close(directory_fd);
  return rc;
}

/* Shortened filters against the same filters as libseccomp writes them, and programs that no library writes against
 * themselves: the answers must be equal for every call that is tried. What the kernel finds to be allowed whatever the
 * arguments, it must find in the shortened filter, too. */
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bpf.h"
#include "check.h"
#include "seccomp-filter.h"
#include "seccomp-projects.h"
#include "seccomp-shorten.h"

#define CALLS 600
#define X32_BIT 0x40000000u
#define FEW_CALLS 40
#define TRIALS 32
#define UNKNOWN BPF_STOPPED

static const uint32_t arches[] = {AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM, 0, 0x1234};
#define ARCH_COUNT (sizeof arches / sizeof arches[0])

struct program {
  const struct sock_filter *instructions;
  size_t count;
};

static uint64_t state = 1;

static uint32_t random_below(uint32_t limit) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 32) % limit;
}

/* One of the comparisons with arguments that the last programs made. */
static struct { uint32_t field, value, count; } compared;

static void note_comparison(uint32_t field, uint32_t value) {
  if (field <= offsetof(struct seccomp_data, arch) || random_below(++compared.count) > 0) return;
  compared.field = field;
  compared.value = value;
}

static int note(const struct sock_filter *i, uint32_t field) {
  if (BPF_CLASS(i->code) == BPF_JMP && i->code != (BPF_JMP | BPF_JA)) note_comparison(field, i->k);
  return 0;
}

/* Stops where the kernel would not find the answer without the arguments. */
static int note_constant(const struct sock_filter *i, uint32_t field) {
  const int is_load = i->code == (BPF_LD | BPF_W | BPF_ABS);
  if (is_load ? i->k > offsetof(struct seccomp_data, arch)
              : BPF_CLASS(i->code) != BPF_JMP && BPF_CLASS(i->code) != BPF_RET)
    return 1;
  return note(i, field);
}

/* The answer; with `constant` UNKNOWN if the kernel would not find it without the arguments. */
static uint32_t answer(struct program program, const struct seccomp_data *data, bool constant) {
  return bpf_run(program.instructions, program.count, data, constant ? note_constant : note);
}

/* From one call to the next an argument that was compared becomes what it was compared with, or a neighbour. */
static void check_call(struct program whole, struct program shorter, uint32_t arch, uint32_t number) {
  struct seccomp_data data = {.nr = (int)number, .arch = arch};
  const uint32_t expected = answer(whole, &data, true);
  if (expected != UNKNOWN) {
    CHECK_INT(answer(shorter, &data, true), expected);
    return;
  }
  for (int i = 0; i < TRIALS; i++) {
    for (size_t arg = 0; arg < 6 && i % 16 == 0; arg++)
      data.args[arg] = (uint64_t)random_below(4) << 32 | random_below(64);
    compared.count = 0;
    CHECK_INT(answer(shorter, &data, false), answer(whole, &data, false));
    const uint32_t value = compared.value + random_below(3) - 1;
    if (compared.count > 0) memcpy((char *)&data + compared.field, &value, sizeof value);
  }
}

static void check_equal(struct program whole, struct program shorter, uint32_t calls) {
  static const uint32_t huge[] = {0x3fffffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 5000, 0xf0005};
  for (size_t a = 0; a < ARCH_COUNT; a++) {
    for (uint32_t number = 0; number <= calls; number++) {
      check_call(whole, shorter, arches[a], number);
      check_call(whole, shorter, arches[a], X32_BIT | number);
    }
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++)
      check_call(whole, shorter, arches[a], huge[i]);
  }
}

/* Returns the new length, in a buffer of just the room that it is given. */
static size_t check_shortened(struct program whole, uint32_t calls) {
  struct sock_filter *out = calloc(whole.count, sizeof *out);
  CHECK(out != NULL);
  const size_t count = seccomp_shorten(whole.instructions, whole.count, out);
  CHECK(count < whole.count);
  if (count > 0) check_equal(whole, (struct program){out, count}, calls);
  free(out);
  return count;
}

static void check_profile(const char *text) {
  struct shoal_error err = {0};
  struct seccomp_filter whole = {0}, *filter;
  cJSON *profile = cJSON_Parse(text);
  CHECK_INT(seccomp_filter_build(profile, &whole, &err), 0);
  CHECK_INT(seccomp_filter_get(text, &filter, &err), 0);
  CHECK_INT(filter->flags, whole.flags);
  CHECK(filter->count <= whole.count);
  check_equal((struct program){whole.instructions, whole.count}, (struct program){filter->instructions, filter->count},
              CALLS);
  free(whole.instructions);
  seccomp_filter_put(filter);
  cJSON_Delete(profile);
}

static char *read_default_profile(void) {
  static char text[65536];
  FILE *file = fopen("test/seccomp-default.json", "re");
  CHECK(file != NULL);
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  (void)fclose(file);
  return text;
}

static void the_default_profile(void) {
  struct shoal_error err = {0};
  struct seccomp_filter *filter;
  char limited[65600];
  const char *text = read_default_profile();
  check_profile(text);
  (void)snprintf(limited, sizeof limited, "{\"keepsProjects\":true,%s", text + 1);
  check_profile(limited);
  CHECK_INT(seccomp_filter_get(text, &filter, &err), 0);
  CHECK(filter->count < 220);
  seccomp_filter_put(filter);
}

/* With a limit of the disk, too, the kernel knows that calls are allowed: all but the one of which an argument counts.
 */
static void what_comes_before_is_constant(void) {
  struct shoal_error err = {0};
  struct seccomp_filter *filter;
  CHECK_INT(seccomp_filter_get("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"keepsProjects\":true}", &filter, &err), 0);
  const struct program program = {filter->instructions, filter->count};
  for (int number = 0; number < 400; number++) {
    const struct seccomp_data data = {.nr = number, .arch = seccomp_arch_native()};
    const bool is_ioctl = number == seccomp_syscall_resolve_name("ioctl");
    CHECK_INT(answer(program, &data, true), is_ioctl ? UNKNOWN : SECCOMP_RET_ALLOW);
  }
  seccomp_filter_put(filter);
}

static uint32_t random_action(void) {
  static const uint32_t actions[] = {SCMP_ACT_ALLOW,        SCMP_ACT_ALLOW,      SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(1),
                                     SCMP_ACT_ERRNO(38),    SCMP_ACT_LOG,        SCMP_ACT_TRAP,  SCMP_ACT_TRACE(7),
                                     SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD};
  return actions[random_below(sizeof actions / sizeof actions[0])];
}

static unsigned int random_conditions(struct scmp_arg_cmp out[6]) {
  const unsigned int count = random_below(5) > 0 ? 0 : 1 + random_below(3);
  const uint32_t from = random_below(4);
  for (unsigned int i = 0; i < count; i++) {
    const uint64_t high = random_below(3) == 0 ? (uint64_t)random_below(4) << 32 : 0;
    out[i] = (struct scmp_arg_cmp){.arg = from + i,
                                   .op = (enum scmp_compare)(SCMP_CMP_NE + random_below(7)),
                                   .datum_a = high | random_below(1 << (1 + random_below(20))),
                                   .datum_b = random_below(8)};
  }
  return count;
}

/* Runs of calls that are treated alike, and single ones, with conditions and several rules for some. */
static void add_rules(scmp_filter_ctx filter, uint32_t share) {
  uint32_t action = random_action();
  for (int number = 0; number < 470; number++) {
    struct scmp_arg_cmp conditions[6];
    if (random_below(4) == 0) action = random_below(2) == 0 ? SCMP_ACT_ALLOW : random_action();
    for (uint32_t rules = random_below(16) == 0 ? 2 : 1; rules > 0; rules--) {
      if (random_below(100) >= share) continue;
      const unsigned int count = random_conditions(conditions);
      /* What the library refuses (the default action, a second action for the same) is not in the filter. */
      (void)seccomp_rule_add_array(filter, action, number, count, conditions);
    }
    if (random_below(32) == 0) (void)seccomp_syscall_priority(filter, number, (uint8_t)random_below(256));
  }
}

static bool random_filter(void) {
  static const uint32_t more[] = {SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32, SCMP_ARCH_AARCH64, SCMP_ARCH_ARM};
  scmp_filter_ctx filter = seccomp_init(random_action());
  CHECK(filter != NULL);
  (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, random_below(4) == 0 ? 1 : 2);
  (void)seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, random_action());
  for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
    if (random_below(2) == 0) (void)seccomp_arch_add(filter, more[i]);
  add_rules(filter, 1 + random_below(100));
  int fd = memfd_create("filter", MFD_CLOEXEC);
  CHECK_INT(seccomp_export_bpf(filter, fd), 0);
  const size_t size = (size_t)lseek(fd, 0, SEEK_END);
  struct sock_filter *instructions = malloc(size);
  CHECK_INT(pread(fd, instructions, size, 0), size);
  const struct program whole = {instructions, size / sizeof *instructions};
  const bool shorter = check_shortened(whole, CALLS) > 0;
  free(instructions);
  close(fd);
  seccomp_release(filter);
  return shorter;
}

static void libraries_filters(void) {
  int shorter = 0;
  for (int i = 0; i < 40; i++)
    shorter += random_filter();
  CHECK(shorter > 20); /* single rules, far from each other, are no ranges */
}

static struct sock_filter random_load(void) {
  static const uint32_t fields[] = {0, 0, 0, 4, 4, 16, 20, 24};
  return (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, fields[random_below(8)]);
}

static struct sock_filter random_jump(uint32_t left, bool is_arch) {
  static const uint16_t ops[] = {BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JEQ};
  const uint32_t far = left > 256 ? 256 : left;
  /* Mostly near, or a way through a long program would be too short. */
  const uint32_t reach = random_below(3) == 0 ? far : far > 4 ? 4 : far;
  const uint32_t value = is_arch && random_below(8) > 0 ? arches[random_below(ARCH_COUNT)] : random_below(FEW_CALLS);
  const uint16_t op = is_arch ? BPF_JEQ : ops[random_below(4)];
  if (random_below(20) == 0) return (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, random_below(left));
  return (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_K | op, value, (uint8_t)random_below(reach),
                                      (uint8_t)random_below(reach));
}

/* What the kernel would take, and what is refused by seccomp_shorten: `strange` is how often. */
static struct sock_filter random_instruction(uint32_t left, uint32_t strange, bool *is_arch) {
  static const struct sock_filter others[] = {BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff),
                                              BPF_STMT(BPF_ST, 3),
                                              BPF_STMT(BPF_LD | BPF_MEM, 3),
                                              BPF_STMT(BPF_MISC | BPF_TAX, 0),
                                              BPF_STMT(BPF_MISC | BPF_TXA, 0),
                                              BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 6, 0, 1),
                                              BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 0x1234, 1, 0)};
  if (left < 2 || random_below(12) == 0)
    return (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | random_below(40));
  if (random_below(1000) < strange && left > 2) return others[random_below(7)];
  if (random_below(3) > 0) return random_jump(left, *is_arch);
  const struct sock_filter load = random_load();
  *is_arch = load.k == 4;
  return load;
}

static void programs_of_nobody(void) {
  size_t shorter = 0;
  for (int i = 0; i < 2000; i++) {
    struct sock_filter instructions[1200];
    const uint32_t count = 2 + random_below(i % 10 == 0 ? 1198 : 60), strange = random_below(2) * random_below(200);
    bool is_arch = false;
    for (uint32_t pc = 0; pc < count; pc++)
      instructions[pc] = random_instruction(count - pc - 1, strange, &is_arch);
    shorter += check_shortened((struct program){instructions, count}, FEW_CALLS) > 0;
  }
  CHECK(shorter > 200);
}

/* More answers than a jump can reach over. */
static void jumps_are_long_enough(void) {
  enum { ANSWERS = 700 };
  static struct sock_filter instructions[2 + 3 * ANSWERS];
  size_t count = 0;
  instructions[count++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
  for (uint32_t i = 0; i < ANSWERS; i++) {
    instructions[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, i, 0, i % 2 == 0 ? 1 : 2);
    if (i % 2 != 0) instructions[count++] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 0);
    instructions[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (i * 7 % 300));
  }
  instructions[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  CHECK(check_shortened((struct program){instructions, count}, ANSWERS) > ANSWERS);
}

int main(void) {
  the_default_profile();
  what_comes_before_is_constant();
  libraries_filters();
  programs_of_nobody();
  jumps_are_long_enough();
  return 0;
}

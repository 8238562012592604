/* A program begins with tests of the architecture and the number alone, and they end at a target: the instruction that
 * returns an answer, or the first that loads anything else (an argument). Which one depends on comparisons with
 * constants only. So the numbers between two neighbours of these constants have one target, and one of them is followed
 * to find it. What is written is, for each architecture, a tree over ranges of numbers; then what of the given program
 * can be reached from a target, unchanged. At a target nothing is in the accumulator that is used, nor in X or in
 * memory: it does not matter by which way it was reached.
 *
 * The kernel remembers the numbers that are allowed whatever the arguments, if it can find them by loads of number and
 * architecture, comparisons with constants and returns (seccomp_is_const_allow): nothing else is written here.
 *
 * Jumps lead forward, so the new program is written from its end: where a jump leads to is there before the jump. */
#include "seccomp-shorten.h"

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define ARCHES_MAX 8
#define JUMP_MAX 255
#define SINGLES_MAX 4 /* tests in a row; more would make the way longer than a tree's */
#define NOWHERE SIZE_MAX

#define LOAD (BPF_LD | BPF_W | BPF_ABS)
#define NUMBER offsetof(struct seccomp_data, nr)
#define ARCH offsetof(struct seccomp_data, arch)

/* Numbers from `first` to the one before the next range's. */
struct range {
  uint32_t first;
  size_t target; /* index in the given program; of returns of the same value, always the first */
};

/* Ranges in a row. Those that do not have the target `base` have a single number each. */
struct group {
  size_t first, end; /* indexes of ranges */
  size_t base;
};

struct shortening {
  const struct sock_filter *program;
  size_t count;
  uint32_t *bounds; /* where a range can begin, ascending */
  size_t bound_count;
  uint32_t arches[ARCHES_MAX]; /* that are compared with */
  size_t arch_count;
  struct range *ranges[ARCHES_MAX + 1]; /* the last are for all other architectures */
  size_t range_counts[ARCHES_MAX + 1];
  struct group *groups;
  bool *reached;           /* instructions that are taken over */
  size_t *places;          /* of a target, in the new program */
  struct sock_filter *out; /* its end is written first */
  size_t room, used;       /* a place is what was in use when it had been written */
};

static bool is_return(const struct sock_filter *i) { return i->code == (BPF_RET | BPF_K); }

static bool is_jump(const struct sock_filter *i) { return BPF_CLASS(i->code) == BPF_JMP; }

static bool note_arch(struct shortening *s, uint32_t arch) {
  for (size_t i = 0; i < s->arch_count; i++)
    if (s->arches[i] == arch) return true;
  if (s->arch_count == ARCHES_MAX) return false;
  s->arches[s->arch_count++] = arch;
  return true;
}

static bool compare(const struct sock_filter *i, uint32_t value) {
  switch (BPF_OP(i->code)) {
  case BPF_JEQ:
    return value == i->k;
  case BPF_JGT:
    return value > i->k;
  default:
    return value >= i->k;
  }
}

static bool is_comparison(const struct sock_filter *i) {
  return i->code == (BPF_JMP | BPF_JEQ | BPF_K) || i->code == (BPF_JMP | BPF_JGT | BPF_K) ||
         i->code == (BPF_JMP | BPF_JGE | BPF_K);
}

/* The target of a call, or NOWHERE. */
static size_t follow(struct shortening *s, uint32_t arch, uint32_t number) {
  uint32_t value = 0;
  bool is_arch = false;
  for (size_t pc = 0; pc < s->count; pc++) {
    const struct sock_filter *i = &s->program[pc];
    if (is_return(i)) return pc;
    if (i->code == LOAD) {
      if (i->k != NUMBER && i->k != ARCH) return pc;
      is_arch = i->k == ARCH;
      value = is_arch ? arch : number;
    } else if (i->code == (BPF_JMP | BPF_JA)) {
      pc += i->k;
    } else if (is_comparison(i)) {
      /* Architectures are no ranges. */
      if (is_arch && (BPF_OP(i->code) != BPF_JEQ || !note_arch(s, i->k))) return NOWHERE;
      pc += compare(i, value) ? i->jt : i->jf;
    } else {
      return NOWHERE;
    }
  }
  return NOWHERE;
}

static int ascending(const void *a, const void *b) {
  const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static void find_bounds(struct shortening *s) {
  size_t count = 0, kept = 1;
  s->bounds[count++] = 0;
  for (size_t pc = 0; pc < s->count; pc++) {
    if (!is_comparison(&s->program[pc])) continue;
    s->bounds[count++] = s->program[pc].k;
    s->bounds[count++] = s->program[pc].k + 1; /* beyond the greatest: 0 again */
  }
  qsort(s->bounds, count, sizeof *s->bounds, ascending);
  for (size_t i = 1; i < count; i++)
    if (s->bounds[i] != s->bounds[kept - 1]) s->bounds[kept++] = s->bounds[i];
  s->bound_count = kept;
}

static bool are_alike(const struct shortening *s, size_t a, size_t b) {
  const struct sock_filter *x = &s->program[a], *y = &s->program[b];
  return a == b || (is_return(x) && is_return(y) && x->k == y->k);
}

static size_t first_alike(const struct shortening *s, size_t target) {
  size_t pc = 0;
  while (!are_alike(s, pc, target))
    pc++;
  return pc;
}

static bool find_ranges(struct shortening *s, size_t index, uint32_t arch) {
  struct range *ranges = calloc(s->bound_count, sizeof *ranges);
  s->ranges[index] = ranges;
  if (ranges == NULL) return false;
  size_t count = 0;
  for (size_t i = 0; i < s->bound_count; i++) {
    const size_t target = follow(s, arch, s->bounds[i]);
    if (target == NOWHERE) return false;
    if (count > 0 && are_alike(s, ranges[count - 1].target, target)) continue;
    ranges[count] = (struct range){.first = s->bounds[i], .target = first_alike(s, target)};
    s->reached[ranges[count++].target] = true;
  }
  s->range_counts[index] = count;
  return true;
}

/* An architecture that nothing is compared with stands for all of them. More may become known on the way. */
static bool find_targets(struct shortening *s) {
  uint32_t other = 0;
  while (other < s->bound_count && s->bounds[other] == other)
    other++;
  if (!find_ranges(s, ARCHES_MAX, other)) return false;
  for (size_t i = 0; i < s->arch_count; i++)
    if (!find_ranges(s, i, s->arches[i])) return false;
  return true;
}

static bool mark(struct shortening *s, size_t pc) {
  if (pc >= s->count) return false;
  s->reached[pc] = true;
  return true;
}

/* What follows a target is taken over. Jumps lead forward, so one pass is enough. */
static bool find_reached(struct shortening *s) {
  for (size_t pc = 0; pc < s->count; pc++) {
    const struct sock_filter *i = &s->program[pc];
    if (!s->reached[pc] || BPF_CLASS(i->code) == BPF_RET) continue;
    const bool always = i->code == (BPF_JMP | BPF_JA);
    if (!mark(s, pc + 1 + (always ? i->k : is_jump(i) ? i->jt : 0))) return false;
    if (is_jump(i) && !always && !mark(s, pc + 1 + i->jf)) return false;
  }
  return true;
}

static size_t write_one(struct shortening *s, struct sock_filter instruction) {
  if (s->used == s->room) return NOWHERE;
  s->used++;
  s->out[s->room - s->used] = instruction;
  return s->used;
}

/* The given place, or one that leads there and that the next two instructions can jump to. */
static size_t near(struct shortening *s, size_t place) {
  if (place == NOWHERE || s->used - place < JUMP_MAX) return place;
  const struct sock_filter far = s->out[s->room - place];
  return write_one(s, is_return(&far) ? far : (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, s->used - place, 0, 0));
}

static size_t write_jump(struct shortening *s, uint16_t op, uint32_t value, size_t then, size_t otherwise) {
  then = near(s, then);
  otherwise = near(s, otherwise);
  if (then == NOWHERE || otherwise == NOWHERE) return NOWHERE;
  const struct sock_filter jump =
      BPF_JUMP(BPF_JMP | BPF_K | op, value, (uint8_t)(s->used - then), (uint8_t)(s->used - otherwise));
  return write_one(s, jump);
}

/* Before what was written last: loads do not jump. */
static size_t write_load(struct shortening *s, uint32_t field, size_t next) {
  return next == s->used ? write_one(s, (struct sock_filter)BPF_STMT(LOAD, field)) : NOWHERE;
}

static size_t write_target(struct shortening *s, size_t target) {
  s->places[target] = near(s, s->places[target]);
  return s->places[target];
}

/* Distances only get smaller. */
static bool write_reached(struct shortening *s) {
  for (size_t pc = s->count; pc-- > 0;) {
    struct sock_filter i = s->program[pc];
    if (!s->reached[pc]) continue;
    if (i.code == (BPF_JMP | BPF_JA)) {
      i.k = (uint32_t)(s->used - s->places[pc + 1 + i.k]);
    } else if (is_jump(&i)) {
      i.jt = (uint8_t)(s->used - s->places[pc + 1 + i.jt]);
      i.jf = (uint8_t)(s->used - s->places[pc + 1 + i.jf]);
    }
    s->places[pc] = write_one(s, i);
    if (s->places[pc] == NOWHERE) return false;
  }
  return true;
}

static bool is_single(const struct range *ranges, size_t count, size_t i) {
  return (i + 1 < count ? ranges[i + 1].first - 1 : UINT32_MAX) == ranges[i].first;
}

/* As many ranges as one group can have, from the first one of it on. */
static struct group next_group(const struct range *ranges, size_t count, size_t first) {
  struct group group = {.first = first, .end = first, .base = NOWHERE};
  size_t singles = 0;
  for (; group.end < count; group.end++) {
    const size_t target = ranges[group.end].target;
    if (target == group.base) continue;
    if (!is_single(ranges, count, group.end)) {
      if (group.base != NOWHERE) break;
      group.base = target;
    } else if (singles++ == SINGLES_MAX) {
      break;
    }
  }
  if (group.base == NOWHERE) group.base = ranges[group.end - 1].target;
  return group;
}

static size_t write_group(struct shortening *s, const struct range *ranges, const struct group *group) {
  size_t place = write_target(s, group->base);
  for (size_t i = group->end; i-- > group->first;) {
    if (ranges[i].target == group->base) continue;
    const size_t target = write_target(s, ranges[i].target);
    place = write_jump(s, BPF_JEQ, ranges[i].first, target, place);
  }
  return place;
}

static size_t write_tree(struct shortening *s, const struct range *ranges, const struct group *groups, size_t count) {
  if (count == 1) return write_group(s, ranges, groups);
  const size_t half = count / 2;
  const size_t above = write_tree(s, ranges, groups + half, count - half);
  const size_t below = write_tree(s, ranges, groups, half);
  return write_jump(s, BPF_JGE, ranges[groups[half].first].first, above, below);
}

static size_t write_arch(struct shortening *s, size_t index) {
  const struct range *ranges = s->ranges[index];
  const size_t count = s->range_counts[index];
  if (count == 1) return write_target(s, ranges[0].target);
  size_t group_count = 0;
  for (size_t first = 0; first < count; first = s->groups[group_count++].end)
    s->groups[group_count] = next_group(ranges, count, first);
  return write_load(s, NUMBER, write_tree(s, ranges, s->groups, group_count));
}

static bool write_program(struct shortening *s) {
  size_t arches[ARCHES_MAX];
  if (!write_reached(s)) return false;
  size_t place = write_arch(s, ARCHES_MAX);
  for (size_t i = s->arch_count; i-- > 0;)
    arches[i] = write_arch(s, i);
  for (size_t i = s->arch_count; i-- > 0;)
    place = write_jump(s, BPF_JEQ, s->arches[i], arches[i], place);
  return write_load(s, ARCH, place) != NOWHERE;
}

size_t seccomp_shorten(const struct sock_filter *program, size_t count, struct sock_filter *out) {
  struct shortening s = {.program = program, .count = count, .out = out, .room = count};
  const size_t bounds_max = 2 * count + 1;
  s.bounds = calloc(bounds_max, sizeof *s.bounds);
  s.groups = calloc(bounds_max, sizeof *s.groups);
  s.reached = calloc(count, sizeof *s.reached);
  s.places = calloc(count, sizeof *s.places);
  bool good = s.bounds != NULL && s.groups != NULL && s.reached != NULL && s.places != NULL;
  if (good) find_bounds(&s);
  good = good && find_targets(&s) && find_reached(&s) && write_program(&s) && s.used < count;
  for (size_t i = 0; good && i < s.used; i++)
    out[i] = out[count - s.used + i];
  for (size_t i = 0; i <= ARCHES_MAX; i++)
    free(s.ranges[i]);
  free(s.bounds);
  free(s.groups);
  free(s.reached);
  free(s.places);
  return good ? s.used : 0;
}

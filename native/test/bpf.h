/* Just enough of BPF to run a seccomp filter here. */
#ifndef SHOAL_TEST_BPF_H
#define SHOAL_TEST_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#define BPF_STOPPED (SECCOMP_RET_DATA - 1) /* no program here returns it */

/* Told of each instruction before it runs, and of the field that was loaded last; not 0 stops the program. */
typedef int bpf_visit(const struct sock_filter *instruction, uint32_t field);

static size_t bpf_jump(const struct sock_filter *i, uint32_t a) {
  switch (i->code) {
  case BPF_JMP | BPF_JA:
    return i->k;
  case BPF_JMP | BPF_JEQ | BPF_K:
    return a == i->k ? i->jt : i->jf;
  case BPF_JMP | BPF_JGT | BPF_K:
    return a > i->k ? i->jt : i->jf;
  case BPF_JMP | BPF_JGE | BPF_K:
    return a >= i->k ? i->jt : i->jf;
  case BPF_JMP | BPF_JSET | BPF_K:
    return (a & i->k) != 0 ? i->jt : i->jf;
  default:
    (void)fprintf(stderr, "unknown instruction %#x\n", i->code);
    exit(1);
  }
}

/* What the program answers, or BPF_STOPPED. */
static uint32_t bpf_run(const struct sock_filter *program, size_t count, const struct seccomp_data *data,
                        bpf_visit *visit) {
  uint32_t a = 0, x = 0, field = 0, memory[BPF_MEMWORDS] = {0};
  for (size_t pc = 0; pc < count; pc++) {
    const struct sock_filter *i = &program[pc];
    if (visit != NULL && visit(i, field)) return BPF_STOPPED;
    switch (i->code) {
    case BPF_LD | BPF_W | BPF_ABS:
      field = i->k;
      memcpy(&a, (const char *)data + field, 4);
      break;
    case BPF_ALU | BPF_AND | BPF_K:
      a &= i->k;
      break;
    case BPF_ST:
      memory[i->k] = a;
      break;
    case BPF_LD | BPF_MEM:
      a = memory[i->k];
      break;
    case BPF_MISC | BPF_TAX:
      x = a;
      break;
    case BPF_MISC | BPF_TXA:
      a = x;
      break;
    case BPF_RET | BPF_K:
      return i->k;
    default:
      pc += bpf_jump(i, a);
    }
  }
  CHECK(!"a program that ends");
  return BPF_STOPPED;
}

#endif

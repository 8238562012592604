/* The same targets under libFuzzer, which sees what an input reaches and goes on from there: layers if the program's
 * name has that word in it, else configs. Needs root for layers. What it finds is kept in corpus/, for fuzz-input to
 * begin with. */
#include <stdint.h>

#include "fuzz-targets.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed);

static bool of_layers;

int LLVMFuzzerInitialize(const int *argc, char ***argv) {
  (void)argc;
  of_layers = strstr((*argv)[0], "layer") != NULL;
  make_box();
  CHECK(atexit(remove_box) == 0);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct input input;
  if (size > INPUT_MAX) return -1;
  input.size = size;
  memcpy(input.bytes, data, size);
  if (of_layers)
    (void)try_layer(&input);
  else
    (void)try_config(&input);
  return 0;
}

/* Headers add up again after a mutation, or hardly one would get past the first. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed) {
  static struct input input;
  (void)seed;
  size = LLVMFuzzerMutate(data, size, max);
  if (size > INPUT_MAX) return size;
  input.size = size;
  memcpy(input.bytes, data, size);
  for (size_t at = 0; at + BLOCK <= size; at += BLOCK)
    add_up(&input, at);
  memcpy(data, input.bytes, size);
  return size;
}

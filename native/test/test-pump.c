#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "check.h"
#include "monitor/pump.c"

struct bench {
  int source, sink; /* the test's ends */
  struct pump pump;
};

static void open_bench(struct bench *bench) {
  int in[2], out[2];
  CHECK_INT(pipe2(in, O_NONBLOCK), 0);
  CHECK_INT(pipe2(out, O_NONBLOCK), 0);
  bench->source = in[1];
  bench->sink = out[0];
  pump_init(&bench->pump, in[0], out[1]);
}

static void close_bench(struct bench *bench) {
  if (bench->source >= 0) close(bench->source);
  if (bench->sink >= 0) close(bench->sink);
  if (bench->pump.from >= 0) close(bench->pump.from);
  if (bench->pump.to >= 0) close(bench->pump.to);
}

static void test_copies_and_ends(void) {
  struct bench bench;
  char got[16];
  open_bench(&bench);
  CHECK_INT(write(bench.source, "hello", 5), 5);
  pump_run(&bench.pump);
  CHECK_INT(read(bench.sink, got, sizeof got), 5);
  CHECK(!pump_done(&bench.pump));
  close(bench.source);
  bench.source = -1;
  pump_run(&bench.pump);
  CHECK(pump_done(&bench.pump));
  CHECK_INT(read(bench.sink, got, sizeof got), 0);
  close_bench(&bench);
}

static void test_full_sink_stops_reading(void) {
  struct bench bench;
  struct pollfd entries[PUMP_POLLS];
  static char block[PUMP_BYTES];
  open_bench(&bench);
  while (write(bench.pump.to, block, sizeof block) > 0)
    continue;
  CHECK_INT(write(bench.source, block, sizeof block), sizeof block);
  pump_run(&bench.pump);
  CHECK_INT(bench.pump.size, sizeof block);
  pump_poll(&bench.pump, entries);
  CHECK_INT(entries[0].fd, -1);
  CHECK_INT(entries[1].fd, bench.pump.to);
  /* The source's end is not the pump's: what waits is delivered first. */
  close(bench.source);
  bench.source = -1;
  size_t total = 0;
  for (ssize_t n; !pump_done(&bench.pump) || total == 0;) {
    while ((n = read(bench.sink, block, sizeof block)) > 0)
      total += (size_t)n;
    pump_run(&bench.pump);
  }
  CHECK(total > sizeof block);
  close_bench(&bench);
}

static void test_reader_that_has_gone(void) {
  struct bench bench;
  static char block[PUMP_BYTES];
  open_bench(&bench);
  close(bench.sink);
  bench.sink = -1;
  for (int i = 0; i < 20; i++) {
    CHECK_INT(write(bench.source, block, sizeof block), sizeof block);
    pump_run(&bench.pump);
  }
  CHECK_INT(bench.pump.to, -1);
  CHECK(!pump_done(&bench.pump));
  close_bench(&bench);
}

static void test_finish_takes_what_is_there(void) {
  struct bench bench;
  char got[16];
  open_bench(&bench);
  CHECK_INT(write(bench.source, "last", 4), 4);
  pump_finish(&bench.pump);
  CHECK(pump_done(&bench.pump));
  CHECK_INT(read(bench.sink, got, sizeof got), 4);
  CHECK_INT(read(bench.sink, got, sizeof got), 0);
  close_bench(&bench);
}

/* Somebody writes without an end: finishing ends all the same. */
static void test_finish_is_bounded(void) {
  struct pump pump;
  int zero = open("/dev/zero", O_RDONLY | O_NONBLOCK);
  pump_init(&pump, zero, -1);
  pump_finish(&pump);
  CHECK(pump_done(&pump));
}

int main(void) {
  (void)signal(SIGPIPE, SIG_IGN);
  test_copies_and_ends();
  test_full_sink_stops_reading();
  test_reader_that_has_gone();
  test_finish_takes_what_is_there();
  test_finish_is_bounded();
  return 0;
}

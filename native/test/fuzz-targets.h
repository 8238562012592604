/* What the fuzzers try an input on, and what must hold of it. */
#ifndef SHOAL_TEST_FUZZ_TARGETS_H
#define SHOAL_TEST_FUZZ_TARGETS_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup.h"
#include "check.h"
#include "config.h"
#include "shoal-layer.h"

#define INPUT_MAX 65536
#define BLOCK 512
#define CHECKSUM_AT 148
#define CHECKSUM_SIZE 8

struct input {
  size_t size;
  unsigned char bytes[INPUT_MAX];
};

/* Layers are unpacked in here; the canary lies beside. */
static char base[] = "/tmp/shoal-fuzz-XXXXXX";
static char archive_path[64], dest[64], canary[64];

/* Returns whether it was taken. */
static bool try_config(const struct input *input) {
  static const char *const controllers[] = {"memory", "pids", NULL};
  struct plan_builder builder;
  struct shoal_error err = {0};
  static struct cgroup_limits limits;
  cJSON *config = cJSON_ParseWithLength((const char *)input->bytes, input->size);
  if (config == NULL) return false;
  CHECK_INT(plan_builder_init(&builder), 0);
  struct config_context context = {.builder = &builder, .cgroup_mounts = controllers, .err = &err};
  const cJSON *linux_config = json_member(config, "linux");
  int rc = config_compile(&context, config);
  CHECK(rc <= 0 && (rc == 0 || err.code == -rc));
  int limited =
      cgroup_limits_parse(json_member(linux_config, "resources"), json_member(linux_config, "devices"), &limits, &err);
  plan_builder_free(&builder);
  cJSON_Delete(config);
  return rc == 0 && limited == 0;
}

/* A header that does not add up is refused before anything is done with it. */
static void add_up(struct input *input, size_t at) {
  unsigned char *header = input->bytes + at - at % BLOCK;
  unsigned int sum = 0;
  char text[CHECKSUM_SIZE + 1];
  if ((size_t)(header - input->bytes) + BLOCK > input->size || memcmp(header + 257, "ustar", 5) != 0) return;
  memset(header + CHECKSUM_AT, ' ', CHECKSUM_SIZE);
  for (size_t i = 0; i < BLOCK; i++)
    sum += header[i];
  (void)snprintf(text, sizeof text, "%06o", sum);
  memcpy(header + CHECKSUM_AT, text, 7);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw) {
  (void)info;
  (void)type;
  (void)ftw;
  return remove(path);
}

/* Only what was there before is beside the directory, and as it was. */
static void check_outside(void) {
  struct stat info;
  CHECK(stat(canary, &info) == 0 && info.st_size == 6 && info.st_nlink == 1 && (info.st_mode & 07777) == 0600);
  CHECK(stat(base, &info) == 0 && info.st_nlink == 3);
  CHECK(access("/tmp/x", F_OK) < 0 && access("/etc/x", F_OK) < 0);
}

static int try_layer(const struct input *input) {
  struct shoal_layer_result result;
  struct shoal_error err = {0};
  int fd = open(archive_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(fd >= 0 && write(fd, input->bytes, input->size) == (ssize_t)input->size);
  close(fd);
  CHECK(mkdir(dest, 0755) == 0);
  int rc = shoal_layer_unpack(archive_path, dest, &result, &err);
  CHECK(rc <= 0 && (rc == 0 || err.code == -rc));
  check_outside();
  CHECK(nftw(dest, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0);
  return rc;
}

static void make_box(void) {
  CHECK(mkdtemp(base) != NULL);
  (void)snprintf(archive_path, sizeof archive_path, "%s/layer.tar", base);
  (void)snprintf(dest, sizeof dest, "%s/dest", base);
  (void)snprintf(canary, sizeof canary, "%s/canary", base);
  int fd = open(canary, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0 && write(fd, "beside", 6) == 6);
  close(fd);
}

static void remove_box(void) { CHECK(nftw(base, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0); }

#endif

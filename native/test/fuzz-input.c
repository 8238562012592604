/* Configs and layers, under the sanitizers: none may crash, and no layer may write beside its directory. First those
 * that fuzz-guided found on its ways through the code (corpus/), then mutations. fuzz-input [SEED [CONFIGS [LAYERS]]]
 * The same numbers give the same inputs on any machine. Needs root, as unpacking does. Begins in native/. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>

#include "fuzz-targets.h"

static uint64_t state;

/* xorshift64* */
static uint32_t below(uint32_t limit) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return limit == 0 ? 0 : (uint32_t)((state * 0x2545f4914f6cdd1dull) >> 33) % limit;
}

static void insert(struct input *input, size_t at, const char *bytes, size_t size) {
  if (input->size + size > INPUT_MAX) return;
  memmove(input->bytes + at + size, input->bytes + at, input->size - at);
  memcpy(input->bytes + at, bytes, size);
  input->size += size;
}

static void cut(struct input *input, size_t at, size_t size) {
  if (size > input->size - at) size = input->size - at;
  memmove(input->bytes + at, input->bytes + at + size, input->size - at - size);
  input->size -= size;
}

static void mutate_text(struct input *input, const char *const words[], uint32_t count) {
  size_t at = below((uint32_t)input->size);
  const char *word = words[below(count)];
  switch (below(4)) {
  case 0:
    input->bytes[at] = (unsigned char)below(256);
    break;
  case 1:
    insert(input, at, word, strlen(word));
    break;
  case 2:
    cut(input, at, 1 + below(16));
    break;
  default:
    /* In place of what is there, so that the rest stays well-formed more often. */
    cut(input, at, strlen(word));
    insert(input, at > input->size ? input->size : at, word, strlen(word));
  }
}

static const char config_seed[] =
    "{\"ociVersion\":\"1.1.0\",\"hostname\":\"h\",\"root\":{\"path\":\"r\",\"readonly\":true},\"process\":{\""
    "terminal\":true,\"consoleSize\":{\"height\":1,\"width\":2},\"args\":[\"a\",\"b\"],\"env\":[\"A=b\"],\"cw"
    "d\":\"/\",\"user\":{\"uid\":1,\"gid\":2,\"umask\":18,\"additionalGids\":[3,4]},\"capabilities\":{\"bound"
    "ing\":[\"CAP_KILL\"],\"ambient\":[]},\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":1,\"hard\":2}],\"no"
    "NewPrivileges\":true,\"oomScoreAdj\":-5},\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"sour"
    "ce\":\"proc\"},{\"destination\":\"/b\",\"type\":\"bind\",\"source\":\"/"
    "s\",\"options\":[\"rbind\",\"ridmap\",\"ro\""
    ",\"x-subpath=a/b\",\"rslave\"]},{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgr"
    "oup\",\"options\":[\"ro\"]}],\"annotations\":{\"a\":\"b\"},\"linux\":{\"namespaces\":[{\"type\":\"mount\""
    "},{\"type\":\"user\"},{\"type\":\"time\"},{\"type\":\"uts\"},{\"type\":\"network\",\"path\":\"/proc/1/ns/"
    "net\"}],\"sysctl\":{\"net.core.somaxcon"
    "n\":\"1\"},\"uidMappings\":[{\"containerID\":0,\"hostID\":1000,\"size\":9}],\"gidMappings\":[{\"containerID\":0,"
    "\"hostID\":1000,\"size\":9}],\"timeOffsets\":{\"monotonic\":{\"secs\":1,\"nanosecs\":2}},\"cgroupsPath\":\"/a/"
    "b\",\"devices\":[{\"path\":\"/dev/x\",\"type\":\"c\",\"major\":1,\"minor"
    "\":3,\"fileMode\":438,\"uid\":0,\"gid\":0}],\"resources\":{\"memory\":{\"limit\":67108864,\"swap\":-1},\""
    "cpu\":{\"burst\":1,\"idle\":1,\"shares\":2,\"quota\":50000,\"period\":100000,\"cpus\":\"0\"},\"pids\":{\"limit\":"
    "5},\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":1}],\"unified\":{\"memory.high\":\"1\"},\"rdma\":{\"m\":{"
    "\"hcaHandles\":1}},\"blockIO\""
    ":{\"weight\":10,\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":9}]},\"devices\":[{\"allow\""
    ":true,\"type\":\"c\",\"major\":1,\"access\":\"rw\"}]},\"maskedPaths\":[\"/proc/"
    "kcore\"],\"personality\":{\"domain\":\"LINUX32\"},\"readonlyPaths\""
    ":[\"/proc/sys\"],\"rootfsPropagation\":\"rslave\",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"ar"
    "chitectures\":[\"SCMP_ARCH_X86_64\"],\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\",\""
    "args\":[{\"index\":0,\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]}]}}}";

static void fuzz_configs(long count) {
  static const char *const words[] = {
      "null",      "true",  "[]",        "{}",   "-1",      "1e308", "18446744073709551616",
      "\"\"",      "\"a\"", "\\u0000",   "[[[[", "}",       "]",     ",",
      "\"path\":", "../",   "\"type\":", "0.5",  "\\ud800", "\xff",  "tmpcopyup",
      "x-subpath="};
  static struct input input;
  long taken = 0;
  input.size = sizeof config_seed - 1;
  memcpy(input.bytes, config_seed, input.size);
  CHECK(try_config(&input));
  for (long i = 0; i < count; i++) {
    input.size = sizeof config_seed - 1;
    memcpy(input.bytes, config_seed, input.size);
    for (uint32_t n = 1 + below(4); n > 0 && input.size > 0; n--)
      mutate_text(&input, words, sizeof words / sizeof words[0]);
    taken += try_config(&input);
  }
  (void)printf("# %ld configs, %ld of them taken\n", count, taken);
  CHECK(count < 1000 || (taken > 0 && taken < count));
}

static void add_entry(struct archive *tar, const char *name, unsigned int type, const char *link, const char *text) {
  struct archive_entry *entry = archive_entry_new();
  archive_entry_set_pathname(entry, name);
  archive_entry_set_filetype(entry, type);
  archive_entry_set_perm(entry, 0755);
  archive_entry_set_mtime(entry, 1000000000, 5);
  if (link != NULL && type == AE_IFLNK) archive_entry_set_symlink(entry, link);
  if (link != NULL && type == AE_IFREG) archive_entry_set_hardlink(entry, link);
  if (type == AE_IFCHR) archive_entry_set_rdev(entry, 0x0103);
  if (text != NULL) archive_entry_set_size(entry, (la_int64_t)strlen(text));
  if (text != NULL && type == AE_IFREG) archive_entry_xattr_add_entry(entry, "user.a", "b", 1);
  CHECK(archive_write_header(tar, entry) == ARCHIVE_OK);
  if (text != NULL) CHECK(archive_write_data(tar, text, strlen(text)) == (la_ssize_t)strlen(text));
  archive_entry_free(entry);
}

static void make_layer_seed(struct input *input) {
  struct archive *tar = archive_write_new();
  CHECK(archive_write_set_format_pax(tar) == ARCHIVE_OK);
  CHECK(archive_write_set_bytes_per_block(tar, BLOCK) == ARCHIVE_OK);
  CHECK(archive_write_open_memory(tar, input->bytes, sizeof input->bytes, &input->size) == ARCHIVE_OK);
  add_entry(tar, "etc", AE_IFDIR, NULL, NULL);
  add_entry(tar, "etc/passwd", AE_IFREG, NULL, "root:x:0:0::/:\n");
  add_entry(tar, "etc/link", AE_IFLNK, "../etc", NULL);
  add_entry(tar, "etc/link/through", AE_IFREG, NULL, "text");
  add_entry(tar, "etc/hard", AE_IFREG, "etc/passwd", NULL);
  add_entry(tar, "etc/.wh.gone", AE_IFREG, NULL, "");
  add_entry(tar, "var/.wh..wh..opq", AE_IFREG, NULL, "");
  add_entry(tar, "dev/null", AE_IFCHR, NULL, NULL);
  add_entry(tar, "pipe", AE_IFIFO, NULL, NULL);
  CHECK(archive_write_free(tar) == ARCHIVE_OK);
}

static void mutate_layer(struct input *input) {
  static const char *const names[] = {"../../../../../../tmp/x",
                                      "/etc/x",
                                      ".wh...",
                                      "etc/link/../../..",
                                      "a/b/c/d/e/f",
                                      "..",
                                      "/",
                                      "",
                                      ".wh..wh..opq",
                                      "etc/link/up"};
  static const size_t fields[] = {0, 100, 108, 116, 124, 136, 156, 157, 257, 263, 329, 337, 345};
  size_t blocks = input->size / BLOCK, at = below((uint32_t)blocks) * BLOCK;
  size_t field = at + fields[below(sizeof fields / sizeof fields[0])];
  const char *name = names[below(sizeof names / sizeof names[0])];
  char number[16];
  switch (below(5)) {
  case 0:
    input->bytes[at + below(BLOCK)] = (unsigned char)below(256);
    break;
  case 1:
    memcpy(input->bytes + field, name, strlen(name) + 1);
    break;
  case 2:
    input->bytes[at + 156] = (unsigned char)"0123456789xgLKSV"[below(16)];
    break;
  case 3:
    (void)snprintf(number, sizeof number, "%011o", below(0x7fffffff));
    memcpy(input->bytes + field, number, 11);
    break;
  default:
    cut(input, at, BLOCK * (1 + below(2)));
  }
  if (at < input->size) add_up(input, at);
}

static void fuzz_layers(long count) {
  static struct input seed, input;
  long taken = 0;
  make_layer_seed(&seed);
  CHECK_INT(try_layer(&seed), 0);
  for (long i = 0; i < count; i++) {
    input = seed;
    for (uint32_t n = 1 + below(3); n > 0 && input.size > BLOCK; n--)
      mutate_layer(&input);
    taken += try_layer(&input) == 0;
  }
  (void)printf("# %ld layers, %ld of them taken\n", count, taken);
  CHECK(count < 100 || (taken > 0 && taken < count));
}

static int config_of_corpus(const struct input *input) { return try_config(input) ? 0 : -1; }

/* Every file of a directory as one input. */
static void replay(const char *directory, int (*try_one)(const struct input *)) {
  static struct input input;
  struct dirent *entry;
  long count = 0, taken = 0;
  DIR *dir = opendir(directory);
  CHECK(dir != NULL);
  while ((entry = readdir(dir)) != NULL) {
    if (entry->d_name[0] == '.') continue;
    int fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, input.bytes, sizeof input.bytes);
    CHECK(size >= 0);
    close(fd);
    input.size = (size_t)size;
    taken += try_one(&input) == 0;
    count++;
  }
  closedir(dir);
  (void)printf("# %s: %ld, %ld of them taken\n", directory, count, taken);
  CHECK(taken > 0 && taken < count);
}

int main(int argc, char **argv) {
  long seed = argc > 1 ? atol(argv[1]) : 1;
  (void)printf("# seed %ld\n", seed);
  state = 0x9e3779b97f4a7c15ull ^ (uint64_t)seed;
  make_box();
  replay("test/corpus/config", config_of_corpus);
  replay("test/corpus/layer", try_layer);
  fuzz_configs(argc > 2 ? atol(argv[2]) : 20000);
  fuzz_layers(argc > 3 ? atol(argv[3]) : 600);
  remove_box();
  return 0;
}

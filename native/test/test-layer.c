/* Unpacks archives made here by libarchive's writer, kind ones and hostile ones. Needs root (owners, device nodes,
 * trusted.*), and makes everything below one temporary directory. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "layer-internal.h"

static char base[] = "/tmp/shoal-layer-XXXXXX";
static int case_number;
static struct shoal_error err;
static struct shoal_layer_result result;
static locale_t utf8;

/* Unlike assert it stays in any build, and it says what the library said. */
#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      (void)fprintf(stderr, "%s:%d: %s\n  last error: %d %s: %s\n", __FILE__, __LINE__, #condition, err.code,          \
                    err.step, err.detail);                                                                             \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)

__attribute__((format(printf, 1, 2))) static const char *under(const char *format, ...) {
  static char path[4][2 * PATH_MAX];
  static int next;
  char *out = path[next++ % 4];
  int length = snprintf(out, PATH_MAX, "%s/%d/", base, case_number);
  va_list args;

  va_start(args, format);
  (void)vsnprintf(out + length, PATH_MAX, format, args);
  va_end(args);
  return out;
}

static void begin_case(void) {
  case_number++;
  memset(&err, 0, sizeof err);
  CHECK(mkdir(under("%s", ""), 0755) == 0 && mkdir(under("dest"), 0755) == 0);
}

static struct archive *begin(void) {
  struct archive *tar = archive_write_new();

  begin_case();
  CHECK(archive_write_set_format_pax(tar) == ARCHIVE_OK);
  return tar;
}

static struct archive *open_gzip(void) {
  struct archive *tar = begin();

  CHECK(archive_write_add_filter_gzip(tar) == ARCHIVE_OK);
  CHECK(archive_write_open_filename(tar, under("layer.tar")) == ARCHIVE_OK);
  return tar;
}

static struct archive_entry *entry_of(const char *name, mode_t type, mode_t perm) {
  struct archive_entry *entry = archive_entry_new();

  archive_entry_set_pathname(entry, name);
  archive_entry_set_filetype(entry, type);
  archive_entry_set_perm(entry, perm);
  archive_entry_set_mtime(entry, 1000000000, 5);
  return entry;
}

static void put(struct archive *tar, struct archive_entry *entry, const char *text) {
  /* only to write: the unpacker has to cope with the "C" locale that the test, like Node, runs in */
  locale_t before = uselocale(utf8);

  if (text != NULL) archive_entry_set_size(entry, (la_int64_t)strlen(text));
  CHECK(archive_write_header(tar, entry) == ARCHIVE_OK);
  (void)uselocale(before);
  if (text != NULL) CHECK(archive_write_data(tar, text, strlen(text)) == (la_ssize_t)strlen(text));
  archive_entry_free(entry);
}

static void put_file(struct archive *tar, const char *name, const char *text) {
  put(tar, entry_of(name, AE_IFREG, 0644), text);
}

static void put_dir(struct archive *tar, const char *name) { put(tar, entry_of(name, AE_IFDIR, 0755), NULL); }

static void put_link(struct archive *tar, const char *name, const char *target) {
  struct archive_entry *entry = entry_of(name, AE_IFLNK, 0777);
  archive_entry_set_symlink(entry, target);
  put(tar, entry, NULL);
}

static void put_hardlink(struct archive *tar, const char *name, const char *target) {
  struct archive_entry *entry = entry_of(name, AE_IFREG, 0644);
  archive_entry_set_hardlink(entry, target);
  put(tar, entry, NULL);
}

static int unpack(struct archive *tar) {
  CHECK(archive_write_free(tar) == ARCHIVE_OK);
  return shoal_layer_unpack(under("layer.tar"), under("dest"), &result, &err);
}

static struct stat stat_of(const char *name) {
  struct stat st;
  CHECK(lstat(under("dest/%s", name), &st) == 0);
  return st;
}

static int exists(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0;
}

static int has_text(const char *path, const char *text) {
  char read_back[256] = "";
  FILE *file = fopen(path, "r");
  if (file == NULL) return 0;
  size_t length = fread(read_back, 1, sizeof read_back - 1, file);
  (void)fclose(file);
  return length == strlen(text) && memcmp(read_back, text, length) == 0;
}

static int is_opaque(const char *name) {
  char value[2];
  return getxattr(under("dest/%s", name), "trusted.overlay.opaque", value, sizeof value) == 1 && value[0] == 'y';
}

static void test_contents_and_metadata(void) {
  static const unsigned char capability[20] = {1, 0, 0, 2, 0, 0x20};
  unsigned char got[64];
  struct archive *tar = open_gzip();
  struct archive_entry *entry;

  entry = entry_of("bin/", AE_IFDIR, 0751);
  archive_entry_set_uid(entry, 3);
  put(tar, entry, NULL);
  entry = entry_of("bin/tool", AE_IFREG, 04755);
  archive_entry_set_uid(entry, 1234);
  archive_entry_set_gid(entry, 4321);
  archive_entry_xattr_add_entry(entry, "security.capability", capability, sizeof capability);
  archive_entry_xattr_add_entry(entry, "user.color", "red", 3);
  archive_entry_xattr_add_entry(entry, "trusted.overlay.redirect", "/etc", 4);
  put(tar, entry, "tool text");
  put_hardlink(tar, "bin/other", "bin/tool");
  put_link(tar, "bin/link", "tool");
  put_file(tar, "deep/er/file", "parents are not in the archive");
  put_file(tar, "na\xc3\xafve-\xe2\x82\xac", "utf-8");
  entry = entry_of("null", AE_IFCHR, 0666);
  archive_entry_set_rdevmajor(entry, 1);
  archive_entry_set_rdevminor(entry, 3);
  put(tar, entry, NULL);
  put(tar, entry_of("pipe", AE_IFIFO, 0600), NULL);
  CHECK(unpack(tar) == 0);

  CHECK(result.entries == 8 && result.size_bytes == 9 + 30 + 5);
  struct stat st = stat_of("bin");
  CHECK((st.st_mode & 07777) == 0751 && st.st_uid == 3 && st.st_mtim.tv_sec == 1000000000 && st.st_mtim.tv_nsec == 5);
  st = stat_of("bin/tool");
  CHECK((st.st_mode & 07777) == 04755 && st.st_uid == 1234 && st.st_gid == 4321 && st.st_nlink == 2);
  CHECK(stat_of("bin/other").st_ino == st.st_ino && st.st_mtim.tv_sec == 1000000000);
  CHECK(S_ISLNK(stat_of("bin/link").st_mode) && has_text(under("dest/bin/link"), "tool text"));
  CHECK(has_text(under("dest/na\xc3\xafve-\xe2\x82\xac"), "utf-8"));
  CHECK(stat_of("null").st_rdev == makedev(1, 3) && S_ISFIFO(stat_of("pipe").st_mode));
  CHECK(getxattr(under("dest/bin/tool"), "security.capability", got, sizeof got) == sizeof capability);
  CHECK(getxattr(under("dest/bin/tool"), "user.color", got, sizeof got) == 3);
  CHECK(getxattr(under("dest/bin/tool"), "trusted.overlay.redirect", got, sizeof got) < 0);
}

static void test_whiteouts(void) {
  struct archive *tar = open_gzip();

  put_file(tar, "etc/.wh.passwd", "");
  put_dir(tar, "cache");
  put_file(tar, "cache/.wh..wh..opq", "");
  put_file(tar, "cache/kept", "new");
  put_file(tar, ".wh..wh.plnk", "");
  put_dir(tar, "both");
  put_file(tar, "both/inside", "here");
  put_file(tar, ".wh.both", "");
  put_file(tar, ".wh.later", "");
  put_file(tar, "later/inside", "here");
  put_file(tar, "same", "mine");
  put_file(tar, ".wh.same", "");
  put_file(tar, ".wh.again", "");
  put_dir(tar, "again");
  CHECK(unpack(tar) == 0);

  struct stat st = stat_of("etc/passwd");
  CHECK(S_ISCHR(st.st_mode) && st.st_rdev == 0);
  CHECK(is_opaque("cache") && has_text(under("dest/cache/kept"), "new"));
  CHECK(!exists(under("dest/cache/.wh..wh..opq")) && !exists(under("dest/.wh..wh.plnk")));
  CHECK(is_opaque("both") && has_text(under("dest/both/inside"), "here"));
  CHECK(is_opaque("later") && has_text(under("dest/later/inside"), "here"));
  CHECK(has_text(under("dest/same"), "mine"));
  CHECK(is_opaque("again") && !is_opaque("etc"));
}

static void test_replacing(void) {
  struct archive *tar = open_gzip();

  put_file(tar, "a/b/c", "old");
  put_file(tar, "a", "a file now");
  put_link(tar, "d", "/elsewhere");
  put_dir(tar, "d");
  put_file(tar, "d/e", "inside");
  put_file(tar, "twice", "first and longer");
  put_file(tar, "twice", "second");
  put_hardlink(tar, "twice", "./twice");
  CHECK(unpack(tar) == 0);
  CHECK(has_text(under("dest/a"), "a file now") && S_ISDIR(stat_of("d").st_mode));
  CHECK(has_text(under("dest/d/e"), "inside") && has_text(under("dest/twice"), "second"));
}

/* Links that point to a real directory and file outside: neither may be reached through them. */
static void test_links_stay_inside(void) {
  struct archive *tar = open_gzip();
  char evil[PATH_MAX];

  CHECK(mkdir(under("outside"), 0755) == 0);
  int fd = open(under("outside/secret"), O_CREAT | O_WRONLY, 0600);
  CHECK(fd >= 0 && close(fd) == 0);
  put_file(tar, "/absolute", "below the root");
  put_link(tar, "file", "../outside/secret");
  put_file(tar, "file", "replaced, not followed");
  put_link(tar, "abs", base);
  put_file(tar, "abs/evil", "must not be written");
  CHECK(unpack(tar) == -ENOTDIR);
  (void)snprintf(evil, sizeof evil, "%s/evil", base);
  CHECK(!exists(evil) && has_text(under("outside/secret"), ""));
  CHECK(has_text(under("dest/absolute"), "below the root"));
  CHECK(has_text(under("dest/file"), "replaced, not followed"));

  tar = open_gzip();
  CHECK(mkdir(under("outside"), 0755) == 0);
  put_link(tar, "up", "../outside");
  put_file(tar, "up/evil", "must not be written");
  CHECK(unpack(tar) == -ENOTDIR && !exists(under("outside/evil")));
}

static void test_link_into_existing_directory(void) {
  struct archive *tar = open_gzip();

  put_dir(tar, "outside");
  put_link(tar, "up", "../../outside");
  put_file(tar, "up/evil", "contained");
  put_dir(tar, "usr/lib");
  put_link(tar, "lib", "/usr/lib");
  put_file(tar, "lib/x", "through the link");
  CHECK(unpack(tar) == 0);
  CHECK(has_text(under("dest/outside/evil"), "contained") && has_text(under("dest/usr/lib/x"), "through the link"));
}

static void test_refused(void) {
  struct archive *tar = open_gzip();
  put_file(tar, "../evil", "x");
  CHECK(unpack(tar) == -EINVAL && strstr(err.detail, "../evil") != NULL && !exists(under("evil")));

  tar = open_gzip();
  put_file(tar, "a/../../evil", "x");
  CHECK(unpack(tar) == -EINVAL && !exists(under("evil")));

  tar = open_gzip();
  put_hardlink(tar, "stolen", "../../../etc/passwd");
  CHECK(unpack(tar) == -EINVAL);

  tar = open_gzip();
  put_hardlink(tar, "stolen", "/etc/passwd");
  CHECK(unpack(tar) == -ENOENT);

  tar = open_gzip();
  put_link(tar, "etc", "/etc");
  put_hardlink(tar, "stolen", "etc/passwd");
  CHECK(unpack(tar) == -ELOOP);

  tar = open_gzip();
  put_file(tar, ".wh...", "");
  CHECK(unpack(tar) == -EINVAL);
}

static void test_harmless_dots(void) {
  struct archive *tar = open_gzip();

  put_dir(tar, "./");
  put_file(tar, "./a/./b//c", "dots");
  put_file(tar, "x/../y", "inside");
  CHECK(unpack(tar) == 0);
  CHECK(has_text(under("dest/a/b/c"), "dots") && has_text(under("dest/y"), "inside"));
}

static void test_damaged(void) {
  struct archive *tar = open_gzip();
  struct stat st;
  char noise[20000];

  for (size_t i = 0; i < sizeof noise - 1; i++)
    noise[i] = (char)('a' + (i * i + i / 7) % 26);
  noise[sizeof noise - 1] = '\0';
  put_file(tar, "noise", noise);
  CHECK(archive_write_free(tar) == ARCHIVE_OK);
  CHECK(stat(under("layer.tar"), &st) == 0 && truncate(under("layer.tar"), st.st_size / 2) == 0);
  CHECK(shoal_layer_unpack(under("layer.tar"), under("dest"), &result, &err) == -EBADMSG);

  begin_case();
  FILE *file = fopen(under("layer.tar"), "w");
  CHECK(file != NULL && fputs("this is no archive at all, just some text", file) >= 0 && fclose(file) == 0);
  CHECK(shoal_layer_unpack(under("layer.tar"), under("dest"), &result, &err) == -EBADMSG);
  CHECK(shoal_layer_unpack("/nonexistent/layer.tar", under("dest"), &result, &err) == -ENOENT);
  CHECK(shoal_layer_unpack(under("layer.tar"), "/nonexistent", &result, &err) == -ENOENT);
}

/* The diff id is that of the uncompressed stream whatever the compression, trailing padding included. */
static void test_diff_id(void) {
  char ids[3][72];
  static const char zeros[10240];

  for (int filter = 0; filter < 3; filter++) {
    struct archive *tar = begin();
    if (filter == 1) CHECK(archive_write_add_filter_gzip(tar) == ARCHIVE_OK);
    if (filter == 2) CHECK(archive_write_add_filter_zstd(tar) == ARCHIVE_OK);
    CHECK(archive_write_open_filename(tar, under("layer.tar")) == ARCHIVE_OK);
    put_file(tar, "a", "the same");
    CHECK(unpack(tar) == 0 && has_text(under("dest/a"), "the same"));
    memcpy(ids[filter], result.diff_id, sizeof ids[filter]);
  }
  CHECK(strcmp(ids[0], ids[1]) == 0 && strcmp(ids[0], ids[2]) == 0);

  begin_case();
  FILE *file = fopen(under("layer.tar"), "w");
  CHECK(file != NULL && fwrite(zeros, 1, sizeof zeros, file) == sizeof zeros && fclose(file) == 0);
  CHECK(shoal_layer_unpack(under("layer.tar"), under("dest"), &result, &err) == 0 && result.entries == 0);
  /* head -c 10240 /dev/zero | sha256sum */
  CHECK(strcmp(result.diff_id, "sha256:84ff92691f909a05b224e1c56abb4864f01b4f8e3c854e4bb4c7baf1d3f6d652") == 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)st;
  (void)type;
  (void)ftw;
  return remove(path);
}

static void remove_base(void) { (void)nftw(base, remove_one, 32, FTW_DEPTH | FTW_PHYS); }

int main(void) {
  CHECK(geteuid() == 0 && mkdtemp(base) != NULL && atexit(remove_base) == 0);
  utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
  CHECK(utf8 != (locale_t)0);
  test_contents_and_metadata();
  test_whiteouts();
  test_replacing();
  test_links_stay_inside();
  test_link_into_existing_directory();
  test_refused();
  test_harmless_dots();
  test_damaged();
  test_diff_id();
  freelocale(utf8);
  (void)puts("layer: ok");
  return 0;
}

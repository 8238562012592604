/* shoal-files, whole, in child processes: containers here are directories of a tmpfs that nobody else sees. */
#include <ftw.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "check.h"
#include "monitor/resolve.c"
#include "monitor/sys.c"

int files_main(void);
#define main files_main
#include "files/changes.c"
#include "files/lockdown.c"
#include "files/main.c"
#include "files/mount.c"
#include "files/pack.c"
#include "files/reply.c"
#include "files/size.c"
#include "files/stat.c"
#include "files/unpack-entry.c"
#include "files/unpack.c"
#include "files/view.c"
#undef main

#define BASE "/tmp"
#define ANSWER_MAX 8192
#define ARCHIVE_MAX (1 << 20)

static char answer[ANSWER_MAX];
static char output[ARCHIVE_MAX];
static size_t output_size;

static const char LAYERS[] =
    "\"lower\":[\"" BASE "/image\"],\"upper\":\"" BASE "/upper\",\"work\":\"" BASE "/work\",\"place\":\"" BASE
    "/place\",\"mounts\":[{\"source\":\"" BASE "/volume\",\"target\":\"/data\"},{\"source\":\"" BASE
    "/volume\",\"target\":\"/fixed\",\"readOnly\":true}]";

static void read_all(int fd, char *out, size_t max, size_t *size) {
  *size = 0;
  for (ssize_t n = 1; n > 0 && *size<max - 1; *size += n> 0 ? (size_t)n : 0)
    n = read(fd, out + *size, max - 1 - *size);
  out[*size] = '\0';
}

/* Runs one request; returns its exit code, with what it said in answer and what it wrote in output. */
static int ask_files(const char *input, size_t input_size, const char *request) {
  int talk[2], out[2];
  char path[] = BASE "/input-XXXXXX";
  size_t said;
  int in = mkstemp(path);
  CHECK(in >= 0 && unlink(path) == 0);
  CHECK_INT(write(in, input, input_size), input_size);
  CHECK_INT(lseek(in, 0, SEEK_SET), 0);
  CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, talk), 0);
  char to[] = BASE "/output-XXXXXX";
  out[0] = mkstemp(to);
  CHECK(out[0] >= 0 && unlink(to) == 0);
  (void)fflush(stdout);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    (void)dup2(in, 0);
    (void)dup2(out[0], 1);
    int copy = fcntl(talk[1], F_DUPFD, 20);
    (void)dup2(copy, FILES_FD_TALK);
    for (int fd = 4; fd < 64; fd++)
      (void)close(fd);
    _exit(files_main());
  }
  (void)close(talk[1]);
  CHECK_INT(write(talk[0], request, strlen(request)), strlen(request));
  CHECK_INT(write(talk[0], "\n", 1), 1);
  read_all(talk[0], answer, sizeof answer, &said);
  int status;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(lseek(out[0], 0, SEEK_SET), 0);
  read_all(out[0], output, sizeof output, &output_size);
  (void)close(talk[0]);
  (void)close(out[0]);
  (void)close(in);
  CHECK(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static int ask_about(const char *mode, const char *path, const char *more, const char *input, size_t size) {
  char request[4096];
  (void)snprintf(request, sizeof request, "{\"mode\":\"%s\",\"path\":\"%s\"%s,\"root\":{%s}}", mode, path, more,
                 LAYERS);
  return ask_files(input, size, request);
}

static void put_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  CHECK(fd >= 0);
  CHECK_INT(write(fd, text, strlen(text)), strlen(text));
  (void)close(fd);
}

static bool holds(const char *path, const char *text) {
  char found[256] = "";
  int fd = open(path, O_RDONLY | O_NOFOLLOW);
  if (fd < 0) return false;
  ssize_t n = read(fd, found, sizeof found - 1);
  (void)close(fd);
  return n >= 0 && strcmp(found, text) == 0;
}

static void make_container(void) {
  CHECK_INT(unshare(CLONE_NEWNS), 0);
  CHECK_INT(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL), 0);
  CHECK_INT(mount("test", BASE, "tmpfs", 0, "mode=0755"), 0);
  static const char *const directories[] = {"image",     "image/etc", "image/gone", "upper", "work",
                                            "image/old", "volume",    "place",      "host"};
  for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
    char path[128];
    (void)snprintf(path, sizeof path, BASE "/%s", directories[i]);
    CHECK_INT(mkdir(path, 0755), 0);
  }
  put_file(BASE "/image/etc/passwd", "inside");
  put_file(BASE "/image/gone/x", "x");
  put_file(BASE "/image/old/hidden", "x");
  put_file(BASE "/host/secret", "of the host");
  put_file(BASE "/volume/kept", "in the volume");
  CHECK_INT(symlink(BASE "/host/secret", BASE "/image/escape"), 0);
  CHECK_INT(symlink("../../../../../../" BASE "/host", BASE "/image/climb"), 0);
  CHECK_INT(symlink("etc", BASE "/image/link"), 0);
}

/* An archive of the given entries: name, contents or NULL for a directory, or "-> target" for a link. */
static size_t make_archive(char *out, size_t max, const char *const (*entries)[2], size_t count) {
  size_t used = 0;
  struct archive *tar = archive_write_new();
  CHECK(archive_write_set_format_pax_restricted(tar) == ARCHIVE_OK);
  CHECK(archive_write_open_memory(tar, out, max, &used) == ARCHIVE_OK);
  for (size_t i = 0; i < count; i++) {
    struct archive_entry *entry = archive_entry_new();
    const char *text = entries[i][1];
    bool file = text != NULL && strncmp(text, "-> ", 3) != 0 && strncmp(text, "== ", 3) != 0;
    archive_entry_set_pathname(entry, entries[i][0]);
    archive_entry_set_mode(entry, text == NULL ? (S_IFDIR | 0750) : (S_IFREG | 0640));
    if (text != NULL && strncmp(text, "-> ", 3) == 0) {
      archive_entry_set_filetype(entry, AE_IFLNK);
      archive_entry_set_symlink(entry, text + 3);
    } else if (text != NULL && strncmp(text, "== ", 3) == 0) {
      archive_entry_set_hardlink(entry, text + 3);
    }
    archive_entry_set_uid(entry, 12);
    archive_entry_set_gid(entry, 34);
    archive_entry_set_mtime(entry, 1000000, 0);
    archive_entry_set_size(entry, file ? (la_int64_t)strlen(text) : 0);
    CHECK(archive_write_header(tar, entry) == ARCHIVE_OK);
    if (file) CHECK(archive_write_data(tar, text, strlen(text)) >= 0);
    archive_entry_free(entry);
  }
  CHECK(archive_write_close(tar) == ARCHIVE_OK);
  (void)archive_write_free(tar);
  return used;
}

static int put(const char *path, const char *more, const char *const (*entries)[2], size_t count) {
  static char tar[64 * 1024];
  return ask_about("put", path, more, tar, make_archive(tar, sizeof tar, entries, count));
}
#define WRITABLE ",\"writable\":true"
#define PUT(path, more, ...)                                                                                           \
  put(path, more, (const char *const[][2])__VA_ARGS__, sizeof((const char *const[][2])__VA_ARGS__) / sizeof(char *[2]))

static bool listed(const char *names) {
  char found[4096] = "";
  struct archive_entry *entry;
  struct archive *tar = archive_read_new();
  (void)archive_read_support_format_tar(tar);
  CHECK(archive_read_open_memory(tar, output, output_size) == ARCHIVE_OK);
  while (archive_read_next_header(tar, &entry) == ARCHIVE_OK) {
    (void)strncat(found, archive_entry_pathname(entry), sizeof found - strlen(found) - 2);
    (void)strcat(found, " ");
  }
  (void)archive_read_free(tar);
  if (strcmp(found, names) != 0) (void)fprintf(stderr, "listed: %s\n", found);
  return strcmp(found, names) == 0;
}

static void paths_are_described(void) {
  CHECK_INT(ask_about("stat", "/etc/passwd", "", "", 0), 0);
  CHECK(strstr(answer, "\"sizeBytes\":6") != NULL && strstr(answer, "\"done\":true") != NULL);
  CHECK_INT(ask_about("stat", "/link", "", "", 0), 0);
  CHECK(strstr(answer, "\"linkTarget\":\"/etc\"") != NULL);
  /* a link that leads out of the container is read as the container reads it: there, it leads nowhere */
  CHECK_INT(ask_about("stat", "/climb", "", "", 0), 0);
  CHECK(strstr(answer, "\"linkTarget\":\"" BASE "/host\"") != NULL);
  CHECK_INT(ask_about("stat", "/nosuch", "", "", 0), 1);
  CHECK(strstr(answer, "\"kind\":\"not-found\"") != NULL);
  CHECK_INT(ask_about("stat", "/etc/passwd/", "", "", 0), 1);
  CHECK(strstr(answer, "\"kind\":\"invalid\"") != NULL);
}

static void trees_are_packed(void) {
  CHECK_INT(ask_about("get", "/etc", "", "", 0), 0);
  CHECK(listed("etc/ etc/passwd "));
  CHECK_INT(ask_about("get", "/etc/.", "", "", 0), 0);
  CHECK(listed("./ ./passwd "));
  CHECK_INT(ask_about("get", "/link/", "", "", 0), 0);
  CHECK(listed("link/ link/passwd "));
  CHECK_INT(ask_about("get", "/escape", "", "", 0), 0);
  CHECK(listed("escape "));
  CHECK(memmem(output, output_size, "of the host", 11) == NULL);
  CHECK_INT(ask_about("get", "/escape/.", "", "", 0), 1);
  CHECK_INT(ask_about("get", "/climb/secret", "", "", 0), 1);
  CHECK(strstr(answer, "not-found") != NULL);
  CHECK_INT(ask_about("get", "/../../../host/secret", "", "", 0), 1);
  CHECK_INT(ask_about("get", "/data", "", "", 0), 0);
  CHECK(listed("data/ data/kept "));
  /* nothing of this was written to the container */
  CHECK(access(BASE "/upper/data", F_OK) < 0);
}

static void archives_are_unpacked(void) {
  struct stat info;
  CHECK_INT(PUT("/", WRITABLE, {{"new/", NULL}, {"new/a", "one"}, {"new/b", "== new/a"}, {"deep/er/c", "two"}}), 0);
  CHECK(holds(BASE "/upper/new/a", "one") && holds(BASE "/upper/deep/er/c", "two"));
  CHECK_INT(stat(BASE "/upper/new/a", &info), 0);
  CHECK(info.st_uid == 12 && info.st_gid == 34 && info.st_nlink == 2 && (info.st_mode & 07777) == 0640);
  CHECK_INT(stat(BASE "/upper/new", &info), 0);
  CHECK_INT(info.st_mtim.tv_sec, 1000000);
  CHECK_INT(PUT("/new", WRITABLE ",\"owner\":{\"uid\":7,\"gid\":8}", {{"mine", "x"}}), 0);
  CHECK_INT(stat(BASE "/upper/new/mine", &info), 0);
  CHECK(info.st_uid == 7 && info.st_gid == 8);
  CHECK_INT(PUT("/data", WRITABLE, {{"x", "into the volume"}}), 0);
  CHECK(holds(BASE "/volume/x", "into the volume"));
  CHECK_INT(PUT("/etc/passwd", WRITABLE, {{"x", "x"}}), 1);
  CHECK(strstr(answer, "extraction point is not a directory") != NULL);
  CHECK_INT(PUT("/nosuch", WRITABLE, {{"x", "x"}}), 1);
  CHECK(strstr(answer, "not-found") != NULL);
}

static void kinds_are_kept_when_asked(void) {
  CHECK_INT(PUT("/", WRITABLE ",\"keepKinds\":true", {{"etc", "a file"}}), 1);
  CHECK(strstr(answer, "cannot overwrite directory") != NULL);
  CHECK_INT(PUT("/etc", WRITABLE ",\"keepKinds\":true", {{"passwd/", NULL}}), 1);
  CHECK(strstr(answer, "cannot overwrite non-directory") != NULL);
  CHECK_INT(PUT("/", WRITABLE, {{"gone", "a file now"}}), 0);
  CHECK(holds(BASE "/upper/gone", "a file now"));
}

static void archives_stay_inside(void) {
  CHECK_INT(PUT("/new", WRITABLE, {{"../../host/y", "x"}}), 1);
  CHECK(strstr(answer, "leaves the directory") != NULL);
  /* a link that leads out leads nowhere, or to what the container has at that place */
  CHECK_INT(PUT("/new", WRITABLE, {{"way", "-> " BASE "/host"}, {"way/evil", "x"}}), 1);
  CHECK(access(BASE "/host/evil", F_OK) < 0);
  CHECK_INT(PUT("/", WRITABLE, {{BASE "/host/", NULL}}), 0);
  CHECK_INT(PUT("/new", WRITABLE, {{"way", "-> " BASE "/host"}, {"way/evil", "x"}}), 0);
  CHECK(holds(BASE "/upper" BASE "/host/evil", "x") && access(BASE "/host/evil", F_OK) < 0);
  CHECK_INT(PUT("/new", WRITABLE, {{"up", "-> ../../../../../.." BASE "/host"}, {"up/evil", "x"}}), 0);
  CHECK(access(BASE "/host/evil", F_OK) < 0);
  CHECK_INT(PUT("/new", WRITABLE, {{"stolen", "== ../../host/secret"}}), 1);
  CHECK_INT(PUT("/climb", WRITABLE, {{"evil", "x"}}), 0);
  CHECK(access(BASE "/host/evil", F_OK) < 0);
  CHECK_INT(PUT("/", WRITABLE, {{"escape", "in its place"}}), 0);
  CHECK(holds(BASE "/upper/escape", "in its place") && holds(BASE "/host/secret", "of the host"));
  CHECK_INT(ask_about("put", "/", WRITABLE, "this is no archive, only words of some length", 45), 1);
  CHECK(strstr(answer, "\"kind\":\"invalid\"") != NULL);
}

static void read_only_is_said(void) {
  CHECK_INT(PUT("/fixed", WRITABLE, {{"x", "x"}}), 1);
  CHECK(strstr(answer, "\"kind\":\"read-only\"") != NULL &&
        strstr(answer, "mounted volume is marked read-only") != NULL);
  char request[4096];
  (void)snprintf(request, sizeof request,
                 "{\"mode\":\"put\",\"path\":\"/etc\",\"writable\":true,\"root\":{%s,\"readOnly\":true}}", LAYERS);
  CHECK_INT(ask_files("", 0, request), 1);
  CHECK(strstr(answer, "container rootfs is marked read-only") != NULL);
}

static bool tells(const char *line) {
  for (size_t at = 0; at < output_size; at += strlen(output + at) + 1) {
    if (strcmp(output + at, line) == 0) return true;
  }
  return false;
}

static void changes_are_told(void) {
  CHECK_INT(mkdir(BASE "/upper/old", 0755), 0);
  CHECK_INT(setxattr(BASE "/upper/old", "trusted.overlay.opaque", "y", 1, 0), 0);
  put_file(BASE "/upper/old/new", "x");
  CHECK_INT(mkdir(BASE "/upper/etc", 0755) < 0 && errno != EEXIST, 0);
  CHECK_INT(mknod(BASE "/upper/etc/passwd", S_IFCHR, makedev(0, 0)), 0);
  CHECK_INT(ask_about("changes", "", "", "", 0), 0);
  CHECK(tells("C /gone") && tells("A /new/a") && tells("A /new") && tells("D /etc/passwd") && tells("C /etc"));
  CHECK(tells("C /old") && tells("A /old/new") && tells("D /old/hidden"));
  CHECK(!tells("C /data") && !tells("C /image"));
}

static void the_root_is_exported(void) {
  CHECK_INT(ask_about("export", "", "", "", 0), 0);
  CHECK(memmem(output, output_size, "in the volume", 13) == NULL);
  CHECK(memmem(output, output_size, "etc/", 4) != NULL && memmem(output, output_size, "in its place", 12) != NULL);
}

static void sizes_are_counted(void) {
  CHECK_INT(mkdir(BASE "/sized", 0755), 0);
  put_file(BASE "/sized/a", "12345");
  CHECK_INT(link(BASE "/sized/a", BASE "/sized/b"), 0);
  CHECK_INT(symlink(BASE "/host", BASE "/sized/out"), 0);
  CHECK_INT(ask_files("", 0, "{\"mode\":\"size\",\"paths\":[\"" BASE "/sized\",\"" BASE "/nosuch\"]}"), 0);
  CHECK_STR(answer, "{\"size\":14}\n{\"size\":-1}\n{\"done\":true}\n");
}

/* Nothing can be loaded, run or mounted by what works among a container's files. */
static void much_is_given_up(void) {
  static char page[4096] __attribute__((aligned(4096)));
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    if (lockdown(false) < 0) _exit(1);
    if (mprotect(page, sizeof page, PROT_READ | PROT_EXEC) == 0 || errno != EPERM) _exit(2);
    if (mount("x", BASE, "tmpfs", 0, NULL) == 0 || unshare(CLONE_NEWNS) == 0 || chroot("/") == 0) _exit(3);
    if (execl("/bin/true", "true", (char *)NULL) == 0 || errno != EPERM) _exit(4);
    if (syscall(SYS_connect, 0, page, 0) == 0 || errno != EPERM || prctl(PR_GET_DUMPABLE) != 0) _exit(5);
    _exit(0);
  }
  int status;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK(WIFEXITED(status));
  CHECK_INT(WEXITSTATUS(status), 0);
}

int main(void) {
  make_container();
  paths_are_described();
  trees_are_packed();
  archives_are_unpacked();
  kinds_are_kept_when_asked();
  archives_stay_inside();
  read_only_is_said();
  changes_are_told();
  the_root_is_exported();
  sizes_are_counted();
  much_is_given_up();
  return 0;
}

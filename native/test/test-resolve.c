#include <ftw.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "monitor/resolve.c"
#include "monitor/sys.c"

static char base[64];

static const char *in_base(const char *name) {
  static char path[256];
  (void)snprintf(path, sizeof path, "%s/%s", base, name);
  return path;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *where) {
  (void)info, (void)type, (void)where;
  return remove(path);
}

static bool is_directory(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
}

static void missing_targets_are_made(int root) {
  int fd = resolve_or_create(root, "/a/b/c", true);
  CHECK(fd >= 0 && is_directory(fd));
  close(fd);
  CHECK_INT(access(in_base("root/a/b/c"), F_OK), 0);
  fd = resolve_or_create(root, "/a/file", false);
  CHECK(fd >= 0 && !is_directory(fd));
  close(fd);
  fd = resolve_or_create(root, "/a/file/below", true);
  CHECK(fd < 0 && errno == ENOTDIR);
  fd = resolve_or_create(root, "/", true);
  CHECK(fd >= 0);
  close(fd);
}

/* Every way out that a link can try ends inside the root. */
static void links_stay_inside(int root) {
  char far[300];
  (void)snprintf(far, sizeof far, "../../../../../..%s", in_base("outside"));
  CHECK_INT(symlinkat("../outside", root, "up"), 0);
  CHECK_INT(symlinkat(far, root, "far"), 0);
  CHECK_INT(symlinkat(in_base("outside"), root, "absolute"), 0);
  CHECK_INT(symlinkat("/proc/self/root", root, "magic"), 0);
  static const char *const paths[] = {"/up/x", "/far/x", "/absolute/x", "/magic/x", "/../../x", "/up"};
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
    int fd = resolve_or_create(root, paths[i], true);
    if (fd < 0) continue;
    char link[64], actual[512];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, actual, sizeof actual - 1);
    CHECK(n > 0);
    actual[n] = '\0';
    CHECK(strncmp(actual, in_base("root"), strlen(in_base("root"))) == 0);
    close(fd);
  }
  CHECK(access(in_base("outside/x"), F_OK) < 0);
  CHECK_INT(access(in_base("root/outside/x"), F_OK), 0);
}

static void loops_end(int root) {
  CHECK_INT(symlinkat("loop-b", root, "loop-a"), 0);
  CHECK_INT(symlinkat("loop-a", root, "loop-b"), 0);
  CHECK(resolve_or_create(root, "/loop-a", true) < 0);
  CHECK(resolve_or_create(root, "/loop-a/x", true) < 0);
  CHECK_INT(symlinkat("self/self", root, "self"), 0);
  CHECK(resolve_or_create(root, "/self", false) < 0);
}

static void parents_are_found(int root) {
  const char *name;
  int fd = resolve_parent(root, "/dev/net/tun", &name);
  CHECK(fd >= 0);
  CHECK_STR(name, "tun");
  CHECK_INT(access(in_base("root/dev/net"), F_OK), 0);
  close(fd);
}

/* Renames anywhere on the system make openat2 answer EAGAIN for "..": it is asked again. */
static void renames_elsewhere_do_not_matter(int root) {
  CHECK_INT(mkdir(in_base("root/dir"), 0755), 0);
  CHECK_INT(symlinkat("../../../../dir/../dir/../dir", root, "dots"), 0);
  CHECK_INT(mkdir(in_base("here"), 0755), 0);
  char here[256], there[256];
  (void)snprintf(here, sizeof here, "%s", in_base("here"));
  (void)snprintf(there, sizeof there, "%s", in_base("there"));
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    for (;;)
      (void)rename(here, there), (void)rename(there, here);
  }
  for (int i = 0; i < 20000; i++) {
    int fd = resolve_or_create(root, "/dots", true);
    if (fd < 0) (void)kill(child, SIGKILL);
    CHECK(fd >= 0);
    close(fd);
  }
  CHECK_INT(kill(child, SIGKILL), 0);
  CHECK_INT(waitpid(child, NULL, 0), child);
}

int main(void) {
  (void)snprintf(base, sizeof base, "/tmp/shoal-resolve-XXXXXX");
  CHECK(mkdtemp(base) != NULL);
  CHECK_INT(mkdir(in_base("root"), 0755), 0);
  CHECK_INT(mkdir(in_base("outside"), 0755), 0);
  int root = open(in_base("root"), O_PATH | O_DIRECTORY);
  missing_targets_are_made(root);
  links_stay_inside(root);
  loops_end(root);
  parents_are_found(root);
  renames_elsewhere_do_not_matter(root);
  close(root);
  (void)nftw(base, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
  return 0;
}

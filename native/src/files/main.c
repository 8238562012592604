/* {"mode": ..., ...} in one line. Modes, each with its fields; root is absent for a container that runs:
 *   stat     path, root?                     replies {"stat": {...}}
 *   get      path, root?                     the same, then an archive of it
 *   put      path, root?, writable, keepKinds, owner? {uid, gid}
 *   export   root?                           an archive of the root, without what is mounted in it
 *   changes  root (upper, lower)             what the root's own layer changes
 *   size     paths                           replies {"size": N} for each
 *   mount    source, target, type, flags, data           umount   target
 *   root: {lower: [topmost first], upper, work, place, readOnly, mounts: [{source, target, readOnly, recursive}]}
 * Then {"done": true}, or {"error": {kind, code, message}}. */
#include "files/files.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "monitor/monitor.h"

#define REQUEST_MAX (1 << 20)

static cJSON *read_request(void) {
  char *text = malloc(REQUEST_MAX + 1);
  size_t size = 0;
  while (text != NULL && size < REQUEST_MAX && (size == 0 || text[size - 1] != '\n')) {
    ssize_t n = read(FILES_FD_TALK, text + size, REQUEST_MAX - size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    size += (size_t)n;
  }
  if (text == NULL) return NULL;
  text[size] = '\0';
  cJSON *request = cJSON_Parse(text);
  free(text);
  return request;
}

static int run_changes(const cJSON *request) {
  const cJSON *root = cJSON_GetObjectItemCaseSensitive(request, "root");
  int upper_fd = open(files_text(root, "upper"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (upper_fd < 0) return reply_error("failed", errno, "the container's layer: %s", strerror(errno));
  cJSON *image = cJSON_Duplicate(request, 1);
  /* without its own layer: the image */
  cJSON_DeleteItemFromObjectCaseSensitive(cJSON_GetObjectItemCaseSensitive(image, "root"), "upper");
  int image_fd = view_enter(image, true);
  cJSON_Delete(image);
  return image_fd < 0 || lockdown(true) < 0 ? -1 : changes_write(upper_fd, image_fd);
}

static int run_put(const cJSON *request) {
  const cJSON *owner = cJSON_GetObjectItemCaseSensitive(request, "owner");
  const struct unpack_options options = {
      .keep_kinds = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request, "keepKinds")),
      .owned = owner != NULL,
      .uid = owner == NULL ? 0 : (uid_t)cJSON_GetObjectItemCaseSensitive(owner, "uid")->valuedouble,
      .gid = owner == NULL ? 0 : (gid_t)cJSON_GetObjectItemCaseSensitive(owner, "gid")->valuedouble,
  };
  int root_fd = view_enter(request, false);
  return root_fd < 0 || lockdown(false) < 0 ? -1 : unpack_path(root_fd, files_text(request, "path"), &options);
}

static int run_stat(const cJSON *request) {
  struct stat info;
  int fd, root_fd = view_enter(request, false);
  return root_fd < 0 || lockdown(false) < 0 ? -1 : stat_reply(root_fd, files_text(request, "path"), &info, &fd);
}

static int run_get(const cJSON *request) {
  int root_fd = view_enter(request, false);
  return root_fd < 0 || lockdown(false) < 0 ? -1 : pack_path(root_fd, files_text(request, "path"));
}

static int run_export(const cJSON *request) {
  int root_fd = view_enter(request, true);
  return root_fd < 0 || lockdown(false) < 0 ? -1 : pack_root(root_fd);
}

static int run_size(const cJSON *request) {
  return lockdown(false) < 0 ? -1 : size_reply(cJSON_GetObjectItemCaseSensitive(request, "paths"));
}

static int run(const cJSON *request) {
  static const struct {
    const char *name;
    int (*run)(const cJSON *request);
  } modes[] = {{"stat", run_stat},       {"get", run_get},   {"put", run_put},        {"export", run_export},
               {"changes", run_changes}, {"size", run_size}, {"mount", mount_volume}, {"umount", unmount_volume}};
  for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
    if (strcmp(files_text(request, "mode"), modes[i].name) == 0) return modes[i].run(request);
  }
  return reply_error("failed", EINVAL, "no such mode: %s", files_text(request, "mode"));
}

int main(void) {
  /* libarchive drops names that do not fit into the "C" character set */
  (void)setlocale(LC_CTYPE, "C.UTF-8");
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  (void)sys_close_range(FILES_FD_NAMESPACE + 1, ~0U, 0);
  (void)umask(0);
  cJSON *request = read_request();
  if (request == NULL) return 2;
  int rc = run(request);
  if (rc == 0) reply_done();
  cJSON_Delete(request);
  return rc == 0 ? 0 : 1;
}

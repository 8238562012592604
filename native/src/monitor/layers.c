/* Layers of an image that a container has at a path of its own: read-only, merged by overlayfs as its root is. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/monitor.h"

#define OPEN_TREE_CLONE_FLAG 1u
#define OPTIONS_MAX 4096
#define PLACE_MAX 40
#define STEP "layers"

/* Each layer by a short name, for all of them must fit into mount(2)'s page. */
struct places {
  char options[OPTIONS_MAX];
  size_t size;
  char first[PLACE_MAX];
  uint32_t count;
};

static int place_layer(const char *path, int userns_fd, char place[PLACE_MAX], struct shoal_error *err) {
  static unsigned int staged;
  if (userns_fd >= 0) {
    (void)snprintf(place, PLACE_MAX, "l%u", staged++);
    return userns_stage_directory(path, place, userns_fd, err);
  }
  /* Closed at the execve, or with the process. */
  int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return shoal_fail(err, errno, STEP, "%s", path);
  (void)snprintf(place, PLACE_MAX, "/proc/self/fd/%d", fd);
  /* cppcheck-suppress resourceLeak */
  return 0;
}

static int place_all(const struct plan *plan, const struct plan_mount *mount, int userns_fd, struct places *places,
                     struct shoal_error *err) {
  const uint32_t *layers = plan_items(plan, mount->options);
  char place[PLACE_MAX] = "";
  places->count = mount->options.count;
  places->size = (size_t)snprintf(places->options, OPTIONS_MAX, "lowerdir=");
  for (uint32_t i = 0; i < places->count; i++) {
    int rc = place_layer(plan_string(plan, layers[i]), userns_fd, i == 0 ? places->first : place, err);
    if (rc < 0) return rc;
    places->size += (size_t)snprintf(places->options + places->size, OPTIONS_MAX - places->size, "%s%s",
                                     i == 0 ? "" : ":", i == 0 ? places->first : place);
    if (places->size >= OPTIONS_MAX) return shoal_fail(err, E2BIG, STEP, "too many layers");
  }
  return 0;
}

/* A part of it, found as if it were the root: links in it lead nowhere else. */
static int clone_part(const char *root, const char *subpath, struct shoal_error *err) {
  int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  int place = fd < 0 || subpath == NULL ? fd : resolve_in_root(fd, subpath, 0);
  int tree = place < 0 ? -1 : sys_open_tree(place, "", AT_EMPTY_PATH | OPEN_TREE_CLONE_FLAG | O_CLOEXEC);
  int code = errno;
  if (place >= 0 && place != fd) close(place);
  if (fd >= 0) close(fd);
  if (tree < 0) return shoal_fail(err, code, STEP, "subpath %s", subpath == NULL ? "/" : subpath);
  return tree;
}

/* Mounted for a moment where nobody looks: a tree is copied from a place. */
static int merged_tree(const struct plan *plan, const struct places *places, const char *subpath, int userns_fd,
                       struct shoal_error *err) {
  const char *at = userns_fd >= 0 ? "image" : plan_string(plan, plan->root_dir);
  if (userns_fd >= 0 && mkdir(at, 0700) < 0 && errno != EEXIST) return shoal_fail(err, errno, STEP, "mkdir");
  if (mount("overlay", at, "overlay", MS_RDONLY, places->options) < 0)
    return shoal_fail(err, errno, STEP, "%.100s", places->options);
  int tree = clone_part(at, subpath, err);
  if (umount2(at, MNT_DETACH) == 0) return tree;
  if (tree >= 0) close(tree);
  return shoal_fail(err, errno, STEP, "umount");
}

int layers_tree(const struct plan *plan, const struct plan_mount *mount, int userns_fd, struct shoal_error *err) {
  struct places places;
  const char *subpath = plan_string(plan, mount->subpath);
  int rc = place_all(plan, mount, userns_fd, &places, err);
  if (rc < 0) return rc;
  /* overlayfs merges two at least. */
  int tree =
      places.count == 1 ? clone_part(places.first, subpath, err) : merged_tree(plan, &places, subpath, userns_fd, err);
  if (tree < 0) return tree;
  if (sys_mount_setattr(tree, AT_EMPTY_PATH, mount->attr_set, mount->attr_clear, 0) == 0) return tree;
  int code = errno;
  close(tree);
  return shoal_fail(err, code, STEP, "attributes");
}

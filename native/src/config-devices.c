/* The device nodes and links of /dev: those that every container has (OCI config-linux.md, "Default Devices" and "Dev
 * symbolic links") and those of linux.devices. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "config.h"

#define DEVICES_MAX 1024

static const struct {
  const char *path;
  uint32_t major;
  uint32_t minor;
} default_devices[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
                       {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};

static const struct {
  const char *path;
  const char *target;
} default_symlinks[] = {{"/dev/fd", "/proc/self/fd"},
                        {"/dev/stdin", "/proc/self/fd/0"},
                        {"/dev/stdout", "/proc/self/fd/1"},
                        {"/dev/stderr", "/proc/self/fd/2"},
                        {"/dev/ptmx", "pts/ptmx"}};

/* A /dev that is bound from outside is not ours to fill. */
static bool dev_is_bound(struct plan_builder *builder) {
  struct plan *plan = plan_builder_head(builder);
  const struct plan_mount *mounts = plan_items(plan, plan->mounts);
  for (uint32_t i = 0; i < plan->mounts.count; i++) {
    if ((mounts[i].flags & PLAN_MOUNT_BIND) != 0 && strcmp(plan_string(plan, mounts[i].target), "/dev") == 0)
      return true;
  }
  return false;
}

static int device_type(const char *type, uint32_t *mode) {
  if (strcmp(type, "c") == 0 || strcmp(type, "u") == 0) {
    *mode = S_IFCHR;
  } else if (strcmp(type, "b") == 0) {
    *mode = S_IFBLK;
  } else if (strcmp(type, "p") == 0) {
    *mode = S_IFIFO;
  } else {
    return -EINVAL;
  }
  return 0;
}

static int compile_device(struct config_context *context, const cJSON *item, struct plan_device *out) {
  static const char *const allowed[] = {"path", "type", "major", "minor", "fileMode", "uid", "gid", NULL};
  const char *path, *type;
  int64_t major = 0, minor = 0, mode = 0666, uid = 0, gid = 0;
  struct shoal_error *err = context->err;
  int rc = json_only(item, "linux.devices[]", allowed, err);
  if (rc == 0) rc = json_string(item, "linux.devices[]", "path", true, &path, err);
  if (rc == 0) rc = json_string(item, "linux.devices[]", "type", true, &type, err);
  if (rc == 0) rc = json_integer(item, "linux.devices[]", "major", &major, NULL, err);
  if (rc == 0) rc = json_integer(item, "linux.devices[]", "minor", &minor, NULL, err);
  if (rc == 0) rc = json_integer(item, "linux.devices[]", "fileMode", &mode, NULL, err);
  if (rc == 0) rc = json_integer(item, "linux.devices[]", "uid", &uid, NULL, err);
  if (rc == 0) rc = json_integer(item, "linux.devices[]", "gid", &gid, NULL, err);
  if (rc < 0) return rc;
  if (path[0] != '/' || device_type(type, &out->mode) < 0)
    return CONFIG_FAIL(err, EINVAL, "linux.devices[]: '%s' of type '%s'", path, type);
  out->path = plan_add_string(context->builder, path);
  out->mode |= (uint32_t)mode & 07777;
  out->major = (uint32_t)major;
  out->minor = (uint32_t)minor;
  out->uid = (uint32_t)uid;
  out->gid = (uint32_t)gid;
  return 0;
}

static void add_symlinks(struct plan_builder *builder) {
  struct plan_symlink links[sizeof default_symlinks / sizeof default_symlinks[0]];
  size_t count = sizeof links / sizeof links[0];
  for (size_t i = 0; i < count; i++) {
    links[i].path = plan_add_string(builder, default_symlinks[i].path);
    links[i].target = plan_add_string(builder, default_symlinks[i].target);
  }
  struct plan_list list = plan_add_list(builder, links, count, sizeof *links);
  plan_builder_head(builder)->symlinks = list;
}

int config_devices(struct config_context *context, const cJSON *devices) {
  struct plan_device nodes[DEVICES_MAX];
  size_t count = 0;
  memset(nodes, 0, sizeof nodes);
  if (!dev_is_bound(context->builder)) {
    for (; count < sizeof default_devices / sizeof default_devices[0]; count++) {
      nodes[count].path = plan_add_string(context->builder, default_devices[count].path);
      nodes[count].mode = S_IFCHR | 0666;
      nodes[count].major = default_devices[count].major;
      nodes[count].minor = default_devices[count].minor;
    }
    add_symlinks(context->builder);
  }
  const cJSON *item;
  cJSON_ArrayForEach(item, devices) {
    if (count == DEVICES_MAX) return CONFIG_FAIL(context->err, EINVAL, "linux.devices: too many");
    int rc = compile_device(context, item, &nodes[count++]);
    if (rc < 0) return rc;
  }
  struct plan_list list = plan_add_list(context->builder, nodes, count, sizeof *nodes);
  plan_builder_head(context->builder)->devices = list;
  return 0;
}

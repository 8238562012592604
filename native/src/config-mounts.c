#include <errno.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

/* linux/mount.h and sys/mount.h exclude each other in older libcs; these are the kernel's numbers. */
#define PROPAGATION_UNBINDABLE (1u << 17)
#define PROPAGATION_PRIVATE (1u << 18)
#define PROPAGATION_SLAVE (1u << 19)
#define PROPAGATION_SHARED (1u << 20)

/* Layers among them: overlayfs takes no more than 500. */
#define OPTIONS_MAX 160
#define LAYERS_TYPE "x-layers"
#define SUBPATH_OPTION "x-subpath="

struct attribute_option {
  const char *name;
  uint64_t set;
  uint64_t clear;
};

static const struct attribute_option attribute_options[] = {
    {"ro", MOUNT_ATTR_RDONLY, 0},
    {"rro", MOUNT_ATTR_RDONLY, 0}, /* attributes of an rbind are recursive anyway */
    {"rw", 0, MOUNT_ATTR_RDONLY},
    {"nosuid", MOUNT_ATTR_NOSUID, 0},
    {"suid", 0, MOUNT_ATTR_NOSUID},
    {"nodev", MOUNT_ATTR_NODEV, 0},
    {"dev", 0, MOUNT_ATTR_NODEV},
    {"noexec", MOUNT_ATTR_NOEXEC, 0},
    {"exec", 0, MOUNT_ATTR_NOEXEC},
    {"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
    {"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    {"relatime", 0, MOUNT_ATTR__ATIME},
    {"norelatime", 0, 0},
    {"nostrictatime", 0, 0},
    {"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
    {"diratime", 0, MOUNT_ATTR_NODIRATIME},
    {"defaults", 0, 0},
};

static const struct {
  const char *name;
  uint32_t flag;
  bool recursive;
} propagation_options[] = {
    {"private", PROPAGATION_PRIVATE, false},       {"rprivate", PROPAGATION_PRIVATE, true},
    {"slave", PROPAGATION_SLAVE, false},           {"rslave", PROPAGATION_SLAVE, true},
    {"shared", PROPAGATION_SHARED, false},         {"rshared", PROPAGATION_SHARED, true},
    {"unbindable", PROPAGATION_UNBINDABLE, false}, {"runbindable", PROPAGATION_UNBINDABLE, true},
};

/* Options with a meaning of their own in OCI that would be wrong as file system data. */
static const char *const refused_options[] = {"remount", "rrw", NULL};

struct mount_options {
  const char *subpath;
  bool recursive_ids;
  const char *data[OPTIONS_MAX];
  size_t count;
};

static bool apply_attribute(struct plan_mount *mount, const char *option) {
  for (size_t i = 0; i < sizeof attribute_options / sizeof attribute_options[0]; i++) {
    const struct attribute_option *known = &attribute_options[i];
    if (strcmp(known->name, option) != 0) continue;
    mount->attr_set = (mount->attr_set & ~known->clear) | known->set;
    mount->attr_clear = (mount->attr_clear & ~known->set) | known->clear;
    return true;
  }
  return false;
}

static bool apply_propagation(struct plan_mount *mount, const char *option) {
  for (size_t i = 0; i < sizeof propagation_options / sizeof propagation_options[0]; i++) {
    if (strcmp(propagation_options[i].name, option) != 0) continue;
    mount->propagation = propagation_options[i].flag;
    mount->propagation_recursive = propagation_options[i].recursive;
    return true;
  }
  return false;
}

static int apply_option(struct plan_mount *mount, struct mount_options *options, const char *option,
                        struct shoal_error *err) {
  for (size_t i = 0; refused_options[i] != NULL; i++) {
    if (strcmp(refused_options[i], option) == 0)
      return CONFIG_FAIL(err, ENOTSUP, "mounts[].options: '%s' is not supported", option);
  }
  if (strcmp(option, "bind") == 0) {
    mount->flags |= PLAN_MOUNT_BIND;
  } else if (strcmp(option, "rbind") == 0) {
    mount->flags |= PLAN_MOUNT_BIND | PLAN_MOUNT_RECURSIVE;
  } else if (strcmp(option, "x-ro-here") == 0) {
    mount->flags |= PLAN_MOUNT_READONLY_HERE;
  } else if (strcmp(option, "x-label") == 0) {
    mount->flags |= PLAN_MOUNT_LABEL;
  } else if (strcmp(option, "tmpcopyup") == 0) {
    mount->flags |= PLAN_MOUNT_COPY_UP;
  } else if (strcmp(option, "idmap") == 0 || strcmp(option, "ridmap") == 0) {
    mount->flags |= PLAN_MOUNT_IDMAP;
    options->recursive_ids = option[0] == 'r';
  } else if (strncmp(option, SUBPATH_OPTION, strlen(SUBPATH_OPTION)) == 0) {
    options->subpath = option + strlen(SUBPATH_OPTION);
  } else if (!apply_attribute(mount, option) && !apply_propagation(mount, option)) {
    if (options->count == OPTIONS_MAX) return CONFIG_FAIL(err, EINVAL, "mounts[].options: too many");
    options->data[options->count++] = option;
  }
  return 0;
}

static void add_options(struct config_context *context, struct plan_mount *mount, const struct mount_options *options) {
  uint32_t offsets[OPTIONS_MAX];
  for (size_t i = 0; i < options->count; i++)
    offsets[i] = plan_add_string(context->builder, options->data[i]);
  mount->options = plan_add_list(context->builder, offsets, options->count, sizeof *offsets);
}

struct mount_array {
  struct plan_mount *items;
  size_t count;
  size_t capacity;
};

static int push(struct mount_array *array, const struct plan_mount *mount) {
  if (array->count == array->capacity) {
    size_t capacity = array->capacity == 0 ? 16 : array->capacity * 2;
    struct plan_mount *bigger = realloc(array->items, capacity * sizeof *bigger);
    if (bigger == NULL) return -ENOMEM;
    array->items = bigger;
    array->capacity = capacity;
  }
  array->items[array->count++] = *mount;
  return 0;
}

/* One hierarchy a controller on v1, each mounted from inside the container's cgroup namespace, so that its root is the
 * container's own cgroup. */
static int expand_cgroup(struct config_context *context, struct mount_array *array, struct plan_mount *mount,
                         const char *target) {
  if (context->cgroup_mounts == NULL) {
    mount->fstype = plan_add_string(context->builder, "cgroup2");
    mount->source = plan_add_string(context->builder, "cgroup");
    return push(array, mount);
  }
  struct plan_mount top = *mount;
  /* Writable while the mount points are made, sealed by the last step. */
  struct mount_options mode = {.data = {"mode=755", "size=64k"}, .count = 2};
  top.fstype = plan_add_string(context->builder, "tmpfs");
  top.source = plan_add_string(context->builder, "cgroup");
  top.attr_set &= ~(uint64_t)MOUNT_ATTR_RDONLY;
  add_options(context, &top, &mode);
  int rc = push(array, &top);
  for (size_t i = 0; rc == 0 && context->cgroup_mounts[i] != NULL; i++) {
    const char *controller = context->cgroup_mounts[i];
    struct mount_options option = {.data = {controller}, .count = 1};
    struct plan_mount one = *mount;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", target, controller);
    const char *own = context->cgroup_binds == NULL ? NULL : cgroup_set_find(context->cgroup_binds, controller);
    one.target = plan_add_string(context->builder, path);
    one.source = plan_add_string(context->builder, own == NULL ? "cgroup" : own);
    if (own == NULL) {
      one.fstype = plan_add_string(context->builder, "cgroup");
      add_options(context, &one, &option);
    } else {
      one.flags |= PLAN_MOUNT_BIND;
    }
    rc = push(array, &one);
  }
  struct plan_mount seal = *mount;
  seal.flags |= PLAN_MOUNT_SETATTR;
  return rc < 0 ? rc : push(array, &seal);
}

static int check_layers(const struct plan_mount *mount, const struct mount_options *options, const char *target,
                        const char *source, struct shoal_error *err) {
  bool good = options->count > 0 && source == NULL && (mount->attr_set & MOUNT_ATTR_RDONLY) != 0 &&
              (mount->flags & (PLAN_MOUNT_RECURSIVE | PLAN_MOUNT_COPY_UP)) == 0;
  for (size_t i = 0; i < options->count; i++)
    good = good && options->data[i][0] == '/';
  if (!good)
    return CONFIG_FAIL(err, EINVAL, "mounts[]: '%s': " LAYERS_TYPE " takes absolute paths of layers, and 'ro'", target);
  return 0;
}

/* What makes no sense together. */
static int check_mount(const struct plan_mount *mount, const struct mount_options *options, const char *target,
                       const char *type, const char *source, struct shoal_error *err) {
  if (target[0] != '/') return CONFIG_FAIL(err, EINVAL, "mounts[]: '%s' is not absolute", target);
  if ((mount->flags & PLAN_MOUNT_LAYERS) != 0) return check_layers(mount, options, target, source, err);
  if ((mount->flags & PLAN_MOUNT_BIND) != 0 && (source == NULL || source[0] != '/'))
    return CONFIG_FAIL(err, EINVAL, "mounts[]: a bind of '%s' needs an absolute source", target);
  if ((mount->flags & PLAN_MOUNT_BIND) == 0 && type == NULL)
    return CONFIG_FAIL(err, EINVAL, "mounts[]: '%s' has neither a type nor bind", target);
  if ((mount->flags & PLAN_MOUNT_BIND) != 0 && options->count > 0)
    return CONFIG_FAIL(err, EINVAL, "mounts[]: option '%s' makes no sense for a bind", options->data[0]);
  if ((mount->flags & PLAN_MOUNT_BIND) == 0 && options->subpath != NULL)
    return CONFIG_FAIL(err, EINVAL, "mounts[]: '" SUBPATH_OPTION "' makes sense for a bind only");
  if ((mount->flags & (PLAN_MOUNT_READONLY_HERE | PLAN_MOUNT_LABEL)) != 0 && (mount->flags & PLAN_MOUNT_BIND) == 0)
    return CONFIG_FAIL(err, EINVAL, "mounts[]: 'x-ro-here' and 'x-label' make sense for a bind only");
  if ((mount->flags & PLAN_MOUNT_COPY_UP) != 0 &&
      (type == NULL || strcmp(type, "tmpfs") != 0 || (mount->attr_set & MOUNT_ATTR_RDONLY) != 0))
    return CONFIG_FAIL(err, EINVAL, "mounts[]: 'tmpcopyup' makes sense for a tmpfs that can be written only");
  if ((mount->flags & PLAN_MOUNT_IDMAP) != 0 && (mount->flags & PLAN_MOUNT_BIND) == 0)
    return CONFIG_FAIL(err, EINVAL, "mounts[]: 'idmap' makes sense for a bind only");
  if ((mount->flags & PLAN_MOUNT_RECURSIVE) != 0 && (mount->flags & PLAN_MOUNT_IDMAP) != 0 && !options->recursive_ids)
    return CONFIG_FAIL(err, ENOTSUP, "mounts[]: 'idmap' of an 'rbind' is not supported; 'ridmap' is");
  return 0;
}

static int compile_mount(struct config_context *context, const cJSON *item, struct mount_array *array) {
  static const char *const allowed[] = {"destination", "type", "source", "options", NULL};
  const char *target, *type, *source;
  struct plan_mount mount = {0};
  struct mount_options options = {.count = 0};
  int rc = json_only(item, "mounts[]", allowed, context->err);
  if (rc == 0) rc = json_string(item, "mounts[]", "destination", true, &target, context->err);
  if (rc == 0) rc = json_string(item, "mounts[]", "type", false, &type, context->err);
  if (rc == 0) rc = json_string(item, "mounts[]", "source", false, &source, context->err);
  const cJSON *option;
  cJSON_ArrayForEach(option, json_member(item, "options")) {
    if (rc == 0 && !cJSON_IsString(option)) return CONFIG_FAIL(context->err, EINVAL, "mounts[].options: not strings");
    if (rc == 0) rc = apply_option(&mount, &options, option->valuestring, context->err);
  }
  if (rc < 0) return rc;
  if (type != NULL && strcmp(type, "bind") == 0) mount.flags |= PLAN_MOUNT_BIND;
  if (type != NULL && strcmp(type, LAYERS_TYPE) == 0) mount.flags |= PLAN_MOUNT_BIND | PLAN_MOUNT_LAYERS;
  rc = check_mount(&mount, &options, target, type, source, context->err);
  if (rc < 0) return rc;
  mount.subpath = options.subpath == NULL ? 0 : plan_add_string(context->builder, options.subpath);
  mount.target = plan_add_string(context->builder, target);
  if (type != NULL && (mount.flags & PLAN_MOUNT_BIND) == 0) {
    if (strcmp(type, "proc") == 0 || strcmp(type, "sysfs") == 0) mount.flags |= PLAN_MOUNT_NO_SYMLINK;
    if (strcmp(type, "cgroup") == 0) return expand_cgroup(context, array, &mount, target);
    mount.fstype = plan_add_string(context->builder, type);
  }
  mount.source = source == NULL ? 0 : plan_add_string(context->builder, source);
  add_options(context, &mount, &options);
  return push(array, &mount);
}

int config_mounts(struct config_context *context, const cJSON *mounts) {
  struct mount_array array = {0};
  int rc = 0;
  if (mounts != NULL && !cJSON_IsArray(mounts)) return CONFIG_FAIL(context->err, EINVAL, "mounts: not an array");
  const cJSON *item;
  cJSON_ArrayForEach(item, mounts) {
    rc = compile_mount(context, item, &array);
    if (rc < 0) break;
  }
  if (rc == 0) {
    struct plan_list list = plan_add_list(context->builder, array.items, array.count, sizeof *array.items);
    plan_builder_head(context->builder)->mounts = list;
  }
  free(array.items);
  return rc;
}

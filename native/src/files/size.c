#include "files/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* Files of several names, counted once: an open-addressed table of what was seen. */
struct seen {
  struct {
    dev_t device;
    ino_t number;
  } * slots;
  size_t capacity, count;
};

static size_t slot_of(const struct seen *seen, dev_t device, ino_t number) {
  size_t at = ((size_t)number * 0x9e3779b97f4a7c15ULL ^ (size_t)device) & (seen->capacity - 1);
  while (seen->slots[at].number != 0 && (seen->slots[at].number != number || seen->slots[at].device != device))
    at = (at + 1) & (seen->capacity - 1);
  return at;
}

static int grow(struct seen *seen) {
  struct seen larger = {.capacity = seen->capacity == 0 ? 1024 : seen->capacity * 2, .count = seen->count};
  larger.slots = calloc(larger.capacity, sizeof *larger.slots);
  if (larger.slots == NULL) return -1;
  for (size_t i = 0; i < seen->capacity; i++) {
    if (seen->slots[i].number != 0)
      larger.slots[slot_of(&larger, seen->slots[i].device, seen->slots[i].number)] = seen->slots[i];
  }
  free(seen->slots);
  *seen = larger;
  return 0;
}

static bool is_new(struct seen *seen, const struct stat *info) {
  if (2 * (seen->count + 1) > seen->capacity && grow(seen) < 0) return true;
  size_t at = slot_of(seen, info->st_dev, info->st_ino);
  if (seen->slots[at].number != 0) return false;
  seen->slots[at].device = info->st_dev;
  seen->slots[at].number = info->st_ino;
  seen->count++;
  return true;
}

/* What vanishes or can not be read while it is counted counts nothing. Takes the descriptor. */
static double size_below(int fd, struct seen *seen, int depth) {
  double sum = 0;
  const struct dirent *entry;
  struct stat info;
  DIR *dir = depth > FILES_DEPTH_MAX ? NULL : fdopendir(fd);
  if (dir == NULL) {
    (void)close(fd);
    return 0;
  }
  while ((entry = readdir(dir)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (fstatat(fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0) continue;
    if (S_ISDIR(info.st_mode)) {
      int below = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (below >= 0) sum += size_below(below, seen, depth + 1);
    } else if (info.st_nlink == 1 || is_new(seen, &info)) {
      sum += (double)info.st_size;
    }
  }
  (void)closedir(dir);
  return sum;
}

int size_reply(const cJSON *paths) {
  const cJSON *path;
  cJSON_ArrayForEach(path, paths) {
    struct seen seen = {0};
    int fd = open(cJSON_GetStringValue(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    cJSON *object = cJSON_CreateObject();
    (void)cJSON_AddNumberToObject(object, "size", fd < 0 ? -1 : size_below(fd, &seen, 0));
    reply_object(object);
    free(seen.slots);
  }
  return 0;
}

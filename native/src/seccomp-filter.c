#include "seccomp-filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"
#include "seccomp-projects.h"
#include "seccomp-shorten.h"

#define CACHE_SIZE 8
#define WAIT_KILLABLE_RECV_FLAG (1u << 5) /* Linux 5.19 */
#define NOTIFY "SCMP_ACT_NOTIFY"
#define SECCOMP_FAIL(err, code, ...) shoal_fail((err), (code), "seccomp", __VA_ARGS__)

static struct {
  pthread_mutex_t lock;
  struct {
    char *profile;
    struct seccomp_filter *filter;
  } entries[CACHE_SIZE];
  size_t next;
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const struct {
  const char *name;
  uint32_t action;
  bool has_errno;
} actions[] = {
    {"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD, false},
    {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD, false},
    {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS, false},
    {"SCMP_ACT_TRAP", SCMP_ACT_TRAP, false},
    {"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0), true},
    {"SCMP_ACT_LOG", SCMP_ACT_LOG, false},
    {"SCMP_ACT_TRACE", SCMP_ACT_TRACE(0), true},
    {"SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY, false},
    {"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW, false},
};

static const struct {
  const char *name;
  enum scmp_compare op;
} operators[] = {
    {"SCMP_CMP_NE", SCMP_CMP_NE},
    {"SCMP_CMP_LT", SCMP_CMP_LT},
    {"SCMP_CMP_LE", SCMP_CMP_LE},
    {"SCMP_CMP_EQ", SCMP_CMP_EQ},
    {"SCMP_CMP_GE", SCMP_CMP_GE},
    {"SCMP_CMP_GT", SCMP_CMP_GT},
    {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
};

static int parse_action(const cJSON *object, const char *key, const char *errno_key, uint32_t *out,
                        struct shoal_error *err) {
  const char *name;
  int64_t code = EPERM;
  int rc = json_string(object, "linux.seccomp", key, true, &name, err);
  if (rc == 0) rc = json_integer(object, "linux.seccomp", errno_key, &code, NULL, err);
  if (rc < 0) return rc;
  for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
    if (strcmp(actions[i].name, name) != 0) continue;
    *out = actions[i].has_errno ? actions[i].action | ((uint32_t)code & 0xffff) : actions[i].action;
    return 0;
  }
  return SECCOMP_FAIL(err, ENOTSUP, "linux.seccomp: action '%s' is not supported", name);
}

static int parse_condition(const cJSON *item, struct scmp_arg_cmp *out, struct shoal_error *err) {
  static const char *const allowed[] = {"index", "value", "valueTwo", "op", NULL};
  int64_t index = -1, value = 0, second = 0;
  const char *op;
  int rc = json_only(item, "linux.seccomp.syscalls[].args[]", allowed, err);
  if (rc == 0) rc = json_integer(item, "args[]", "index", &index, NULL, err);
  if (rc == 0) rc = json_integer(item, "args[]", "value", &value, NULL, err);
  if (rc == 0) rc = json_integer(item, "args[]", "valueTwo", &second, NULL, err);
  if (rc == 0) rc = json_string(item, "args[]", "op", true, &op, err);
  if (rc < 0) return rc;
  for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
    if (strcmp(operators[i].name, op) != 0 || index < 0 || index > 5) continue;
    *out = (struct scmp_arg_cmp){.arg = (unsigned int)index,
                                 .op = operators[i].op,
                                 .datum_a = (scmp_datum_t)value,
                                 .datum_b = (scmp_datum_t)second};
    return 0;
  }
  return SECCOMP_FAIL(err, EINVAL, "linux.seccomp: argument %lld with operator '%s'", (long long)index, op);
}

static int add_rule(scmp_filter_ctx filter, uint32_t default_action, const cJSON *rule, struct shoal_error *err) {
  static const char *const allowed[] = {"names", "action", "errnoRet", "args", NULL};
  struct scmp_arg_cmp conditions[6];
  unsigned int count = 0;
  uint32_t action = 0;
  int rc = json_only(rule, "linux.seccomp.syscalls[]", allowed, err);
  if (rc == 0) rc = parse_action(rule, "action", "errnoRet", &action, err);
  const cJSON *item;
  cJSON_ArrayForEach(item, json_member(rule, "args")) {
    if (rc == 0 && count == 6) return SECCOMP_FAIL(err, EINVAL, "linux.seccomp: more than six args");
    if (rc == 0) rc = parse_condition(item, &conditions[count++], err);
  }
  if (rc < 0) return rc;
  if (action == default_action) return 0;
  cJSON_ArrayForEach(item, json_member(rule, "names")) {
    if (!cJSON_IsString(item)) return SECCOMP_FAIL(err, EINVAL, "linux.seccomp.syscalls[].names: not strings");
    int number = seccomp_syscall_resolve_name(item->valuestring);
    /* A name that this architecture or this libseccomp does not know cannot be called under it either: the default
     * action covers its number. */
    if (number == __NR_SCMP_ERROR) continue;
    rc = seccomp_rule_add_array(filter, action, number, count, conditions);
    if (rc == -EDOM) continue;
    if (rc < 0) return SECCOMP_FAIL(err, -rc, "rule for '%s'", item->valuestring);
  }
  return 0;
}

static int add_architectures(scmp_filter_ctx filter, const cJSON *profile, struct shoal_error *err) {
  const cJSON *item;
  cJSON_ArrayForEach(item, json_member(profile, "architectures")) {
    char name[32];
    const char *text = cJSON_IsString(item) ? item->valuestring : "";
    if (strncmp(text, "SCMP_ARCH_", 10) != 0 || strlen(text) >= sizeof name)
      return SECCOMP_FAIL(err, EINVAL, "linux.seccomp.architectures: '%s'", text);
    size_t length = strlen(text + 10);
    for (size_t i = 0; i <= length; i++)
      name[i] = text[10 + i] >= 'A' && text[10 + i] <= 'Z' ? (char)(text[10 + i] | 32) : text[10 + i];
    uint32_t arch = seccomp_arch_resolve_name(name);
    if (arch == 0) return SECCOMP_FAIL(err, EINVAL, "linux.seccomp.architectures: unknown '%s'", text);
    int rc = seccomp_arch_add(filter, arch);
    if (rc < 0 && rc != -EEXIST) return SECCOMP_FAIL(err, -rc, "linux.seccomp.architectures: '%s'", text);
  }
  return 0;
}

/* System calls that are newer than our libseccomp cannot be named in a profile. A C library falls back to an older call
 * on ENOSYS but not on EPERM, so for numbers beyond the last known one the program starts with an ENOSYS of its own. */
#define PROLOGUE_SIZE 5

static void write_prologue(struct sock_filter out[PROLOGUE_SIZE]) {
  uint32_t native = seccomp_arch_native();
  int last = 1023;
  char *name = NULL;
  while (last > 0 && (name = seccomp_syscall_resolve_num_arch(native, last)) == NULL)
    last--;
  free(name);
  const struct sock_filter prologue[PROLOGUE_SIZE] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, native, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (uint32_t)last, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
  };
  memcpy(out, prologue, sizeof prologue);
}

static size_t size_before(const cJSON *profile) {
  return cJSON_IsTrue(json_member(profile, "keepsProjects")) ? SECCOMP_PROJECTS_SIZE : 0;
}

/* libseccomp writes the program into a descriptor; what keeps files in their projects comes before it. */
static int export_program(scmp_filter_ctx filter, size_t before, struct seccomp_filter *out, struct shoal_error *err) {
  int fd = memfd_create("shoal-seccomp", MFD_CLOEXEC);
  if (fd < 0) return SECCOMP_FAIL(err, errno, "memfd_create");
  int rc = seccomp_export_bpf(filter, fd);
  off_t size = lseek(fd, 0, SEEK_END);
  if (rc == 0 && (size <= 0 || size % (off_t)sizeof *out->instructions != 0)) rc = -EIO;
  size_t ours = before + PROLOGUE_SIZE;
  if (rc == 0) out->instructions = calloc(ours + (size_t)size / sizeof *out->instructions, sizeof *out->instructions);
  if (rc == 0 && out->instructions == NULL) rc = -ENOMEM;
  if (rc == 0 && pread(fd, out->instructions + ours, (size_t)size, 0) != size) rc = -EIO;
  close(fd);
  if (rc < 0) return SECCOMP_FAIL(err, -rc, "export of the program");
  if (before > 0) seccomp_projects_write(out->instructions);
  write_prologue(out->instructions + before);
  out->count = ours + (size_t)size / sizeof *out->instructions;
  return 0;
}

/* All but what comes before the prologue: that looks at arguments, and goes on with all the rest. */
static void shorten(struct seccomp_filter *filter, size_t before) {
  struct sock_filter *fresh = calloc(filter->count, sizeof *fresh);
  if (fresh == NULL) return;
  memcpy(fresh, filter->instructions, before * sizeof *fresh);
  size_t count = seccomp_shorten(filter->instructions + before, filter->count - before, fresh + before);
  if (count > 0) {
    free(filter->instructions);
    filter->instructions = fresh;
    filter->count = before + count;
  } else {
    free(fresh);
  }
}

/* The filter is for one thread that then becomes the command: there is nobody to synchronize with (TSYNC). */
static int parse_flags(const cJSON *profile, struct seccomp_filter *out, struct shoal_error *err) {
  static const struct {
    const char *name;
    uint32_t flag;
  } known[] = {{"SECCOMP_FILTER_FLAG_TSYNC", 0},
               {"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
               {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
               {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", WAIT_KILLABLE_RECV_FLAG}};
  const cJSON *item;
  cJSON_ArrayForEach(item, json_member(profile, "flags")) {
    const char *text = cJSON_IsString(item) ? item->valuestring : "";
    size_t i = 0, count = sizeof known / sizeof known[0];
    while (i < count && strcmp(known[i].name, text) != 0)
      i++;
    if (i == count) return SECCOMP_FAIL(err, ENOTSUP, "linux.seccomp.flags: '%s' is not supported", text);
    out->flags |= known[i].flag;
  }
  return 0;
}

bool seccomp_notifies(const cJSON *profile) {
  const cJSON *rule;
  cJSON_ArrayForEach(rule, json_member(profile, "syscalls")) {
    const char *action = cJSON_GetStringValue(json_member(rule, "action"));
    if (action != NULL && strcmp(action, NOTIFY) == 0) return true;
  }
  return false;
}

/* The descriptor by which it is asked is handed over when the filter is in force already. */
static int check_notify(const cJSON *profile, struct seccomp_filter *out, struct shoal_error *err) {
  const cJSON *rule, *name;
  const char *otherwise = cJSON_GetStringValue(json_member(profile, "defaultAction"));
  if (otherwise != NULL && strcmp(otherwise, NOTIFY) == 0)
    return SECCOMP_FAIL(err, EINVAL, "linux.seccomp.defaultAction: " NOTIFY " is for single system calls");
  if (!seccomp_notifies(profile)) {
    out->flags &= ~WAIT_KILLABLE_RECV_FLAG;
    return 0;
  }
  out->flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
  cJSON_ArrayForEach(rule, json_member(profile, "syscalls")) {
    const char *action = cJSON_GetStringValue(json_member(rule, "action"));
    if (action == NULL || strcmp(action, NOTIFY) != 0) continue;
    cJSON_ArrayForEach(name, json_member(rule, "names")) {
      if (cJSON_IsString(name) && strcmp(name->valuestring, "sendmsg") == 0)
        return SECCOMP_FAIL(err, EINVAL, "linux.seccomp: " NOTIFY " of sendmsg, which hands the listener over");
    }
  }
  return 0;
}

int seccomp_filter_build(const cJSON *profile, struct seccomp_filter *out, struct shoal_error *err) {
  static const char *const allowed[] = {
      "defaultAction", "defaultErrnoRet", "architectures", "syscalls", "flags", "keepsProjects", NULL};
  uint32_t default_action = 0;
  int rc = json_only(profile, "linux.seccomp", allowed, err);
  if (rc == 0) rc = parse_action(profile, "defaultAction", "defaultErrnoRet", &default_action, err);
  if (rc == 0) rc = parse_flags(profile, out, err);
  if (rc == 0) rc = check_notify(profile, out, err);
  if (rc < 0) return rc;
  scmp_filter_ctx filter = seccomp_init(default_action);
  if (filter == NULL) return SECCOMP_FAIL(err, ENOMEM, "seccomp_init");
  /* no_new_privs is the process's own setting, not the filter's. A binary tree keeps lookups short. */
  rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
  if (rc == 0) (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  if (rc == 0) rc = add_architectures(filter, profile, err);
  const cJSON *rule;
  cJSON_ArrayForEach(rule, json_member(profile, "syscalls")) {
    if (rc == 0) rc = add_rule(filter, default_action, rule, err);
  }
  if (rc == 0) rc = export_program(filter, size_before(profile), out, err);
  seccomp_release(filter);
  return rc;
}

static struct seccomp_filter *cache_find(const char *profile) {
  struct seccomp_filter *found = NULL;
  pthread_mutex_lock(&cache.lock);
  for (size_t i = 0; i < CACHE_SIZE && found == NULL; i++) {
    if (cache.entries[i].profile != NULL && strcmp(cache.entries[i].profile, profile) == 0)
      found = cache.entries[i].filter;
  }
  if (found != NULL) found->references++;
  pthread_mutex_unlock(&cache.lock);
  return found;
}

static void release_locked(struct seccomp_filter *filter) {
  if (--filter->references > 0) return;
  free(filter->instructions);
  free(filter);
}

static void cache_store(const char *profile, struct seccomp_filter *filter) {
  char *copy = strdup(profile);
  if (copy == NULL) return;
  pthread_mutex_lock(&cache.lock);
  size_t slot = cache.next++ % CACHE_SIZE;
  if (cache.entries[slot].profile != NULL) {
    free(cache.entries[slot].profile);
    release_locked(cache.entries[slot].filter);
  }
  cache.entries[slot].profile = copy;
  cache.entries[slot].filter = filter;
  filter->references++;
  pthread_mutex_unlock(&cache.lock);
}

int seccomp_filter_get(const char *profile_json, struct seccomp_filter **out, struct shoal_error *err) {
  *out = cache_find(profile_json);
  if (*out != NULL) return 0;
  cJSON *profile = cJSON_Parse(profile_json);
  if (profile == NULL) return SECCOMP_FAIL(err, EINVAL, "linux.seccomp: not JSON");
  struct seccomp_filter *filter = calloc(1, sizeof *filter);
  int rc = filter == NULL ? SECCOMP_FAIL(err, ENOMEM, "linux.seccomp") : seccomp_filter_build(profile, filter, err);
  if (rc == 0) shorten(filter, size_before(profile));
  cJSON_Delete(profile);
  if (rc < 0) {
    if (filter != NULL) free(filter->instructions);
    free(filter);
    return rc;
  }
  filter->references = 1;
  cache_store(profile_json, filter);
  *out = filter;
  return 0;
}

void seccomp_filter_put(struct seccomp_filter *filter) {
  pthread_mutex_lock(&cache.lock);
  release_locked(filter);
  pthread_mutex_unlock(&cache.lock);
}

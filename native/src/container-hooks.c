/* Hooks of a container that the library makes: a program runs them while the init waits with all mounted. Not the
 * library itself: whoever has loaded it has threads and much memory, and a hook's process is forked
 * (oci/hook-inside.c). */
#include "container-hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEP "hooks"
/* Of what the hooks say; what they write beyond it is refused to them. */
#define OUTPUT_MAX 4096

/* A file in memory that is not larger than it is made. */
static int open_output(void) {
  int fd = memfd_create("shoal-hooks", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0 || (ftruncate(fd, OUTPUT_MAX) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL) == 0)) return fd;
  close(fd);
  return -1;
}

/* What the program reads: the hooks, the container's state with the init's number. */
static int open_input(const cJSON *hooks, pid_t pid) {
  cJSON *copy = cJSON_Duplicate(hooks, true);
  cJSON *state = cJSON_GetObjectItemCaseSensitive(copy, "state");
  cJSON_DeleteItemFromObjectCaseSensitive(copy, "program");
  cJSON_DeleteItemFromObjectCaseSensitive(state, "pid");
  cJSON_AddNumberToObject(state, "pid", pid);
  char *text = cJSON_PrintUnformatted(copy);
  cJSON_Delete(copy);
  size_t size = text == NULL ? 0 : strlen(text);
  int fd = text == NULL ? -1 : memfd_create("shoal-hooks", MFD_CLOEXEC);
  if (fd >= 0 && (write(fd, text, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)) {
    close(fd);
    fd = -1;
  }
  cJSON_free(text);
  return fd;
}

static int spawn_program(const char *program, int input, int output, pid_t *pid) {
  char *const argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t) "run-hooks", NULL};
  char *const envp[] = {NULL};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawn_file_actions_adddup2(&actions, input, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, 2);
  int code = posix_spawn(pid, program, &actions, &attributes, argv, envp);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return code;
}

/* Cuts the last line off, and what is empty. */
static const char *cut_line(char *text) {
  size_t size = strlen(text);
  while (size > 0 && text[size - 1] == '\n')
    text[--size] = '\0';
  char *newline = strrchr(text, '\n');
  if (newline == NULL) return text;
  *newline = '\0';
  return newline + 1;
}

/* The last line says which hook it was and how it ended, those before are the hooks' own: of these the last, too. */
static int fail_with(int output, struct shoal_error *err) {
  char text[OUTPUT_MAX + 1] = {0};
  if (pread(output, text, OUTPUT_MAX, 0) < 0) text[0] = '\0';
  const char *last = cut_line(text);
  if (last == text) return shoal_fail(err, ECANCELED, STEP, "%s", text[0] == '\0' ? "one failed" : text);
  const char *before = cut_line(text);
  return shoal_fail(err, ECANCELED, STEP, "%s%s%s", last, before[0] == '\0' ? "" : ": ", before);
}

static int run_program(const cJSON *hooks, pid_t init, struct shoal_error *err) {
  const char *program = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(hooks, "program"));
  if (program == NULL) return shoal_fail(err, EINVAL, STEP, "no program runs them");
  pid_t pid = -1;
  int input = open_input(hooks, init), output = open_output(), status = 0;
  int rc = input < 0 || output < 0 ? shoal_fail(err, EIO, STEP, "memory files") : 0;
  int code = rc == 0 ? spawn_program(program, input, output, &pid) : 0;
  if (code != 0) rc = shoal_fail(err, code, STEP, "%s", program);
  if (rc == 0) {
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
      continue;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) rc = fail_with(output, err);
  }
  if (input >= 0) close(input);
  if (output >= 0) close(output);
  return rc;
}

int container_hooks(const cJSON *hooks, pid_t init, int monitor, struct shoal_error *err) {
  char rest[512];
  int rc = run_program(hooks, init, err);
  if (rc == 0 && send(monitor, "", 1, MSG_NOSIGNAL) != 1)
    return shoal_fail(err, EPIPE, "monitor", "ended during the hooks");
  if (rc == 0) return 0;
  (void)shutdown(monitor, SHUT_WR);
  /* Until the monitor is gone, and the init with it. */
  while (recv(monitor, rest, sizeof rest, 0) > 0)
    continue;
  return rc;
}

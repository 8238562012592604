#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "oci/oci.h"

#define VERSION "0.1.0"
#define DEFAULT_ROOT "/run/shoal-oci"

static const struct {
  const char *name, *summary;
  int (*run)(const struct oci *oci, int argc, char *argv[]);
} commands[] = {
    {"create", "make a container from a bundle, up to its command", command_create},
    {"start", "run the command of a created container", command_start},
    {"run", "create, start, wait, delete", command_run},
    {"exec", "run one more command in a container", command_exec},
    {"state", "print a container's state", command_state},
    {"list", "print all containers below --root", command_list},
    {"ps", "print a container's processes", command_ps},
    {"kill", "send a signal to a container's init", command_kill},
    {"delete", "remove a container", command_delete},
    {"pause", "freeze all processes of a container", command_pause},
    {"resume", "the opposite of pause", command_resume},
    {"update", "change a container's limits", command_update},
    {"events", "print figures and out-of-memory kills", command_events},
    {"features", "print what this runtime supports, as JSON", command_features},
    {"spec", "write a config.json to begin with", command_spec},
    {"run-hooks", NULL, command_run_hooks}, /* not for people */
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static int usage(FILE *to, int code) {
  (void)fputs("usage: shoal-oci [--root DIR] [--log FILE] [--log-format text|json] [--debug] COMMAND ...\n", to);
  for (size_t i = 0; i < COMMANDS; i++)
    if (commands[i].summary != NULL) (void)fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
  return code;
}

const char *only_argument(int argc, char *argv[], const char *what) {
  if (argc - optind == 1) return argv[optind];
  (void)log_failure("%s: exactly one argument is needed: %s", argv[0], what);
  return NULL;
}

enum { OPTION_ROOT = 256, OPTION_LOG, OPTION_FORMAT, OPTION_SYSTEMD, OPTION_DEBUG, OPTION_ROOTLESS, OPTION_CRIU };

static const struct option known[] = {{"root", required_argument, NULL, OPTION_ROOT},
                                      {"log", required_argument, NULL, OPTION_LOG},
                                      {"log-format", required_argument, NULL, OPTION_FORMAT},
                                      {"systemd-cgroup", no_argument, NULL, OPTION_SYSTEMD},
                                      {"debug", no_argument, NULL, OPTION_DEBUG},
                                      {"rootless", required_argument, NULL, OPTION_ROOTLESS},
                                      {"criu", required_argument, NULL, OPTION_CRIU},
                                      {"version", no_argument, NULL, 'v'},
                                      {"help", no_argument, NULL, 'h'},
                                      {NULL, 0, NULL, 0}};

static int run_command(const struct oci *oci, int argc, char *argv[]) {
  for (size_t i = 0; i < COMMANDS; i++) {
    if (strcmp(commands[i].name, argv[0]) != 0) continue;
    optind = 0; /* glibc: starts over, with the command's own options */
    return commands[i].run(oci, argc, argv);
  }
  return log_failure("no such command: %s", argv[0]);
}

/* The first line is what engines look at. */
static int print_version(void) {
  (void)puts("shoal-oci version " VERSION "\nspec: " OCI_VERSION);
  return 0;
}

int main(int argc, char *argv[]) {
  struct oci oci = {.root = DEFAULT_ROOT};
  const char *log = NULL, *format = "text";
  int option;
  while ((option = getopt_long(argc, argv, "+vh", known, NULL)) != -1) {
    if (option == OPTION_ROOT)
      oci.root = optarg;
    else if (option == OPTION_LOG)
      log = optarg;
    else if (option == OPTION_FORMAT)
      format = optarg;
    else if (option == OPTION_SYSTEMD)
      oci.systemd_cgroup = true;
    else if (option == 'v')
      return print_version();
    else if (option == 'h')
      return usage(stdout, 0);
    else if (option == '?')
      return usage(stderr, EXIT_NOT_DONE);
  }
  if (strcmp(format, "text") != 0 && strcmp(format, "json") != 0)
    return log_failure("--log-format: '%s' is not text or json", format);
  if (log_open(log, strcmp(format, "json") == 0) != 0) return EXIT_NOT_DONE;
  if (oci.root[0] != '/') return log_failure("--root: '%s' is not absolute", oci.root);
  if (optind == argc) return usage(stderr, EXIT_NOT_DONE);
  return run_command(&oci, argc - optind, argv + optind);
}

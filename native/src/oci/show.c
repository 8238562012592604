/* state, list and ps. */
#include <dirent.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oci/oci.h"

int command_state(const struct oci *oci, int argc, char *argv[]) {
  struct container container;
  if (getopt(argc, argv, "+") != -1) return EXIT_NOT_DONE;
  const char *id = only_argument(argc, argv, "container ID");
  if (id == NULL || store_open(oci, id, &container) != 0) return EXIT_NOT_DONE;
  cJSON *state = store_state(&container, store_status(&container));
  int code = json_print(state, true);
  cJSON_Delete(state);
  store_close(&container);
  return code;
}

static cJSON *all_states(const struct oci *oci) {
  cJSON *states = cJSON_CreateArray();
  DIR *dir = opendir(oci->root);
  struct dirent *entry;
  while (dir != NULL && (entry = readdir(dir)) != NULL) {
    struct container container;
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.' || !store_id_valid(entry->d_name)) continue;
    if (store_open(oci, entry->d_name, &container) != 0) continue;
    cJSON_AddItemToArray(states, store_state(&container, store_status(&container)));
    store_close(&container);
  }
  if (dir != NULL) closedir(dir);
  return states;
}

static const char *text_of(const cJSON *state, const char *name) {
  const char *text = cJSON_GetStringValue(json_member(state, name));
  return text == NULL ? "" : text;
}

int command_list(const struct oci *oci, int argc, char *argv[]) {
  static const struct option known[] = {
      {"format", required_argument, NULL, 'f'}, {"quiet", no_argument, NULL, 'q'}, {NULL, 0, NULL, 0}};
  bool json = false, quiet = false;
  int option, code = 0;
  while ((option = getopt_long(argc, argv, "+f:q", known, NULL)) != -1) {
    if (option == '?') return EXIT_NOT_DONE;
    if (option == 'q') quiet = true;
    if (option == 'f' && strcmp(optarg, "json") != 0 && strcmp(optarg, "table") != 0)
      return log_failure("--format: '%s' is not table or json", optarg);
    json = json || (option == 'f' && strcmp(optarg, "json") == 0);
  }
  cJSON *states = all_states(oci);
  const cJSON *state;
  if (json && !quiet) code = json_print(states, false);
  if (!json && !quiet) (void)printf("%-24s %-10s %-10s %-32s %s\n", "ID", "PID", "STATUS", "BUNDLE", "CREATED");
  cJSON_ArrayForEach(state, states) {
    if (quiet) (void)puts(text_of(state, "id"));
    if (quiet || json) continue;
    (void)printf("%-24s %-10d %-10s %-32s %s\n", text_of(state, "id"), json_member(state, "pid")->valueint,
                 text_of(state, "status"), text_of(state, "bundle"), text_of(state, "created"));
  }
  cJSON_Delete(states);
  return code;
}

static bool listed(const cJSON *pids, long wanted) {
  const cJSON *pid;
  cJSON_ArrayForEach(pid, pids) {
    if (pid->valueint == wanted) return true;
  }
  return false;
}

/* ps -ef, of which the lines of the container's processes are kept: the second column is the pid. */
static int print_table(const cJSON *pids) {
  char *line = NULL;
  size_t size = 0;
  bool first = true;
  FILE *ps = popen("ps -ef", "re");
  if (ps == NULL) return log_failure("ps: cannot be run");
  while (getline(&line, &size, ps) > 0) {
    long pid = 0;
    if (first || (sscanf(line, "%*s %ld", &pid) == 1 && listed(pids, pid))) (void)fputs(line, stdout);
    first = false;
  }
  free(line);
  return pclose(ps) == 0 ? 0 : log_failure("ps: failed");
}

int command_ps(const struct oci *oci, int argc, char *argv[]) {
  static const struct option known[] = {{"format", required_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};
  struct container container;
  struct cgroup_set set;
  const char *format = "table";
  int option;
  while ((option = getopt_long(argc, argv, "+f:", known, NULL)) != -1) {
    if (option != 'f') return EXIT_NOT_DONE;
    format = optarg;
  }
  bool json = strcmp(format, "json") == 0;
  if (!json && strcmp(format, "table") != 0) return log_failure("--format: '%s' is not table or json", format);
  const char *id = only_argument(argc, argv, "container ID (options of ps are not supported)");
  if (id == NULL || store_open(oci, id, &container) != 0) return EXIT_NOT_DONE;
  int code = groups_read(&container, &set) < 0 ? log_failure("ps: the cgroups are not known") : 0;
  cJSON *pids = code == 0 ? groups_pids(&set) : NULL;
  if (code == 0) code = json ? json_print(pids, false) : print_table(pids);
  cJSON_Delete(pids);
  store_close(&container);
  return code;
}

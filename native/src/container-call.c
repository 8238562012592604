#include "container-call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "monitor-pool.h"

static void close_if_open(int fd) {
  if (fd >= 0) close(fd);
}

int call_begin(struct call *call, const char *request_json, struct shoal_error *err) {
  memset(call, 0, sizeof *call);
  call->start_word = call->dir_fd = call->socket_fd = call->plan_fd = call->target_fd = call->result[0] =
      call->result[1] = -1;
  call->streams[0] = call->streams[1] = call->errors[0] = call->errors[1] = -1;
  if (request_json != NULL) call->request = cJSON_Parse(request_json);
  if (request_json != NULL && call->request == NULL) return REQUEST_FAIL(err, "not JSON");
  if (plan_builder_init(&call->builder) < 0) return shoal_fail(err, ENOMEM, "plan", "out of memory");
  call->layout = cgroup_layout_host();
  call->backend = cgroup_backend_for(call->layout);
  if (call->backend == NULL) return shoal_fail(err, ENOTSUP, "cgroup", "no cgroup hierarchy is mounted");
  return 0;
}

void call_end(struct call *call) {
  close_if_open(call->dir_fd);
  close_if_open(call->socket_fd);
  close_if_open(call->plan_fd);
  close_if_open(call->target_fd);
  close_if_open(call->result[0]);
  close_if_open(call->result[1]);
  for (size_t i = 0; i < 2; i++) {
    close_if_open(call->streams[i]);
    close_if_open(call->errors[i]);
  }
  plan_builder_free(&call->builder);
  cJSON_Delete(call->request);
}
void call_plan_cgroups(struct call *call) {
  uint32_t tasks[CGROUP_DIRS_MAX];
  size_t task_count = 0;
  char path[CGROUP_PATH_MAX + 64];
  uint32_t unified = 0, oom = 0;
  for (size_t i = 0; i < call->cgroups.count; i++) {
    if (strcmp(call->cgroups.dirs[i].controller, "unified") == 0) {
      unified = plan_add_string(&call->builder, call->cgroups.dirs[i].path);
      continue;
    }
    (void)snprintf(path, sizeof path, "%s/tasks", call->cgroups.dirs[i].path);
    tasks[task_count++] = plan_add_string(&call->builder, path);
  }
  const char *oom_dir = cgroup_set_find(&call->cgroups, call->backend->oom_controller);
  if (oom_dir != NULL) {
    (void)snprintf(path, sizeof path, "%s/%s", oom_dir, call->backend->oom_file);
    oom = plan_add_string(&call->builder, path);
  }
  struct plan_list list = plan_add_list(&call->builder, tasks, task_count, sizeof *tasks);
  struct plan *plan = plan_builder_head(&call->builder);
  plan->cgroup_tasks = list;
  plan->cgroup_v2 = unified;
  plan->oom_events = oom;
}

int call_flag(struct call *call, const char *name, uint32_t flag, uint32_t *flags, struct shoal_error *err) {
  bool value = false;
  int rc = json_bool(call->request, "request", name, &value, err);
  if (rc == 0 && value) *flags |= flag;
  return rc;
}

int call_launch(struct call *call, const char *mode, struct shoal_error *err) {
  const char *path;
  int rc = json_string(call->request, "request", "monitorPath", true, &path, err);
  if (rc < 0) return rc;
  bool create = strcmp(mode, "create") == 0;
  struct monitor_spawn request = {.path = path,
                                  .mode = mode,
                                  .plan_fd = call->plan_fd,
                                  .result_fd = call->result[1],
                                  .dir_fd = call->target_fd >= 0 ? call->target_fd : call->dir_fd,
                                  .socket_fd = call->streams[1] >= 0 ? call->streams[1] : call->socket_fd,
                                  .stderr_fd = create ? call->start_word : call->errors[1]};
  if (!create || !monitor_pool_use(&request)) rc = monitor_spawn(&request, err);
  close(call->result[1]);
  call->result[1] = -1;
  return rc;
}

#include <cjson/cJSON.h>

#include "check.h"
#include "monitor/state.c"

static void states_are_json(void) {
  char text[STATE_TEXT_MAX];
  struct container_state state = {.id = "ab12", .status = "stopped", .pid = 5, .created_at_ms = 1000};
  state.started_at_ms = 2000;
  state.finished_at_ms = 3000;
  state.exit_code = 137;
  state.signal = 9;
  state.oom_killed = true;
  (void)shoal_fail(&state.start_error, 2, "exec", "a \"quoted\" \\ name\n\xff%s", "");
  size_t size = state_format(&state, 4, text);
  CHECK_INT(size, strlen(text));
  CHECK_INT(text[size - 1], '\n');
  cJSON *json = cJSON_Parse(text);
  CHECK(json != NULL);
  CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(json, "status")), "stopped");
  CHECK_INT(cJSON_GetNumberValue(cJSON_GetObjectItem(json, "finishedAtMs")), 3000);
  CHECK_INT(cJSON_GetNumberValue(cJSON_GetObjectItem(json, "signal")), 9);
  CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(json, "startError")), "exec: a \"quoted\" \\ name\n\xc3\xbf");
  cJSON_Delete(json);
}

static void escaping_never_overruns(void) {
  char out[16], text[64];
  memset(text, '"', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  for (size_t size = 1; size <= sizeof out; size++) {
    memset(out, 'z', sizeof out);
    state_escape(text, out, size);
    CHECK(strlen(out) < size);
  }
}

static void the_largest_state_fits(void) {
  char text[STATE_TEXT_MAX], id[129];
  struct container_state state = {.id = id, .status = "stopped", .created_at_ms = INT64_MAX, .exit_code = 255};
  memset(id, 'x', sizeof id - 1);
  id[sizeof id - 1] = '\0';
  state.started_at_ms = state.finished_at_ms = INT64_MAX;
  state.log_dropped_bytes = UINT64_MAX;
  state.start_error.code = 1;
  memset(state.start_error.step, 's', sizeof state.start_error.step - 1);
  memset(state.start_error.detail, '\x01', sizeof state.start_error.detail - 1);
  CHECK(state_format(&state, 4, text) < sizeof text);
}

int main(void) {
  states_are_json();
  escaping_never_overruns();
  the_largest_state_fits();
  return 0;
}

/* Who answers for the system calls that a filter asks about (config-linux.md, "The Container Process State"): a socket
 * of the host gets the filter's descriptor with the container's state, once for each process that loads it. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "oci/oci.h"
#include "seccomp-filter.h"

#define RECORD "seccompListener"

static int move(cJSON *profile, const char *name, cJSON *to, struct shoal_error *err) {
  cJSON *value = cJSON_DetachItemFromObjectCaseSensitive(profile, name);
  if (value == NULL) return 0;
  bool text = cJSON_IsString(value);
  cJSON_AddItemToObject(to, name, value);
  return text ? 0 : shoal_fail(err, EINVAL, "config", "linux.seccomp.%s: not a string", name);
}

int listener_take(cJSON *profile, cJSON *record, struct shoal_error *err) {
  cJSON *listener = cJSON_AddObjectToObject(record, RECORD);
  int rc = move(profile, "listenerPath", listener, err);
  if (rc == 0) rc = move(profile, "listenerMetadata", listener, err);
  if (rc < 0) return rc;
  const char *path = cJSON_GetStringValue(json_member(listener, "listenerPath"));
  if (path == NULL && json_member(listener, "listenerMetadata") != NULL)
    return shoal_fail(err, EINVAL, "config", "linux.seccomp.listenerMetadata: without listenerPath");
  if (path == NULL && seccomp_notifies(profile))
    return shoal_fail(err, EINVAL, "config", "linux.seccomp: SCMP_ACT_NOTIFY needs listenerPath");
  if (path != NULL && path[0] != '/')
    return shoal_fail(err, EINVAL, "config", "linux.seccomp.listenerPath: '%s' is not absolute", path);
  /* Nothing asks it. */
  if (!seccomp_notifies(profile)) cJSON_DeleteItemFromObjectCaseSensitive(record, RECORD);
  return 0;
}

int listener_connect(const struct container *container, int *fd, struct shoal_error *err) {
  const cJSON *listener = json_member(container->record, RECORD);
  *fd = -1;
  if (listener == NULL) return 0;
  *fd = socket_connect(json_member(listener, "listenerPath")->valuestring, "linux.seccomp.listenerPath", err);
  return *fd < 0 ? *fd : 0;
}

static int send_all(int fd, char *text, int right, struct shoal_error *err) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control = {.bytes = {0}};
  struct iovec part = {.iov_base = text, .iov_len = strlen(text)};
  struct msghdr head = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  struct cmsghdr *rights = CMSG_FIRSTHDR(&head);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(rights), &right, sizeof right);
  while (part.iov_len > 0) {
    ssize_t n = sendmsg(fd, &head, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return shoal_fail(err, errno, "linux.seccomp.listenerPath", "send");
    part.iov_base = (char *)part.iov_base + n;
    part.iov_len -= (size_t)n;
    head.msg_control = NULL;
    head.msg_controllen = 0;
  }
  return 0;
}

int listener_send(const struct container *container, enum status status, pid_t pid, int fd, int right,
                  struct shoal_error *err) {
  const cJSON *metadata = json_member(json_member(container->record, RECORD), "listenerMetadata");
  if (fd < 0 || right < 0) return shoal_fail(err, EPROTO, "seccomp", "nobody to answer for the filter");
  cJSON *message = cJSON_CreateObject(), *fds = NULL;
  cJSON_AddStringToObject(message, "ociVersion", OCI_VERSION);
  fds = cJSON_AddArrayToObject(message, "fds");
  cJSON_AddItemToArray(fds, cJSON_CreateString("seccompFd"));
  cJSON_AddNumberToObject(message, "pid", pid);
  if (metadata != NULL) cJSON_AddItemToObject(message, "metadata", cJSON_Duplicate(metadata, true));
  cJSON_AddItemToObject(message, "state", store_state(container, status));
  char *text = cJSON_PrintUnformatted(message);
  int rc = text == NULL ? shoal_fail(err, ENOMEM, "seccomp", "out of memory") : send_all(fd, text, right, err);
  cJSON_free(text);
  cJSON_Delete(message);
  return rc;
}

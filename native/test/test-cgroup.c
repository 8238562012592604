#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cgroup.h"
#include "check.h"

static const char *const hybrid =
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "36 31 0:33 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n"
    "39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

static void layouts_are_recognised(void) {
  struct cgroup_layout layout;
  cgroup_layout_parse(hybrid, &layout);
  CHECK_STR(layout.v2, "/sys/fs/cgroup/unified");
  CHECK_INT(layout.v1_count, 5);
  CHECK(cgroup_backend_for(&layout) == &cgroup_v1);
  cgroup_layout_parse("30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n", &layout);
  CHECK(cgroup_backend_for(&layout) == &cgroup_v2);
  cgroup_layout_parse("", &layout);
  CHECK(cgroup_backend_for(&layout) == NULL);
}

static void directories_are_named(void) {
  struct cgroup_layout layout;
  struct cgroup_limits limits = {.cpus = NULL};
  struct cgroup_set set;
  struct shoal_error err = {0};
  cgroup_layout_parse(hybrid, &layout);
  CHECK_INT(cgroup_v1.plan(&layout, "/a/b", &limits, &set, &err), 0);
  CHECK_STR(cgroup_set_find(&set, "memory"), "/sys/fs/cgroup/memory/a/b");
  CHECK_STR(cgroup_set_find(&set, "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct/a/b");
  CHECK_STR(cgroup_set_find(&set, "unified"), "/sys/fs/cgroup/unified/a/b");
  CHECK(cgroup_set_find(&set, "freezer") == NULL);
  limits.cpus = "0";
  CHECK_INT(cgroup_v1.plan(&layout, "/a/b", &limits, &set, &err), -ENOTSUP);
  CHECK_STR(err.detail, "controller 'cpuset' is not mounted");
  CHECK_INT(cgroup_v2.plan(&layout, "/a", &limits, &set, &err), 0);
  CHECK_INT(set.count, 1);
}

static void paths_are_checked(void) {
  CHECK(cgroup_path_valid("/shoal/n1/0123"));
  CHECK(!cgroup_path_valid("/"));
  CHECK(!cgroup_path_valid(""));
  CHECK(!cgroup_path_valid("relative"));
  CHECK(!cgroup_path_valid("/a/../b"));
  CHECK(!cgroup_path_valid("/a/./b"));
  CHECK(!cgroup_path_valid("/a//b"));
  CHECK(!cgroup_path_valid("/a/"));
  CHECK(!cgroup_path_valid("/a\n/b"));
  CHECK(cgroup_path_valid("/a..b/.c"));
}

static int parse(const char *resources, const char *devices, struct cgroup_limits *limits, struct shoal_error *err) {
  cJSON *json = cJSON_Parse(resources);
  cJSON *list = devices == NULL ? NULL : cJSON_Parse(devices);
  CHECK(json != NULL);
  int rc = cgroup_limits_parse(json, list, limits, err);
  cJSON_Delete(json);
  cJSON_Delete(list);
  return rc;
}

static void limits_are_read(void) {
  struct cgroup_limits limits;
  struct shoal_error err = {0};
  CHECK_INT(parse("{\"memory\":{\"limit\":1048576,\"swap\":-1},\"cpu\":{\"quota\":50000,\"shares\":512},\"pids\":{"
                  "\"limit\":7}}",
                  NULL, &limits, &err),
            0);
  CHECK_INT(limits.memory_bytes, 1048576);
  CHECK_INT(limits.swap_bytes, -1);
  CHECK(limits.has_quota && !limits.has_period && limits.has_pids);
  CHECK_INT(limits.cpu_quota_us, 50000);
  CHECK_INT(limits.pids, 7);
  CHECK_INT(parse("{\"memory\":{\"limit\":10,\"swap\":5}}", NULL, &limits, &err), -EINVAL);
  CHECK_INT(parse("{\"memory\":{\"limit\":1.5}}", NULL, &limits, &err), -EINVAL);
  CHECK_INT(parse("{\"memory\":{\"kernel\":10}}", NULL, &limits, &err), -ENOTSUP);
  CHECK_STR(err.detail, "linux.resources.memory.kernel is not supported");
  CHECK_INT(parse("{\"network\":{\"classID\":1}}", NULL, &limits, &err), -ENOTSUP);
  CHECK_INT(parse("{\"cpu\":{\"idle\":2}}", NULL, &limits, &err), -ERANGE);
  CHECK_INT(parse("{\"cpu\":{\"burst\":-1}}", NULL, &limits, &err), -ERANGE);
  CHECK_INT(parse("{\"memory\":{\"swappiness\":101}}", NULL, &limits, &err), -ERANGE);
}

static void devices_are_denied_first(void) {
  struct cgroup_limits limits;
  struct shoal_error err = {0};
  CHECK_INT(parse("{\"devices\":[{\"allow\":false,\"access\":\"rwm\"},"
                  "{\"allow\":true,\"type\":\"c\",\"major\":10,\"minor\":229,\"access\":\"rw\"}]}",
                  "[{\"path\":\"/dev/x\",\"type\":\"b\",\"major\":7,\"minor\":0}]", &limits, &err),
            0);
  CHECK(!limits.devices[0].allow && limits.devices[0].type == 'a');
  const struct cgroup_device_rule *last = &limits.devices[limits.device_count - 1];
  CHECK(last->allow && last->type == 'c' && last->major == 10 && last->minor == 229);
  CHECK_STR(last->access, "rw");
  CHECK(last[-1].type == 'b' && last[-1].major == 7);
  for (size_t i = 1; i < limits.device_count; i++)
    CHECK(limits.devices[i].allow);
  CHECK_INT(parse("{\"devices\":[{\"allow\":true,\"access\":\"rwm\"}]}",
                  "[{\"path\":\"/dev/x\",\"type\":\"c\",\"major\":77,\"minor\":1}]", &limits, &err),
            0);
  last = &limits.devices[limits.device_count - 1];
  CHECK(last->allow && last->type == 'a');
  for (size_t i = 0; i < limits.device_count; i++)
    CHECK(limits.devices[i].major != 77);
  CHECK_INT(parse("{\"devices\":[{\"allow\":true,\"type\":\"q\"}]}", NULL, &limits, &err), -EINVAL);
  CHECK_INT(parse("{\"devices\":[{\"allow\":true,\"type\":\"c\",\"access\":\"rx\"}]}", NULL, &limits, &err), -EINVAL);
}

static void write_nothing(const char *dir, const char *name) {
  char path[128];
  (void)snprintf(path, sizeof path, "%s/%s", dir, name);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  close(fd);
}

/* What is in the file; then it is gone. */
static const char *take(const char *dir, const char *name) {
  static char text[128];
  char path[128];
  (void)snprintf(path, sizeof path, "%s/%s", dir, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  CHECK(n >= 0);
  close(fd);
  CHECK_INT(unlink(path), 0);
  text[n] = '\0';
  return text;
}

static void block_devices_are_written(void) {
  static struct cgroup_limits limits;
  struct shoal_error err;
  char dir[] = "/tmp/shoal-cgroup-XXXXXX";
  CHECK(mkdtemp(dir) != NULL);
  const char *weights = "{\"blockIO\":{\"weight\":505,\"weightDevice\":[]}}";
  const char *one = "{\"blockIO\":{\"weight\":0,\"weightDevice\":[{\"major\":8,\"minor\":1,\"weight\":1000}]}}";
  const char *rates = "{\"blockIO\":{\"throttleWriteIOPSDevice\":[{\"major\":8,\"minor\":0,\"rate\":7}]}}";
  const char *none = "{\"blockIO\":{\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":0}]}}";
  CHECK_INT(parse(weights, NULL, &limits, &err), 0);
  CHECK_INT(cgroup_blkio_apply_v2(dir, &limits, &err), -ENOTSUP);
  CHECK(strstr(err.detail, "the kernel has no io.weight") != NULL);
  write_nothing(dir, "io.bfq.weight");
  CHECK_INT(cgroup_blkio_apply_v2(dir, &limits, &err), 0);
  CHECK_STR(take(dir, "io.bfq.weight"), "505");
  write_nothing(dir, "io.weight");
  CHECK_INT(cgroup_blkio_apply_v2(dir, &limits, &err), 0);
  CHECK_STR(take(dir, "io.weight"), "5000");
  write_nothing(dir, "blkio.bfq.weight");
  CHECK_INT(cgroup_blkio_apply_v1(dir, &limits, &err), 0);
  CHECK_STR(take(dir, "blkio.bfq.weight"), "505");
  CHECK_INT(cgroup_blkio_apply_v1(NULL, &limits, &err), -ENOTSUP);
  CHECK_INT(parse(one, NULL, &limits, &err), 0);
  write_nothing(dir, "io.weight");
  CHECK_INT(cgroup_blkio_apply_v2(dir, &limits, &err), 0);
  CHECK_STR(take(dir, "io.weight"), "8:1 10000");
  CHECK_INT(parse(rates, NULL, &limits, &err), 0);
  write_nothing(dir, "io.max");
  CHECK_INT(cgroup_blkio_apply_v2(dir, &limits, &err), 0);
  CHECK_STR(take(dir, "io.max"), "8:0 wiops=7");
  write_nothing(dir, "blkio.throttle.write_iops_device");
  CHECK_INT(cgroup_blkio_apply_v1(dir, &limits, &err), 0);
  CHECK_STR(take(dir, "blkio.throttle.write_iops_device"), "8:0 7");
  CHECK_INT(parse(none, NULL, &limits, &err), 0);
  write_nothing(dir, "io.max");
  CHECK_INT(cgroup_blkio_apply_v2(dir, &limits, &err), 0);
  CHECK_STR(take(dir, "io.max"), "8:0 rbps=max");
  CHECK_INT(rmdir(dir), 0);
}

static void named_limits_are_written(void) {
  static struct cgroup_limits limits;
  struct cgroup_set set = {.count = 1, .dirs = {{.controller = "hugetlb"}}};
  struct shoal_error err;
  char dir[] = "/tmp/shoal-cgroup-XXXXXX";
  CHECK(mkdtemp(dir) != NULL);
  (void)snprintf(set.dirs[0].path, sizeof set.dirs[0].path, "%s", dir);
  cJSON *json = cJSON_Parse("{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":4194304}],"
                            "\"rdma\":{\"mlx5_1\":{\"hcaHandles\":3,\"hcaObjects\":100}},"
                            "\"unified\":{\"memory.high\":\"1000\"}}");
  CHECK_INT(cgroup_limits_parse(json, NULL, &limits, &err), 0);
  write_nothing(dir, "hugetlb.2MB.max");
  write_nothing(dir, "rdma.max");
  CHECK_INT(cgroup_named_apply_v2(dir, &limits, &err), -ENOENT);
  CHECK(strstr(err.detail, "memory.high") != NULL);
  write_nothing(dir, "memory.high");
  write_nothing(dir, "hugetlb.2MB.rsvd.max");
  CHECK_INT(cgroup_named_apply_v2(dir, &limits, &err), 0);
  CHECK_STR(take(dir, "hugetlb.2MB.max"), "4194304");
  CHECK_STR(take(dir, "hugetlb.2MB.rsvd.max"), "4194304");
  CHECK_STR(take(dir, "rdma.max"), "mlx5_1 hca_handle=3 hca_object=100");
  CHECK_STR(take(dir, "memory.high"), "1000");
  write_nothing(dir, "hugetlb.2MB.limit_in_bytes");
  CHECK_INT(cgroup_named_apply_v1(&set, &limits, &err), -ENOTSUP);
  CHECK_STR(err.detail, "rdma: the container was made without it");
  CHECK_STR(take(dir, "hugetlb.2MB.limit_in_bytes"), "4194304");
  cJSON_Delete(json);
  CHECK_INT(rmdir(dir), 0);
}

static void named_limits_are_checked(void) {
  static const char *const wrong[] = {"{\"hugepageLimits\":[{}]}",
                                      "{\"hugepageLimits\":[{\"pageSize\":\"2MB\"}]}",
                                      "{\"hugepageLimits\":[{\"pageSize\":\"../2MB\",\"limit\":1}]}",
                                      "{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":-1}]}",
                                      "{\"hugepageLimits\":{\"a\":1}}",
                                      "{\"rdma\":{\"a\":{}}}",
                                      "{\"rdma\":{\"a b\":{\"hcaHandles\":1}}}",
                                      "{\"rdma\":[1]}",
                                      "{\"unified\":{\"cgroup.procs\":\"1\"}}",
                                      "{\"unified\":{\"cgroup.subtree_control\":\"+memory\"}}",
                                      "{\"unified\":{\"a/memory.max\":\"1\"}}",
                                      "{\"unified\":{\"..\":\"1\"}}",
                                      "{\"unified\":{\"memory\":\"1\"}}",
                                      "{\"unified\":{\"memory.max\":1}}",
                                      "{\"unified\":[\"memory.max\"]}"};
  static struct cgroup_limits limits;
  struct shoal_error err;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    CHECK_INT(parse(wrong[i], NULL, &limits, &err), -EINVAL);
  CHECK_INT(
      parse("{\"unified\":{\"cgroup.max.descendants\":\"1\"},\"hugepageLimits\":[],\"rdma\":{}}", NULL, &limits, &err),
      0);
  CHECK_INT(limits.named_count, 1);
}

int main(void) {
  layouts_are_recognised();
  directories_are_named();
  paths_are_checked();
  limits_are_read();
  devices_are_denied_first();
  block_devices_are_written();
  named_limits_are_written();
  named_limits_are_checked();
  return 0;
}

/* Limits of what containers write, on file systems that have project quotas (/limited, an ext4, and /limited-xfs) and
 * on those that have none. For the virtual machine of test/vm. vm-disk-limit limits           how many projects of
 * /limited have one vm-disk-limit MONITOR [DIR]    prints a line of TAP for each test; each runs in a process of its
 * own */
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "box.h"

#define MIB (1024u * 1024u)
#define FILLS "dd if=/dev/zero of=/big bs=1M count=12; echo ended with $?"

/* Which one, and what it says of a write beyond a limit: xfs takes a project for a disk of its own. */
static const char *limited = "/limited", *refusal = "uota exceeded";

static uint32_t project_of(const char *path) {
  struct fsxattr attributes;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  CHECK_INT(ioctl(fd, FS_IOC_FSGETXATTR, &attributes), 0);
  close(fd);
  return attributes.fsx_projid;
}

/* xfs has none of a project that was never limited, or has come to nothing. */
static struct if_dqblk quota_of(uint32_t project) {
  struct if_dqblk quota = {.dqb_valid = 0};
  int fd = open(limited, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  long rc = syscall(SYS_quotactl_fd, fd, QCMD((unsigned int)Q_GETQUOTA, PRJQUOTA), project, &quota);
  CHECK(rc == 0 || errno == ENOENT);
  close(fd);
  return quota;
}

static uint32_t project_of_box(const struct box *box) {
  char path[96];
  (void)snprintf(path, sizeof path, "%s/upper", box->work);
  return project_of(path);
}

static void erase(const struct box *box) {
  char path[96], command[128];
  (void)snprintf(path, sizeof path, "%s/upper", box->work);
  CHECK_INT(shoal_disk_limit_clear(path, &err), 0);
  (void)snprintf(command, sizeof command, "rm -rf %s", box->work);
  CHECK_INT(system(command), 0);
}

static void run_limited(struct box *box, uint64_t bytes, const char *script) {
  char state[TEXT_MAX];
  work_root = limited;
  disk_bytes = bytes;
  create(box, "{}", script);
  start(box);
  finish(box, state);
}

static void what_can_be_limited_is_told_from_what_can_not(void) {
  CHECK_INT(shoal_disk_limit_check(limited, &err), 0);
  CHECK_INT(shoal_disk_limit_check("/run", &err), -ENOTSUP);
  CHECK_STR(err.detail, "the file system is tmpfs: ext4 or xfs, mounted with prjquota, can do it");
  CHECK_INT(shoal_disk_limit_check("/tmp", &err), -ENOTSUP);
  CHECK_STR(err.detail, "the file system is ext4, not mounted with prjquota (tune2fs -O project,quota first)");
  CHECK_INT(mkdir("/tmp/unlimited", 0700), 0);
  CHECK_INT(shoal_disk_limit_set("/tmp/unlimited", NULL, MIB, &err), -ENOTSUP);
  CHECK_INT(shoal_disk_limit_clear("/tmp/unlimited", &err), 0);
  CHECK_INT(shoal_disk_limit_clear("/tmp/nothing", &err), 0);
  CHECK_INT(rmdir("/tmp/unlimited"), 0);
}

static void a_container_writes_up_to_its_limit_and_no_other_is_touched(void) {
  struct box small = {.pid = -1}, large = {.pid = -1}, free_box = {.pid = -1};
  run_limited(&small, 8 * MIB, FILLS "; df -k / | tail -n 1; rm /big; echo again > /small && cat /small");
  CHECK_LOG(&small, refusal);
  CHECK_LOG(&small, "stdout F ended with 1\n");
  CHECK_LOG(&small, " 8192 "); /* the size that it sees */
  CHECK_LOG(&small, "stdout F again\n");
  run_limited(&large, 16 * MIB, FILLS);
  CHECK_LOG(&large, "stdout F ended with 0\n");
  run_limited(&free_box, 0, FILLS);
  CHECK_LOG(&free_box, "stdout F ended with 0\n");
  CHECK(project_of_box(&small) != project_of_box(&large));
  CHECK_INT(project_of_box(&free_box), 0);
  struct box *all[] = {&small, &large, &free_box};
  for (size_t i = 0; i < 3; i++) {
    discard(all[i]);
    erase(all[i]);
  }
}

/* As when a container is started anew, be it by another agent. */
static void a_limit_stays_and_can_be_changed(void) {
  struct box box = {.pid = -1};
  char upper[96], work[96];
  run_limited(&box, 4 * MIB, "dd if=/dev/zero of=/first bs=1M count=3; echo ended with $?");
  CHECK_LOG(&box, "stdout F ended with 0\n");
  (void)snprintf(upper, sizeof upper, "%s/upper", box.work);
  (void)snprintf(work, sizeof work, "%s/work", box.work);
  uint32_t project = project_of(upper);
  CHECK(project >= 0x40000000u);
  CHECK_INT(project_of(work), project);
  CHECK_INT(shoal_disk_limit_set(upper, work, 4 * MIB, &err), 0);
  CHECK_INT(project_of(upper), project);
  CHECK_INT(quota_of(project).dqb_bhardlimit, 4096);
  CHECK(quota_of(project).dqb_curspace >= 3 * MIB);
  CHECK_INT(shoal_disk_limit_set(upper, work, 6 * MIB, &err), 0);
  CHECK_INT(project_of(upper), project);
  CHECK_INT(quota_of(project).dqb_bhardlimit, 6144);
  discard(&box);
  erase(&box);
}

/* Programs that move files between projects, with their libraries. */
static void add_tools(void) {
  CHECK_INT(system("cp /usr/bin/chattr /usr/bin/lsattr /tmp/layer/bin/ && cd /tmp/layer && mkdir -p lib64 "
                   "lib/x86_64-linux-gnu && cp /lib64/ld-linux-x86-64.so.2 lib64/ && cd /lib/x86_64-linux-gnu && "
                   "cp libe2p.so.2 libcom_err.so.2 libc.so.6 /tmp/layer/lib/x86_64-linux-gnu/"),
            0);
}

/* Without the filter root may: what keeps files in their project is the filter alone. */
static void files_are_not_taken_out_of_the_limit(void) {
  static const char script[] = "mkdir /d; : > /f; chattr -p 7 /f; echo project $?; chattr -P /d; echo inherits $?; "
                               "lsattr -d / > /dev/null; echo reads $?";
  struct box open_box = {.pid = -1}, box = {.pid = -1};
  add_tools();
  run_limited(&open_box, 8 * MIB, script);
  CHECK_LOG(&open_box, "stdout F project 0\n");
  seccomp_text = "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"keepsProjects\":true}";
  run_limited(&box, 8 * MIB, script);
  CHECK_LOG(&box, "stdout F project 1\n");
  CHECK_LOG(&box, "Operation not permitted");
  CHECK_LOG(&box, "stdout F inherits 1\n");
  CHECK_LOG(&box, "stdout F reads 0\n");
  discard(&open_box);
  discard(&box);
  erase(&open_box);
  erase(&box);
}

static void a_removed_container_leaves_no_limit(void) {
  struct box box = {.pid = -1};
  run_limited(&box, 8 * MIB, "dd if=/dev/zero of=/big bs=1M count=2");
  uint32_t project = project_of_box(&box);
  CHECK_INT(quota_of(project).dqb_bhardlimit, 8192);
  discard(&box);
  erase(&box);
  CHECK_INT(quota_of(project).dqb_bhardlimit, 0);
  UNTIL(quota_of(project).dqb_curspace == 0); /* what held its files ends after it */
}

static const struct box_test tests[] = {
    BOX_TEST(what_can_be_limited_is_told_from_what_can_not),
    BOX_TEST(a_container_writes_up_to_its_limit_and_no_other_is_touched),
    BOX_TEST(a_limit_stays_and_can_be_changed),
    BOX_TEST(files_are_not_taken_out_of_the_limit),
    BOX_TEST(a_removed_container_leaves_no_limit),
};

/* Prints how many projects of /limited have a limit. */
static int count_limits(void) {
  struct if_nextdqblk quota = {.dqb_id = 0};
  int count = 0, fd = open(limited, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  for (uint32_t from = 0; syscall(SYS_quotactl_fd, fd, QCMD((unsigned int)Q_GETNEXTQUOTA, PRJQUOTA), from, &quota) == 0;
       from = quota.dqb_id + 1)
    if (quota.dqb_bhardlimit > 0) count++;
  CHECK(errno == ENOENT || errno == ESRCH);
  close(fd);
  (void)printf("%d\n", count);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "limits") == 0) return count_limits();
  if (argc == 3 && strcmp(argv[2], "/limited-xfs") == 0) {
    limited = argv[--argc];
    refusal = "No space left on device";
    test_suffix = ", on xfs";
  }
  return run_tests(argc, argv, tests, sizeof tests / sizeof tests[0]);
}

/**
 * PURE. The default seccomp profile, an OCI linux.seccomp object: what is not listed fails with EPERM. It lets through
 * what programs in a container use and the kernel guards well; it keeps out what reaches beyond the container (mounts,
 * modules, keys, clocks, tracing of the kernel, new namespaces) even when a capability would allow it. The set follows
 * Docker's documented default profile (https://docs.docker.com/engine/security/seccomp/).
 */
import type { OciSeccomp } from '../native/oci.ts';

const CLONE_NEW_ANY = 0x7e020000; // NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET | NEWNS
const ENOSYS = 38;
const AF_ALG = 38;
const AF_VSOCK = 40;

const FILES = [
  ...[
    'access',
    'chdir',
    'chmod',
    'chown',
    'chown32',
    'close',
    'close_range',
    'copy_file_range',
    'creat',
    'dup',
  ],
  ...[
    'dup2',
    'dup3',
    'faccessat',
    'faccessat2',
    'fadvise64',
    'fadvise64_64',
    'fallocate',
    'fchdir',
    'fchmod',
  ],
  ...[
    'fchmodat',
    'fchmodat2',
    'fchown',
    'fchown32',
    'fchownat',
    'fcntl',
    'fcntl64',
    'fdatasync',
    'fgetxattr',
  ],
  ...[
    'flistxattr',
    'flock',
    'fremovexattr',
    'fsetxattr',
    'fstat',
    'fstat64',
    'fstatat64',
    'fstatfs',
    'fstatfs64',
  ],
  ...['fsync', 'ftruncate', 'ftruncate64', 'futimesat', 'getcwd', 'getdents', 'getdents64', 'getxattr'],
  ...['getxattrat', 'ioctl', 'lchown', 'lchown32', 'lgetxattr', 'link', 'linkat', 'listxattr', 'listxattrat'],
  ...['llistxattr', '_llseek', 'lremovexattr', 'lseek', 'lsetxattr', 'lstat', 'lstat64', 'mkdir', 'mkdirat'],
  ...[
    'mknod',
    'mknodat',
    'name_to_handle_at',
    'newfstatat',
    'open',
    'openat',
    'openat2',
    'pread64',
    'preadv',
  ],
  ...['preadv2', 'pwrite64', 'pwritev', 'pwritev2', 'read', 'readahead', 'readlink', 'readlinkat', 'readv'],
  ...['removexattr', 'removexattrat', 'rename', 'renameat', 'renameat2', 'rmdir', 'sendfile', 'sendfile64'],
  ...[
    'setxattr',
    'setxattrat',
    'splice',
    'stat',
    'stat64',
    'statfs',
    'statfs64',
    'statx',
    'symlink',
    'symlinkat',
  ],
  ...[
    'sync',
    'sync_file_range',
    'syncfs',
    'tee',
    'truncate',
    'truncate64',
    'umask',
    'unlink',
    'unlinkat',
    'utime',
  ],
  ...['utimensat', 'utimensat_time64', 'utimes', 'vmsplice', 'write', 'writev'],
];

const MEMORY = [
  ...['brk', 'cachestat', 'madvise', 'map_shadow_stack', 'membarrier', 'memfd_create'],
  ...[
    'memfd_secret',
    'mincore',
    'mlock',
    'mlock2',
    'mlockall',
    'mmap',
    'mmap2',
    'mprotect',
    'mremap',
    'mseal',
  ],
  ...[
    'msync',
    'munlock',
    'munlockall',
    'munmap',
    'pkey_alloc',
    'pkey_free',
    'pkey_mprotect',
    'process_mrelease',
  ],
  ...['remap_file_pages', 'shmat', 'shmctl', 'shmdt', 'shmget'],
];

const PROCESSES = [
  ...[
    'arch_prctl',
    'capget',
    'capset',
    'execve',
    'execveat',
    'exit',
    'exit_group',
    'fork',
    'futex',
    'futex_requeue',
  ],
  ...[
    'futex_time64',
    'futex_wait',
    'futex_waitv',
    'futex_wake',
    'get_robust_list',
    'get_thread_area',
    'getcpu',
  ],
  ...[
    'getegid',
    'getegid32',
    'geteuid',
    'geteuid32',
    'getgid',
    'getgid32',
    'getgroups',
    'getgroups32',
    'getpgid',
  ],
  ...['getpgrp', 'getpid', 'getppid', 'getpriority', 'getresgid', 'getresgid32', 'getresuid', 'getresuid32'],
  ...['getrlimit', 'getrusage', 'getsid', 'gettid', 'getuid', 'getuid32', 'ioprio_get', 'ioprio_set', 'kill'],
  ...['landlock_add_rule', 'landlock_create_ruleset', 'landlock_restrict_self', 'pause', 'pidfd_getfd'],
  ...['pidfd_open', 'pidfd_send_signal', 'prctl', 'prlimit64', 'restart_syscall', 'rseq', 'rt_sigaction'],
  ...[
    'rt_sigpending',
    'rt_sigprocmask',
    'rt_sigqueueinfo',
    'rt_sigreturn',
    'rt_sigsuspend',
    'rt_sigtimedwait',
  ],
  ...['rt_sigtimedwait_time64', 'rt_tgsigqueueinfo', 'sched_get_priority_max', 'sched_get_priority_min'],
  ...['sched_getaffinity', 'sched_getattr', 'sched_getparam', 'sched_getscheduler', 'sched_rr_get_interval'],
  ...['sched_rr_get_interval_time64', 'sched_setaffinity', 'sched_setattr', 'sched_setparam'],
  ...[
    'sched_setscheduler',
    'sched_yield',
    'seccomp',
    'set_robust_list',
    'set_thread_area',
    'set_tid_address',
  ],
  ...['setfsgid', 'setfsgid32', 'setfsuid', 'setfsuid32', 'setgid', 'setgid32', 'setgroups', 'setgroups32'],
  ...[
    'setpgid',
    'setpriority',
    'setregid',
    'setregid32',
    'setresgid',
    'setresgid32',
    'setresuid',
    'setresuid32',
  ],
  ...['setreuid', 'setreuid32', 'setrlimit', 'setsid', 'setuid', 'setuid32', 'sigaltstack', 'signalfd'],
  ...['signalfd4', 'sigprocmask', 'sigreturn', 'sysinfo', 'tgkill', 'times', 'tkill', 'ugetrlimit', 'uname'],
  ...['vfork', 'wait4', 'waitid', 'waitpid', 'chroot', 'ptrace', 'process_vm_readv', 'process_vm_writev'],
];

const EVENTS_AND_TIME = [
  ...['adjtimex', 'alarm', 'clock_adjtime', 'clock_getres', 'clock_getres_time64', 'clock_gettime'],
  ...['clock_gettime64', 'clock_nanosleep', 'clock_nanosleep_time64', 'epoll_create', 'epoll_create1'],
  ...['epoll_ctl', 'epoll_ctl_old', 'epoll_pwait', 'epoll_pwait2', 'epoll_wait', 'epoll_wait_old', 'eventfd'],
  ...[
    'eventfd2',
    'fanotify_mark',
    'getitimer',
    'getrandom',
    'gettimeofday',
    'inotify_add_watch',
    'inotify_init',
  ],
  ...['inotify_init1', 'inotify_rm_watch', 'io_cancel', 'io_destroy', 'io_getevents', 'io_pgetevents'],
  ...[
    'io_pgetevents_time64',
    'io_setup',
    'io_submit',
    '_newselect',
    'nanosleep',
    'poll',
    'ppoll',
    'ppoll_time64',
  ],
  ...['pselect6', 'pselect6_time64', 'select', 'setitimer', 'time', 'timer_create', 'timer_delete'],
  ...['timer_getoverrun', 'timer_gettime', 'timer_gettime64', 'timer_settime', 'timer_settime64'],
  ...['timerfd_create', 'timerfd_gettime', 'timerfd_gettime64', 'timerfd_settime', 'timerfd_settime64'],
];

const MESSAGES = [
  ...['accept', 'accept4', 'bind', 'connect', 'getpeername', 'getsockname', 'getsockopt', 'ipc', 'listen'],
  ...['mq_getsetattr', 'mq_notify', 'mq_open', 'mq_timedreceive', 'mq_timedreceive_time64', 'mq_timedsend'],
  ...['mq_timedsend_time64', 'mq_unlink', 'msgctl', 'msgget', 'msgrcv', 'msgsnd', 'pipe', 'pipe2', 'recv'],
  ...['recvfrom', 'recvmmsg', 'recvmmsg_time64', 'recvmsg', 'semctl', 'semget', 'semop', 'semtimedop'],
  ...['semtimedop_time64', 'send', 'sendmmsg', 'sendmsg', 'sendto', 'setsockopt', 'shutdown', 'socketcall'],
  'socketpair',
];

/** personality(2): only asking, Linux, Linux with 32-bit addresses, and the two without address randomisation. */
const PERSONALITIES = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff];

export const DEFAULT_SECCOMP: OciSeccomp = {
  defaultAction: 'SCMP_ACT_ERRNO',
  defaultErrnoRet: 1,
  architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
  syscalls: [
    {
      names: [...FILES, ...MEMORY, ...PROCESSES, ...EVENTS_AND_TIME, ...MESSAGES],
      action: 'SCMP_ACT_ALLOW',
    },
    {
      names: ['clone'],
      action: 'SCMP_ACT_ALLOW',
      args: [{ index: 0, value: CLONE_NEW_ANY, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
    },
    // Its flags are in memory, which a filter cannot see; libcs fall back to clone on ENOSYS.
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
    // The kernel's crypto interface and the hypervisor's socket reach beyond the network namespace.
    {
      names: ['socket'],
      action: 'SCMP_ACT_ALLOW',
      args: [{ index: 0, value: AF_ALG, op: 'SCMP_CMP_LT' }],
    },
    {
      names: ['socket'],
      action: 'SCMP_ACT_ALLOW',
      args: [{ index: 0, value: AF_ALG + 1, op: 'SCMP_CMP_EQ' }],
    },
    {
      names: ['socket'],
      action: 'SCMP_ACT_ALLOW',
      args: [{ index: 0, value: AF_VSOCK, op: 'SCMP_CMP_GT' }],
    },
    ...PERSONALITIES.map((value) => ({
      names: ['personality'],
      action: 'SCMP_ACT_ALLOW',
      args: [{ index: 0, value, op: 'SCMP_CMP_EQ' }],
    })),
  ],
};

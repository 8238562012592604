/** Every field of POST /containers/create in API 1.47, with a value that asks for something, and what is to be said of it. */

export interface OptionSample {
  readonly field: string;
  /** Of docker run. */
  readonly flag?: string;
  readonly sample: unknown;
  /** What the table says besides, or in place of a message. */
  readonly note?: string;
  /** It is accepted, and asks for what is so anyway. */
  readonly isSo?: true;
  /** What else of HostConfig it is said with. */
  readonly with?: Readonly<Record<string, unknown>>;
}

const option = (field: string, flag: string, sample: unknown, note?: string, isSo?: true): OptionSample => ({
  field,
  flag,
  sample,
  ...(note === undefined ? {} : { note }),
  ...(isSo === undefined ? {} : { isSo }),
});

export const CONFIG_OPTIONS: readonly OptionSample[] = [
  option('Hostname', '--hostname', 'h'),
  option('Domainname', '--domainname', 'd'),
  option('User', '--user', '1000:1000', 'a name is looked up in the image'),
  option('AttachStdin', '--attach', true, 'the client’s own affair', true),
  option('AttachStdout', '--attach', true, 'the client’s own affair', true),
  option('AttachStderr', '--attach', true, 'the client’s own affair', true),
  option('ExposedPorts', '--expose', { '80/tcp': {} }, 'published with `-P`'),
  option('Tty', '--tty', true),
  option('OpenStdin', '--interactive', true),
  option('StdinOnce', '', true),
  option('Env', '--env', ['A=b'], 'a name without a value takes the image’s away'),
  option('Cmd', '', ['sh']),
  option('Healthcheck', '--health-cmd, ...', { Test: ['CMD', 'true'] }),
  option('ArgsEscaped', '', true, 'of Windows'),
  option('Image', '', 'b'),
  option('Volumes', '--volume', { '/v': {} }),
  option('WorkingDir', '--workdir', '/w', 'made if it is missing'),
  option('Entrypoint', '--entrypoint', ['sh']),
  option('NetworkDisabled', '', true),
  option(
    'MacAddress',
    '--mac-address',
    '02:42:ac:11:00:02',
    'of its device on its first network, or on `bridge`; shown while it runs',
  ),
  option('OnBuild', '', ['RUN true'], 'of builds', true),
  option('Labels', '--label', { a: 'b' }),
  option('StopSignal', '--stop-signal', 'SIGINT'),
  option('StopTimeout', '--stop-timeout', 3),
  option('Shell', '', ['sh'], 'of builds', true),
  option(
    'NetworkingConfig',
    '--network-alias, --ip',
    { EndpointsConfig: { net: { Aliases: ['x'] } } },
    'aliases, an IPv4 address, links, MAC addresses; `DriverOpts` and other addresses are refused',
  ),
];

const DEVICE_RATE = [{ Path: '/dev/sda', Rate: 1000 }];

export const HOST_OPTIONS: readonly OptionSample[] = [
  option('CpuShares', '--cpu-shares', 512, '`docker update` changes it'),
  option('Memory', '--memory', 64 * 1024 * 1024, 'at least 4 MiB; `docker update` changes it'),
  option('CgroupParent', '--cgroup-parent', '/x', 'containers are in their agent’s group'),
  option('BlkioWeight', '--blkio-weight', 300, '10 to 1000, where the node’s kernel has weights'),
  option('BlkioWeightDevice', '--blkio-weight-device', [{ Path: '/dev/sda', Weight: 300 }]),
  option('BlkioDeviceReadBps', '--device-read-bps', DEVICE_RATE),
  option('BlkioDeviceWriteBps', '--device-write-bps', DEVICE_RATE),
  option('BlkioDeviceReadIOps', '--device-read-iops', DEVICE_RATE),
  option('BlkioDeviceWriteIOps', '--device-write-iops', DEVICE_RATE),
  option('CpuPeriod', '--cpu-period', 50_000, 'with `CpuQuota`: as a number of processors'),
  option('CpuQuota', '--cpu-quota', 50_000, '`docker update` changes it'),
  option(
    'CpuRealtimePeriod',
    '--cpu-rt-period',
    1000,
    'the kernel would want a share set aside in every group above',
  ),
  option(
    'CpuRealtimeRuntime',
    '--cpu-rt-runtime',
    1000,
    'the kernel would want a share set aside in every group above',
  ),
  option('CpusetCpus', '--cpuset-cpus', '0', '`docker update` changes it'),
  option('CpusetMems', '--cpuset-mems', '0', '`docker update` changes it'),
  option(
    'Devices',
    '--device',
    [{ PathOnHost: '/dev/null', PathInContainer: '/dev/n', CgroupPermissions: 'r' }],
    'a directory stands for all devices in it',
  ),
  option('DeviceCgroupRules', '--device-cgroup-rule', ['c 1:3 rwm']),
  option(
    'DeviceRequests',
    '--gpus',
    [{ Count: 1, Capabilities: [['gpu']] }],
    'generic resources of services count devices',
  ),
  option('KernelMemory', '--kernel-memory', 1024, 'kernels have it no more'),
  option('KernelMemoryTCP', '', 1024, 'kernels have it no more'),
  option(
    'MemoryReservation',
    '--memory-reservation',
    16 * 1024 * 1024,
    'counted by the scheduler; `docker update` changes it',
  ),
  option('MemorySwap', '--memory-swap', -1, '`docker update` changes it'),
  option(
    'MemorySwappiness',
    '--memory-swappiness',
    10,
    'of cgroup v1 alone: a node with v2 refuses the container; -1 is none',
  ),
  option('NanoCpus', '--cpus', 5e8, '`docker update` changes it'),
  option(
    'OomKillDisable',
    '--oom-kill-disable',
    true,
    'a container that is out of memory would hang for ever',
  ),
  option('Init', '--init', true),
  option('PidsLimit', '--pids-limit', 10, '`docker update` changes it'),
  option('Ulimits', '--ulimit', [{ Name: 'nofile', Soft: 10, Hard: 20 }]),
  option('CpuCount', '--cpu-count', 1, 'of Windows'),
  option('CpuPercent', '--cpu-percent', 1, 'of Windows'),
  option('IOMaximumIOps', '--io-maxiops', 1, 'of Windows'),
  option('IOMaximumBandwidth', '--io-maxbandwidth', 1, 'of Windows'),
  option(
    'Binds',
    '--volume',
    ['/a:/b:ro'],
    'a read-only one is so with all that is mounted below; labels (`z`, `Z`) change nothing',
  ),
  option('ContainerIDFile', '--cidfile', 'x', 'the client’s own affair', true),
  option('LogConfig', '--log-driver, --log-opt', { Type: 'none' }, '[logs.md](logs.md)'),
  option(
    'NetworkMode',
    '--network',
    'net',
    'a network, `host`, `none`, `bridge`, `container:NAME`, see below',
  ),
  option(
    'PortBindings',
    '--publish',
    { '80/tcp': [{ HostPort: '8080' }] },
    'on every node, or on one or several addresses of nodes',
  ),
  option('RestartPolicy', '--restart', { Name: 'always' }, '`docker update` changes it'),
  option('AutoRemove', '--rm', true),
  option('VolumeDriver', '--volume-driver', 'local', '`local` is the one there is: others are refused', true),
  option(
    'VolumesFrom',
    '--volumes-from',
    ['x'],
    'of single containers, on their node; those of services share volumes by their names',
  ),
  option(
    'Mounts',
    '--mount',
    [{ Type: 'tmpfs', Target: '/t' }],
    '`bind`, `volume`, `tmpfs`, `image` (see below); clusters’ volumes are refused',
  ),
  option('ConsoleSize', '', [10, 20], 'rows and columns'),
  option(
    'Annotations',
    '--annotation',
    { a: 'b' },
    'kept, shown, and given to the runtime, which does nothing by them',
  ),
  option('CapAdd', '--cap-add', ['NET_ADMIN']),
  option('CapDrop', '--cap-drop', ['ALL']),
  option('CgroupnsMode', '--cgroupns', 'host'),
  option('Dns', '--dns', ['1.1.1.1']),
  option('DnsOptions', '--dns-option', ['ndots:1']),
  option('DnsSearch', '--dns-search', ['a.b']),
  option(
    'ExtraHosts',
    '--add-host',
    ['a:10.0.0.1'],
    '`host-gateway`: the node, by the address that it has in the cluster',
  ),
  option('GroupAdd', '--group-add', ['7']),
  option('IpcMode', '--ipc', 'host', '`private`, `shareable`, `host`, `container:NAME`, see below'),
  option('Cgroup', '', 'container:x', 'of another container: there is no such sharing'),
  {
    field: 'Links',
    flag: '--link',
    sample: ['x'],
    with: { NetworkMode: 'net' },
    note: 'with a network: names that it alone has for others there. Refused on `bridge`, where containers do not reach one another',
  },
  option('OomScoreAdj', '--oom-score-adj', 5),
  option('PidMode', '--pid', 'host', '`host`, `container:NAME`, see below'),
  option('Privileged', '--privileged', true),
  option('PublishAllPorts', '--publish-all', true),
  option('ReadonlyRootfs', '--read-only', true),
  option(
    'SecurityOpt',
    '--security-opt',
    ['no-new-privileges'],
    '`no-new-privileges`, `seccomp=unconfined`, `seccomp=FILE` (a profile of Docker’s format), `systempaths=unconfined`; `apparmor=unconfined` and `label=disable` are so anyway',
  ),
  option(
    'StorageOpt',
    '--storage-opt',
    { size: '1g' },
    '`size`, of what is written over the image; the container goes to nodes that have project quotas',
  ),
  option(
    'Tmpfs',
    '--tmpfs',
    { '/t': 'exec' },
    '`size`, `mode`, `uid`, `gid`, `ro`, `exec`, `suid`, `dev` and their opposites',
  ),
  option('UTSMode', '--uts', 'host'),
  option(
    'UsernsMode',
    '--userns',
    'private',
    '`host`: the node’s ids; `private`, which the docker client refuses: its own',
  ),
  option('ShmSize', '--shm-size', 1024 * 1024),
  option('Sysctls', '--sysctl', { 'net.core.somaxconn': '1024' }),
  option(
    'Runtime',
    '--runtime',
    'runc',
    '`runc` and `io.containerd.runc.v2` stand for Shoal’s own: others are refused',
    true,
  ),
  option('Isolation', '--isolation', 'default', '`default` alone: others are of Windows', true),
  option(
    'MaskedPaths',
    '--security-opt',
    [],
    'in place of Docker’s; [] is none, as `systempaths=unconfined` sends it',
  ),
  option('ReadonlyPaths', '--security-opt', [], 'likewise'),
];

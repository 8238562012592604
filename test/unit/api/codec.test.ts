import test from 'ava';
import fc from 'fast-check';
import { decodeServiceSpec, encodeServiceSpec } from '../../../manager/api/codec/service-spec-codec.ts';
import type { RuntimeOptions, ServiceSpec } from '../../../shared/model/index.ts';

const word = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
const labels = fc.dictionary(word, fc.string(), { maxKeys: 3, noNullPrototype: true });
const positive = fc.integer({ min: 1, max: 2 ** 40 });
const whole = fc.nat(2 ** 31);
const list = <T>(item: fc.Arbitrary<T>) => fc.array(item, { maxLength: 3 });
const nonEmpty = <T>(item: fc.Arbitrary<T>) => fc.array(item, { minLength: 1, maxLength: 3 });

const mount = fc.oneof(
  fc.record(
    {
      kind: fc.constant('bind' as const),
      source: word,
      target: word,
      readOnly: fc.boolean(),
      propagation: fc.constantFrom('rshared' as const, 'private' as const),
      createSource: fc.constant(true),
      recursive: fc.constant(false as const),
    },
    { requiredKeys: ['kind', 'source', 'target', 'readOnly'] },
  ),
  fc.record(
    {
      kind: fc.constant('volume' as const),
      source: word,
      target: word,
      readOnly: fc.boolean(),
      driver: fc.constant('local'),
      labels: fc.constant({ a: 'b' }),
      noCopy: fc.constant(true),
      subpath: word,
    },
    { requiredKeys: ['kind', 'source', 'target', 'readOnly'] },
  ),
  fc.record(
    {
      kind: fc.constant('tmpfs' as const),
      target: word,
      readOnly: fc.boolean(),
      sizeBytes: positive,
      mode: positive,
      uid: fc.nat(),
      gid: fc.nat(),
      exec: fc.boolean(),
      suid: fc.boolean(),
      dev: fc.boolean(),
    },
    { requiredKeys: ['kind', 'target', 'readOnly'] },
  ),
);

const container = fc.record(
  {
    image: word,
    labels,
    command: list(fc.string()),
    args: list(fc.string()),
    env: list(fc.string()),
    mounts: list(mount),
    workingDir: word,
    user: word,
    groups: nonEmpty(word),
    hostname: word,
    readOnlyRoot: fc.constant(true),
    init: fc.boolean(),
    tty: fc.constant(true),
    openStdin: fc.constant(true),
    stopSignal: word,
    stopGraceNs: whole,
    extraHosts: nonEmpty(
      fc.tuple(word, fc.constantFrom('1.2.3.4', '::1')).map(([name, ip]) => `${name}:${ip}`),
    ),
    dns: fc.record({ nameservers: nonEmpty(word), search: list(word), options: list(word) }),
    healthCheck: fc.record({
      test: list(word),
      intervalNs: whole,
      timeoutNs: whole,
      startPeriodNs: whole,
      startIntervalNs: whole,
      retries: whole,
    }),
    capAdd: nonEmpty(word),
    capDrop: nonEmpty(word),
    sysctls: fc.constant({ 'net.ipv4.x': '1' }),
    ulimits: nonEmpty(fc.record({ name: word, soft: whole, hard: whole })),
    noNewPrivileges: fc.constant(true),
    seccompProfile: fc.constant('{"defaultAction":"SCMP_ACT_LOG"}'),
    selinux: fc.constantFrom({ type: 'web_t' }, { user: 'u', role: 'r', type: 't', level: 's0:c1,c2' }),
    oomScoreAdj: fc.constantFrom(-1000, -1, 1, 1000),
    runtime: fc.constantFrom<RuntimeOptions>(
      { privileged: true, hostPid: true, hostIpc: true, hostUts: true, hostCgroup: true },
      { devices: [{ source: '/dev/a', target: '/dev/b', access: 'r' }], deviceRules: ['c 1:3 rwm'] },
      { cpuPeriodUs: 1000, pullPolicy: 'never', userNamespace: 'private', appArmorProfile: 'a b' },
      {
        deviceRequests: [
          { kinds: ['acme.com/card'], names: ['a', '0:1'] },
          { kinds: ['nvidia.com/gpu', 'amd.com/gpu'], count: -1 },
          { kinds: ['amd.com/gpu'], count: 2 },
          { kinds: ['nvidia.com/gpu', 'amd.com/gpu'], names: ['0'] },
        ],
        postStart: [{ command: ['a', 'b'], user: 'u', workingDir: '/w', env: ['A=b'] }],
        preStop: [{ command: ['c'], privileged: true }],
      },
      {
        blockIo: {
          weight: 10,
          weights: [{ path: '/dev/a', amount: 20 }],
          readBps: [{ path: '/dev/a', amount: 1 }],
          writeIops: [{ path: '/dev/b', amount: 0 }],
        },
      },
      {
        shmBytes: 1,
        diskBytes: 2 ** 30,
        domainname: 'd',
        cpuShares: 2,
        cpuset: '0',
        memorySwapBytes: -1,
        memorySwappiness: 0,
      },
    ),
  },
  { requiredKeys: ['image', 'labels', 'command', 'args', 'env', 'mounts'] },
);

const amounts = fc.record(
  { nanoCpus: positive, memoryBytes: positive, pids: positive },
  { requiredKeys: [] },
);
const genericResources = fc.uniqueArray(fc.record({ kind: word, count: positive }), {
  minLength: 1,
  maxLength: 3,
  selector: ({ kind }) => kind,
});
const update = fc.record({
  parallelism: whole,
  delayNs: whole,
  order: fc.constantFrom('stop-first' as const, 'start-first' as const),
  monitorNs: positive,
  failureAction: fc.constantFrom('pause' as const, 'continue' as const, 'rollback' as const),
  maxFailureRatio: fc.double({ min: 0, max: 1, noNaN: true }).map(Math.abs),
});

const spec: fc.Arbitrary<ServiceSpec> = fc.record(
  {
    name: word,
    labels,
    mode: fc.oneof(
      fc.constant({ kind: 'global' as const }),
      fc.record({ kind: fc.constant('replicated' as const), replicas: whole }),
    ),
    container,
    limits: amounts,
    reservations: fc.oneof(
      amounts,
      fc.tuple(amounts, genericResources).map(([other, all]) => ({ ...other, genericResources: all })),
    ),
    restart: fc.record({
      condition: fc.constantFrom('any' as const, 'on-failure' as const, 'none' as const),
      delayNs: whole,
      maxAttempts: whole,
      windowNs: whole,
    }),
    placement: fc.record(
      {
        constraints: list(fc.string()),
        spread: list(fc.string()),
        maxReplicasPerNode: whole,
        platforms: nonEmpty(fc.record({ os: word, arch: word })),
      },
      { requiredKeys: ['constraints', 'spread', 'maxReplicasPerNode'] },
    ),
    update,
    rollback: update,
    networks: list(fc.record({ network: word, aliases: list(word) })),
    endpointMode: fc.constantFrom('vip' as const, 'dnsrr' as const),
    ports: list(
      fc.record(
        {
          name: word,
          protocol: fc.constantFrom('tcp' as const, 'udp' as const, 'sctp' as const),
          targetPort: fc.nat(65_535),
          publishedPort: fc.nat(65_535),
          mode: fc.constantFrom('ingress' as const, 'host' as const),
        },
        { requiredKeys: ['protocol', 'targetPort', 'publishedPort', 'mode'] },
      ),
    ),
    forceUpdate: whole,
    logDriver: fc.record({ name: word, options: labels }),
  },
  {
    requiredKeys: [
      'name',
      'labels',
      'mode',
      'container',
      'limits',
      'reservations',
      'restart',
      'placement',
      'update',
      'rollback',
      'networks',
      'endpointMode',
      'ports',
      'forceUpdate',
    ],
  },
) as fc.Arbitrary<ServiceSpec>;

test('a spec that a client reads and sends back unchanged is the same spec', (t) => {
  fc.assert(
    fc.property(spec, (wanted) => {
      const onTheWire = JSON.parse(JSON.stringify(encodeServiceSpec(wanted)));
      t.deepEqual(decodeServiceSpec(onTheWire).spec, wanted);
    }),
    { numRuns: 300 },
  );
});

test('what a Go client sends for fields that nobody set is taken for absent', (t) => {
  const { spec: decoded } = decodeServiceSpec({
    Name: 'a',
    Labels: null,
    TaskTemplate: {
      ContainerSpec: {
        Image: 'x',
        Args: null,
        Env: null,
        Mounts: null,
        DNSConfig: {},
        Isolation: 'default',
        OomScoreAdj: 0,
        Secrets: [],
      },
      Resources: { Limits: { GenericResources: null }, Reservations: null },
      Placement: { Platforms: [] },
      Networks: null,
      PluginSpec: null,
    },
    Mode: { Replicated: {} },
    EndpointSpec: null,
  });
  t.deepEqual(decoded.mode, { kind: 'replicated', replicas: 1 });
  t.deepEqual(Object.keys(decoded.container).sort(), ['args', 'command', 'env', 'image', 'labels', 'mounts']);
});

/** Keys that ask something of the nodes: profiles from files, CPU time, pull policies, directories under a name. */
import test from 'ava';
import { convertStack, type StackConversion } from '../../../manager/stack/index.ts';
import type { ServiceSpec } from '../../../shared/model/index.ts';

test('a seccomp profile comes from its file, whose path counts from the file that names it', (t) => {
  const profile = '{ "defaultAction": "SCMP_ACT_LOG" }';
  const compose = 'include: [side/c.yaml]\nservices: {a: {image: x, security_opt: ["seccomp:./p.json"]}}';
  const side = 'services: {b: {image: x, security_opt: [seccomp=q.json]}}';
  const files = { 'side/c.yaml': side, 'side/.env': null };
  const asked = convertStack({ stack: 's', compose, variables: {}, files });
  t.deepEqual([...asked.missing].sort(), ['p.json', 'side/q.json']);
  const given = { ...files, 'p.json': profile, 'side/q.json': '{"defaultAction": "NO"}' };
  const { services, problems } = convertStack({ stack: 's', compose, variables: {}, files: given });
  t.is(
    services.find(({ key }) => key === 'a')?.spec.container.seccompProfile,
    '{"defaultAction":"SCMP_ACT_LOG"}',
  );
  t.regex(problems[0]?.message ?? '', /^side\/q\.json: the seccomp profile, defaultAction: one of/);
  t.is(problems[0]?.key, 'services.b.security_opt[0]');
});

test('AppArmor profiles and SELinux labels; what is wrong is told where it is', (t) => {
  const converted = (options: string) =>
    convertStack({
      stack: 's',
      compose: `services: {a: {image: x, security_opt: ${options}}}`,
      variables: {},
    });
  const spec = converted('["apparmor:web", "label=type:web_t", "label:user:u"]').services[0]?.spec.container;
  t.deepEqual(spec?.runtime, { appArmorProfile: 'web' });
  t.deepEqual(spec?.selinux, { type: 'web_t', user: 'u' });
  const off = converted('["apparmor=unconfined", "label=disable", "label=type:x"]').services[0]?.spec
    .container;
  t.false('selinux' in (off ?? {}) || 'runtime' in (off ?? {}));
  const { problems } = converted('["no-new-privileges", "label=web_t"]');
  t.is(problems[0]?.key, 'services.a.security_opt[1]');
  t.regex(problems[0]?.message ?? '', /^'label=web_t': 'label=disable', or/);
});

test('CPU time by quota and period, and pull policies', (t) => {
  const spec = (lines: string): ServiceSpec | undefined => {
    const { services, problems } = convertStack({
      stack: 's',
      compose: `services: {a: {image: x, ${lines}}}`,
      variables: {},
    });
    t.deepEqual(problems, []);
    return services[0]?.spec;
  };
  t.is(spec('cpu_quota: 50000')?.limits.nanoCpus, 0.5e9);
  const both = spec('cpu_quota: 30000, cpu_period: 20000');
  t.is(both?.limits.nanoCpus, 1.5e9);
  t.is(both?.container.runtime?.cpuPeriodUs, 20_000);
  t.deepEqual(spec('cpu_quota: -1')?.limits, {});
  t.is(spec('pull_policy: if_not_present')?.container.runtime?.pullPolicy, 'missing');
  t.is(spec('pull_policy: always')?.container.runtime, undefined);
});

test('a volume that is a directory of the node, or what the driver’s other options say; wrong ones are refused', (t) => {
  const convert = (options: string): StackConversion =>
    convertStack({
      stack: 's',
      compose: `services: {a: {image: x, volumes: ["data:/d"]}}\nvolumes: {data: {driver_opts: ${options}}}`,
      variables: {},
    });
  const bound = (options: string): unknown => convert(options).services[0]?.spec.container.mounts;
  const mount = { kind: 'bind', source: '/srv/data', target: '/d', readOnly: false };
  t.deepEqual(bound('{type: none, o: bind, device: /srv/data}'), [mount]);
  t.deepEqual(bound('{o: "bind,ro", device: /srv/data}'), [{ ...mount, readOnly: true }]);
  const made = { kind: 'volume', source: 's_data', target: '/d', readOnly: false };
  for (const own of [{ size: '5g' }, { type: 'nfs', o: 'addr=10.0.0.1', device: ':/x' }])
    t.like((bound(JSON.stringify(own)) as object[])[0], { ...made, options: own });
  const refused: [string, RegExp][] = [
    ['{type: none, o: bind, device: data}', /"data" is not an absolute path/],
    ['{type: none, o: "bind,uid=5", device: /x}', /uid=5 has no meaning with bind/],
    ['{type: nfs}', /missing required option: "device"/],
    ['{size: 5k}', /at least 1048576 bytes/],
    ['{colour: red}', /invalid option: "colour"/],
  ];
  for (const [options, message] of refused) {
    const [problem] = convert(options).problems;
    t.is(problem?.key, 'volumes.data.driver_opts');
    t.regex(problem?.message ?? '', message);
  }
});

test('devices of CDI: by name, GPUs, and those that are reserved', (t) => {
  const read = (lines: string) => {
    const compose = `services: {a: {image: x, ${lines}}}`;
    const { services, problems } = convertStack({ stack: 's', compose, variables: {} });
    return { runtime: services[0]?.spec.container.runtime, problems: problems.map(({ message }) => message) };
  };
  const requests = (lines: string) => read(lines).runtime?.deviceRequests;
  const kinds = ['nvidia.com/gpu', 'amd.com/gpu'];
  const named = read('devices: [/dev/fuse, "acme.com/card=0:1", {source: acme.com/card=b}]');
  t.deepEqual(named, {
    runtime: {
      devices: [{ source: '/dev/fuse', target: '/dev/fuse', access: 'rwm' }],
      deviceRequests: [{ kinds: ['acme.com/card'], names: ['0:1', 'b'] }],
    },
    problems: [],
  });
  t.deepEqual(requests('gpus: all'), [{ kinds, count: -1 }]);
  t.deepEqual(requests('gpus: [{driver: nvidia, count: 2}, {device_ids: ["0"]}]'), [
    { kinds: ['nvidia.com/gpu'], count: 2 },
    { kinds, names: ['0'] },
  ]);
  const reserved = (list: string) => `deploy: {resources: {reservations: {memory: 64m, devices: [${list}]}}}`;
  t.deepEqual(requests(reserved('{capabilities: [gpu, utility], count: all}')), [{ kinds, count: -1 }]);
  t.deepEqual(requests(reserved('{capabilities: [gpu], driver: amd, count: 1}')), [
    { kinds: ['amd.com/gpu'], count: 1 },
  ]);
  t.deepEqual(requests(reserved('{driver: cdi, capabilities: [], device_ids: [acme.com/card=a]}')), [
    { kinds: ['acme.com/card'], names: ['a'] },
  ]);
  for (const [lines, message] of [
    ['devices: ["../card=a/b=c"]', /is no name of a device/],
    ['gpus: some', /all or a list is expected/],
    ['gpus: [{count: 0}]', /a whole number from 1/],
    ['gpus: [{count: 1, options: {a: b}}]', /options are not supported/],
    ['gpus: [{colour: red}]', /unknown key/],
    [reserved('{count: 1}'), /capabilities is missing/],
    [reserved('{capabilities: [tpu], count: 1}'), /capability 'tpu'/],
    ['deploy: {resources: {limits: {devices: [{capabilities: [gpu]}]}}}', /can be reserved only/],
  ] as const)
    t.regex(read(lines).problems.join(), message, lines);
});

test('volumes without a name, short and long, and images', (t) => {
  const volumes =
    '[{type: image, source: y, target: /i, image: {subpath: s}}, "/a", {type: volume, target: /b, read_only: true, volume: {nocopy: true}}]';
  const compose = `services: {a: {image: x, volumes: ${volumes}}}`;
  const { services, problems } = convertStack({ stack: 's', compose, variables: {} });
  t.deepEqual(problems, []);
  t.deepEqual(services[0]?.spec.container.mounts, [
    { kind: 'image', source: 'y', target: '/i', readOnly: true, subpath: 's' },
    { kind: 'volume', source: '', target: '/a', readOnly: false },
    { kind: 'volume', source: '', target: '/b', readOnly: true, noCopy: true },
  ]);
});

test('what another service mounts, in circles too; what it mounts itself stays', (t) => {
  const read = (services: string) => {
    const compose = `services: {${services}}\nvolumes: {data: null}`;
    const { services: all, problems } = convertStack({ stack: 's', compose, variables: {} });
    const a = all.find(({ key }) => key === 'a')?.spec.container.mounts ?? [];
    return {
      mounts: a.map(({ target, readOnly }) => [target, readOnly]),
      said: problems.map(({ message }) => message),
    };
  };
  const b = 'b: {image: x, volumes: ["data:/d", "/srv:/s"], tmpfs: /t, volumes_from: [c]}';
  const c = 'c: {image: x, volumes: ["/etc:/e:ro"]}';
  t.deepEqual(read(`a: {image: x, volumes: ["/own:/s"], volumes_from: ["b:ro", c]}, ${b}, ${c}`), {
    mounts: [
      ['/s', false],
      ['/d', true],
      ['/e', true],
    ],
    said: [],
  });
  for (const [services, message] of [
    ['a: {image: x, volumes_from: [b]}', /'b': there is no such service/],
    ['a: {image: x, volumes_from: [b]}, b: {image: x, volumes_from: [a]}', /'a': it goes round in a circle/],
    ['a: {image: x, volumes_from: ["container:b"]}', /a container is on one node/],
    ['a: {image: x, volumes_from: ["b:rx"]}', /SERVICE:ro or SERVICE:rw is expected/],
    ['a: {image: x, volumes_from: [b]}, b: {image: x, volumes: [/v]}', /its volume at \/v has no name/],
  ] as const)
    t.regex(read(services).said.join(), message, services);
});

test('commands after the start and before the stop, and entrypoints that are none', (t) => {
  const read = (lines: string) => {
    const compose = `services: {a: {image: x, ${lines}}}`;
    const { services, problems } = convertStack({ stack: 's', compose, variables: { C: 'd' } });
    const container = services[0]?.spec.container;
    return { container, said: problems.map(({ message }) => message) };
  };
  const hooks = `post_start: [{command: "sh -c 'a b'", user: root, working_dir: /w, environment: {A: b, C: "\${C}"}}]`;
  t.deepEqual(read(`${hooks}, pre_stop: [{command: [x, y], privileged: true}]`).container?.runtime, {
    postStart: [{ command: ['sh', '-c', 'a b'], user: 'root', workingDir: '/w', env: ['A=b', 'C=d'] }],
    preStop: [{ command: ['x', 'y'], privileged: true }],
  });
  t.deepEqual(read('entrypoint: []').container?.command, ['']);
  t.deepEqual(read('entrypoint: ""').container?.command, ['']);
  t.deepEqual(read('entrypoint: null, command: []').container?.command, []);
  for (const [lines, message] of [
    ['post_start: [{user: a}]', /command is missing/],
    ['pre_stop: [{command: x, environment: [A]}]', /A: a value is expected/],
    ['pre_stop: [x]', /a mapping with a command is expected/],
    [`pre_stop: [{command: "a 'b"}]`, /quotation mark is not closed/],
    ['pre_stop: [{command: x, colour: red}]', /unknown key/],
  ] as const)
    t.regex(read(lines).said.join(), message, lines);
});

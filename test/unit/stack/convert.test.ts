import test from 'ava';
import { convertStack, type Problem, type StackService } from '../../../manager/stack/index.ts';
import { DEFAULT_RESTART, DEFAULT_UPDATE, type ServiceSpec } from '../../../shared/model/index.ts';

function convert(compose: string, variables: Record<string, string> = {}) {
  return convertStack({ stack: 's', compose, variables });
}

function errorsOf(compose: string): string[] {
  return said(convert(compose).problems, 'error');
}

function said(problems: readonly Problem[], severity: Problem['severity']): string[] {
  return problems
    .filter((problem) => problem.severity === severity)
    .map(({ line, column, key, message }) => `${line}:${column} ${key}: ${message}`);
}

/** The spec of the only service; `yaml` is the inside of it. */
function specOf(yaml: string, rest = ''): ServiceSpec {
  const lines = yaml.split('\n').map((line) => `    ${line}`);
  const { services, problems } = convert(`services:\n  web:\n    image: nginx\n${lines.join('\n')}\n${rest}`);
  const errors = said(problems, 'error');
  if (errors.length > 0) throw new Error(errors.join('\n'));
  return (services[0] as StackService).spec;
}

test('a service of an image alone has the defaults of Swarm and the stack’s default network', (t) => {
  const { services, networks, problems } = convert('services:\n  web:\n    image: nginx\n');
  t.deepEqual(problems, []);
  t.deepEqual(services[0]?.spec, {
    name: 's_web',
    labels: { 'com.docker.stack.namespace': 's', 'com.docker.stack.image': 'nginx' },
    mode: { kind: 'replicated', replicas: 1 },
    container: {
      image: 'nginx:latest',
      labels: { 'com.docker.stack.namespace': 's' },
      command: [],
      args: [],
      env: [],
      mounts: [],
    },
    limits: {},
    reservations: {},
    restart: DEFAULT_RESTART,
    placement: { constraints: [], spread: [], maxReplicasPerNode: 0 },
    update: DEFAULT_UPDATE,
    rollback: DEFAULT_UPDATE,
    networks: [{ network: 's_default', aliases: ['web'] }],
    endpointMode: 'vip',
    ports: [],
    forceUpdate: 0,
  });
  t.deepEqual(
    networks.map(({ name, spec }) => [name, spec?.driver, spec?.labels]),
    [['s_default', 'overlay', { 'com.docker.stack.namespace': 's' }]],
  );
});

test('command and entrypoint: text is split as a shell would, lists are taken as they are', (t) => {
  const spec = specOf(`entrypoint: /bin/sh -c\ncommand: ["echo hi", "$$HOME", 5]`);
  t.deepEqual(spec.container.command, ['/bin/sh', '-c']);
  t.deepEqual(spec.container.args, ['echo hi', '$HOME', '5']);
  t.deepEqual(specOf(`command: a "b c" 'd "e"' f\\ g ""`).container.args, ['a', 'b c', 'd "e"', 'f g', '']);
  t.deepEqual(errorsOf('services:\n  web:\n    image: a\n    command: "a \'b"\n'), [
    "4:14 services.web.command: 'a 'b': a quotation mark is not closed",
  ]);
});

test('environment: mapping and list; numbers stay as written; variables fill what has no value', (t) => {
  const map =
    'services:\n  web:\n    image: a\n    environment:\n      A: 1.10\n      B: true\n      C:\n      D: ""\n';
  const { services, problems } = convert(map, { C: 'from outside' });
  t.deepEqual(services[0]?.spec.container.env, ['A=1.10', 'B=true', 'C=from outside', 'D=']);
  t.deepEqual(problems, []);
  t.deepEqual(specOf('environment: ["A=b=c", "B="]').container.env, ['A=b=c', 'B=']);
});

test('jobs', (t) => {
  const modeOf = (yaml: string) => specOf(yaml).mode;
  t.deepEqual(modeOf('deploy: {mode: global-job}'), { kind: 'global-job' });
  const mode = { kind: 'replicated-job', totalCompletions: 3, maxConcurrent: 3 } as const;
  t.deepEqual(modeOf('deploy: {mode: replicated-job, replicas: 3}'), mode);
  t.deepEqual(
    errorsOf('services:\n  a:\n    image: a\n    deploy:\n      mode: global-job\n      update_config: {}\n'),
    ['6:7 services.a.deploy.update_config: can not be used with jobs'],
  );
});

test('the deadline of an update is a label', (t) => {
  t.is(specOf('deploy: {labels: {shoal.update.deadline: 2m}}').updateDeadlineMs, 120_000);
  t.deepEqual(
    errorsOf('services:\n  a:\n    image: a\n    deploy:\n      labels: [shoal.update.deadline=x]\n'),
    [
      '5:7 services.a.deploy.labels: shoal.update.deadline: a duration such as 90s or 15m is expected, at least 1s',
    ],
  );
});

test('generic resources are reserved by their number', (t) => {
  const deploy = (resources: string) => `deploy: {resources: ${resources}}`;
  const one = (spec: string) => deploy(`{reservations: {cpus: 1, generic_resources: [${spec}]}}`);
  t.deepEqual(specOf(one('{discrete_resource_spec: {kind: gpu, value: 2}}')).reservations, {
    nanoCpus: 1e9,
    genericResources: [{ kind: 'gpu', count: 2 }],
  });
  const refused = (yaml: string): string => errorsOf(`services:\n  a:\n    image: a\n    ${yaml}\n`).join();
  t.regex(
    refused(one('{named_resource_spec: {kind: gpu, value: a}}')),
    /named_resource_spec: a number of them is asked for \(discrete_resource_spec\), not one by its name/,
  );
  t.regex(refused(one('{}')), /discrete_resource_spec with kind and value is expected/);
  t.regex(refused(one('gpu')), /discrete_resource_spec with kind and value is expected, not the text 'gpu'/);
  t.regex(refused(one('{discrete_resource_spec: {kind: gpu}}')), /a value from 1 is expected/);
  t.regex(refused(one('{discrete_resource_spec: {value: 1}}')), /a kind is expected/);
  t.regex(
    refused(one('{discrete_resource_spec: {kind: gpu, value: 0}}')),
    /a whole number from 1 is expected/,
  );
  t.regex(refused(one('{discrete_resource_spec: {kind: gpu, value: 1, x: 1}}')), /unknown key/);
  t.regex(
    refused(deploy('{limits: {generic_resources: [{discrete_resource_spec: {kind: gpu, value: 1}}]}}')),
    /limits\.generic_resources: can be reserved only, not limited/,
  );
});

test('the priority is a label', (t) => {
  t.is(specOf('deploy: {labels: {shoal.priority: 10}}').priority, 10);
  t.is(specOf('labels: {shoal.priority: 10}').priority, undefined);
  t.deepEqual(errorsOf('services:\n  a:\n    image: a\n    deploy:\n      labels: [shoal.priority=x]\n'), [
    "5:7 services.a.deploy.labels: shoal.priority: a whole number from -1000 to 1000 is expected, not 'x'",
  ]);
});

test('placement beyond what Docker has is labels', (t) => {
  const { placement } = specOf(
    'deploy: {labels: {shoal.placement.strategy: binpack, shoal.placement.near: db}}',
  );
  t.like(placement, { strategy: 'binpack', affinities: [{ service: 'db', kind: 'with', hard: false }] });
  t.regex(
    errorsOf(
      'services:\n  a:\n    image: a\n    deploy:\n      labels: {shoal.placement.strategy: x}\n',
    ).join(),
    /5:7 services\.a\.deploy\.labels: shoal\.placement\.strategy: spread or binpack is expected/,
  );
});

test('how tasks leave drained nodes and are levelled is labels', (t) => {
  const spec = specOf('deploy: {labels: {shoal.drain: at-once, shoal.rebalance: "true"}}');
  t.like(spec, { drain: 'at-once', rebalanceEveryMs: 30_000 });
  t.is(specOf('deploy: {labels: {shoal.rebalance: "false"}}').rebalanceEveryMs, undefined);
  const mounts = 'volumes: ["/srv:/data"]\ndeploy:\n  labels: {shoal.rebalance: 5s';
  t.is(specOf(`${mounts}, shoal.drain: start-first}`).rebalanceEveryMs, 5000);
  t.throws(() => specOf(`${mounts}}`), { message: /shoal\.rebalance: a task is moved by starting another/ });
  t.deepEqual(
    errorsOf('services:\n  a:\n    image: a\n    deploy:\n      labels: {shoal.rebalance: often}\n'),
    [
      '5:7 services.a.deploy.labels: shoal.rebalance: true, false or the time between two moves is expected (30s, 5m; at least 1s)',
    ],
  );
});

test('how connections come to tasks is labels', (t) => {
  const spec = specOf('deploy: {labels: {shoal.balance: source-hash, shoal.withdraw-wait: 10s}}');
  t.like(spec, { balance: 'source-hash', withdrawWaitMs: 10_000, serveUnready: undefined });
  t.deepEqual(errorsOf('services:\n  a:\n    image: a\n    deploy:\n      labels: {shoal.balance: fair}\n'), [
    '5:7 services.a.deploy.labels: shoal.balance: random or source-hash is expected',
  ]);
  const labels = '{shoal.canary-of: web, shoal.canary-share: "5"}';
  const two = convert(`services:\n  web: {image: a}\n  next: {image: b, deploy: {labels: ${labels}}}\n`);
  const next = two.services.find(({ key }) => key === 'next')?.spec;
  t.deepEqual(next?.canary, { of: 's_web', share: 5 });
  t.is(next?.labels['shoal.canary-of'], 's_web', 'an update by the docker client reads the same');
  t.deepEqual(specOf(`deploy: {labels: ${labels.replace('web', 'other')}}`).canary, {
    of: 'other',
    share: 5,
  });
});

test('who may connect is a key, or a label; names that the file has not are said', (t) => {
  const file = (a: string, network = ''): string =>
    `services:\n  a: {image: x, networks: [n], ${a}}\n  b: {image: x, networks: [n]}\nnetworks:\n  n: {${network}}\n`;
  const both = convert(file('x-shoal-allow-from: ["b:80", "*:icmp"]', 'x-shoal-allow: "a>b"'));
  t.deepEqual(both.problems, []);
  t.is(both.services.find(({ key }) => key === 'a')?.spec.labels['shoal.allow-from'], 'b:80,*:icmp');
  t.is(both.networks[0]?.spec?.labels['shoal.allow'], 'a>b');
  t.is(convert(file('x-shoal-allow-from: []')).services[0]?.spec.labels['shoal.allow-from'], 'none');
  const elsewhere = convert(file('deploy: {labels: {shoal.allow-from: c}}'));
  t.regex(
    said(elsewhere.problems, 'warning').join(),
    /^2:.*deploy\.labels: no service 'c' in this file: the service 'c'/,
  );
  t.regex(
    errorsOf(file('x-shoal-allow-from: ["b:http"]')).join(),
    /^2:32 .*allow-from: shoal\.allow-from: 'b:http': /,
  );
  t.regex(
    errorsOf(file('', 'x-shoal-allow: [a]')).join(),
    /^5:7 networks\.n\.x-shoal-allow: shoal\.allow: 'a': FROM>TO/,
  );
  t.regex(errorsOf(file('x-shoal-alow-from: [b]')).join(), /x-shoal-alow-from: unknown key/);
  t.regex(errorsOf(file('deploy: {x-shoal-allow-from: [b]}')).join(), /unknown key/);
});

test('jobs on a schedule: a key, or labels', (t) => {
  const spec = specOf('deploy:\n  x-shoal-cron:\n    schedule: "0 3 * * *"\n    timezone: Europe/Berlin');
  const mode = {
    kind: 'cron',
    schedule: '0 3 * * *',
    timeZone: 'Europe/Berlin',
    concurrency: 'allow',
  } as const;
  t.like(spec.mode, { ...mode, catchUpMs: 60_000, history: 5 });
  t.is(spec.labels['shoal.cron.schedule'], '0 3 * * *');
  const labels = 'deploy:\n  mode: replicated-job\n  labels: {shoal.cron.schedule: "@daily"}';
  t.like(specOf(labels).mode, { kind: 'cron', schedule: '@daily', timeZone: 'UTC' });
  const wrong = (deploy: string) =>
    errorsOf(`services:\n  a:\n    image: a\n    deploy:\n      ${deploy}\n`).join();
  t.regex(
    wrong('labels: {shoal.cron.schedule: "@daily"}'),
    /5:7 .*deploy\.labels: .*needs mode replicated-job/,
  );
  t.regex(wrong('x-shoal-cron: {schedule: "@daily", zone: UTC}'), /x-shoal-cron\.zone: unknown key/);
  t.regex(wrong('x-shoal-cron: {schedule: "x"}'), /deploy\.x-shoal-cron: .*no cron schedule/);
  t.regex(wrong('x-shoal-cron: {}'), /x-shoal-cron: a schedule is expected/);
  t.regex(wrong('{replicas: 2, x-shoal-cron: {schedule: "@daily"}}'), /replicas can not be more than 1/);
});

test('ports: short forms, ranges, protocols, and the long form', (t) => {
  const spec = specOf(
    `ports:\n  - "8080:80"\n  - 9000\n  - "5000-5001:50-51/udp"\n  - {target: 53, published: "5353", protocol: udp, mode: host, name: dns}`,
  );
  t.deepEqual(spec.ports, [
    { protocol: 'tcp', targetPort: 80, publishedPort: 8080, mode: 'ingress' },
    { protocol: 'tcp', targetPort: 9000, publishedPort: 0, mode: 'ingress' },
    { protocol: 'udp', targetPort: 50, publishedPort: 5000, mode: 'ingress' },
    { protocol: 'udp', targetPort: 51, publishedPort: 5001, mode: 'ingress' },
    { name: 'dns', protocol: 'udp', targetPort: 53, publishedPort: 5353, mode: 'host' },
  ]);
});

test('a network’s MTU, and what can not be one', (t) => {
  const networks = (mtu: string): string =>
    `services: {a: {image: x, networks: [n]}}\nnetworks: {n: {driver_opts: {com.docker.network.driver.mtu: ${mtu}}}}`;
  t.deepEqual(convert(networks('1400')).problems, []);
  for (const mtu of ['1279', '65486', '"9k"', '""'])
    t.regex(errorsOf(networks(mtu)).join(), /driver\.mtu: '.*': a number of bytes from 1280 to 65485 is/);
});

test('a network with IPv6', (t) => {
  const networks = (keys: string): string =>
    `services: {a: {image: x, networks: [n]}}\nnetworks: {n: {${keys}}}`;
  const { networks: made, problems } = convert(
    networks(
      'enable_ipv6: true, ipam: {config: [{subnet: "fd00:9::/64", gateway: "fd00:9::1"}, {subnet: 10.9.0.0/24}]}',
    ),
  );
  t.deepEqual(problems, []);
  t.like(made.find(({ key }) => key === 'n')?.spec, {
    ipv6: true,
    subnet: '10.9.0.0/24',
    subnet6: 'fd00:9::/64',
    gateway6: 'fd00:9::1',
  });
  const two = 'enable_ipv6: true, ipam: {config: [{subnet: "fd00:9::/64"}, {subnet: "fd00:8::/64"}]}';
  t.regex(errorsOf(networks(two)).join(), /a network has one IPv6 subnet/);
  t.regex(errorsOf(networks('enable_ipv4: false')).join(), /each network has IPv4/);
});

test('an encrypted network, and what does not say whether it is', (t) => {
  const networks = (encrypted: string): string =>
    `services: {a: {image: x, networks: [n]}}\nnetworks: {n: {driver_opts: {encrypted: ${encrypted}}}}`;
  for (const yes of ['""', '"true"', 'true', 'false']) t.deepEqual(convert(networks(yes)).problems, []);
  t.regex(errorsOf(networks('ipsec')).join(), /encrypted: 'ipsec': true, false or nothing is expected/);
});

test('a port on one address', (t) => {
  const ports = (list: string): readonly object[] => specOf(`ports: [${list}]`).ports;
  const http = { protocol: 'tcp', targetPort: 80, publishedPort: 8080, mode: 'ingress' };
  t.deepEqual(ports('"127.0.0.1:8080:80", "0.0.0.0:8080:80", "8080:80"'), [
    { ...http, hostIp: '127.0.0.1' },
    { ...http, hostIp: '0.0.0.0' },
    http,
  ]);
  t.deepEqual(
    ports('"[::1]:8080:80", "[::]:8080:80", {target: 80, published: 8080, host_ip: "2001:DB8::7"}'),
    [
      { ...http, hostIp: '::1' },
      { ...http, hostIp: '::' },
      { ...http, hostIp: '2001:db8::7' },
    ],
  );
  t.deepEqual(ports('"192.0.2.7::80/udp"').length, 1);
  t.deepEqual(ports('{target: 80, published: 8080, mode: host, host_ip: 192.0.2.7}'), [
    { ...http, mode: 'host', hostIp: '192.0.2.7' },
  ]);
  t.deepEqual(ports('"127.0.0.1:8080-8081:80-81"').length, 2);
  t.deepEqual(ports('"127.0.0.1:8080-8081:80"'), [
    { ...http, hostIp: '127.0.0.1' },
    { ...http, publishedPort: 8081, hostIp: '127.0.0.1' },
  ]);
  for (const [text, why] of [
    ['"[fe80::1]:80:80"', /link-local/],
    ['"[::ffff:10.0.0.1]:80:80"', /an IPv4 address is written as one/],
    ['"localhost:80:80"', /an address of the nodes is expected/],
    ['"224.0.0.1:80:80"', /an address of the nodes/],
    ['{target: 80, published: 80-90}', /published: '80-90': one port is expected \(the short form/],
    ['{target: 80, host_ip: "::1::"}', /host_ip: '::1::': an address of the nodes is expected/],
  ] as const)
    t.throws(() => ports(text), { message: why }, text);
});

test('ports that can not be are refused where they stand', (t) => {
  const file = `services:
  web:
    image: a
    ports: ["256.0.0.1:80:80", "70000:1", "1-2:1-3", "a:b", "80/icmp", {published: 1}]
`;
  const keys = errorsOf(file).map((line) => line.split(':').slice(0, 2).join(':'));
  t.deepEqual(keys, [
    '4:13 services.web.ports[0]',
    '4:32 services.web.ports[1]',
    '4:43 services.web.ports[2]',
    '4:54 services.web.ports[3]',
    '4:61 services.web.ports[4]',
    '4:72 services.web.ports[5]',
  ]);
});

test('networks: aliases, names, subnets, external ones; the default only where it is used', (t) => {
  const { services, networks, problems } = convert(`
services:
  a: {image: x, networks: {front: {aliases: [www]}, out: }}
  b: {image: x, networks: [front]}
networks:
  front: {internal: true, attachable: true, labels: [l=1], ipam: {config: [{subnet: 10.9.0.0/24}]}}
  out: {external: true, name: shared}
  idle: {}
`);
  t.deepEqual(services[0]?.spec.networks, [
    { network: 's_front', aliases: ['a', 'www'] },
    { network: 'shared', aliases: ['a'] },
  ]);
  t.deepEqual(
    networks.map(({ name, spec }) => [
      name,
      spec?.internal,
      spec?.attachable,
      spec?.subnet,
      spec?.labels['l'],
    ]),
    [
      ['s_front', true, true, '10.9.0.0/24', '1'],
      ['shared', undefined, undefined, undefined, undefined],
    ],
  );
  t.deepEqual(said(problems, 'warning'), ['8:3 networks.idle: no service is on it: it is not created']);
});

test('volumes: named, bind and tmpfs in both forms', (t) => {
  const spec = specOf(
    `volumes:
  - data:/data
  - /etc/hosts:/h:ro,rslave
  - {type: volume, source: shared, target: /s, read_only: true, volume: {nocopy: true}}
  - {type: bind, source: /a, target: /b, bind: {create_host_path: true, propagation: rshared}}
  - {type: tmpfs, target: /t, tmpfs: {size: 64m, mode: 0755}}
tmpfs: /run:size=1m,mode=1777`,
    'volumes: {data: {labels: {k: v}}, shared: {external: true, name: real}}',
  );
  t.deepEqual(spec.container.mounts, [
    {
      kind: 'volume',
      source: 's_data',
      target: '/data',
      readOnly: false,
      labels: { k: 'v', 'com.docker.stack.namespace': 's' },
    },
    { kind: 'bind', source: '/etc/hosts', target: '/h', readOnly: true, propagation: 'rslave' },
    { kind: 'volume', source: 'real', target: '/s', readOnly: true, noCopy: true },
    { kind: 'bind', source: '/a', target: '/b', readOnly: false, propagation: 'rshared', createSource: true },
    { kind: 'tmpfs', target: '/t', readOnly: false, sizeBytes: 64 * 2 ** 20, mode: 0o755 },
    { kind: 'tmpfs', target: '/run', readOnly: false, sizeBytes: 2 ** 20, mode: 0o1777 },
  ]);
});

test('deploy: every part of it', (t) => {
  const spec = specOf(`deploy:
  mode: replicated
  replicas: 3
  endpoint_mode: dnsrr
  labels: {tier: front}
  placement:
    constraints: ["node.role == worker"]
    preferences: [{spread: node.labels.zone}]
    max_replicas_per_node: 2
  resources:
    limits: {cpus: "0.5", memory: 1.5g, pids: 100}
    reservations: {cpus: 0.25, memory: 64M}
  restart_policy: {condition: on-failure, delay: 1m30s, max_attempts: 3, window: 2m}
  update_config: {parallelism: 0, delay: 500ms, order: start-first, monitor: 1s, failure_action: rollback, max_failure_ratio: 0.2}
  rollback_config: {parallelism: 2}`);
  t.deepEqual(spec.mode, { kind: 'replicated', replicas: 3 });
  t.is(spec.endpointMode, 'dnsrr');
  t.is(spec.labels['tier'], 'front');
  t.is(spec.container.labels['tier'], undefined);
  t.deepEqual(spec.placement, {
    constraints: ['node.role == worker'],
    spread: ['node.labels.zone'],
    maxReplicasPerNode: 2,
  });
  t.deepEqual(spec.limits, { nanoCpus: 5e8, memoryBytes: 1.5 * 2 ** 30, pids: 100 });
  t.deepEqual(spec.reservations, { nanoCpus: 2.5e8, memoryBytes: 64 * 2 ** 20 });
  t.deepEqual(spec.restart, { condition: 'on-failure', delayNs: 90e9, maxAttempts: 3, windowNs: 120e9 });
  t.deepEqual(spec.update, {
    parallelism: 0,
    delayNs: 5e8,
    order: 'start-first',
    monitorNs: 1e9,
    failureAction: 'rollback',
    maxFailureRatio: 0.2,
  });
  t.deepEqual(spec.rollback, { ...DEFAULT_UPDATE, parallelism: 2 });
});

test('restart is converted, and gives way to restart_policy', (t) => {
  t.is(specOf('restart: always').restart.condition, 'any');
  t.is(specOf('restart: unless-stopped').restart.condition, 'any');
  t.is(specOf('restart: "no"').restart.condition, 'none');
  t.is(specOf('restart: no').restart.condition, 'none');
  t.deepEqual(specOf('restart: on-failure:4').restart, {
    ...DEFAULT_RESTART,
    condition: 'on-failure',
    maxAttempts: 4,
  });
  const both =
    'services:\n  a:\n    image: x\n    restart: always\n    deploy: {restart_policy: {condition: none}}\n';
  const { services, problems } = convert(both);
  t.is(services[0]?.spec.restart.condition, 'none');
  t.deepEqual(said(problems, 'warning'), [
    '4:5 services.a.restart: has no effect: deploy.restart_policy is given',
  ]);
});

test('healthcheck: the forms of test, and disable', (t) => {
  const check = specOf(
    'healthcheck: {test: "curl -f x || exit 1", interval: 10s, retries: 3, start_period: 1m}',
  );
  t.deepEqual(check.container.healthCheck, {
    test: ['CMD-SHELL', 'curl -f x || exit 1'],
    intervalNs: 10e9,
    timeoutNs: 0,
    startPeriodNs: 60e9,
    startIntervalNs: 0,
    retries: 3,
  });
  t.deepEqual(specOf('healthcheck: {test: [CMD, a, b]}').container.healthCheck?.test, ['CMD', 'a', 'b']);
  t.deepEqual(specOf('healthcheck: {disable: true}').container.healthCheck?.test, ['NONE']);
});

test('the rest of a container', (t) => {
  const { container } = specOf(`hostname: h
user: 1000
working_dir: /w
stop_grace_period: 1m
stop_signal: SIGINT
init: false
read_only: true
cap_add: [NET_ADMIN]
cap_drop: [ALL]
extra_hosts: ["a:1.2.3.4", "b=::1", "c=host-gateway"]
dns: 1.1.1.1
dns_search: [x.org]
sysctls: {net.core.somaxconn: 1024}
ulimits: {nofile: {soft: 1, hard: 2}, nproc: 5}
tty: true
stdin_open: true
labels: [a=b]`);
  t.like(container, {
    hostname: 'h',
    user: '1000',
    workingDir: '/w',
    stopGraceNs: 60e9,
    stopSignal: 'SIGINT',
    init: false,
    readOnlyRoot: true,
    tty: true,
    openStdin: true,
  });
  t.deepEqual(container.capAdd, ['CAP_NET_ADMIN']);
  t.deepEqual(container.capDrop, ['ALL']);
  t.deepEqual(container.extraHosts, ['a:1.2.3.4', 'b:::1', 'c:host-gateway']);
  t.deepEqual(container.dns, { nameservers: ['1.1.1.1'], search: ['x.org'], options: [] });
  t.deepEqual(container.sysctls, { 'net.core.somaxconn': '1024' });
  t.deepEqual(container.ulimits, [
    { name: 'nofile', soft: 1, hard: 2 },
    { name: 'nproc', soft: 5, hard: 5 },
  ]);
  t.is(container.labels['a'], 'b');
});

test('invariant 8: what would change the meaning is refused; what would not is warned about; both by key and line', (t) => {
  const { problems } = convert(`version: "3.8"
services:
  a:
    image: x
    runtime: kata
    runtime_: x
    network_mode: service:b
    container_name: c
    depends_on: [b]
    read_only: false
    secrets: []
    colour: red
    tty: true
  b:
    build: .
`);
  t.deepEqual(said(problems, 'error'), [
    '5:5 services.a.runtime: not supported: nodes have one runtime',
    '6:5 services.a.runtime_: unknown key',
    "7:19 services.a.network_mode: 'service:b' is not supported: tasks are placed one by one, on different nodes; let them meet on a network by name, or run both as single containers (docker compose, docker run --network container:NAME)",
    '12:5 services.a.colour: unknown key',
    '15:5 services.b.build: a cluster builds no images: build it, push it to a registry, and name it under image',
  ]);
  t.deepEqual(said(problems, 'warning'), [
    '1:1 version: is obsolete and has no effect',
    '8:5 services.a.container_name: has no effect: containers are named after service, slot and task',
  ]);
});

test('network_mode: a network of the node in place of the stack’s', (t) => {
  const modes = (mode: string, more = '') =>
    convert(`services: { a: { image: x, network_mode: "${mode}"${more} } }`);
  const host = modes('host');
  t.deepEqual(host.problems, []);
  t.deepEqual(host.services[0]?.spec.networks, [{ network: 'host', aliases: [] }]);
  t.deepEqual(host.networks, [], 'no default network is made');
  t.deepEqual(modes('none').services[0]?.spec.networks, [{ network: 'none', aliases: [] }]);
  t.deepEqual(modes('bridge').services[0]?.spec.networks, []);
  t.deepEqual(said(modes('default').problems, 'error'), [
    "1:42 services.a.network_mode: 'default' is not supported: host, none or bridge is expected",
  ]);
  t.deepEqual(said(modes('host', ', networks: [default]').problems, 'error'), [
    '1:42 services.a.network_mode: can not be combined with networks',
  ]);
});

test('an external network may be one of the node', (t) => {
  const { problems, services, networks } = convert(`
services: { a: { image: x, networks: [outside] } }
networks: { outside: { external: true, name: host } }
`);
  t.deepEqual(problems, []);
  t.is(services[0]?.spec.networks[0]?.network, 'host');
  t.deepEqual(
    networks.map(({ name, spec }) => [name, spec]),
    [['host', undefined]],
  );
});

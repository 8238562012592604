/** Several files as one project: merge, extends, include, profiles, env_file. */
import test from 'ava';
import { convertStack, type StackConversion } from '../../../manager/stack/index.ts';
import type { ServiceSpec } from '../../../shared/model/index.ts';

type Files = Readonly<Record<string, string | null>>;

/** The names before `files` are merged in their order. */
function project(
  compose: Readonly<Record<string, string>>,
  files: Files = {},
  more: { profiles?: string[]; variables?: Record<string, string> } = {},
): StackConversion {
  const texts = Object.entries(compose).map(([path, text]) => ({ path, text }));
  const { profiles = [], variables = {} } = more;
  return convertStack({ stack: 's', compose: texts, files, variables, profiles });
}

function said({ problems }: StackConversion, severity = 'error'): string[] {
  return problems
    .filter((problem) => problem.severity === severity)
    .map(({ file, line, column, key, message }) => `${file}:${line}:${column} ${key}: ${message}`);
}

function specs(result: StackConversion): Record<string, ServiceSpec> {
  const errors = said(result);
  if (errors.length > 0) throw new Error(errors.join('\n'));
  return Object.fromEntries(result.services.map(({ key, spec }) => [key, spec]));
}

test('merge: scalars and commands are replaced, mappings merged, lists appended, ports and mounts unique', (t) => {
  const result = project({
    'a.yaml': `
services:
  web:
    image: nginx:1
    command: [a, b]
    environment: [A=1, B=1]
    labels: {x: "1"}
    ports: ["80:80", "90:90/udp"]
    volumes: ["one:/data", "/etc:/etc:ro"]
    cap_add: [NET_ADMIN]
    dns: 1.1.1.1
    healthcheck: {test: [CMD, a], interval: 5s}
    networks: [front]
    depends_on: [db]
    deploy: {replicas: 2, labels: [t=1]}
    logging: {driver: json-file, options: {a: "1"}}
  db: {image: redis}
networks: {front: {}, back: {}}
volumes: {one: {}, two: {}}
`,
    'b.yaml': `
services:
  web:
    image: nginx:2
    command: c
    environment: {B: "2", C: "3"}
    labels: [y=2]
    ports: ["80:80", "81:80"]
    volumes: ["two:/data"]
    cap_add: [NET_ADMIN, SYS_TIME]
    dns: [8.8.8.8]
    healthcheck: {test: [CMD, b]}
    networks: {back: {aliases: [b]}}
    deploy: {labels: {u: "2"}}
    logging: {driver: local}
`,
  });
  const { web } = specs(result);
  t.like(web?.container, {
    image: 'nginx:2',
    args: ['c'],
    env: ['A=1', 'B=2', 'C=3'],
    capAdd: ['CAP_NET_ADMIN', 'CAP_SYS_TIME'],
  });
  t.deepEqual(web?.container.dns?.nameservers, ['1.1.1.1', '8.8.8.8']);
  t.like(web?.container.labels, { x: '1', y: '2' });
  t.deepEqual(
    web?.ports.map((port) => `${port.publishedPort}:${port.targetPort}/${port.protocol}`),
    ['80:80/tcp', '90:90/udp', '81:80/tcp'],
  );
  t.deepEqual(
    web?.container.mounts.map((mount) => `${mount.kind === 'tmpfs' ? '' : mount.source}:${mount.target}`),
    ['s_two:/data', '/etc:/etc'],
  );
  t.deepEqual(
    [web?.container.healthCheck?.test, web?.container.healthCheck?.intervalNs],
    [['CMD', 'b'], 5e9],
  );
  t.deepEqual(web?.networks, [
    { network: 's_front', aliases: ['web'] },
    { network: 's_back', aliases: ['web', 'b'] },
  ]);
  t.deepEqual(web?.mode, { kind: 'replicated', replicas: 2 });
  t.like(web?.labels, { t: '1', u: '2' });
  t.deepEqual(web?.logDriver, { name: 'local', options: {} });
});

test('merge: !reset takes away, !override replaces', (t) => {
  const { web } = specs(
    project({
      'a.yaml': 'services: {web: {image: x, ports: ["80:80"], environment: {A: "1", B: "1"}, user: me}}\n',
      'b.yaml':
        'services:\n  web:\n    ports: !override ["81:80"]\n    environment: {A: !reset null}\n    user: !reset\n',
    }),
  );
  t.deepEqual(
    web?.ports.map((port) => port.publishedPort),
    [81],
  );
  t.deepEqual(web?.container.env, ['B=1']);
  t.is(web?.container.user, undefined);
  t.deepEqual(
    specs(project({ 'a.yaml': 'services: {web: {image: x, ports: !reset ["80:80"]}}\n' }))['web']?.ports,
    [],
  );
});

test('extends: of this file, of another, in a chain; the own keys win', (t) => {
  const files = {
    'base/common.yaml':
      'services:\n  root: {image: old, environment: {A: "1", B: "1"}, env_file: r.env}\n  base: {extends: root, image: "new:${TAG}", ports: ["80:80"]}\n',
    'base/r.env': 'R=root\nB=lost\n',
  };
  const { web, other } = specs(
    project(
      {
        'a.yaml':
          'services:\n  web: {extends: {file: base/common.yaml, service: base}, environment: [B=2], ports: ["81:81"]}\n  other: {extends: web, user: me}\n',
      },
      files,
      { variables: { TAG: '7' } },
    ),
  );
  t.is(web?.container.image, 'new:7');
  t.deepEqual(web?.container.env, ['R=root', 'B=2', 'A=1']);
  t.deepEqual(
    web?.ports.map((port) => port.publishedPort),
    [80, 81],
  );
  t.is(other?.container.user, 'me');
  t.is(other?.container.image, 'new:7');
});

test('extends: what is not there, and circles, are named where they stand', (t) => {
  const circle = project({ 'a.yaml': 'services:\n  a: {extends: b}\n  b: {extends: {service: a}}\n' });
  t.true(
    said(circle).some((line) => /^a\.yaml:\d:7 services\.. ?.*extends itself/.test(line)),
    said(circle).join('\n'),
  );
  const lost = project(
    { 'a.yaml': 'services:\n  a: {image: x, extends: {file: f.yaml, service: s}}\n' },
    { 'f.yaml': null },
  );
  t.deepEqual(said(lost), ['a.yaml:2:17 services.a.extends: there is no file f.yaml']);
  const none = project(
    { 'a.yaml': 'services:\n  a: {image: x, extends: {file: d/f.yaml, service: s}}\n' },
    { 'd/f.yaml': 'services: {t: {image: x}}' },
  );
  t.deepEqual(said(none), ["a.yaml:2:17 services.a.extends: there is no service 's' in d/f.yaml"]);
  const wrong = project(
    { 'a.yaml': 'services:\n  a: {extends: {file: d/f.yaml, service: s}}\n' },
    { 'd/f.yaml': 'services:\n  s:\n    image: x\n    colour: red\n' },
  );
  t.deepEqual(said(wrong), ['d/f.yaml:4:5 services.s.colour: unknown key']);
});

test('include: with its own directory and .env; names that clash are refused', (t) => {
  const files = {
    'db/compose.yaml':
      'services: {db: {image: "redis:${TAG}", env_file: db.env, networks: [data]}}\nnetworks: {data: {}}\n',
    'db/.env': 'TAG=6\n',
    'db/db.env': 'D=1\n',
    'log/a.yaml': 'services: {log: {image: a}}\n',
    'log/b.yaml': 'services: {log: {image: b}}\n',
    'log.env': 'X=1\n',
  };
  const main =
    'include:\n  - db/compose.yaml\n  - {path: [log/a.yaml, log/b.yaml], env_file: log.env}\nservices: {web: {image: x, networks: [data]}}\n';
  const found = specs(project({ 'a.yaml': main }, files));
  t.deepEqual(Object.keys(found).sort(), ['db', 'log', 'web']);
  t.is(found['db']?.container.image, 'redis:6');
  t.deepEqual(found['db']?.container.env, ['D=1']);
  t.is(found['log']?.container.image, 'b:latest');
  t.is(
    specs(project({ 'a.yaml': main }, files, { variables: { TAG: '9' } }))['db']?.container.image,
    'redis:9',
  );
  const clash = project(
    { 'a.yaml': 'include: [b.yaml]\nservices: {web: {image: x}}\n' },
    { 'b.yaml': 'services: {web: {image: y}}\n', '.env': null },
  );
  t.regex(
    said(clash).join(),
    /^b\.yaml:1:12 services\.web: is included, and differs from what a\.yaml:2 says/,
  );
  const circle = project(
    { 'a.yaml': 'include: [b.yaml]\n' },
    { 'b.yaml': 'include: [b.yaml]\n', '.env': null },
  );
  t.regex(said(circle).join(), /b\.yaml:1:11 include\[0\]: b\.yaml includes itself/);
});

test('profiles: services without one, and those that were asked for', (t) => {
  const file = {
    'a.yaml':
      'services:\n  a: {image: x}\n  b: {image: x, profiles: [dev, test]}\n  c: {image: x, profiles: [dev]}\n',
  };
  const names = (...profiles: string[]) => Object.keys(specs(project(file, {}, { profiles })));
  t.deepEqual(names(), ['a']);
  t.deepEqual(names('test'), ['a', 'b']);
  t.deepEqual(names('*'), ['a', 'b', 'c']);
  const none = project({ 'a.yaml': 'services:\n  a: {image: x, profiles: [dev]}\n' });
  t.regex(said(none).join(), /all services have profiles/);
});

test('env_file: quotes, comments, variables, raw; environment wins; what is wrong is named in that file', (t) => {
  const files = {
    'one.env': `# comment
export A=1
B = two words # and a comment
C='$LITERAL # kept'
D="a\\n$A \${E:-e}"
F=a#b

G
H="over
two lines"
I=
`,
    'two.env': 'A=2\nRAW=$A "x"\n',
  };
  const file = {
    'a.yaml':
      'services:\n  a:\n    image: x\n    env_file:\n      - one.env\n      - {path: two.env, format: raw}\n      - {path: none.env, required: false}\n    environment: {I: own}\n',
  };
  const { a } = specs(project(file, { ...files, 'none.env': null }, { variables: { G: 'outer' } }));
  t.deepEqual(a?.container.env, [
    'A=2',
    'B=two words',
    'C=$LITERAL # kept',
    'D=a\n1 e',
    'F=a#b',
    'G=outer',
    'H=over\ntwo lines',
    'I=own',
    'RAW=$A "x"',
  ]);
  const bad = project(
    { 'a.yaml': 'services:\n  a: {image: x, env_file: bad.env}\n' },
    { 'bad.env': 'A=1\nB="x\n' },
  );
  t.deepEqual(said(bad), ['bad.env:2:1 B: a quotation mark is not closed, or something follows it']);
  const lost = project({ 'a.yaml': 'services:\n  a: {image: x, env_file: lost.env}\n' });
  t.deepEqual(said(lost), [
    'a.yaml:2:27 services.a.env_file: the file lost.env was not sent along (shoal deploy does so)',
  ]);
  t.deepEqual(lost.missing, ['lost.env']);
});

test('the runtime’s keys, in both forms', (t) => {
  const { a } = specs(
    project({
      'a.yaml': `services:
  a:
    image: x
    privileged: true
    devices: ["/dev/fuse", "/dev/a:/dev/b:r", {source: /dev/c, target: /dev/d, permissions: rw}]
    device_cgroup_rules: ["c 1:3 mr"]
    shm_size: 256m
    storage_opt: {size: 10g}
    pid: host
    ipc: host
    uts: host
    cgroup: host
    userns_mode: host
    oom_score_adj: -500
    security_opt: ["no-new-privileges:true", seccomp=unconfined, apparmor=unconfined]
    cpus: 0.5
    mem_limit: 64m
    mem_reservation: 32m
    memswap_limit: 128m
    pids_limit: 10
    cpu_shares: 512
    cpuset: 0-1
    domainname: d.org
    scale: 3
`,
    }),
  );
  t.deepEqual(a?.container.runtime, {
    privileged: true,
    devices: [
      { source: '/dev/fuse', target: '/dev/fuse', access: 'rwm' },
      { source: '/dev/a', target: '/dev/b', access: 'r' },
      { source: '/dev/c', target: '/dev/d', access: 'rw' },
    ],
    deviceRules: ['c 1:3 mr'],
    shmBytes: 256 * 2 ** 20,
    diskBytes: 10 * 2 ** 30,
    hostPid: true,
    hostIpc: true,
    hostUts: true,
    hostCgroup: true,
    userNamespace: 'host',
    domainname: 'd.org',
    cpuShares: 512,
    cpuset: '0-1',
    memorySwapBytes: 128 * 2 ** 20,
  });
  t.like(a?.container, { oomScoreAdj: -500, noNewPrivileges: true, seccompUnconfined: true });
  t.deepEqual(a?.limits, { nanoCpus: 5e8, memoryBytes: 64 * 2 ** 20, pids: 10 });
  t.deepEqual(a?.reservations, { memoryBytes: 32 * 2 ** 20 });
  t.deepEqual(a?.mode, { kind: 'replicated', replicas: 3 });
  const wrong = project({
    'a.yaml':
      'services:\n  a:\n    image: x\n    pid: service:b\n    security_opt: [seccomp=./p.json]\n    scale: 2\n    mem_limit: 1g\n    deploy: {replicas: 3, resources: {limits: {memory: 2g}}}\n',
  });
  t.deepEqual(
    said(wrong).map((line) => line.split(' ').slice(0, 2).join(' ')),
    [
      'a.yaml:4:10 services.a.pid:',
      'a.yaml:5:20 services.a.security_opt[0]:',
      'a.yaml:6:5 services.a.scale:',
      'a.yaml:7:5 services.a.mem_limit:',
    ],
  );
});

test('bombs of files, of services that extend one another, and of what they carry, are refused quickly', (t) => {
  const chain = Array.from({ length: 20_000 }, (_, i) => `  a${i}: {extends: a${i + 1}}`);
  const long = project({ 'a.yaml': `services:\n${chain.join('\n')}\n  a20000: {image: x}\n` });
  t.regex(said(long).join('\n'), /more than 50 services extend one another|too large/);
  const carried = Array.from({ length: 5000 }, (_, i) => `V${i}: x`).join(', ');
  const users = Array.from({ length: 2000 }, (_, i) => `  b${i}: {extends: a}`);
  const wide = `services:\n  a: {image: x, environment: {${carried}}}\n${users.join('\n')}\n`;
  t.regex(said(project({ 'a.yaml': wide })).join('\n'), /too large with what services extend/);
  const rows = Array.from({ length: 60_000 }, () => '1').join(',');
  const many = project(
    { 'a.yaml': `include: [${Array.from({ length: 500 }, () => 'b.yaml').join(', ')}]\n` },
    { 'b.yaml': `x-a: [${rows}]\nservices: {b: {image: x}}\n`, '.env': null },
  );
  t.regex(said(many).join('\n'), /too large|more than 200 files/);
});

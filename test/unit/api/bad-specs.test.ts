/** What contradicts itself, is absurd, or names what there is not: the field is named, and nothing is written. */
import { readBandwidth } from '../../../shared/lib/bandwidth.ts';
import test from 'ava';
import { ApiFixture } from './fixture.ts';

type Body = Record<string, unknown>;

/** `path` with dots; the rest is a service that is taken. */
function specWith(path: string, value: unknown, more: Body = {}): Body {
  const spec: Body = { Name: 'bad', TaskTemplate: { ContainerSpec: { Image: 'a' } }, ...more };
  const keys = path.split('.');
  let at = spec;
  for (const key of keys.slice(0, -1)) {
    at[key] = { ...(at[key] as Body | undefined) };
    at = at[key] as Body;
  }
  at[keys.at(-1) ?? ''] = value;
  return spec;
}

const RES = 'TaskTemplate.Resources';
const PORTS = 'EndpointSpec.Ports';
const JOB = { Mode: { ReplicatedJob: {} } };
const LESS = /Too small: expected number to be >=0/;
const ABSURD = 1e15;

/** Field, value, and what is said; each is refused with 400 by create and by update. */
const TABLE: readonly (readonly [path: string, value: unknown, said: RegExp, more?: Body])[] = [
  [
    'Mode',
    { Global: { Replicas: 3 } },
    /Mode\.Global\.Replicas: a global service has one task on every node/,
  ],
  [
    'Mode',
    { GlobalJob: { MaxConcurrent: 3 } },
    /Mode\.GlobalJob\.MaxConcurrent: a global service has one task/,
  ],
  ['Mode', { Global: {}, Replicated: { Replicas: 3 } }, /Mode: must specify only one service mode/],
  ['UpdateConfig', { Parallelism: 1 }, /UpdateConfig: update config cannot be used with jobs/, JOB],
  ['RollbackConfig', { Parallelism: 1 }, /RollbackConfig: update config cannot be used with jobs/, JOB],
  ['Mode.Replicated.Replicas', -1, /Mode\.Replicated\.Replicas: Too small/],
  ['Mode.Replicated.Replicas', 1.5, /Mode\.Replicated\.Replicas: .*int/],
  ['Mode.Replicated.Replicas', ABSURD, /replicas: at most 1000000 are supported/],
  ['Mode.ReplicatedJob.TotalCompletions', ABSURD, /totalCompletions: a whole number from 0 to 1000000/],
  ['Mode.ReplicatedJob.MaxConcurrent', ABSURD, /maxConcurrent: a whole number from 0 to 1000000/],
  ['Mode.ReplicatedJob.TotalCompletions', -1, /Mode\.ReplicatedJob\.TotalCompletions: Too small/],
  ...['Limits', 'Reservations'].flatMap((kind) => {
    const field = kind.toLowerCase();
    return [
      [`${RES}.${kind}.NanoCPUs`, -1, LESS],
      [`${RES}.${kind}.NanoCPUs`, 999, new RegExp(`${field}\\.cpus: .*at least 0\\.001`)],
      [`${RES}.${kind}.NanoCPUs`, ABSURD, new RegExp(`${field}\\.cpus: 1000000 is too much: at most 100000`)],
      [`${RES}.${kind}.MemoryBytes`, -1, LESS],
      [`${RES}.${kind}.MemoryBytes`, 4 * 2 ** 20 - 1, new RegExp(`${field}\\.memory: .*at least 4 MiB`)],
      [`${RES}.${kind}.MemoryBytes`, 2 ** 52, new RegExp(`${field}\\.memory: .*at most 1 PiB`)],
      [`${RES}.${kind}.MemoryBytes`, 2 ** 60, new RegExp(`${kind}\\.MemoryBytes: .*(int|big)`, 'i')],
      [`${RES}.${kind}.Pids`, -1, LESS],
    ] as const;
  }),
  [`${RES}.Limits.Pids`, ABSURD, /limits\.pids: .*at most 4194304/],
  [`${RES}.Reservations.Pids`, 5, /reservations\.pids: processes can not be reserved/],
  [
    RES,
    { Limits: { MemoryBytes: 2 ** 24 }, Reservations: { MemoryBytes: 2 ** 25 } },
    /reservations\.memoryBytes: 33554432 is more than the limit, which is 16777216/,
  ],
  [
    RES,
    { Limits: { NanoCPUs: 1e9 }, Reservations: { NanoCPUs: 2e9 } },
    /reservations\.nanoCpus: .*more than the limit/,
  ],
  ['TaskTemplate.RestartPolicy.Condition', 'never', /TaskTemplate\.RestartPolicy\.Condition: .*on-failure/],
  ['TaskTemplate.RestartPolicy.Delay', -1, LESS],
  ['TaskTemplate.RestartPolicy.Window', -1, LESS],
  ['TaskTemplate.RestartPolicy.MaxAttempts', -1, LESS],
  ['TaskTemplate.RestartPolicy.MaxAttempts', ABSURD, /restart\.maxAttempts: a whole number from 0 to 10000/],
  ['TaskTemplate.ForceUpdate', -1, LESS],
  ['TaskTemplate.ForceUpdate', 2 ** 60, /ForceUpdate/],
  ['TaskTemplate.ContainerSpec.StopGracePeriod', 4e15, /stopGracePeriod: at most 24 days/],
  ...['UpdateConfig', 'RollbackConfig'].flatMap((kind) => {
    const field = kind === 'UpdateConfig' ? 'update' : 'rollback';
    return [
      [`${kind}.Parallelism`, -1, LESS],
      [`${kind}.Parallelism`, 0.5, /Parallelism: .*int/],
      [`${kind}.Delay`, -1, LESS],
      [`${kind}.Delay`, 2 ** 60, /Delay/],
      [`${kind}.Monitor`, -1, LESS],
      [`${kind}.MaxFailureRatio`, 1.5, new RegExp(`${field}\\.maxFailureRatio: a ratio from 0 to 1`)],
      [`${kind}.MaxFailureRatio`, -0.1, new RegExp(`${field}\\.maxFailureRatio: a ratio from 0 to 1`)],
      [`${kind}.Order`, 'both', new RegExp(`${kind}\\.Order: .*start-first`)],
      [`${kind}.FailureAction`, 'panic', new RegExp(`${kind}\\.FailureAction: .*pause`)],
    ] as const;
  }),
  ['RollbackConfig.FailureAction', 'rollback', /rollback\.failureAction: a rollback is not rolled back/],
  ...(
    [
      ['node.lables.zone==a', /unknown key "node\.lables\.zone" \(known: node\.id, .*node\.labels\.NAME/],
      ['node.labels.zone=a', /invalid constraint "node\.labels\.zone=a": expected KEY==VALUE or KEY!=VALUE/],
      ['node.labels.cores>4', /invalid constraint .*expected KEY==VALUE or KEY!=VALUE/],
      ['node.labels.zone==', /invalid constraint .*expected KEY==VALUE or KEY!=VALUE/],
      ['node.ip==10.0.0.0/99', /invalid constraint .*no IPv4 address or CIDR/],
      ['', /invalid constraint ""/],
    ] as const
  ).map(([text, said]) => ['TaskTemplate.Placement.Constraints', [text], said] as const),
  [
    'TaskTemplate.Placement.Preferences',
    [{ Spread: { SpreadDescriptor: 'node.hostname' } }],
    /placement\.preferences: 'node\.hostname': spread over node\.labels\.<name> or engine\.labels\.<name>/,
  ],
  ['TaskTemplate.Placement.Preferences', [{ Binpack: {} }], /Preferences\.0\.Spread/],
  ['TaskTemplate.Placement.MaxReplicas', -1, LESS],
  ['TaskTemplate.Placement.MaxReplicas', ABSURD, /placement\.maxReplicas: a whole number from 0 to 1000000/],
  [PORTS, [{ TargetPort: 70_000 }], /ports: target port 70000: 1 to 65535/],
  [PORTS, [{ TargetPort: 0, PublishedPort: 80 }], /ports: target port 0: 1 to 65535/],
  [PORTS, [{ TargetPort: 80, PublishedPort: 70_000 }], /ports: published port 70000: 0 to 65535/],
  [PORTS, [{ TargetPort: -80 }], LESS],
  [PORTS, [{ TargetPort: 80, Protocol: 'icmp' }], /EndpointSpec\.Ports\.0\.Protocol: .*tcp/],
  ['Mode', { Cron: {} }, /Mode\.Cron\.Schedule: is missing/],
  ['Mode', { Cron: { Schedule: '0 0 30 2 *' } }, /Mode\.Cron\.Schedule: '0 0 30 2 \*' never comes/],
  [
    'Mode',
    { Cron: { Schedule: '@daily', TimeZone: 'Mars/Olympus' } },
    /Mode\.Cron\.TimeZone: 'Mars\/Olympus' is no time zone/,
  ],
  ['Mode', { Cron: { Schedule: '@daily', CatchUp: 5 } }, /Mode\.Cron\.CatchUp: a duration .* at least 1s/],
  [
    'Mode',
    { Cron: { Schedule: '@daily', History: 1e9 } },
    /Mode\.Cron\.History: a number of runs from 1 to 999/,
  ],
  ['Mode', { Cron: { Schedule: '@daily', Concurrency: 'maybe' } }, /Mode\.Cron\.Concurrency: .*forbid/],
  ['Mode', { Cron: { Schedule: '@daily' }, ReplicatedJob: {} }, /Mode: must specify only one service mode/],
  [
    'Mode',
    { Cron: { Schedule: '@daily' } },
    /Mode\.Cron: says something else than the labels shoal\.cron\.\*: give one of the two/,
    { Labels: { 'shoal.cron.schedule': '@hourly' } },
  ],
  [
    'Labels',
    { 'shoal.cron.schedule': '0 0 30 2 *' },
    /Labels\.shoal\.cron\.schedule: '0 0 30 2 \*' never comes/,
    JOB,
  ],
  [
    'Labels',
    { 'shoal.cron.schedule': '@daily', 'shoal.cron.timezone': 'X' },
    /Labels\.shoal\.cron\.timezone: 'X' is no time zone/,
    JOB,
  ],
];

test('specs that make no sense: 400, the field is named, nothing is written', async (t) => {
  await using api = await ApiFixture.up(1);
  const made = await api.send('POST', '/services/create', specWith('Name', 'good'));
  t.is(made.status, 201);
  const { Version } = await api.get('/services/good');
  const before = api.store.commits;
  for (const [path, value, said, more] of TABLE) {
    const spec = specWith(path, value, more);
    const where = `${path} ${JSON.stringify(value)}`;
    const create = await api.send('POST', '/services/create', spec);
    t.is(create.status, 400, `${where}: ${create.json?.message}`);
    t.regex(create.json.message, said, where);
    const update = await api.send('POST', `/services/good/update?version=${Version.Index}`, {
      ...spec,
      Name: 'good',
    });
    t.is(update.status, 400, where);
  }
  t.is(api.store.commits, before);
  t.true(TABLE.length > 70);
});

test('references to what was removed are refused by name', async (t) => {
  await using api = await ApiFixture.up(1);
  await api.send('POST', '/services/create', specWith('Name', 'good'));
  const { Version } = await api.get('/services/good');
  const file = { Name: 'f', UID: '0', GID: '0', Mode: 0o444 };
  const before = api.store.commits;
  for (const [path, value, status, said] of [
    ['TaskTemplate.Networks', [{ Target: 'gone' }], 404, /network gone not found/],
    [
      'TaskTemplate.ContainerSpec',
      { Image: 'a', Secrets: [{ SecretID: 'x', SecretName: 'token', File: file }] },
      400,
      /secret not found: token/,
    ],
    [
      'TaskTemplate.ContainerSpec',
      { Image: 'a', Configs: [{ ConfigID: 'x', ConfigName: 'motd', File: file }] },
      400,
      /config not found: motd/,
    ],
  ] as const) {
    const create = await api.send('POST', '/services/create', specWith(path, value));
    t.is(create.status, status, path);
    t.regex(create.json.message, said);
    const update = await api.send(
      'POST',
      `/services/good/update?version=${Version.Index}`,
      specWith(path, value, { Name: 'good' }),
    );
    t.is(update.status, status, path);
    t.regex(update.json.message, said);
  }
  t.is(api.store.commits, before);
});

/** The same in compose files, as far as the way is another: the key below services.bad, and what is said of it. */
const COMPOSE: readonly (readonly [yaml: string, said: RegExp])[] = [
  ['deploy: {mode: global, replicas: 3}', /deploy\.replicas: replicas can not be used with mode global/],
  ['deploy: {mode: replicated-job, update_config: {parallelism: 1}}', /deploy\.update_config.*job/],
  ['deploy: {mode: replicated-job, rollback_config: {parallelism: 1}}', /deploy\.rollback_config.*job/],
  ['deploy: {replicas: -1}', /deploy\.replicas/],
  ['deploy: {replicas: 1000000000000000}', /replicas: at most 1000000/],
  ['deploy: {resources: {limits: {cpus: "-1"}}}', /cpus/],
  ['cpus: 0.05\n    cpu_period: 10000', /limits\.cpus: 500 of a period of 10000 microseconds is too little/],
  ['deploy: {resources: {limits: {memory: 1M}}}', /limits\.memory: .*at least 4 MiB/],
  ['deploy: {resources: {limits: {pids: 99999999999}}}', /pids: .*at most 4194304/],
  [
    'deploy: {resources: {limits: {memory: 16M}, reservations: {memory: 32M}}}',
    /reservations.*more than the limit/,
  ],
  ['deploy: {restart_policy: {max_attempts: -1}}', /max_attempts/],
  ['deploy: {restart_policy: {max_attempts: 99999999}}', /max_attempts: a whole number from 0 to 10000/],
  ['deploy: {restart_policy: {delay: -5s}}', /restart_policy\.delay/],
  ['deploy: {update_config: {max_failure_ratio: 2}}', /max_?failure_?ratio/i],
  ['deploy: {update_config: {parallelism: -1}}', /parallelism/],
  ['deploy: {rollback_config: {failure_action: rollback}}', /rollback/],
  ['deploy: {placement: {constraints: ["node.labels.zone=a"]}}', /expected KEY==VALUE or KEY!=VALUE/],
  ['deploy: {placement: {constraints: ["node.zone==a"]}}', /unknown key "node\.zone"/],
  ['deploy: {placement: {preferences: [{spread: node.role}]}}', /'node\.role': spread over node\.labels/],
  ['deploy: {placement: {max_replicas_per_node: -1}}', /max_replicas_per_node/],
  ['ports: ["70000:80"]', /70000/],
  ['ports: ["80:70000"]', /70000/],
  ['stop_grace_period: 999999h', /stop_?grace_?period/i],
  ['deploy: {x-shoal-cron: {schedule: "0 0 30 2 *"}}', /never comes/],
  [
    'deploy: {x-shoal-cron: {schedule: "@daily", timezone: Mars}}',
    /shoal\.cron\.timezone: 'Mars' is no time zone/,
  ],
  ['networks: [gone]', /gone/],
  ['secrets: [gone]', /gone/],
  ['configs: [gone]', /gone/],
];

test('the same in compose files: 400 with the place, nothing is written', async (t) => {
  await using api = await ApiFixture.up(1);
  const before = api.store.commits;
  const yaml = { 'content-type': 'application/yaml' };
  for (const [text, said] of COMPOSE) {
    const file = `services:\n  bad:\n    image: a\n    ${text}\n`;
    const { status, json } = await api.send('PUT', '/stacks/shop', file, yaml);
    t.is(status, 400, text);
    t.regex(json.message, said, text);
    t.true(json.errors.length > 0, text);
  }
  t.is(api.store.commits, before);
});

test('Mode.Cron is the labels: shown as clients can read them, brought back by them, changed by either', async (t) => {
  await using api = await ApiFixture.up(1);
  api.obeys = false;
  const Cron = {
    Schedule: '0 3 * * *',
    TimeZone: 'Europe/Berlin',
    Concurrency: 'forbid',
    CatchUp: 90e9,
    History: 7,
  };
  const created = await api.send('POST', '/services/create', specWith('Mode', { Cron }));
  t.is(created.status, 201, created.json?.message);
  const labels = {
    'shoal.cron.schedule': '0 3 * * *',
    'shoal.cron.timezone': 'Europe/Berlin',
    'shoal.cron.concurrency': 'forbid',
    'shoal.cron.catch-up': '1m30s',
    'shoal.cron.history': '7',
  };
  const shown = await api.get('/services/bad');
  t.deepEqual(shown.Spec.Labels, labels);
  t.deepEqual(shown.Spec.Mode, { ReplicatedJob: { MaxConcurrent: 0, TotalCompletions: 0 } });
  t.deepEqual(api.store.get('revisions', `${shown.ID}.1`)?.spec.mode, {
    kind: 'cron',
    schedule: '0 3 * * *',
    timeZone: 'Europe/Berlin',
    concurrency: 'forbid',
    catchUpMs: 90_000,
    history: 7,
  });
  const update = async (spec: object): Promise<number> => {
    const { Version } = await api.get('/services/bad');
    return (await api.send('POST', `/services/bad/update?version=${Version.Index}`, spec)).status;
  };
  t.is(await update(shown.Spec), 200);
  t.is((await api.get('/services/bad/revisions')).length, 1, 'what was read and sent back changes nothing');
  t.is(await update({ ...shown.Spec, Mode: { Cron } }), 200, 'both, and they say the same');
  t.is(await update(specWith('Mode', { Cron: { Schedule: '@hourly' } })), 200);
  t.deepEqual((await api.get('/services/bad')).Spec.Labels, { 'shoal.cron.schedule': '@hourly' });
  const once = { Mode: { ReplicatedJob: { TotalCompletions: 1 } } };
  t.is(await update(specWith('Name', 'bad', once)), 200, 'a schedule can be taken away');
});

test('limits of bandwidth are labels of the container, with values that can be', async (t) => {
  await using api = await ApiFixture.up();
  const sent = async (Labels: object, inner: object) => {
    const TaskTemplate = { ContainerSpec: { Image: 'a', Labels: inner } };
    const { status, json } = await api.send('POST', '/services/create', { Name: 'a', Labels, TaskTemplate });
    return `${status} ${json.message ?? ''}`;
  };
  const name = 'shoal.bandwidth-out';
  t.regex(
    await sent({ [name]: '1mbit' }, {}),
    /^400 .*labels: shoal\.bandwidth-out is a label of the container/,
  );
  for (const text of ['', '1', '10mb', '1kbit', '63.9kbit', '101gbit', '-1mbit', '1e3kbit', 'NaNmbit'])
    t.regex(
      await sent({}, { [name]: text }),
      /^400 .*labels: shoal\.bandwidth-out: '.*': such as 500kbit/,
      text,
    );
  t.deepEqual(readBandwidth({ [name]: '64kbit', 'shoal.bandwidth-in': '1.5Gbit', other: 'x' }), {
    bandwidth: { outOf: 8000, into: 187_500_000 },
    problems: [],
  });
  t.regex(await sent({}, { [name]: '10mbit' }), /^201 /);
});

import test from 'ava';
import type { UsageSource } from '../../../manager/plan/view.ts';
import type { Service, ServiceSpec } from '../../../shared/model/index.ts';
import { type Answer, ApiFixture, type Json } from './fixture.ts';

const LABELS = {
  'shoal.autoscale.min': '2',
  'shoal.autoscale.max': '10',
  'shoal.autoscale.cpu': '70%',
};

function body(more: object = {}, Labels: object = LABELS): Json {
  return { Name: 'web', Labels, TaskTemplate: { ContainerSpec: { Image: 'nginx:1' } }, ...more };
}

function replicas(Replicas: number): object {
  return { Mode: { Replicated: { Replicas } } };
}

/** The API with one service, which has been made with `made`. */
class Web implements AsyncDisposable {
  readonly api: ApiFixture;

  private constructor(api: ApiFixture) {
    this.api = api;
  }

  static async up(made: object = body(), usage?: UsageSource): Promise<Web> {
    const web = new Web(await ApiFixture.up(2, usage === undefined ? {} : { usage }));
    const { status, json } = await web.api.send('POST', '/services/create', made);
    if (status !== 201) throw new Error(json.message);
    return web;
  }

  get record(): Service {
    const id = this.api.store.get('names', 'service:web')?.id ?? '';
    return this.api.store.get('services', id) as Service;
  }

  get spec(): ServiceSpec {
    const { id, revision } = this.record;
    return this.api.store.get('revisions', `${id}.${revision}`)?.spec as ServiceSpec;
  }

  /** As the leader does it. */
  async scale(number: number): Promise<void> {
    const value = { ...this.record, scaled: { replicas: number, atMs: 1_000, reason: 'mean cpu use' } };
    await this.api.write([{ table: 'services', key: value.id, value }]);
  }

  shown(): Promise<Json> {
    return this.api.get('/services/web');
  }

  async number(): Promise<number> {
    return (await this.shown()).Spec.Mode.Replicated.Replicas as number;
  }

  /** What a client does that changes some of a service: it reads it, and writes all of it back. */
  async change(edit: (spec: Json) => void): Promise<Answer> {
    const { Version, Spec } = await this.shown();
    edit(Spec);
    return this.api.send('POST', `/services/web/update?version=${Version.Index}`, Spec);
  }

  /** What a client does that has the whole spec from elsewhere, as from a file. */
  async replace(spec: object, query = ''): Promise<Answer> {
    const { Version } = await this.shown();
    return this.api.send('POST', `/services/web/update?version=${Version.Index}${query}`, spec);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.api[Symbol.asyncDispose]();
  }
}

test('labels ask for it; without a number of its own a service begins with the least', async (t) => {
  await using web = await Web.up();
  t.deepEqual(web.spec.autoscale, { min: 2, max: 10, cpuPercent: 70, coolDownMs: 300_000 });
  t.is(await web.number(), 2);
  const { Autoscale } = await web.shown();
  t.deepEqual(Autoscale, {
    Min: 2,
    Max: 10,
    CoolDown: 300_000_000_000,
    Metrics: [{ Resource: 'cpu', Target: 70 }],
    MeasuredTasks: 0,
  });
});

test('a mistake is told with the field and what is allowed', async (t) => {
  await using api = await ApiFixture.up();
  const refused = async (labels: object, more: object = {}): Promise<string> => {
    const { status, json } = await api.send('POST', '/services/create', body(more, labels));
    t.is(status, 400, JSON.stringify(labels));
    return json.message as string;
  };
  const A = 'shoal.autoscale';
  const one = (field: string, value: string): object => ({ ...LABELS, [`${A}.${field}`]: value });
  t.regex(await refused(one('min', '11')), /Labels\.shoal\.autoscale\.min: 11 is more than .*max, 10/);
  for (const text of ['0', '-1', '1.5', 'x', '', '1000001'])
    t.regex(await refused(one('min', text)), /autoscale\.min: '.*': a whole number from 1 to 1000000/);
  t.regex(await refused(one('max', 'many')), /autoscale\.max: 'many': a whole number/);
  t.regex(await refused({ [`${A}.cpu`]: '70' }), /autoscale\.max: is missing/);
  t.regex(await refused({ [`${A}.max`]: '5' }), /autoscale\.cpu: or shoal\.autoscale\.memory is missing/);
  for (const text of ['0', '70.5', 'half', '10001'])
    t.regex(await refused(one('cpu', text)), /autoscale\.cpu: '.*': a whole number of percent from 1 to/);
  t.regex(
    await refused(one('memory', '80')),
    /autoscale\.memory: is a percentage of a reservation or a limit/,
  );
  for (const text of ['5', '0s', '500ms', '25h', 'soon'])
    t.regex(await refused(one('cool-down', text)), /autoscale\.cool-down: '.*': .* from 1s to 24h/);
  t.regex(await refused(one('cooldown', '5m')), /shoal\.autoscale\.cooldown: is none of .*cool-down/);
  t.regex(await refused(LABELS, { Mode: { Global: {} } }), /autoscale\.max: needs mode replicated/);
  t.regex(await refused(LABELS, { Mode: { ReplicatedJob: {} } }), /autoscale\.max: needs mode replicated/);
  t.regex(await refused(LABELS, replicas(1)), /replicas: 1 is not allowed: .* say 2 to 10/);
  t.regex(await refused(LABELS, replicas(11)), /replicas: 11 is not allowed: .* say 2 to 10/);
  const limit = { Resources: { Limits: { MemoryBytes: 2 ** 26 } } };
  const TaskTemplate = { ContainerSpec: { Image: 'nginx:1' }, ...limit };
  const good = await api.send('POST', '/services/create', body({ TaskTemplate }, one('memory', '80')));
  t.is(good.status, 201);
});

test('the number is shown, in the list and as desired tasks too; a client that brings it back disturbs nothing', async (t) => {
  await using web = await Web.up(body(replicas(3)));
  web.api.obeys = false;
  await web.scale(7);
  t.is(await web.number(), 7);
  const [listed] = await web.api.get('/services?status=true');
  t.is(listed.Spec.Mode.Replicated.Replicas, 7);
  t.is(listed.ServiceStatus.DesiredTasks, 7);
  t.like((await web.shown()).Autoscale.LastChange, { Replicas: 7, Reason: 'mean cpu use' });
  t.is((await web.change(() => undefined)).status, 200);
  t.like(web.record, { revision: 1, scaled: { replicas: 7, atMs: 1_000 } });
  await web.change((spec) => {
    spec.TaskTemplate.ContainerSpec.Image = 'nginx:2';
  });
  t.like(web.record, { revision: 2, scaled: { replicas: 7, atMs: 1_000 } });
  t.deepEqual(web.spec.mode, { kind: 'replicated', replicas: 3 });
  t.is((await web.shown()).PreviousSpec.TaskTemplate.ContainerSpec.Image, 'nginx:1');
});

test('docker service scale: a number within the bounds is the number, and no revision', async (t) => {
  await using web = await Web.up(body(replicas(3)));
  web.api.obeys = false;
  const scale = (number: number) =>
    web.change((spec) => {
      spec.Mode.Replicated.Replicas = number;
    });
  t.is((await scale(5)).status, 200);
  t.like(web.record, { revision: 1, scaled: { replicas: 5, reason: 'set by a user' } });
  t.is(await web.number(), 5);
  t.is((await scale(3)).status, 200, 'the number that it was made with is one like any other');
  t.is(await web.number(), 3);
  const outside = await scale(11);
  t.is(outside.status, 400);
  t.regex(outside.json.message, /replicas: 11 is not allowed: shoal\.autoscale\.min and \.max say 2 to 10/);
  t.is((await scale(0)).status, 400);
  t.is(await web.number(), 3);
});

test('a spec from elsewhere: the number that it always had, the least, and none are no wish', async (t) => {
  await using web = await Web.up(body(replicas(3)));
  web.api.obeys = false;
  await web.scale(7);
  for (const [mode, revision] of [
    [replicas(3), 1],
    [replicas(2), 2],
    [{}, 2],
    [{ Mode: { Replicated: {} } }, 2],
  ] as const) {
    t.is((await web.replace(body(mode))).status, 200);
    t.is(await web.number(), 7, JSON.stringify(mode));
    t.is(web.record.revision, revision);
  }
  t.is((await web.replace(body(replicas(4)))).status, 200);
  t.is(await web.number(), 4);
  t.deepEqual(web.spec.mode, { kind: 'replicated', replicas: 4 });
});

test('a number that nobody changed survives a file without one', async (t) => {
  await using web = await Web.up(body(replicas(4)));
  web.api.obeys = false;
  await web.replace(body());
  t.is(await web.number(), 4);
});

test('other bounds: the number follows them, whoever sets them', async (t) => {
  await using web = await Web.up(body(replicas(3)));
  web.api.obeys = false;
  await web.scale(7);
  const bound = (name: string, value: string) =>
    web.change((spec) => {
      spec.Labels[`shoal.autoscale.${name}`] = value;
    });
  t.is((await bound('max', '5')).status, 200);
  t.is(await web.number(), 5);
  t.is((await bound('max', '10')).status, 200);
  t.is(await web.number(), 5, 'what it was before does not come back');
  t.is((await bound('min', '8')).status, 200);
  t.is(await web.number(), 8);
});

test('turned off, the number stays as it is; turned on again, it begins with that', async (t) => {
  await using web = await Web.up();
  web.api.obeys = false;
  await web.scale(7);
  await web.change((spec) => {
    spec.Labels = {};
  });
  t.is(await web.number(), 7);
  t.is(web.record.scaled, undefined);
  t.is((await web.shown()).Autoscale, undefined);
  await web.change((spec) => {
    spec.Labels = LABELS;
  });
  t.is(await web.number(), 7);
  t.deepEqual(web.spec.mode, { kind: 'replicated', replicas: 7 });
});

test('a rollback keeps the number, unless the spec before asked for no scaling', async (t) => {
  await using web = await Web.up(body(replicas(3), {}));
  web.api.obeys = false;
  await web.replace(body(replicas(3)));
  await web.scale(7);
  await web.replace(body({ TaskTemplate: { ContainerSpec: { Image: 'nginx:2' } } }));
  t.is((await web.replace({}, '&rollback=previous')).status, 200);
  t.is(web.spec.container.image, 'nginx:1');
  t.is(await web.number(), 7);
  await web.replace(body(replicas(3), {}));
  t.is(await web.number(), 3);
  await web.replace(body());
  await web.scale(8);
  t.is((await web.replace({}, '&rollback=previous')).status, 200);
  t.is(web.spec.autoscale, undefined);
  t.is(await web.number(), 3);
  t.is(web.record.scaled, undefined);
});

test('inspect says what is used now', async (t) => {
  const samples: UsageSource['samples'] = () => [{ atMs: Date.now(), nanoCpus: 5e8, memoryBytes: 2 ** 25 }];
  const TaskTemplate = {
    ContainerSpec: { Image: 'nginx:1' },
    Resources: { Reservations: { NanoCPUs: 1e9 }, Limits: { NanoCPUs: 2e9, MemoryBytes: 2 ** 26 } },
  };
  const labels = { ...LABELS, 'shoal.autoscale.memory': '80' };
  await using web = await Web.up(body({ TaskTemplate, ...replicas(2) }, labels), { samples });
  const { Autoscale } = await web.shown();
  t.is(Autoscale.MeasuredTasks, 2);
  t.deepEqual(Autoscale.Metrics, [
    { Resource: 'cpu', Target: 70, Current: 50 },
    { Resource: 'memory', Target: 80, Current: 50 },
  ]);
});

test('a change of the number is an event, with the numbers and the reason', async (t) => {
  await using web = await Web.up();
  web.api.obeys = false;
  await web.scale(4);
  await web.scale(7);
  const nowS = Math.ceil(Date.now() / 1000);
  const { body: text } = await web.api.send(
    'GET',
    `/events?since=${nowS - 60}&until=${nowS}&filters={"type":["service"]}`,
  );
  const last = text
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .at(-1);
  t.is(last.Action, 'update');
  t.like(last.Actor.Attributes, {
    name: 'web',
    'replicas.old': '4',
    'replicas.new': '7',
    'shoal.autoscale.reason': 'mean cpu use',
  });
});

const FILE = `services:
  web:
    image: nginx:1
    deploy:
      x-shoal-autoscale:
        min: 2
        max: 10
        cpu: 70
`;

test('a stack: the same file changes nothing, another keeps the number, one with another number sets it', async (t) => {
  await using api = await ApiFixture.up();
  const deploy = (file: string) => api.send('PUT', '/stacks/s', file, { 'content-type': 'application/yaml' });
  const number = async () => (await api.get('/services/s_web')).Spec.Mode.Replicated.Replicas as number;
  t.is((await deploy(FILE)).status, 200);
  api.obeys = false;
  const id = api.store.get('names', 'service:s_web')?.id ?? '';
  const value = api.store.get('services', id) as Service;
  await api.write([
    { table: 'services', key: id, value: { ...value, scaled: { replicas: 7, atMs: 1, reason: 'use' } } },
  ]);
  t.is((await deploy(FILE)).json.services[0].action, 'unchanged');
  t.is(await number(), 7);
  t.is((await deploy(FILE.replace('nginx:1', 'nginx:2'))).json.services[0].action, 'updated');
  t.is(await number(), 7);
  t.is((await deploy(FILE.replace('deploy:', 'deploy:\n      replicas: 5'))).status, 200);
  t.is(await number(), 5);
  t.is((await deploy(FILE.replace('deploy:', 'deploy:\n      replicas: 15'))).status, 400);
  t.is(await number(), 5);
});

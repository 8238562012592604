import test from 'ava';
import { type Json, ApiFixture } from './fixture.ts';

async function create(api: ApiFixture, Name: string, Mode: object, more: object = {}): Promise<Json> {
  const body = { Name, TaskTemplate: { ContainerSpec: { Image: 'nginx:1' } }, Mode, ...more };
  return (await api.send('POST', '/services/create', body)).json;
}

test('job modes go in and come out as they were, with their defaults', async (t) => {
  await using api = await ApiFixture.up();
  const modeOf = async (id: string): Promise<object> => (await api.get(`/services/${id}`)).Spec.Mode;
  const both = { ReplicatedJob: { MaxConcurrent: 2, TotalCompletions: 5 } };
  t.deepEqual(await modeOf((await create(api, 'a', both)).ID), both);
  const one = await create(api, 'b', { ReplicatedJob: {} });
  t.deepEqual(await modeOf(one.ID), { ReplicatedJob: { MaxConcurrent: 1, TotalCompletions: 1 } });
  const total = await create(api, 'c', { ReplicatedJob: { MaxConcurrent: 3 } });
  t.deepEqual(await modeOf(total.ID), { ReplicatedJob: { MaxConcurrent: 3, TotalCompletions: 3 } });
  t.deepEqual(await modeOf((await create(api, 'd', { GlobalJob: {} })).ID), { GlobalJob: {} });
  t.regex((await create(api, 'e', { ReplicatedJob: { MaxConcurrent: -1 } })).message, /MaxConcurrent/);
  const names = (await api.get('/services?filters={"mode":["replicated-job"]}')).map(
    (s: Json) => s.Spec.Name,
  );
  t.deepEqual(names.toSorted(), ['a', 'b', 'c']);
});

test('every update is an execution of its own, also one that changes nothing', async (t) => {
  await using api = await ApiFixture.up();
  const { ID } = await create(api, 'a', { GlobalJob: {} });
  const before = await api.get(`/services/${ID}`);
  t.is(before.JobStatus.JobIteration.Index, 0);
  const path = `/services/${ID}/update?version=${before.Version.Index}`;
  t.is((await api.send('POST', path, before.Spec)).status, 200);
  const after = await api.get(`/services/${ID}`);
  t.is(after.JobStatus.JobIteration.Index, 1);
  t.true(Date.parse(after.JobStatus.LastExecution) >= Date.parse(before.JobStatus.LastExecution));
  t.is(after.Spec.UpdateConfig, undefined);
});

test('a schedule is written as labels, which clients bring back', async (t) => {
  await using api = await ApiFixture.up();
  const Labels = { 'shoal.cron.schedule': '*/5 * * * *', 'shoal.cron.concurrency': 'forbid' };
  const { ID } = await create(api, 'a', { ReplicatedJob: {} }, { Labels });
  const stored = (): unknown =>
    api.store.get('revisions', `${ID}.${api.store.get('services', ID)?.revision}`);
  t.like(stored(), { revision: 1, spec: { mode: { kind: 'cron', timeZone: 'UTC', concurrency: 'forbid' } } });
  const { Spec, Version } = await api.get(`/services/${ID}`);
  t.deepEqual(Spec.Labels, Labels);
  const update = (version: number, spec: object) =>
    api.send('POST', `/services/${ID}/update?version=${version}`, spec);
  t.is(
    (await update(Version.Index, { ...Spec, TaskTemplate: { ...Spec.TaskTemplate, ForceUpdate: 1 } })).status,
    200,
  );
  t.like(stored(), { revision: 2, spec: { mode: { kind: 'cron', schedule: '*/5 * * * *' } } });
  const { Version: next } = await api.get(`/services/${ID}`);
  t.is((await update(next.Index, { ...Spec, Labels: {} })).status, 200);
  t.like(stored(), { revision: 3, spec: { mode: { kind: 'replicated-job' } } });
});

test('the deadline of an update is a label too', async (t) => {
  await using api = await ApiFixture.up();
  const label = (text: string) => ({ Labels: { 'shoal.update.deadline': text } });
  const { ID } = await create(api, 'a', { Global: {} }, label('90s'));
  t.like(api.store.get('revisions', `${ID}.1`), { spec: { updateDeadlineMs: 90_000 } });
  t.regex(
    (await create(api, 'b', { Global: {} }, label('x'))).message,
    /shoal\.update\.deadline: a duration/,
  );
});

test('placement beyond what Docker has is written as labels', async (t) => {
  await using api = await ApiFixture.up();
  const labels = (Labels: object) => ({ Labels });
  const rules = { 'shoal.placement.strategy': 'binpack', 'shoal.placement.apart': 'db, cache' };
  const { ID } = await create(api, 'a', { Global: {} }, labels(rules));
  const apart = (service: string) => ({ service, kind: 'apart', hard: true });
  t.like(api.store.get('revisions', `${ID}.1`), {
    spec: { placement: { strategy: 'binpack', affinities: [apart('db'), apart('cache')] } },
  });
  const refused = async (name: string, value: string): Promise<string> =>
    (await create(api, 'b', { Global: {} }, labels({ [name]: value }))).message;
  t.regex(await refused('shoal.placement.strategy', 'x'), /strategy: spread or binpack is expected/);
  t.regex(await refused('shoal.placement.near', ','), /near: names of services are expected/);
  t.regex(await refused('shoal.placement.nigh', 'x'), /nigh: is none of shoal\.placement\.strategy/);
});

test('how connections come to tasks is written as labels', async (t) => {
  await using api = await ApiFixture.up();
  const rules = {
    'shoal.balance': 'source-hash',
    'shoal.serve-unready': 'true',
    'shoal.withdraw-wait': '1.5s',
  };
  const { ID } = await create(api, 'a', { Replicated: {} }, { Labels: rules });
  const stored = { spec: { balance: 'source-hash', serveUnready: true, withdrawWaitMs: 1500 } };
  t.like(api.store.get('revisions', `${ID}.1`), stored);
  const refused = async (Labels: object, more: object = {}, mode: object = { Global: {} }): Promise<string> =>
    (await create(api, 'b', mode, { Labels, ...more })).message;
  const before = api.store.all('services').size;
  t.is(
    await refused({ 'shoal.balance': 'fair' }),
    'invalid service spec: Labels.shoal.balance: random or source-hash is expected',
  );
  const dnsrr = { EndpointSpec: { Mode: 'dnsrr' } };
  t.regex(await refused({ 'shoal.balance': 'random' }, dnsrr), /balance: needs the endpoint mode vip/);
  t.regex(await refused({ 'shoal.serve-unready': 'yes' }), /serve-unready: true or false is expected/);
  for (const text of ['', '10', '-1s', '11m'])
    t.regex(await refused({ 'shoal.withdraw-wait': text }), /withdraw-wait: the time between withdrawal/);
  t.regex(
    await refused({ 'shoal.withdraw-wait': '1s' }, {}, { ReplicatedJob: {} }),
    /withdraw-wait: is for services whose tasks run on/,
  );
  const canary = (of: string, share: string) => ({ 'shoal.canary-of': of, 'shoal.canary-share': share });
  for (const share of ['', '0', '100', '5%', '-1'])
    t.regex(
      await refused(canary('a', share)),
      /canary-share: per cent of connections are expected, from 1 to 99/,
    );
  t.regex(await refused({ 'shoal.canary-share': '5' }), /canary-share: needs shoal\.canary-of/);
  t.regex(await refused(canary('b', '5')), /canary-of: is another service/);
  t.is(api.store.all('services').size, before);
  const next = await create(api, 'next', { Global: {} }, { Labels: canary('a', '5') });
  t.like(api.store.get('revisions', `${next.ID}.1`), { spec: { canary: { of: 'a', share: 5 } } });
  const nothing = (why: string) => [`Labels.shoal.canary-of: ${why}: it takes nothing`];
  const apart = nothing("it is on no network with service 'a', which publishes no port");
  t.deepEqual(next.Warnings, apart);
  t.deepEqual((await api.get('/services/next/explain')).Canary, apart);
  const labels = { ...canary('a', '5'), 'com.docker.stack.namespace': 'shop' };
  const other = await create(api, 'other', { Global: {} }, { Labels: labels });
  t.deepEqual(other.Warnings, nothing("it is of stack shop, and service 'a' is not"));
  const early = await create(api, 'early', { Global: {} }, { Labels: canary('late', '5') });
  t.deepEqual(early.Warnings, nothing("there is no service 'late'"));
  const ports = { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 80 }] } };
  await create(api, 'late', { Global: {} }, ports);
  t.is((await api.get('/services/early/explain')).Canary, undefined);
});

test('how tasks leave drained nodes and are levelled is written as labels', async (t) => {
  await using api = await ApiFixture.up();
  const rules = { 'shoal.drain': 'at-once', 'shoal.rebalance': '5m' };
  const { ID } = await create(api, 'a', { Replicated: {} }, { Labels: rules });
  const stored = { spec: { drain: 'at-once', rebalanceEveryMs: 300_000 } };
  t.like(api.store.get('revisions', `${ID}.1`), stored);
  const refused = async (labels: object, mode: object = { Replicated: {} }): Promise<string> =>
    (await create(api, 'b', mode, { Labels: labels })).message;
  const before = api.store.all('services').size;
  t.is(
    await refused({ 'shoal.drain': 'later' }),
    'invalid service spec: Labels.shoal.drain: start-first, stop-first or at-once is expected',
  );
  for (const text of ['', 'yes', '10ms', '-5s'])
    t.regex(await refused({ 'shoal.rebalance': text }), /Labels\.shoal\.rebalance: true, false or the time/);
  t.regex(
    await refused({ 'shoal.rebalance': 'true', 'shoal.placement.strategy': 'binpack' }),
    /shoal\.rebalance: levels the nodes, and shoal\.placement\.strategy=binpack fills them/,
  );
  t.regex(
    await refused({ 'shoal.drain': 'at-once' }, { Global: {} }),
    /drain: is for replicated services only/,
  );
  t.regex(
    await refused({ 'shoal.rebalance': 'true' }, { ReplicatedJob: {} }),
    /rebalance: is for replicated/,
  );
  const twice = await refused({ 'shoal.drain': 'stop-first', 'shoal.rebalance': '5m' });
  t.regex(twice, /starting another beside it/);
  const once = { TaskTemplate: { ContainerSpec: { Image: 'a' }, RestartPolicy: { Condition: 'none' } } };
  t.regex(
    (await create(api, 'b', { Replicated: {} }, { ...once, Labels: { 'shoal.rebalance': 'true' } })).message,
    /shoal\.rebalance: a task is moved by starting another beside it.*say shoal\.drain=start-first/,
  );
  t.is(api.store.all('services').size, before, 'nothing was written');
});

test('what is wrong with a schedule is named by its label', async (t) => {
  await using api = await ApiFixture.up();
  const refused = async (labels: object, mode: object = { ReplicatedJob: {} }): Promise<string> =>
    (await create(api, 'a', mode, { Labels: labels })).message;
  const schedule = { 'shoal.cron.schedule': '@hourly' };
  t.regex(await refused({ 'shoal.cron.schedule': '61 * * * *' }), /Labels\.shoal\.cron\.schedule: .*minute/);
  t.regex(await refused({ 'shoal.cron.timezone': 'UTC' }), /shoal\.cron\.schedule: is missing/);
  t.regex(await refused({ ...schedule, 'shoal.cron.timezone': 'X' }), /'X' is no time zone/);
  t.regex(await refused({ ...schedule, 'shoal.cron.concurrency': 'X' }), /one of allow, forbid, replace/);
  t.regex(await refused({ ...schedule, 'shoal.cron.catch-up': '0' }), /catch-up: a duration/);
  t.regex(await refused({ ...schedule, 'shoal.cron.history': '0' }), /history: a number of runs/);
  t.regex(await refused({ ...schedule, 'shoal.cron.zone': 'X' }), /shoal\.cron\.zone: is none of/);
  t.regex(await refused(schedule, { Replicated: {} }), /needs Mode\.ReplicatedJob/);
  t.regex(await refused(schedule, { ReplicatedJob: { TotalCompletions: 2 } }), /at most one completion/);
});

/** What a service was, what is different, and the way back to any of it. */
import test from 'ava';
import { ApiFixture, type Json } from './fixture.ts';

function body(image: string, more: { TaskTemplate?: object; [field: string]: unknown } = {}): object {
  const { TaskTemplate, ContainerSpec, ...rest } = more;
  const container = { Image: image, ...(ContainerSpec as object | undefined) };
  return { Name: 'web', ...rest, TaskTemplate: { ContainerSpec: container, ...TaskTemplate } };
}

async function versionOf(api: ApiFixture): Promise<number> {
  return (await api.get('/services/web')).Version.Index;
}

async function update(api: ApiFixture, spec: object, headers: Record<string, string> = {}): Promise<void> {
  const { status, json } = await api.send(
    'POST',
    `/services/web/update?version=${await versionOf(api)}`,
    spec,
    headers,
  );
  if (status !== 200) throw new Error(`${status} ${json?.message}`);
}

async function rollback(api: ApiFixture, revision?: number): Promise<[number, Json]> {
  const which = revision === undefined ? '' : `&revision=${revision}`;
  const path = `/services/web/rollback?version=${await versionOf(api)}${which}`;
  const { status, json } = await api.send('POST', path);
  return [status, json];
}

const SECRET_AUTH = Buffer.from('{"password":"hunter2"}').toString('base64url');

async function withThree(nodes = 1): Promise<ApiFixture> {
  const api = await ApiFixture.up(nodes);
  api.obeys = false;
  const { status } = await api.send('POST', '/services/create', body('nginx:1'), {
    'x-registry-auth': SECRET_AUTH,
  });
  if (status !== 201) throw new Error(`created: ${status}`);
  await update(api, body('nginx:2', { Mode: { Replicated: { Replicas: 4 } } }));
  await update(
    api,
    body('nginx:2', { Mode: { Replicated: { Replicas: 4 } }, ContainerSpec: { Env: ['A=1'] } }),
  );
  return api;
}

test('the list: newest first, what changed in each, current and previous; by name, id and prefix', async (t) => {
  await using api = await withThree();
  const list: Json[] = await api.get('/services/web/revisions');
  t.deepEqual(
    list.map((one) => [one.Revision, one.Current, one.Previous]),
    [
      [3, true, false],
      [2, false, true],
      [1, false, false],
    ],
  );
  t.deepEqual(list[0].Changes, [{ Path: 'TaskTemplate.ContainerSpec.Env', To: ['A=1'] }]);
  t.deepEqual(list[1].Changes, [
    { Path: 'TaskTemplate.ContainerSpec.Image', From: 'nginx:1', To: 'nginx:2' },
    { Path: 'Mode.Replicated.Replicas', From: 1, To: 4 },
  ]);
  t.false('Changes' in list[2]);
  t.regex(list[0].CreatedAt, /^\d{4}-.*Z$/);
  const { ID } = await api.get('/services/web');
  for (const ref of [ID, ID.slice(0, 6)]) t.deepEqual(await api.get(`/services/${ref}/revisions`), list);
});

test('one revision has its spec as Docker has it; credentials are never shown', async (t) => {
  await using api = await withThree();
  const first = await api.get('/services/web/revisions/1');
  t.is(first.Spec.TaskTemplate.ContainerSpec.Image, 'nginx:1');
  t.is(first.Spec.UpdateConfig.Parallelism, 1);
  t.deepEqual((await api.get('/services/web/revisions/3')).Spec, (await api.get('/services/web')).Spec);
  for (const path of ['revisions', 'revisions/1', 'revisions/diff?from=1&to=3', 'explain']) {
    const { body: shown } = await api.send('GET', `/services/web/${path}`);
    t.false(shown.toString().includes(SECRET_AUTH), path);
  }
});

test('the difference of any two, in either direction; the last two without numbers', async (t) => {
  await using api = await withThree();
  const last = await api.get('/services/web/revisions/diff');
  t.deepEqual([last.From, last.To, last.Changes.length], [2, 3, 1]);
  const back = await api.get('/services/web/revisions/diff?from=3&to=1');
  t.deepEqual(back.Changes, [
    { Path: 'TaskTemplate.ContainerSpec.Image', From: 'nginx:2', To: 'nginx:1' },
    { Path: 'TaskTemplate.ContainerSpec.Env', From: ['A=1'] },
    { Path: 'Mode.Replicated.Replicas', From: 4, To: 1 },
  ]);
  t.deepEqual((await api.get('/services/web/revisions/diff?from=2&to=2')).Changes, []);
});

test('a rollback to any is a new revision that says where it comes from, under the rollback config', async (t) => {
  await using api = await withThree();
  t.deepEqual(await rollback(api, 1), [200, { Revision: 4 }]);
  const service = await api.get('/services/web');
  t.is(service.Spec.TaskTemplate.ContainerSpec.Image, 'nginx:1');
  t.is(service.PreviousSpec.TaskTemplate.ContainerSpec.Env[0], 'A=1');
  t.is(service.UpdateStatus.State, 'rollback_started');
  t.like((await api.get('/services/web/revisions'))[0], { Revision: 4, Current: true, RollbackOf: 1 });
  // The stored credentials come back with the spec.
  t.is(api.store.get('revisions', `${service.ID}.4`)?.spec.registryAuth, SECRET_AUTH);
  t.deepEqual(await rollback(api), [200, { Revision: 5 }]);
  t.is((await api.get('/services/web')).Spec.TaskTemplate.ContainerSpec.Env[0], 'A=1');
});

test('what can not be is said, and writes nothing', async (t) => {
  await using api = await withThree();
  const before = api.store.commits;
  const [gone, { message }] = await rollback(api, 9);
  t.is(gone, 404);
  t.is(message, 'service web has no revision 9: it has 3, 2, 1 (the 10 newest are kept)');
  t.deepEqual(await rollback(api, 3), [400, { message: 'revision 3 is the current one of service web' }]);
  for (const [path, status, text] of [
    ['rollback?version=1', 500, /update out of sequence/],
    ['rollback', 400, /invalid services version ''/],
    ['rollback?version=x', 400, /invalid services version 'x'/],
    ['rollback?version=1&revision=0', 400, /invalid revision '0': the number of a revision is expected/],
    ['rollback?version=1&revision=-1', 400, /invalid revision '-1'/],
  ] as const) {
    const answer = await api.send('POST', `/services/web/${path}`);
    t.is(answer.status, status, path);
    t.regex(answer.json.message, text);
  }
  for (const [path, status] of [
    ['revisions/nine', 400],
    ['revisions/9', 404],
    ['revisions/diff?from=x', 400],
    ['revisions/diff?from=9', 404],
    ['revisions/diff?to=1', 400],
  ] as const) {
    t.is((await api.send('GET', `/services/web/${path}`)).status, status, path);
  }
  t.is(api.store.commits, before);
});

test('a network, a secret, a config or a port that an old spec needs and that is gone is named', async (t) => {
  await using api = await ApiFixture.up(1);
  api.obeys = false;
  const { Id } = (await api.send('POST', '/networks/create', { Name: 'front' })).json;
  const { ID: secret } = (await api.send('POST', '/secrets/create', { Name: 'token', Data: 'eA==' })).json;
  const { ID: config } = (await api.send('POST', '/configs/create', { Name: 'motd', Data: 'eA==' })).json;
  const file = { Name: 'f', UID: '0', GID: '0', Mode: 0o444 };
  await api.send(
    'POST',
    '/services/create',
    body('nginx:1', { TaskTemplate: { Networks: [{ Target: 'front' }] } }),
  );
  const secrets = [{ SecretID: secret, SecretName: 'token', File: file }];
  await update(api, body('nginx:1', { ContainerSpec: { Secrets: secrets } }));
  const configs = [{ ConfigID: config, ConfigName: 'motd', File: file }];
  await update(api, body('nginx:1', { ContainerSpec: { Configs: configs } }));
  await update(api, body('nginx:1', { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080 }] } }));
  await update(api, body('nginx:1'));
  for (const path of [`/networks/${Id}`, `/secrets/${secret}`, `/configs/${config}`])
    t.is((await api.send('DELETE', path)).status, 204, path);
  const other = {
    ...body('nginx:1'),
    Name: 'other',
    EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080 }] },
  };
  t.is((await api.send('POST', '/services/create', other)).status, 201);
  const before = api.store.commits;
  for (const [revision, text] of [
    [1, `network ${Id} of revision 1 was removed`],
    [2, 'secret not found: token'],
    [3, 'config not found: motd'],
    [4, "port '8080' is already in use by service 'other'"],
  ] as const) {
    const [status, { message }] = await rollback(api, revision);
    t.is(status, 400, message);
    t.true(message.includes(text), message);
  }
  const docker = `/services/web/update?version=${await versionOf(api)}&rollback=previous`;
  t.is((await api.send('POST', docker, body('x'))).status, 400);
  t.is(api.store.commits, before);
});

test('of twenty that update the same version at once exactly one wins, and nothing of the others is left', async (t) => {
  await using api = await withThree();
  const version = await versionOf(api);
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      i % 4 === 3
        ? api.send('POST', `/services/web/rollback?version=${version}&revision=1`)
        : api.send('POST', `/services/web/update?version=${version}`, body(`nginx:race${i}`)),
    ),
  );
  t.is(answers.filter(({ status }) => status === 200).length, 1);
  for (const { status, json } of answers) {
    if (status === 200) continue;
    t.is(status, 500);
    t.is(json.message, 'rpc error: code = Unknown desc = update out of sequence');
  }
  const { ID } = await api.get('/services/web');
  t.is(api.store.get('services', ID)?.revision, 4);
  t.is([...api.store.all('revisions').keys()].length, 4);
});

test('an update and a label of its network at the same moment: the update is no loser', async (t) => {
  await using api = await ApiFixture.up(1);
  api.obeys = false;
  await api.send('POST', '/networks/create', { Name: 'front' });
  await api.send('POST', '/services/create', body('nginx:1'));
  const [network] = [...api.store.all('networks').values()].filter(({ spec }) => spec.name === 'front');
  const path = `/services/web/update?version=${await versionOf(api)}`;
  const touch = network && { ...network, spec: { ...network.spec, labels: { a: 'b' } } };
  const [answer] = await Promise.all([
    api.send('POST', path, body('nginx:2', { TaskTemplate: { Networks: [{ Target: 'front' }] } })),
    api.write([{ table: 'networks', key: network?.id ?? '', value: touch ?? null }]),
  ]);
  t.is(answer.status, 200, answer.json?.message);
});

test('old revisions are listed as long as they are kept', async (t) => {
  await using api = await ApiFixture.up(1);
  await api.send('POST', '/services/create', body('nginx:1'));
  for (let i = 2; i <= 14; i += 1) await update(api, body(`nginx:${i}`));
  const { ID } = await api.get('/services/web');
  await api.write([1, 3, 4].map((n) => ({ table: 'revisions', key: `${ID}.${n}`, value: null })));
  const numbers = (await api.get('/services/web/revisions')).map((one: Json) => one.Revision);
  t.deepEqual(numbers, [14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 2]);
  const [status, { message }] = await rollback(api, 4);
  t.is(status, 404, message);
  t.is((await api.get('/services/web/revisions/diff?to=5')).From, 2);
});

test('a job goes back, too, and is begun anew', async (t) => {
  await using api = await ApiFixture.up(1);
  api.obeys = false;
  await api.send('POST', '/services/create', body('nginx:1', { Mode: { ReplicatedJob: {} } }));
  await update(api, body('nginx:2', { Mode: { ReplicatedJob: {} } }));
  t.deepEqual(await rollback(api, 1), [200, { Revision: 3 }]);
  const service = await api.get('/services/web');
  t.is(service.UpdateStatus, undefined);
  t.is(service.JobStatus.JobIteration.Index, 2);
});

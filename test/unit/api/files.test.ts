/** /secrets and /configs over a store in memory. */
import test from 'ava';
import { ApiFixture, type Answer } from './fixture.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

async function createFile(
  api: ApiFixture,
  kind: 'secrets' | 'configs',
  name: string,
  data = 'text',
): Promise<string> {
  const { status, json } = await api.send('POST', `/${kind}/create`, { Name: name, Data: base64(data) });
  if (status !== 201) throw new Error(`${status} ${json?.message}`);
  return json.ID;
}

const service = (name: string, container: object): object => ({
  Name: name,
  TaskTemplate: { ContainerSpec: { Image: 'nginx:1', ...container } },
});
const secretReference = (name: string, more: object = {}): object => ({
  File: { Name: name, UID: '0', GID: '0', Mode: 0o444 },
  SecretName: name,
  ...more,
});

for (const kind of ['secrets', 'configs'] as const) {
  const word = kind.slice(0, -1);

  test(`${kind}: create, inspect, list with filters, labels, remove`, async (t) => {
    await using api = await ApiFixture.up();
    const body = { Name: 'my.one', Labels: { a: '1' }, Data: base64('the text') };
    const created = await api.send('POST', `/v1.30/${kind}/create`, body);
    t.is(created.status, 201);
    const { ID } = created.json;
    await createFile(api, kind, 'other');
    for (const ref of [ID, 'my.one', ID.slice(0, 8)]) {
      const shown = await api.get(`/${kind}/${ref}`);
      t.is(shown.ID, ID);
      t.deepEqual(shown.Spec.Labels, { a: '1' });
      t.is(shown.Spec.Data, kind === 'configs' ? base64('the text') : undefined);
    }
    const names = async (filters: object): Promise<string[]> => {
      const list = await api.get(`/${kind}?filters=${encodeURIComponent(JSON.stringify(filters))}`);
      return list.map((one: { Spec: { Name: string } }) => one.Spec.Name).sort();
    };
    t.deepEqual(await names({}), ['my.one', 'other']);
    t.deepEqual(await names({ name: ['my'] }), ['my.one']);
    t.deepEqual(await names({ names: ['my'] }), []);
    t.deepEqual(await names({ label: { 'a=1': true } }), ['my.one']);
    t.deepEqual(await names({ id: [ID.slice(0, 9)] }), ['my.one']);
    t.is((await api.send('GET', `/${kind}?filters={"driver":["x"]}`)).status, 400);

    const { Version } = await api.get(`/${kind}/my.one`);
    const update = (version: number, change: object): Promise<Answer> =>
      api.send('POST', `/${kind}/${ID}/update?version=${version}`, { Name: 'my.one', ...change });
    t.is((await update(Version.Index, { Labels: { b: '2' } })).status, 200);
    const stale = await update(Version.Index, { Labels: {} });
    t.deepEqual(
      [stale.status, stale.json.message],
      [400, 'rpc error: code = InvalidArgument desc = update out of sequence'],
    );
    const now = (await api.get(`/${kind}/my.one`)).Version.Index;
    t.is((await update(now, { Labels: { b: '2' }, Data: base64('the text') })).status, 200);
    for (const change of [{ Data: base64('another') }, { Name: 'renamed' }]) {
      const refused = await update((await api.get(`/${kind}/my.one`)).Version.Index, change);
      t.is(refused.status, 400);
      t.regex(refused.json.message, /only updates to Labels are allowed/);
    }
    t.deepEqual((await api.get(`/${kind}/my.one`)).Spec.Labels, { b: '2' });
    t.is((await api.send('DELETE', `/${kind}/my.one`)).status, 204);
    const gone = await api.send('GET', `/${kind}/my.one`);
    t.deepEqual([gone.status, gone.json.message], [404, `${word} my.one not found`]);
    await createFile(api, kind, 'my.one');
  });

  test(`${kind}: what is wrong is said, and the data never repeated`, async (t) => {
    await using api = await ApiFixture.up();
    await createFile(api, kind, 'taken');
    const limit = kind === 'secrets' ? 512_000 : 1_024_000;
    const cases: readonly (readonly [body: object, status: number, message: RegExp])[] = [
      [{ Name: 'taken', Data: base64('x') }, 409, new RegExp(`${word} taken already exists`)],
      [{ Name: '', Data: base64('x') }, 400, /name must be provided/],
      [{ Name: '-a', Data: base64('x') }, 400, /invalid name, only 64/],
      [{ Name: 'a'.repeat(65), Data: base64('x') }, 400, /invalid name, only 64/],
      [{ Name: 'a' }, 400, /larger than 0 and less than/],
      [{ Name: 'a', Data: 'geheim!' }, 400, /Data is not base64/],
      [{ Name: 'a', Data: base64('x'.repeat(limit)) }, 400, new RegExp(`less than ${limit} bytes`)],
      [{ Name: 'a', Data: base64('x'), Driver: { Name: 'd' } }, 501, /Driver/],
      [{ Name: 'a', Data: base64('x'), Templating: { Name: 'jinja' } }, 400, /template driver 'jinja'/],
      [
        { Name: 'a', Data: base64('geheim {{if}}'), Templating: { Name: 'golang' } },
        400,
        /\{\{if\}\} is not supported/,
      ],
    ];
    for (const [body, status, message] of cases) {
      const answer = await api.send('POST', `/${kind}/create`, body);
      t.is(answer.status, status, String(message));
      t.regex(answer.json.message, message);
      t.notRegex(answer.json.message, /geheim/);
    }
    await createFile(api, kind, 'largest', 'x'.repeat(limit - 1));
  });
}

test('the store holds no secret in the clear', async (t) => {
  await using api = await ApiFixture.up();
  const id = await createFile(api, 'secrets', 'pass', 'correct-horse');
  const record = JSON.stringify(api.store.get('secrets', id));
  t.false(record.includes('correct-horse') || record.includes(base64('correct-horse')));
});

test('services name secrets by id or name; unknown ones and bad targets are refused by name', async (t) => {
  await using api = await ApiFixture.up();
  const secret = await createFile(api, 'secrets', 'pass');
  const config = await createFile(api, 'configs', 'app');
  const both = {
    Secrets: [secretReference('pass', { SecretID: secret })],
    Configs: [{ File: { Name: '/etc/app', Mode: 0o600 }, ConfigName: 'app' }],
  };
  t.is((await api.send('POST', '/services/create', service('web', both))).status, 201);
  const shown = (await api.get('/services/web')).Spec.TaskTemplate.ContainerSpec;
  t.deepEqual(shown.Secrets, [
    { File: { Name: 'pass', UID: '0', GID: '0', Mode: 0o444 }, SecretID: secret, SecretName: 'pass' },
  ]);
  t.deepEqual(shown.Configs, [
    { File: { Name: '/etc/app', UID: '0', GID: '0', Mode: 0o600 }, ConfigID: config, ConfigName: 'app' },
  ]);
  const refused: readonly (readonly [container: object, message: RegExp])[] = [
    [{ Secrets: [secretReference('none')] }, /secret not found: none/],
    [{ Secrets: [secretReference('none'), secretReference('nor')] }, /secrets not found: none, nor/],
    [{ Configs: [{ ConfigName: 'app' }] }, /Configs needs a File/],
    [{ Secrets: [secretReference('pass'), secretReference('pass')] }, /conflicting target: 'pass'/],
    [{ Secrets: [secretReference('pass', { File: { Name: '../x' } })] }, /'\.\.\/x' is no plain path/],
    [{ Secrets: [secretReference('pass', { File: { Name: 'x', UID: 'root' } })] }, /UID 'root': a number/],
    [{ Secrets: [secretReference('pass', { File: { Name: 'x', Mode: 0o10000 } })] }, /mode 4096/],
    [{ Env: ['A={{.Nope}}'] }, /env: the template action \{\{\.Nope\}\}/],
    [{ Hostname: '{{secret "pass"}}' }, /hostname: .*templated secrets and configs only/],
  ];
  for (const [container, message] of refused) {
    const { status, json } = await api.send('POST', '/services/create', service('bad', container));
    t.is(status, 400, String(message));
    t.regex(json.message, message);
  }
  for (const [path, text] of [
    ['/secrets/pass', /secret 'pass' is in use by the following service: web/],
    ['/configs/app', /config 'app' is in use by the following service: web/],
  ] as const) {
    const { status, json } = await api.send('DELETE', path);
    t.is(status, 400);
    t.regex(json.message, text);
  }
  await api.send('DELETE', '/services/web');
  t.is((await api.send('DELETE', '/secrets/pass')).status, 204);
});

const COMPOSE = `
services:
  web:
    image: nginx:1
    secrets: [pass]
    configs: [{ source: app, target: /etc/app.conf, uid: "33", mode: 0440 }]
secrets: { pass: { file: ./pass.txt } }
configs: { app: { content: "slot {{.Task.Slot}}", template_driver: golang } }
`;

test('a stack: new contents are a new version, and its services change to it; the old one goes when unused', async (t) => {
  await using api = await ApiFixture.up();
  const deploy = (pass: string | undefined, compose = COMPOSE, query = ''): Promise<Answer> => {
    const files = pass === undefined ? {} : { './pass.txt': base64(pass) };
    const body = { compose, contents: { files } };
    return api.send('PUT', `/stacks/shop${query}`, body, { 'content-type': 'application/json' });
  };
  const unsent = await deploy(undefined);
  t.is(unsent.status, 400);
  t.regex(unsent.json.message, /secrets\.pass: the contents of \.\/pass\.txt were not sent along/);
  const first = await deploy('one');
  t.is(first.status, 200, first.json?.message);
  t.deepEqual([first.json.secrets[0].action, first.json.configs[0].action], ['created', 'created']);
  const container = async () => (await api.get('/services/shop_web')).Spec.TaskTemplate.ContainerSpec;
  t.is((await container()).Secrets[0].SecretID, first.json.secrets[0].id);
  t.deepEqual((await container()).Configs[0].File, {
    Name: '/etc/app.conf',
    UID: '33',
    GID: '0',
    Mode: 0o440,
  });

  const same = await deploy('one');
  t.deepEqual([same.json.secrets[0].action, same.json.services[0].action], ['unchanged', 'unchanged']);
  const kept = await deploy(undefined);
  t.regex(kept.json.warnings[0].message, /secret shop_pass stays as it is/);

  const second = await deploy('two');
  t.deepEqual([second.json.secrets[0].action, second.json.services[0].action], ['updated', 'updated']);
  t.is((await container()).Secrets[0].SecretID, second.json.secrets[0].id);
  const names = async () =>
    (await api.get('/secrets')).map((one: { Spec: { Name: string } }) => one.Spec.Name).sort();
  t.deepEqual(await names(), ['shop_pass', 'shop_pass.v1'], 'a rollback would need the one before');
  const third = await deploy('three');
  t.is(third.status, 200);
  t.deepEqual(await names(), ['shop_pass', 'shop_pass.v2']);

  const pruned = await deploy(undefined, 'services: { web: { image: "nginx:1" } }', '?prune=1');
  t.is(pruned.status, 200, pruned.json?.message);
  t.is((await api.send('DELETE', '/stacks/shop')).status, 200);
  t.deepEqual(await names(), []);
  t.deepEqual(await api.get('/configs'), []);
});

test('a stack does not take over what is not its own', async (t) => {
  await using api = await ApiFixture.up();
  await createFile(api, 'secrets', 'shop_pass');
  const body = { compose: COMPOSE, contents: { files: { './pass.txt': base64('x') } } };
  const { status, json } = await api.send('PUT', '/stacks/shop', body, {
    'content-type': 'application/json',
  });
  t.is(status, 400);
  t.regex(json.message, /a secret shop_pass exists already and is not part of this stack/);
});

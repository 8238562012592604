/** Who may do what over TCP: roles against all routes, stacks against all that is read and written, and the end of it. */
import { X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import test from 'ava';
import express, { type ErrorRequestHandler, Router } from 'express';
import fc from 'fast-check';
import { guard } from '../../../manager/api/access/guard.ts';
import { hostPowers } from '../../../manager/api/access/host-powers.ts';
import { SUBJECTS } from '../../../manager/api/access/limited-gateway.ts';
import { stackOfVolume } from '../../../manager/api/access/owners.ts';
import { ADMINS_ONLY, ROUTE_RULES } from '../../../manager/api/access/routes.ts';
import { decodeServiceSpec } from '../../../manager/api/codec/service-spec-codec.ts';
import { createApi, listenUnix } from '../../../manager/api/index.ts';
import { createRoot, openAuthority } from '../../../manager/ca/authority.ts';
import type { RuntimeOptions, ServiceSpec } from '../../../shared/model/index.ts';
import { methodSchemas, streamSchemas } from '../../../shared/wire/node-methods/index.ts';
import { AccessDoor, type Credentials } from './access-door.ts';
import { ApiFixture, type Json } from './fixture.ts';
import { routesOf } from './routes.ts';

const STACK = 'com.docker.stack.namespace';
const inStack = (stack: string | undefined): object => (stack === undefined ? {} : { [STACK]: stack });

function service(name: string, stack?: string, container: object = {}): object {
  return {
    Name: name,
    Labels: inStack(stack),
    TaskTemplate: { ContainerSpec: { Image: 'nginx:1', ...container } },
  };
}

/** Two stacks, each with a service, a network, a secret, a config; and a service of no stack. */
async function twoStacks(door: AccessDoor): Promise<Record<string, string>> {
  const ids: Record<string, string> = {};
  const make = async (path: string, body: object, as: string): Promise<void> => {
    const { status, json } = await door.api.send('POST', path, body);
    if (status !== 201) throw new Error(`${path}: ${status} ${json?.message}`);
    ids[as] = json.ID ?? json.Id;
  };
  for (const stack of ['shop', 'blog']) {
    await make('/services/create', service(`${stack}_web`, stack), `${stack}-service`);
    await make(
      '/networks/create',
      { Name: `${stack}_net`, Driver: 'overlay', Labels: inStack(stack) },
      `${stack}-network`,
    );
    const file = {
      Name: `${stack}_file`,
      Data: Buffer.from(stack).toString('base64'),
      Labels: inStack(stack),
    };
    await make('/secrets/create', file, `${stack}-secret`);
    await make('/configs/create', file, `${stack}-config`);
  }
  await make('/services/create', service('lone'), 'lone-service');
  return ids;
}

test('every route has a rule, and every rule a route', async (t) => {
  await using fixture = await ApiFixture.up(1);
  const routes = routesOf(createApi(fixture.options())).map(({ method, path }) => `${method} ${path}`);
  const found = [...new Set(routes)].sort();
  t.true(found.length > 100);
  t.deepEqual(
    found.filter((route) => !ROUTE_RULES.has(route)),
    [],
    'routes without a rule: only admins may use them; say so in manager/api/access/routes.ts',
  );
  t.deepEqual(
    [...ROUTE_RULES.keys()].filter((route) => !found.includes(route)),
    [],
    'rules without a route',
  );
  t.is(new Set(ADMINS_ONLY).size, ADMINS_ONLY.length);
});

test('what a node may be asked for users is decided method by method', (t) => {
  const methods = [...Object.keys(methodSchemas), ...Object.keys(streamSchemas)].sort();
  t.deepEqual(
    Object.keys(SUBJECTS).sort(),
    [...new Set(methods)],
    'methods without a subject are for admins: say so in manager/api/access/limited-gateway.ts',
  );
});

test('a route is for those whose role it needs, and a new one for admins', async (t) => {
  await using fixture = await ApiFixture.up(1);
  const real = (path: string): string => path.replace(/:\w+|\*\w+/g, 'x1');
  for (const [role, stacks, may] of [
    ['viewer', undefined, (rule) => rule.role === 'viewer'],
    ['viewer', ['shop'], (rule) => rule.role === 'viewer' && rule.byStack],
    ['operator', undefined, (rule) => rule.role !== 'admin'],
    ['operator', ['shop'], (rule) => rule.role !== 'admin' && rule.byStack],
    ['admin', undefined, () => true],
  ] as [
    'viewer' | 'operator' | 'admin',
    string[] | undefined,
    (rule: { role: string; byStack: boolean }) => boolean,
  ][]) {
    // The guard alone: what it lets through is answered by what stands for the routes.
    const access = stacks === undefined ? { role } : { role, stacks };
    const app = express();
    app.use(
      guard(access),
      Router().use((_req, res) => void res.status(299).end()),
    );
    app.use(
      ((error: { code?: string }, _req, res, _next) =>
        void res.status(error.code === 'forbidden' ? 403 : 500).end()) as ErrorRequestHandler,
    );
    const socket = `${fixture.socket}-${role}-${stacks?.length ?? 0}`;
    const server = await listenUnix(socket, app, { mode: 0o600 });
    try {
      for (const [route, rule] of ROUTE_RULES) {
        const [method = '', path = ''] = route.split(' ');
        t.is(
          await status(socket, method, real(path)),
          may(rule) ? 299 : 403,
          `${role} ${stacks?.join() ?? ''}: ${route}`,
        );
      }
      for (const path of ['/planted', '/planted/x1', '/services/x1/planted'])
        for (const method of ['GET', 'POST', 'PATCH'])
          t.is(
            await status(socket, method, path),
            role === 'admin' ? 299 : 403,
            `${role}: ${method} ${path}`,
          );
    } finally {
      await server.close();
    }
  }
});

async function status(socketPath: string, method: string, path: string): Promise<number> {
  const { request } = await import('node:http');
  return new Promise((resolve, reject) => {
    const req = request({ socketPath, method: method.toUpperCase(), path }, (res) => {
      res.resume();
      resolve(res.statusCode ?? 0);
    });
    req.on('error', reject);
    req.end();
  });
}

test('nobody gets in but users: no certificate, one of a node, of another CA, a wrong token, TLS 1.2, no TLS', async (t) => {
  await using door = await AccessDoor.open();
  const ann = await door.user('ann', 'viewer');
  t.is((await door.send(ann, 'GET', '/services')).status, 200);
  t.is((await door.send(await door.token('ann'), 'GET', '/services')).status, 200);
  const refused = async (who: Credentials, why: RegExp): Promise<void> => {
    const { status: code, json } = await door.send(who, 'GET', '/_ping');
    t.is(code, 401);
    t.regex(json.message, why);
  };
  await refused({}, /needs a certificate or a token/);
  await refused({ token: 'SHLUSR-1-0123456789012345678901234' }, /token is not known/);
  await refused({ token: 'SHLUSR-2-x' }, /no token of a user/);
  // Its certificate is good, but somebody said another thing for this request.
  await refused({ ...ann, token: 'SHLUSR-1-0123456789012345678901234' }, /token is not known/);
  const other = await openAuthority('other', await createRoot('other', Date.now()));
  await refused(
    await other
      .issueIdentity({ nodeId: 'ann', role: 'user' }, Date.now())
      .then(({ cert, key }) => ({ cert, key })),
    /no user's/,
  );
  t.regex(new X509Certificate(ann.cert ?? '').subject, /OU=user\nCN=ann/);
  const old = connect({ port: door.port, host: '127.0.0.1', ca: door.ca, maxVersion: 'TLSv1.2' });
  await t.throwsAsync(
    new Promise((resolve, reject) => old.once('secureConnect', resolve).once('error', reject)),
    { message: /protocol version/ },
  );
});

test('a page of another site can not use the certificate of a browser', async (t) => {
  await using door = await AccessDoor.open();
  const { cert, key } = await door.user('ann', 'admin');
  const { request } = await import('node:https');
  const code = (site: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const at = { host: '127.0.0.1', port: door.port, ca: door.ca, cert, key, path: '/_ping', agent: false };
      const req = request({ ...at, headers: { 'sec-fetch-site': site } }, (res) => {
        res.resume();
        resolve(res.statusCode ?? 0);
      });
      req.on('error', reject);
      req.end();
    });
  t.is(await code('cross-site'), 403);
  t.is(await code('same-site'), 403);
  t.is(await code('same-origin'), 200);
  t.is(await code('none'), 200);
});

test('one who has a stack sees that and no other: lists, objects, references by id, name and prefix', async (t) => {
  await using door = await AccessDoor.open();
  const ids = await twoStacks(door);
  const ann = await door.user('ann', 'operator', ['shop']);
  const names = async (path: string, of: (one: Json) => string): Promise<string[]> => {
    const { json } = await door.send(ann, 'GET', path);
    return (json as Json[]).map(of).sort();
  };
  t.deepEqual(await names('/services', (one) => one.Spec.Name), ['shop_web']);
  t.deepEqual(await names('/secrets', (one) => one.Spec.Name), ['shop_file']);
  t.deepEqual(await names('/configs', (one) => one.Spec.Name), ['shop_file']);
  t.deepEqual(await names('/stacks', (one) => one.Name ?? one.name), ['shop']);
  const networks = await names('/networks', (one) => one.Name);
  t.true(networks.includes('shop_net') && !networks.includes('blog_net'));
  t.deepEqual(await names('/tasks', (one) => one.ServiceID), [ids['shop-service']]);
  t.true((await names('/nodes', (one) => one.ID)).length === 2, 'the nodes are everybodys');
  for (const [path, id] of [
    ['services', ids['blog-service']],
    ['services', ids['lone-service']],
    ['networks', ids['blog-network']],
    ['secrets', ids['blog-secret']],
    ['configs', ids['blog-config']],
  ] as const) {
    for (const ref of [id, id?.slice(0, 8)]) {
      t.is((await door.send(ann, 'GET', `/${path}/${ref}`)).status, 404, `GET ${path}`);
      t.is((await door.send(ann, 'DELETE', `/${path}/${ref}`)).status, 404, `DELETE ${path}`);
    }
  }
  t.is((await door.send(ann, 'GET', '/services/blog_web/logs?stdout=1')).status, 404);
  t.is((await door.send(ann, 'GET', `/services/${ids['shop-service']}`)).status, 200);
});

test('one who has a stack writes in that and no other, whatever label, name or reference it gives', async (t) => {
  await using door = await AccessDoor.open();
  const ids = await twoStacks(door);
  const ann = await door.user('ann', 'operator', ['shop']);
  const refused = async (path: string, body: object, codes: readonly number[] = [403]): Promise<void> => {
    const before = door.api.store.revision;
    const { status: code, json } = await door.send(ann, 'POST', path, body);
    t.true(codes.includes(code), `${path} ${JSON.stringify(body)}: ${code} ${json?.message}`);
    t.is(door.api.store.revision, before, 'nothing was written');
  };
  for (const stack of [undefined, 'blog', 'shop2', '']) {
    await refused('/services/create', service('x', stack));
    await refused('/networks/create', { Name: 'x', Driver: 'overlay', Labels: inStack(stack) });
    await refused('/secrets/create', { Name: 'x', Data: 'eA==', Labels: inStack(stack) });
  }
  // A name that is another's is not taken over, though its object is not seen.
  await refused('/services/create', service('blog_web', 'shop'), [409]);
  await refused('/secrets/create', { Name: 'blog_file', Data: 'eA==', Labels: inStack('shop') }, [409]);
  await refused('/networks/create', { Name: 'blog_net', Driver: 'overlay', Labels: inStack('shop') }, [409]);
  for (const ref of [ids['blog-network'], 'blog_net'])
    await refused('/services/create', { ...service('x', 'shop'), Networks: [{ Target: ref }] }, [400, 404]);
  const file = { UID: '0', GID: '0', Mode: 0o444, Name: 'f' };
  for (const SecretID of [ids['blog-secret'], ''])
    await refused(
      '/services/create',
      service('x', 'shop', { Secrets: [{ SecretID, SecretName: 'blog_file', File: file }] }),
      [400],
    );
  const volume = (Source: string): object => ({ Mounts: [{ Type: 'volume', Source, Target: '/data' }] });
  await refused('/services/create', service('x', 'shop', volume('blog_data')));
  await refused('/services/create', service('x', 'shop', volume('data')));
  // Its own it may; and out of its stack it can not be moved.
  const made = await door.send(
    ann,
    'POST',
    '/services/create',
    service('shop_db', 'shop', volume('shop_data')),
  );
  t.is(made.status, 201, made.text);
  const { Version, Spec } = (await door.send(ann, 'GET', '/services/shop_db')).json;
  await refused(`/services/shop_db/update?version=${Version.Index}`, { ...Spec, Labels: inStack('blog') });
  const same = await door.send(ann, 'POST', `/services/shop_db/update?version=${Version.Index}`, Spec);
  t.is(same.status, 200, same.text);
  const compose = (volume: string): object => ({
    compose: `services:\n  api:\n    image: nginx:1\n    volumes: ["${volume}:/data"]\nvolumes:\n  ${volume}: {}\n`,
  });
  const deploy = (stack: string, body: object): Promise<{ status: number; text: string }> =>
    door.send(ann, 'PUT', `/stacks/${stack}`, body);
  const services = door.api.store.all('services').size;
  t.is((await deploy('blog', compose('data'))).status, 403);
  t.is((await deploy('other', compose('data'))).status, 403);
  t.is(door.api.store.all('services').size, services);
  const deployed = await deploy('shop', compose('data'));
  t.is(deployed.status, 200, deployed.text);
  const bind = { compose: 'services:\n  api:\n    image: nginx:1\n    volumes: ["/etc:/data"]\n' };
  t.is((await deploy('shop', bind)).status, 403, 'a bind mount is for admins');
  t.is((await door.send(ann, 'DELETE', '/services/shop_db')).status, 200);
});

const POWERS: Readonly<Record<string, object>> = {
  bind: { Mounts: [{ Type: 'bind', Source: '/etc', Target: '/x' }] },
  'volume that is a bind mount': {
    Mounts: [
      {
        Type: 'volume',
        Source: 'v',
        Target: '/x',
        VolumeOptions: {
          DriverConfig: { Name: 'local', Options: { type: 'none', o: 'bind', device: '/etc' } },
        },
      },
    ],
  },
  capability: { CapabilityAdd: ['CAP_SYS_ADMIN'] },
};

test('an operator can not ask for what makes a container the node, nor get into one that has it', async (t) => {
  await using door = await AccessDoor.open();
  const [op, admin] = [await door.user('op', 'operator'), await door.user('root', 'admin')];
  for (const [what, container] of Object.entries(POWERS)) {
    const refused = await door.send(op, 'POST', '/services/create', service('x', undefined, container));
    t.is(refused.status, 403, `${what}: ${refused.text}`);
    t.regex(refused.json.message, /only an admin may ask for/);
  }
  for (const HostConfig of [
    { Privileged: true },
    { PidMode: 'host' },
    { NetworkMode: 'host' },
    { Binds: ['/:/host'] },
    { Devices: [{ PathOnHost: '/dev/sda', PathInContainer: '/dev/sda', CgroupPermissions: 'rwm' }] },
    { SecurityOpt: ['seccomp=unconfined'] },
    { SecurityOpt: ['apparmor=web'] },
    { SecurityOpt: ['label=type:spc_t'] },
    { UsernsMode: 'host' },
  ]) {
    door.api.nodes.get('nodea1')?.answers.set('image.inspect', () => ({ config: { exposedPorts: [] } }));
    const refused = await door.send(op, 'POST', '/containers/create', { Image: 'nginx:1', HostConfig });
    t.is(refused.status, 403, `${JSON.stringify(HostConfig)}: ${refused.text}`);
  }
  const made = await door.send(
    admin,
    'POST',
    '/services/create',
    service('agent', undefined, POWERS['bind']),
  );
  t.is(made.status, 201, made.text);
  const { Version, Spec } = (await door.send(op, 'GET', '/services/agent')).json;
  const update = (spec: object, version: number): Promise<{ status: number; text: string }> =>
    door.send(op, 'POST', `/services/agent/update?version=${version}`, spec);
  const other = {
    ...Spec,
    TaskTemplate: {
      ...Spec.TaskTemplate,
      ContainerSpec: { ...Spec.TaskTemplate.ContainerSpec, Image: 'evil:1' },
    },
  };
  t.is((await update(other, Version.Index)).status, 403, 'another image would have the mount');
  const scaled = await update({ ...Spec, Mode: { Replicated: { Replicas: 2 } } }, Version.Index);
  t.is(scaled.status, 200, scaled.text);
  const [task] = (await door.send(op, 'GET', '/tasks?filters={"service":["agent"]}')).json;
  const containerId = task.Status.ContainerStatus.ContainerID;
  const info = {
    id: containerId,
    taskId: task.ID,
    name: 'agent.1',
    state: 'running',
    labels: {},
    env: [],
    args: [],
    networks: [],
  };
  for (const node of door.api.nodes.values()) node.answers.set('container.inspect', () => info);
  const exec = await door.send(op, 'POST', `/containers/${containerId}/exec`, { Cmd: ['sh'] });
  t.is(exec.status, 403, exec.text);
  t.regex(exec.json.message, /only an admin may be in this container/);
});

test('a command with all capabilities is for admins, and so is one that an admin has made', async (t) => {
  await using door = await AccessDoor.open();
  const op = await door.user('op', 'operator');
  const admin = await door.user('root', 'admin');
  await door.api.send('POST', '/services/create', service('shop_web', 'shop'));
  const [task] = await door.api.get('/tasks');
  const id = task.Status.ContainerStatus.ContainerID;
  const info = {
    id,
    taskId: task.ID,
    name: 'web.1',
    state: 'running',
    labels: {},
    env: [],
    args: [],
    networks: [],
  };
  const made: Json[] = [];
  for (const node of door.api.nodes.values()) {
    node.answers.set('container.inspect', () => info);
    node.answers.set('exec.create', (params: Json) => (made.push(params), {}));
    node.answers.set('exec.inspect', () => ({ spec: made.at(-1), state: 'created', pid: 0 }));
  }
  const create = (who: typeof op, more: object = {}) =>
    door.send(who, 'POST', `/containers/${id}/exec`, { Cmd: ['sh'], ...more });
  t.is((await create(op)).status, 201);
  const refused = await create(op, { Privileged: true });
  t.is(refused.status, 403, refused.text);
  t.regex(refused.json.message, /only an admin may ask for: privileged exec/);
  const exec = await create(admin, { Privileged: true });
  t.is(exec.status, 201, exec.text);
  t.true(made.at(-1)?.privileged);
  const started = await door.send(op, 'POST', `/exec/${exec.json.Id}/start`, { Detach: true });
  t.is(started.status, 403, started.text);
  const shown = await door.send(admin, 'GET', `/exec/${exec.json.Id}/json`);
  t.true(shown.json.ProcessConfig.privileged);
});

test('a command that says something after its client has said all is heard, over TLS too', async (t) => {
  await using door = await AccessDoor.open();
  const { cert, key } = await door.user('op', 'operator', ['shop']);
  await door.api.send('POST', '/services/create', service('shop_web', 'shop'));
  const [status] = [...door.api.store.all('statuses').values()];
  const containerId = status?.container?.containerId ?? '';
  const execId = '00000001'.padEnd(64, 'a');
  const execSpec = { execId, containerId, args: ['sh'], env: [], user: '', workingDir: '', tty: false };
  const attached = { attachStdin: false, attachStdout: true, attachStderr: true };
  const info = { spec: { ...execSpec, ...attached }, state: 'created', pid: 0 };
  const node = door.api.nodes.get('nodea1');
  node?.answers.set('exec.inspect', () => info);
  const over = new Promise<void>((resolve) => setTimeout(resolve, 100));
  if (node !== undefined)
    node.duplex = async function* () {
      await over;
      yield { stream: 1, data: Buffer.from('late\n') };
    };
  const at = { host: '127.0.0.1', port: door.port, ca: door.ca, allowHalfOpen: true };
  const socket = connect({ ...at, ...(cert === undefined || key === undefined ? {} : { cert, key }) });
  const body = '{"Detach":false}';
  socket.end(
    `POST /exec/${execId}/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  let heard = '';
  for await (const chunk of socket) heard += (chunk as Buffer).toString('latin1');
  t.regex(heard, /101 UPGRADED/);
  t.true(heard.endsWith('late\n'), heard);
});

test('a field of a spec that nobody has judged is for admins', (t) => {
  const { Labels: _, ...raw } = service('x') as Record<string, unknown>;
  const { spec } = decodeServiceSpec(raw);
  t.deepEqual(hostPowers(spec), []);
  const planted = { ...spec, container: { ...spec.container, planted: true, runtime: { alsoPlanted: 1 } } };
  t.deepEqual(hostPowers(planted as unknown as ServiceSpec), ['alsoPlanted', 'planted']);
  const withRuntime = (runtime: RuntimeOptions) => ({ ...spec, container: { ...spec.container, runtime } });
  const hook = { command: ['x'] };
  t.deepEqual(hostPowers(withRuntime({ postStart: [hook], preStop: [hook] })), []);
  t.deepEqual(hostPowers(withRuntime({ preStop: [hook, { ...hook, privileged: true }] })), [
    'a privileged command',
  ]);
  const cdi = { deviceRequests: [{ kinds: ['acme.com/card'], names: ['a'] }] };
  t.deepEqual(hostPowers(withRuntime(cdi)), ['device acme.com/card=a']);
  t.deepEqual(hostPowers(withRuntime({ annotations: { a: 'b' }, cpusetMems: '0' })), []);
  for (const nothingHidden of [{ maskedPaths: [] }, { readOnlyPaths: [] }])
    t.deepEqual(hostPowers(withRuntime(nothingHidden)), ['system paths of its own']);
});

test('a volume is of one stack, of the longest name that fits', (t) => {
  t.is(stackOfVolume('shop_eu_data', ['shop', 'shop_eu', 'blog']), 'shop_eu');
  t.is(stackOfVolume('shop_data', ['shop', 'shop_eu']), 'shop');
  t.is(stackOfVolume('data', ['shop']), undefined);
  const name = fc.stringMatching(/^[a-z_]{1,8}$/);
  fc.assert(
    fc.property(fc.array(name), name, (stacks, volume) => {
      const owner = stackOfVolume(volume, stacks);
      const fits = stacks.filter((stack) => volume.startsWith(`${stack}_`));
      return owner === undefined ? fits.length === 0 : fits.every((stack) => stack.length <= owner.length);
    }),
  );
});

test('events are of the own stacks, also of what is gone when they are told', async (t) => {
  await using door = await AccessDoor.open();
  await twoStacks(door);
  const ann = await door.user('ann', 'viewer', ['shop']);
  await door.api.send('DELETE', '/services/blog_web');
  await door.api.send('DELETE', '/services/shop_web');
  const until = Math.ceil(Date.now() / 1000);
  const { text } = await door.send(ann, 'GET', `/events?since=1&until=${until}`);
  const events = text
    .trim()
    .split('\n')
    .map((line): Json => JSON.parse(line));
  const told = events.map(({ Type, Action, Actor }) => `${Type} ${Action} ${Actor.Attributes.name}`);
  t.true(
    told.includes('service create shop_web') && told.includes('service remove shop_web'),
    told.join('\n'),
  );
  t.true(told.includes('secret create shop_file'));
  t.deepEqual(
    told.filter((line) => /blog|lone/.test(line)),
    [],
  );
});

test('what a user loses is over at once, a stream under way too', async (t) => {
  await using door = await AccessDoor.open();
  await twoStacks(door);
  const ends: readonly [string, (id: string) => Promise<unknown>][] = [
    ['removed', () => door.api.send('DELETE', '/users/ann')],
    ['rotated', () => door.certificate('ann', { Keep: false })],
    ['revoked', (id) => door.api.send('DELETE', `/users/ann/credentials/${id}`)],
    ['other rights', () => door.api.send('POST', '/users/ann/update', { Role: 'viewer', Stacks: ['blog'] })],
  ];
  for (const [what, end] of ends) {
    const ann = await door.user('ann', 'viewer', ['shop']);
    const bob = await door.user('bob', 'viewer');
    const stream = await door.open(ann, 'GET', '/events');
    const others = await door.open(bob, 'GET', '/events');
    t.is(stream.statusCode, 200);
    const over = new Promise((resolve) => stream.once('error', resolve).once('close', resolve));
    stream.resume();
    const { json } = await door.api.send('GET', '/users/ann');
    await end(json.Certificates[0].ID);
    await over;
    t.false(others.destroyed, `${what}: another user's goes on`);
    others.destroy();
    const after = await door
      .send(ann, 'GET', '/services')
      .catch((error: Error) => ({ status: 0, text: String(error), json: [] }));
    if (what === 'other rights')
      t.deepEqual(
        (after.json as Json[]).map(({ Spec }) => Spec.Name),
        ['blog_web'],
      );
    else t.is(after.status, 401, `${what}: ${after.text}`);
    for (const name of ['ann', 'bob']) await door.api.send('DELETE', `/users/${name}`);
  }
});

test('users: what is refused, and what is never told', async (t) => {
  await using door = await AccessDoor.open();
  const { api } = door;
  const post = async (body: object): Promise<number> => (await api.send('POST', '/users', body)).status;
  t.is(await post({ Name: 'a b', Role: 'viewer' }), 400);
  t.is(await post({ Name: 'ann', Role: 'root' }), 400);
  t.is(await post({ Name: 'ann', Role: 'admin', Stacks: ['shop'] }), 400);
  t.is(await post({ Name: 'ann', Role: 'viewer', Stacks: [] }), 400);
  t.is(await post({ Name: 'ann', Role: 'viewer' }), 201);
  t.is(await post({ Name: 'ann', Role: 'viewer' }), 409);
  t.is((await api.send('POST', '/users/ann/certificate', { Request: 'no' })).status, 400);
  t.is((await api.send('POST', '/users/bob/tokens', {})).status, 404);
  const { token = '' } = await door.token('ann');
  const told = JSON.stringify((await api.send('GET', '/users')).json);
  t.false(told.includes(token.slice(9)));
  const { tokens } = api.store.get('users', 'ann') ?? { tokens: [] };
  t.false(told.includes(tokens[0]?.digest ?? '?'));
  t.false(JSON.stringify(api.store.get('users', 'ann')).includes(token.slice(9)), 'nor kept');
  for (const [who, path] of [
    [await door.user('op', 'operator'), '/users'],
    [await door.user('view', 'viewer'), '/swarm'],
  ] as const)
    t.is((await door.send(who, 'GET', path)).status, 403);
});

/** The audit log: every change and every way into a container, who and from where; no body, no secret; and its files. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { AuditLog, type AuditEntry } from '../../../manager/audit/audit-log.ts';
import { OPERATIONS } from '../../../manager/api/openapi/operations.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { AccessDoor } from './access-door.ts';
import { ApiFixture } from './fixture.ts';

const test = anyTest as TestFn<{ directory: string }>;

test.beforeEach(async (t) => {
  t.context.directory = await mkdtemp(path.join(tmpdir(), 'shoal-audit-'));
});

test.afterEach.always((t) => rm(t.context.directory, { recursive: true, force: true }));

function entry(n: number): AuditEntry {
  const time = new Date(n * 1000).toISOString();
  return { time, by: 'socket', method: 'POST', path: `/x/${n}`, outcome: 'done' };
}

async function textsIn(directory: string): Promise<string> {
  const names = await readdir(directory);
  return (await Promise.all(names.map((name) => readFile(path.join(directory, name), 'utf8')))).join('');
}

test('every request that may change something has a line, and no look has; bodies and queries are in none', async (t) => {
  const audit = new AuditLog({ directory: t.context.directory, logger: silentLogger });
  await using api = await ApiFixture.up(1, { audit });
  const secret = 'hunter2-do-not-log';
  for (const { method, path: route } of OPERATIONS) {
    const target = `${route.replaceAll(/[:*]\w+/g, 'x1')}?q=${secret}`;
    const leave = new AbortController();
    const answer = await Promise.race([
      api
        .send(
          method.toUpperCase(),
          target,
          { Name: secret, Data: secret },
          { 'X-Registry-Auth': secret },
          leave.signal,
        )
        .catch(() => undefined),
      new Promise<undefined>((resolve) => setTimeout(resolve, 2_000, undefined)),
    ]);
    if (answer === undefined) leave.abort();
  }
  await audit.flush();
  const text = await textsIn(t.context.directory);
  t.false(text.includes(secret));
  const logged = new Set((await audit.read({ limit: 10_000 })).map((one) => `${one.method} ${one.path}`));
  const looks = ['/wait', '/resize', '/diff'];
  for (const { method, path: route } of OPERATIONS) {
    const real = route.replaceAll(/[:*]\w+/g, 'x1');
    const isLook = ['get', 'head'].includes(method) || looks.some((end) => real.endsWith(end));
    const inside = method === 'get' && /\/(attach\/ws|archive|export|unlockkey)$/.test(real);
    t.is(logged.has(`${method.toUpperCase()} ${real}`), !isLook || inside, `${method} ${real}`);
  }
});

test('it says who, by what, from where, what was written, and what was refused', async (t) => {
  const audit = new AuditLog({ directory: t.context.directory, logger: silentLogger });
  await using door = await AccessDoor.open({ audit });
  const ann = await door.user('ann', 'operator', ['shop']);
  const body = {
    Name: 'shop_web',
    Labels: { 'com.docker.stack.namespace': 'shop' },
    TaskTemplate: { ContainerSpec: { Image: 'nginx:1', Env: ['PASSWORD=hunter2'] } },
  };
  t.is((await door.send(ann, 'POST', '/v1.47/services/create', body)).status, 201);
  t.is((await door.send(await door.token('ann'), 'DELETE', '/services/shop_web')).status, 200);
  t.is((await door.send(ann, 'GET', '/swarm')).status, 403);
  t.is((await door.send({}, 'GET', '/secrets')).status, 401);
  await audit.flush();
  const mine = await audit.read({ limit: 100, user: 'ann' });
  const [id] = (door.api.store.get('users', 'ann')?.certificates ?? []).map((one) => one.id);
  const [created] = mine;
  t.like(created, {
    ...{ user: 'ann', by: 'certificate', credential: id, from: '127.0.0.1', method: 'POST' },
    ...{ path: '/services/create', outcome: 'done', status: 201, changes: ['create service shop_web'] },
  });
  t.like(mine[1], { by: 'token', outcome: 'done', changes: ['remove service shop_web'] });
  t.like(mine[2], { path: '/swarm', outcome: 'refused', status: 403 });
  const all = await audit.read({ limit: 100 });
  t.like(all[0], { by: 'socket', changes: ['create user ann'] });
  t.like(all.at(-1), { by: 'nobody', from: '127.0.0.1', path: '/secrets', status: 401 });
  t.false((await textsIn(t.context.directory)).includes('hunter2'));
  const asked = await door.api.get('/audit?limit=1');
  t.is(asked.length, 1);
  t.is((await door.send(ann, 'GET', '/audit')).status, 403);
});

test('files are for root alone, have an end, and the newest lines are kept', async (t) => {
  const { directory } = t.context;
  const options = { directory, logger: silentLogger, fileBytes: 2_000, files: 3 };
  const audit = new AuditLog(options);
  for (let n = 1; n <= 200; n += 1) {
    audit.append(entry(n));
    if (n % 5 === 0) await audit.flush();
  }
  await audit.flush();
  const names = await readdir(directory);
  t.deepEqual(names.sort(), ['audit.log', 'audit.log.1', 'audit.log.2']);
  t.is((await stat(path.join(directory, 'audit.log'))).mode & 0o777, 0o600);
  const kept = await audit.read({ limit: 1_000 });
  t.is(kept.at(-1)?.path, '/x/200');
  t.true(kept.length > 20 && kept.length < 120);
  const numbers = kept.map((one) => Number(one.path.slice(3)));
  t.deepEqual(
    numbers,
    numbers.toSorted((a, b) => a - b),
  );
  t.deepEqual(await audit.read({ limit: 2 }), kept.slice(-2));
  t.deepEqual(await audit.read({ limit: 1_000, sinceMs: 198_000 }), kept.slice(-3));
  // A crash has cut off a line: those before and after it are there.
  const current = path.join(directory, 'audit.log');
  await writeFile(current, '{"time":"20', { flag: 'a' });
  const after = new AuditLog(options);
  after.append(entry(201));
  await after.flush();
  t.deepEqual(
    (await after.read({ limit: 2 })).map((one) => one.path),
    ['/x/200', '/x/201'],
  );
});

test('what can not be written is said, and nobody waits for it', async (t) => {
  const blocked = path.join(t.context.directory, 'file');
  await writeFile(blocked, '');
  const said: object[] = [];
  const logger = { ...silentLogger, error: (fields: object) => void said.push(fields) };
  const audit = new AuditLog({ directory: path.join(blocked, 'audit'), logger });
  audit.append(entry(1));
  await audit.flush();
  t.is(said.length, 1);
  await rm(blocked);
  audit.append(entry(2));
  await audit.flush();
  t.is((await audit.read({ limit: 10 })).length, 1);
  t.like(said[1], { lost: 1 });
});

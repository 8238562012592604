/** Certificates that end within seconds, on a real TLS port: renewed under sessions that go on, and refused once they ended. */
import { X509Certificate } from 'node:crypto';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:tls';
import test from 'ava';
import { type Identity, loadIdentity } from '../../../agent/session/identity.ts';
import { join } from '../../../agent/session/join.ts';
import type { NodeIdentity } from '../../../agent/session/node-identity.ts';
import { ForbiddenError, InvalidError } from '../../../shared/errors/index.ts';
import { certificateRequest, generateKeys, keysOf } from '../../../shared/wire/keys.ts';
import { machine, shownBy } from './machine.ts';
import { RawSession } from './raw-session.ts';
import { addService, eventually, putTask, type Rig, rig, startAgent, task } from './rig.ts';

const DAY_MS = 24 * 3600 * 1000;

test('both sides renew their certificates again and again, and the session goes on', async (t) => {
  const r = await rig(t, { certificateLifeMs: 3_000 });
  const node = await machine(t, r, 'a');
  const first = node.identity.current;
  const agent = node.start();
  await eventually('it is recorded', () => r.store.get('nodes', agent.nodeId)?.session !== undefined);
  const session = r.store.get('nodes', agent.nodeId)?.session;
  const [keys, shown] = [new Set<string>(), new Set<string>()];
  const deadline = performance.now() + 60_000;
  while (keys.size < 4 || shown.size < 4) {
    if (performance.now() > deadline) return t.fail(`${keys.size} keys, ${shown.size} of the manager`);
    keys.add(r.store.get('nodes', agent.nodeId)?.certificate?.keyDigest ?? '');
    shown.add((await shownBy(r.address)).serialNumber);
    t.true(r.dispatcher.gateway.connected(agent.nodeId));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  t.is(r.store.get('nodes', agent.nodeId)?.session, session, 'one session, from the first to the last');
  t.like(r.dispatcher.counts().certificates, { failed: 0, expired: 0 });
  t.true(r.dispatcher.counts().certificates.renewed >= 3);
  await addService(r, 'web');
  await putTask(r, task('t1', 'web', agent.nodeId));
  await eventually('it still gets tasks', () => agent.sets.at(-1)?.tasks.has('t1') === true);
  await agent.stop();
  // What the disk has is what the memory has, and opens the next session; the first certificate does not.
  t.deepEqual(await loadIdentity(node.directory), node.identity.current);
  t.not(node.identity.key, first.key);
  const again = node.start();
  await eventually('it is back', () => r.dispatcher.gateway.connected(agent.nodeId));
  await again.stop();
  const old = new RawSession(r.address, first);
  await eventually('the first certificate is refused', () => old.failure !== undefined);
  t.regex(old.failure ?? '', /403/);
});

/** Of the node's own key, made a hundred days ago. */
async function endedCertificate(r: Rig, { nodeId, key }: NodeIdentity): Promise<string> {
  const csr = await certificateRequest(await keysOf(key));
  return r.dispatcher.authority.issue(csr, { nodeId, role: 'worker' }, Date.now() - 100 * DAY_MS);
}

test('a node whose certificate has ended comes back with a token, as itself; without one it does not', async (t) => {
  const r = await rig(t);
  const node = await machine(t, r, 'a');
  const other = await machine(t, r, 'b');
  const index = r.store.get('nodes', node.identity.nodeId)?.index;
  for (const { identity } of [node, other])
    await identity.change({ cert: await endedCertificate(r, identity) });
  const poor = other.start();
  const rich = node.start(r.tokens.worker);
  await eventually('it is back', () => r.dispatcher.gateway.connected(node.identity.nodeId));
  t.is(r.store.get('nodes', rich.nodeId)?.index, index);
  t.is(r.store.all('nodes').size, 2);
  t.false(r.dispatcher.gateway.connected(other.identity.nodeId));
  await Promise.all([poor.stop(), rich.stop()]);
});

test('a node that was removed does not come back as itself, nor one with the key of another', async (t) => {
  const r = await rig(t);
  const [a, b] = [await r.joined('a'), await r.joined('b')];
  const back = (nodeId: string, { key }: Identity) => {
    const returning = { nodeId, key };
    return join({ token: r.tokens.worker, managers: [r.address], hostname: 'x', returning }, r.signal);
  };
  await t.throwsAsync(back(a.nodeId, b), {
    instanceOf: ForbiddenError,
    message: /not known here with this key/,
  });
  t.is((await back(a.nodeId, a)).nodeId, a.nodeId);
  await r.store.commit([{ table: 'nodes', key: a.nodeId, value: null }], { signal: r.signal });
  await t.throwsAsync(back(a.nodeId, a), { instanceOf: ForbiddenError, message: /remove identity\.json/ });
  const manager = await join({ token: r.tokens.manager, managers: [r.address], hostname: 'm' }, r.signal);
  await t.throwsAsync(back(manager.nodeId, manager), { message: /comes back with a token for managers/ });
});

function post(address: string, ca: string, body: object): Promise<{ status: number; nodeId: unknown }> {
  return new Promise((resolve, reject) => {
    const options = { method: 'POST', ca, checkServerIdentity: () => undefined, agent: false } as const;
    const sent = httpsRequest(`https://${address}/join`, options, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          nodeId: (JSON.parse(text) as { nodeId?: unknown }).nodeId,
        }),
      );
    });
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}

test('a join that is repeated, even at once, makes one node', async (t) => {
  const r = await rig(t);
  const body = { token: r.tokens.worker, csr: await certificateRequest(await generateKeys()), hostname: 'x' };
  const { caPem } = r.dispatcher.authority;
  const answers = await Promise.all(Array.from({ length: 5 }, () => post(r.address, caPem, body)));
  answers.push(await post(r.address, caPem, body));
  t.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
  t.is(new Set(answers.map(({ nodeId }) => nodeId)).size, 1);
  t.is(r.store.all('nodes').size, 1);
});

test('the machine of a manager does not pass for a manager: its agent is no server', async (t) => {
  const r = await rig(t);
  const agent = await join({ token: r.tokens.manager, managers: [r.address], hostname: 'm' }, r.signal);
  const certificate = new X509Certificate(agent.cert);
  t.regex(certificate.subject, /^OU=worker$/m);
  t.is(r.store.get('nodes', agent.nodeId)?.spec.role, 'manager');
  t.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2']);
});

test('a node keeps its certificate when it is sent a wrong one', async (t) => {
  const r = await rig(t);
  const node = await machine(t, r, 'a');
  const { signal } = new AbortController();
  const { methods, current } = node.identity;
  const { authority } = r.dispatcher;
  const ca = authority.trustPem;
  const install = (certificate: string, roots = ca) =>
    methods['certificate.install']({ certificate, ca: roots }, signal);
  const issue = (csr: string, nodeId = node.identity.nodeId) =>
    authority.issue(csr, { nodeId, role: 'worker' }, Date.now());
  await t.throwsAsync(install(current.cert), { instanceOf: InvalidError, message: /not asked for/ });
  const { csr } = await methods['certificate.request']({}, signal);
  const stranger = (await rig(t)).dispatcher.authority;
  const keys = await generateKeys();
  await t.throwsAsync(install('x'), { message: /not a certificate/ });
  await t.throwsAsync(install(await issue(await certificateRequest(keys))), { message: /not of the key/ });
  await t.throwsAsync(install(await issue(csr, 'other')), { message: /not of the node/ });
  await t.throwsAsync(install(await issue(csr), stranger.trustPem), { message: /none of the roots/ });
  t.deepEqual(node.identity.current, current);
  await install(await issue(csr));
  t.not(node.identity.key, current.key);
  t.is((await loadIdentity(node.directory))?.key, node.identity.key);
});

test('a node that does not renew its certificate loses its session when that ends, and is refused', async (t) => {
  const r = await rig(t, { certificateLifeMs: 2_000 });
  const { identity } = await machine(t, r, 'old');
  // A link that knows nothing of certificates.
  const agent = startAgent({ address: r.address, identity, hostname: 'old', signal: r.signal });
  await eventually('it is connected', () => r.dispatcher.gateway.connected(agent.nodeId));
  await eventually('it is ended', () => r.dispatcher.counts().certificates.expired === 1);
  t.true(r.dispatcher.counts().certificates.failed > 0);
  await eventually('it is gone', () => !r.dispatcher.gateway.connected(agent.nodeId));
  await agent.stop();
});

test('TLS 1.2 is not spoken', async (t) => {
  const r = await rig(t);
  const [host, port] = r.address.split(':');
  const options = {
    host: host ?? '',
    port: Number(port),
    rejectUnauthorized: false,
    maxVersion: 'TLSv1.2',
  } as const;
  const error = await new Promise<Error | undefined>((resolve) => {
    const socket = connect(options, () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.on('error', resolve);
  });
  t.regex(error?.message ?? '', /protocol version/i);
});

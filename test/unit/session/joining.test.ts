import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import test from 'ava';
import { identityPath, loadIdentity, saveIdentity } from '../../../agent/session/identity.ts';
import { join } from '../../../agent/session/join.ts';
import { joinTokens, openSecrets, sealSecrets } from '../../../manager/ca/cluster.ts';
import { createRoot, openAuthority, sha256 } from '../../../manager/ca/authority.ts';
import { ForbiddenError, InvalidError, UnavailableError } from '../../../shared/errors/index.ts';
import { newId } from '../../../shared/lib/ids.ts';
import { formatJoinToken, parseJoinToken } from '../../../shared/wire/join-token.ts';
import { testVault } from '../../harness/vault.ts';
import { RawSession } from './raw-session.ts';
import { eventually, rig } from './rig.ts';

test('nodes that join at once get indexes of their own, and a removed node’s index is used again', async (t) => {
  const r = await rig(t);
  const ids = await Promise.all(['a', 'b', 'c'].map(async (name) => (await r.joined(name)).nodeId));
  const indexes = ids.map((id) => r.store.get('nodes', id)?.index);
  t.deepEqual(indexes.sort(), [1, 2, 3]);
  const second = ids.find((id) => r.store.get('nodes', id)?.index === 2) ?? '';
  await r.store.commit([{ table: 'nodes', key: second, value: null }], { signal: r.signal });
  t.is(r.store.get('nodes', (await r.joined('d')).nodeId)?.index, 2);
});

test('a wrong token is refused in words that say what is wrong', async (t) => {
  const r = await rig(t);
  const stranger = await rig(t);
  const attempt = (token: string) => join({ token, managers: [r.address], hostname: 'x' }, r.signal);
  await t.throwsAsync(attempt('SHOAL-1-abc'), { instanceOf: InvalidError, message: /malformed/ });
  const { caDigest } = parseJoinToken(r.tokens.worker);
  const wrongSecret = formatJoinToken({ caDigest, secret: newId() });
  await t.throwsAsync(attempt(wrongSecret), { instanceOf: ForbiddenError, message: /no such join token/ });
  await t.throwsAsync(attempt(stranger.tokens.worker), {
    instanceOf: ForbiddenError,
    message: /not the one this token was made for/,
  });
  t.is(r.store.all('nodes').size, 0, 'nobody got in');
});

test('a token that was rotated lets nobody in; the new one does, and who is in stays', async (t) => {
  const r = await rig(t);
  const agent = await r.agent('first');
  await eventually('it is connected', () => r.dispatcher.gateway.connected(agent.nodeId));
  const cluster = r.store.get('cluster', 'self');
  if (cluster === undefined) throw new Error('there is no cluster');
  const before = openSecrets(testVault, cluster);
  const secrets = { ...before, joinSecrets: { ...before.joinSecrets, worker: newId() } };
  const value = { ...cluster, secrets: sealSecrets(testVault, secrets) };
  await r.store.commit([{ table: 'cluster', key: 'self', value }], { signal: r.signal });
  const attempt = (token: string) => join({ token, managers: [r.address], hostname: 'x' }, r.signal);
  await t.throwsAsync(attempt(r.tokens.worker), {
    instanceOf: ForbiddenError,
    message: /no such join token/,
  });
  const fresh = joinTokens(secrets, r.dispatcher.authority.digest);
  t.is(r.store.get('nodes', (await attempt(fresh.worker)).nodeId)?.spec.role, 'worker');
  t.is(fresh.manager, r.tokens.manager);
  t.true(r.dispatcher.gateway.connected(agent.nodeId));
});

test('a worker’s token does not make a manager', async (t) => {
  const r = await rig(t);
  const options = { managers: [r.address], hostname: 'x' };
  await t.throwsAsync(join({ ...options, token: r.tokens.worker, role: 'manager' }, r.signal), {
    instanceOf: ForbiddenError,
  });
  const roleBy = async (token: string) => {
    const { nodeId } = await join({ ...options, token }, r.signal);
    return r.store.get('nodes', nodeId)?.spec.role;
  };
  t.is(await roleBy(r.tokens.worker), 'worker');
  t.is(await roleBy(r.tokens.manager), 'manager');
});

test('an address where nobody answers is named, and the next one is tried', async (t) => {
  const r = await rig(t);
  const options = { token: r.tokens.worker, hostname: 'x' };
  await t.throwsAsync(join({ ...options, managers: ['127.0.0.1:1'] }, r.signal), {
    instanceOf: UnavailableError,
    message: /127\.0\.0\.1:1/,
  });
  const joined = await join({ ...options, managers: ['127.0.0.1:1', r.address] }, r.signal);
  t.truthy(r.store.get('nodes', joined.nodeId));
});

test('a worker cannot play the manager to a node that joins', async (t) => {
  const r = await rig(t);
  const worker = await r.joined('traitor');
  let posted = false;
  const impostor = createServer({ cert: worker.cert, key: worker.key }, (request, response) => {
    if (request.method === 'POST') posted = true;
    response.end(request.url === '/ca' ? worker.ca : '{}');
  });
  await new Promise<void>((resolve) => impostor.listen(0, '127.0.0.1', resolve));
  t.teardown(() => impostor.close());
  const address = `127.0.0.1:${(impostor.address() as AddressInfo).port}`;
  await t.throwsAsync(join({ token: r.tokens.worker, managers: [address], hostname: 'x' }, r.signal), {
    instanceOf: UnavailableError,
  });
  t.false(posted, 'the token was not given to it');
});

test('a session needs a certificate of this cluster', async (t) => {
  const r = await rig(t);
  const stranger = await (await rig(t)).joined('stranger');
  const own = await r.joined('own');
  const refused = async (session: RawSession, status: number): Promise<void> => {
    await eventually('the socket was refused', () => session.failure !== undefined);
    t.regex(session.failure ?? '', new RegExp(`${status}`));
  };
  await refused(new RawSession(r.address, { ca: own.ca }), 403);
  await refused(new RawSession(r.address, { ...stranger, ca: own.ca }), 403);
  // Right in every word, but signed by somebody else.
  const { clusterId } = r.dispatcher.cluster;
  const forger = await openAuthority(clusterId, await createRoot(clusterId, Date.now()));
  const forged = await forger.issueIdentity({ nodeId: own.nodeId, role: 'worker' }, Date.now());
  await refused(new RawSession(r.address, { ...forged, ca: own.ca }), 403);
  await refused(new RawSession(r.address, own, '/other'), 404);
});

test('a node may speak for itself only', async (t) => {
  const r = await rig(t);
  const [a, b] = [await r.joined('a'), await r.joined('b')];
  const session = new RawSession(r.address, a);
  await session.opened();
  session.hello(b.nodeId);
  await eventually('the session is closed', () => session.closeCode !== undefined);
  t.is(session.closeCode, 4003);
  t.false(r.dispatcher.gateway.connected(b.nodeId));
});

test('a node that was removed gets no session', async (t) => {
  const r = await rig(t);
  const identity = await r.joined('a');
  await r.store.commit([{ table: 'nodes', key: identity.nodeId, value: null }], { signal: r.signal });
  const session = new RawSession(r.address, identity);
  await session.opened();
  session.hello(identity.nodeId);
  await eventually('the session is closed', () => session.closeCode !== undefined);
  t.is(session.closeCode, 4004);
});

test('an identity is kept for its owner alone, as a whole', async (t) => {
  const directory = await mkdtemp(joinPath(tmpdir(), 'shoal-identity-'));
  t.teardown(() => rm(directory, { recursive: true }));
  t.is(await loadIdentity(directory), undefined);
  const identity = { nodeId: 'n1', ca: 'CA', cert: 'CERT', key: 'KEY', managers: ['127.0.0.1:2400'] };
  await saveIdentity(directory, identity);
  await saveIdentity(directory, identity);
  t.deepEqual(await loadIdentity(directory), identity);
  t.is((await stat(identityPath(directory))).mode & 0o777, 0o600);
  await writeFile(identityPath(directory), '{"nodeId":');
  await t.throwsAsync(loadIdentity(directory), { instanceOf: InvalidError, message: /damaged/ });
});

test('a token that has ended, was revoked or is of another role is refused in these words', async (t) => {
  const r = await rig(t);
  const cluster = r.store.get('cluster', 'self');
  if (cluster === undefined) throw new Error('there is no cluster');
  const { digest: caDigest } = r.dispatcher.authority;
  const [ended, revoked, good] = [newId(), newId(), newId()];
  const record = (secret: string, more: object) => ({
    id: secret.slice(0, 4),
    role: 'worker' as const,
    secretDigest: sha256(Buffer.from(secret)),
    createdAtMs: Date.now() - 1000,
    ...more,
  });
  const tokens = [
    record(ended, { expiresAtMs: Date.now() - 1 }),
    record(revoked, { revokedAtMs: Date.now() }),
    record(good, { expiresAtMs: Date.now() + 60_000 }),
  ];
  await r.store.commit([{ table: 'cluster', key: 'self', value: { ...cluster, tokens } }], {
    signal: r.signal,
  });
  const attempt = (secret: string, role?: 'manager') => {
    const token = formatJoinToken({ caDigest, secret });
    const asked = role === undefined ? {} : { role };
    return join({ token, managers: [r.address], hostname: 'x', ...asked }, r.signal);
  };
  await t.throwsAsync(attempt(ended), { instanceOf: ForbiddenError, message: /has expired, at 20/ });
  await t.throwsAsync(attempt(revoked), { instanceOf: ForbiddenError, message: /was revoked, at 20/ });
  await t.throwsAsync(attempt(good, 'manager'), { message: /for a worker, not for a manager/ });
  t.is(r.store.all('nodes').size, 0);
  t.is(r.store.get('nodes', (await attempt(good)).nodeId)?.spec.role, 'worker');
});

import { X509Certificate } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { createRoot, openAuthority, sha256 } from '../../../manager/ca/authority.ts';
import { authorityOf, joinTokens, loadOrCreateCluster, openSecrets } from '../../../manager/ca/cluster.ts';
import { ConflictError, InvalidError } from '../../../shared/errors/index.ts';
import { newId } from '../../../shared/lib/ids.ts';
import { certificateRequest, generateKeys } from '../../../shared/wire/keys.ts';
import { judgeToken, rotatedToken, sameSecret, withToken } from '../../../manager/ca/tokens.ts';
import type { Cluster, JoinTokenRecord } from '../../../shared/model/index.ts';
import { formatJoinToken } from '../../../shared/wire/join-token.ts';
import { MemoryStore } from '../../harness/memory-store.ts';
import { testVault } from '../../harness/vault.ts';

const { signal } = new AbortController();
const DAY_MS = 24 * 3600 * 1000;

test('a certificate names node, role and cluster, whatever the request says, and is signed by the root', async (t) => {
  const nowMs = Date.now();
  const authority = await openAuthority('cluster1', await createRoot('cluster1', nowMs));
  const csr = await certificateRequest(await generateKeys());
  const certificate = new X509Certificate(
    await authority.issue(csr, { nodeId: 'n1', role: 'worker' }, nowMs),
  );
  t.is(certificate.subject, 'O=cluster1\nOU=worker\nCN=n1');
  const root = new X509Certificate(authority.caPem);
  t.true(certificate.verify(root.publicKey));
  t.true(certificate.checkIssued(root));
  t.false(certificate.ca);
  t.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2'], 'a worker may not be a server');
  const lifeMs = Date.parse(certificate.validTo) - nowMs;
  t.true(lifeMs > 89 * DAY_MS && lifeMs <= 90 * DAY_MS);
  t.true(Date.parse(certificate.validFrom) <= nowMs - 23 * 60 * 60 * 1000, 'backdated: clocks differ');
});

test('a manager’s certificate carries its names', async (t) => {
  const authority = await openAuthority('c', await createRoot('c', Date.now()));
  const hosts = ['localhost', '127.0.0.1'];
  const { cert } = await authority.issueIdentity({ nodeId: 'm1', role: 'manager', hosts }, Date.now());
  t.is(new X509Certificate(cert).subjectAltName, 'DNS:localhost, IP Address:127.0.0.1');
});

test('the digest is that of the certificate’s DER', async (t) => {
  const authority = await openAuthority('c', await createRoot('c', Date.now()));
  const expected = new X509Certificate(authority.caPem).fingerprint256.replaceAll(':', '').toLowerCase();
  t.is(authority.digest, expected);
});

test('what is no proper request is refused', async (t) => {
  const authority = await openAuthority('c', await createRoot('c', Date.now()));
  const issue = (csr: string) => authority.issue(csr, { nodeId: 'n1', role: 'worker' }, Date.now());
  await t.throwsAsync(issue('nonsense'), { instanceOf: InvalidError });
  const csr = await certificateRequest(await generateKeys());
  const other = await certificateRequest(await generateKeys());
  // The last bytes are the signature: those of another request do not fit.
  const lines = csr.trim().split('\n');
  const otherLines = other.trim().split('\n');
  const forged = [...lines.slice(0, -2), ...otherLines.slice(-2)].join('\n');
  await t.throwsAsync(issue(forged), { instanceOf: InvalidError });
});

test('two managers that start at once agree on one cluster', async (t) => {
  const store = new MemoryStore();
  const load = () => loadOrCreateCluster(store, testVault, { nodeDownAfterMs: 700 }, Date.now(), signal);
  const [a, b] = await Promise.all([load(), load()]);
  t.is(a.clusterId, b.clusterId);
  t.is(a.caCertificatePem, b.caCertificatePem);
  t.like(a, { addressPool: '10.0.0.0/8', subnetBits: 20, nodeDownAfterMs: 700, taskHistoryLimit: 5 });
  t.is(store.commits, 1);
  t.is((await load()).clusterId, a.clusterId);
  t.is(store.commits, 1, 'nothing is written when it is there');
});

const refusedAs = (t: ExecutionContext, verdict: ReturnType<typeof judgeToken>, why: RegExp): void => {
  t.is(verdict.granted, undefined);
  t.regex('refused' in verdict ? verdict.refused : '', why);
};

test('a token grants its own role in its own cluster', async (t) => {
  const cluster = await loadOrCreateCluster(new MemoryStore(), testVault, {}, Date.now(), signal);
  const other = await loadOrCreateCluster(new MemoryStore(), testVault, {}, Date.now(), signal);
  const authority = await authorityOf(cluster, testVault);
  const [own, others] = [openSecrets(testVault, cluster), openSecrets(testVault, other)];
  const { joinSecrets } = own;
  const tokens = joinTokens(own, authority.digest);
  const judge = (token: string) => judgeToken(cluster, joinSecrets, authority.digest, token, Date.now());
  t.deepEqual(judge(tokens.worker), { granted: 'worker', id: 'worker' });
  t.deepEqual(judge(tokens.manager), { granted: 'manager', id: 'manager' });
  refusedAs(
    t,
    judge(joinTokens(others, (await authorityOf(other, testVault)).digest).worker),
    /of another cluster/,
  );
  const wrongSecret = formatJoinToken({ caDigest: authority.digest, secret: others.joinSecrets.worker });
  refusedAs(t, judge(wrongSecret), /no such join token/);
  const wrongCluster = formatJoinToken({ caDigest: 'ab'.repeat(32), secret: joinSecrets.worker });
  refusedAs(t, judge(wrongCluster), /of another cluster/);
});

test('tokens that were made end at their time or when they are revoked, and that is said for 30 days', async (t) => {
  const made = await loadOrCreateCluster(new MemoryStore(), testVault, {}, 0, signal);
  const { digest: caDigest } = await authorityOf(made, testVault);
  const { joinSecrets: first } = openSecrets(testVault, made);
  const [short, long] = [newId(), newId()];
  const record = (secret: string, more: Partial<JoinTokenRecord>): JoinTokenRecord => ({
    id: secret.slice(0, 4),
    role: 'worker',
    secretDigest: sha256(Buffer.from(secret)),
    createdAtMs: 0,
    ...more,
  });
  const tokens = withToken(
    withToken(undefined, record(short, { expiresAtMs: 1000 }), 0),
    record(long, { role: 'manager' }),
    0,
  );
  const judge = (secret: string, nowMs: number, more: Partial<Cluster> = {}) =>
    judgeToken({ ...made, tokens, ...more }, first, caDigest, formatJoinToken({ caDigest, secret }), nowMs);
  t.deepEqual(judge(short, 999), { granted: 'worker', id: short.slice(0, 4) });
  refusedAs(t, judge(short, 1000), /has expired, at 1970-01-01T00:00:01\.000Z/);
  t.is(judge(long, 1e12).granted, 'manager');
  const rotated = withToken(tokens, rotatedToken('worker', first.worker, 'r', 5000), 5000);
  const joinSecrets = { ...first, worker: newId() };
  const verdict = judgeToken(
    { ...made, tokens: rotated },
    joinSecrets,
    caDigest,
    formatJoinToken({ caDigest, secret: first.worker }),
    6000,
  );
  refusedAs(t, verdict, /was revoked, at 1970-01-01T00:00:05/);
  // What ended long ago is forgotten with the next change.
  const later = withToken(rotated, record(newId(), {}), 31 * DAY_MS);
  t.deepEqual(
    later.map(({ role }) => role),
    ['manager', 'worker'],
  );
  refusedAs(t, judge(short, 31 * DAY_MS, { tokens: later }), /no such join token/);
});

test('there is an end to the number of tokens, but not to rotating them', async (t) => {
  const record = (i: number, more = {}): JoinTokenRecord => ({
    id: String(i),
    role: 'worker',
    secretDigest: String(i),
    createdAtMs: 0,
    ...more,
  });
  let tokens: readonly JoinTokenRecord[] = [];
  for (let i = 0; i < 499; i += 1) tokens = withToken(tokens, record(i), 0);
  tokens = withToken(tokens, record(499, { revokedAtMs: 0 }), 0);
  tokens = withToken(tokens, record(500), 0);
  t.is(tokens.length, 500);
  t.false(
    tokens.some(({ id }) => id === '499'),
    'the one that lets nobody in made room',
  );
  const full = tokens;
  t.throws(() => withToken(full, record(501), 0), { instanceOf: ConflictError, message: /revoke some/ });
  t.notThrows(() => withToken(full, record(501, { revokedAtMs: 0 }), 0));
});

test('secrets of different lengths differ without an error', (t) => {
  t.true(sameSecret('abc', 'abc'));
  t.false(sameSecret('abc', 'abd'));
  t.false(sameSecret('abc', 'abcd'));
});

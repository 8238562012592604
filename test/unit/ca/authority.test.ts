import { X509Certificate } from 'node:crypto';
import test from 'ava';
import { createRoot, openAuthority } from '../../../manager/ca/authority.ts';
import {
  authorityOf,
  joinTokens,
  loadOrCreateCluster,
  roleOfToken,
  sameSecret,
} from '../../../manager/ca/cluster.ts';
import { InvalidError } from '../../../shared/errors/index.ts';
import { certificateRequest, generateKeys } from '../../../shared/wire/keys.ts';
import { formatJoinToken } from '../../../shared/wire/join-token.ts';
import { MemoryStore } from '../../harness/memory-store.ts';

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
  const load = () => loadOrCreateCluster(store, { nodeDownAfterMs: 700 }, Date.now(), signal);
  const [a, b] = await Promise.all([load(), load()]);
  t.is(a.clusterId, b.clusterId);
  t.is(a.caCertificatePem, b.caCertificatePem);
  t.like(a, { addressPool: '10.0.0.0/8', subnetBits: 20, nodeDownAfterMs: 700, taskHistoryLimit: 5 });
  t.is(store.commits, 1);
  t.is((await load()).clusterId, a.clusterId);
  t.is(store.commits, 1, 'nothing is written when it is there');
});

test('a token grants its own role in its own cluster', async (t) => {
  const cluster = await loadOrCreateCluster(new MemoryStore(), {}, Date.now(), signal);
  const other = await loadOrCreateCluster(new MemoryStore(), {}, Date.now(), signal);
  const authority = await authorityOf(cluster);
  const tokens = joinTokens(cluster, authority);
  t.is(roleOfToken(cluster, authority, tokens.worker), 'worker');
  t.is(roleOfToken(cluster, authority, tokens.manager), 'manager');
  const stranger = joinTokens(other, await authorityOf(other)).worker;
  t.is(roleOfToken(cluster, authority, stranger), undefined);
  const wrongSecret = formatJoinToken({ caDigest: authority.digest, secret: other.joinSecrets.worker });
  t.is(roleOfToken(cluster, authority, wrongSecret), undefined);
  const wrongCluster = formatJoinToken({ caDigest: 'ab'.repeat(32), secret: cluster.joinSecrets.worker });
  t.is(roleOfToken(cluster, authority, wrongCluster), undefined);
});

test('secrets of different lengths differ without an error', (t) => {
  t.true(sameSecret('abc', 'abc'));
  t.false(sameSecret('abc', 'abd'));
  t.false(sameSecret('abc', 'abcd'));
});

/** The CA of a cluster replaced while nodes are connected, on a real TLS port; and a CA that users bring. */
import { X509Certificate } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { join } from '../../../agent/session/join.ts';
import { checkRoot, createRoot, type RootMaterial, trustRoot } from '../../../manager/ca/authority.ts';
import { joinTokens, openSecrets } from '../../../manager/ca/cluster.ts';
import { begunRotation, type RotationRequest, rotationProgress } from '../../../manager/ca/rotation.ts';
import { ConflictError, ForbiddenError, InvalidError } from '../../../shared/errors/index.ts';
import type { Cluster } from '../../../shared/model/index.ts';
import * as x509 from '../../../shared/wire/x509.ts';
import { testVault } from '../../harness/vault.ts';
import { machine, shownBy } from './machine.ts';
import { RawSession } from './raw-session.ts';
import { eventually, quiet, type Rig, rig } from './rig.ts';

const DAY_MS = 24 * 3600 * 1000;

function clusterOf(r: Rig): Cluster {
  const cluster = r.store.get('cluster', 'self');
  if (cluster === undefined) throw new Error('there is no cluster');
  return cluster;
}

async function rotate(r: Rig, request: RotationRequest): Promise<void> {
  const value = await begunRotation(clusterOf(r), testVault, request, Date.now());
  const expect = r.store.version('cluster', 'self');
  await r.store.commit([{ table: 'cluster', key: 'self', value, expect }], { signal: r.signal });
}

const progressOf = (r: Rig) => {
  const progress = rotationProgress(clusterOf(r), r.store.all('nodes').values());
  return (['moved', 'waiting', 'skipped'] as const).map((part) => progress?.[part].map(({ id }) => id));
};

function currentTokens(r: Rig): { worker: string; manager: string } {
  const { digest } = trustRoot(clusterOf(r).caCertificatePem);
  return joinTokens(openSecrets(testVault, clusterOf(r)), digest);
}

test('a rotation moves the nodes under their sessions, and ends once the last one has moved or is skipped', async (t) => {
  const r = await rig(t, { nodeDownAfterMs: 300 });
  const [here, dead] = [await machine(t, r, 'here'), await machine(t, r, 'dead')];
  const old = { first: here.identity.current, root: clusterOf(r).caCertificatePem };
  const agent = here.start();
  const [hereId, deadId] = [here.identity.nodeId, dead.identity.nodeId];
  await eventually('one is ready, one down', () => r.store.get('nodes', deadId)?.status === 'down');
  await eventually('it is recorded', () => r.store.get('nodes', hereId)?.session !== undefined);
  const session = r.store.get('nodes', hereId)?.session;
  await rotate(r, { skipDead: false });
  await eventually('one has moved', () => progressOf(r)[0]?.length === 1);
  t.deepEqual(progressOf(r), [[hereId], [deadId], []]);
  await t.throwsAsync(rotate(r, { skipDead: false }), { instanceOf: ConflictError, message: /under way/ });
  // While it goes on both count, and new nodes get certificates of the next root by the present token.
  const newcomer = await r.joined('new');
  t.is(newcomer.ca, r.dispatcher.authority.trustPem);
  t.is(newcomer.ca.match(/BEGIN CERT/g)?.length, 2);
  t.true((await shownBy(r.address)).verify(new X509Certificate(old.root).publicKey));
  const [early, late] = [new RawSession(r.address, old.first), new RawSession(r.address, newcomer)];
  await Promise.all([early.opened(), late.opened()]);
  for (const { socket } of [early, late]) socket.terminate();
  t.is(clusterOf(r).caCertificatePem, old.root, 'it waits for the node that is down');

  await rotate(r, { skipDead: true });
  await eventually('it is done', () => clusterOf(r).rotation === undefined);
  const root = new X509Certificate(clusterOf(r).caCertificatePem);
  await eventually(
    'the node trusts the new root alone',
    () => here.identity.ca === clusterOf(r).caCertificatePem,
  );
  t.true(new X509Certificate(here.identity.cert).verify(root.publicKey));
  t.is(r.store.get('nodes', hereId)?.session, session, 'the session went on');
  t.true((await shownBy(r.address)).verify(root.publicKey));
  const refused = new RawSession(r.address, { ...old.first, ca: root.toString() });
  await eventually('a certificate of the old root is refused', () => refused.failure !== undefined);
  t.regex(refused.failure ?? '', /403/);
  await agent.stop();
  const again = here.start();
  await eventually('it is back by its new one', () => r.dispatcher.gateway.connected(hereId));
  await again.stop();
  await returns(t, r, dead, old.root);
});

/** Who was skipped comes back with a token of now, as itself; a token of before says why not. */
async function returns(
  t: ExecutionContext,
  r: Rig,
  dead: Awaited<ReturnType<typeof machine>>,
  oldRoot: string,
): Promise<void> {
  await t.throwsAsync(join({ token: r.tokens.worker, managers: [r.address], hostname: 'x' }, r.signal), {
    instanceOf: ForbiddenError,
    message: /the CA was replaced since then and a new token is needed/,
  });
  t.is(dead.identity.ca, new X509Certificate(oldRoot).toString());
  const back = dead.start(currentTokens(r).worker);
  await eventually('it is back', () => r.dispatcher.gateway.connected(dead.identity.nodeId));
  await back.stop();
  t.is(r.store.all('nodes').size, 3);
}

/** With an RSA key, and a name that has nothing to do with the cluster. */
async function companyRoot(more: { days?: number; ca?: boolean } = {}): Promise<RootMaterial> {
  const { days = 365, ca = true } = more;
  const algorithm = {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
  };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=Company CA',
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + days * DAY_MS),
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(ca, undefined, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const der = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    caCertificatePem: certificate.toString('pem'),
    caKeyPem: x509.PemConverter.encode(der, 'PRIVATE KEY'),
  };
}

test('a cluster begins with a CA that users bring, and moves to another one of theirs', async (t) => {
  const root = await checkRoot(await companyRoot({ days: 50 }), Date.now());
  const warnings: string[] = [];
  const logger = { ...quiet, warn: (_fields: object, text = '') => void warnings.push(text) };
  const r = await rig(t, { root, logger });
  t.deepEqual(
    warnings.filter((text) => /CA ends.*shoal ca rotate/.test(text)),
    [warnings[0]],
  );
  t.is(trustRoot(clusterOf(r).caCertificatePem).digest, trustRoot(root.caCertificatePem).digest);
  const node = await machine(t, r, 'a');
  const agent = node.start();
  await eventually('it is connected', () => r.dispatcher.gateway.connected(agent.nodeId));
  const next = await companyRoot();
  await rotate(r, { root: next, skipDead: false });
  await eventually('it is done', () => clusterOf(r).rotation === undefined);
  t.is(trustRoot(clusterOf(r).caCertificatePem).digest, trustRoot(next.caCertificatePem).digest);
  await eventually('the node has moved', () => node.identity.ca === clusterOf(r).caCertificatePem);
  await t.throwsAsync(rotate(r, { root: next, skipDead: false }), {
    message: /is the CA of the cluster already/,
  });
  await agent.stop();
});

test('a root that could not do is refused with the reason', async (t) => {
  const good = await companyRoot();
  const own = await createRoot('c', Date.now());
  const refused = (material: Partial<RootMaterial>, message: RegExp) =>
    t.throwsAsync(checkRoot({ ...good, ...material }, Date.now()), { instanceOf: InvalidError, message });
  await t.notThrowsAsync(checkRoot(good, Date.now()));
  await refused({ caCertificatePem: 'x' }, /there are 0 certificates/);
  await refused(
    { caCertificatePem: good.caCertificatePem + own.caCertificatePem },
    /there are 2 certificates/,
  );
  await refused({ caKeyPem: 'x' }, /not a private key in PEM/);
  await refused({ caKeyPem: own.caKeyPem }, /the key is not its/);
  await refused(await companyRoot({ days: 20 }), /ends in less than 30 days/);
  await refused(await companyRoot({ ca: false }), /may not sign others/);
  const r = await rig(t);
  const { cert, key } = await r.joined('a');
  await refused({ caCertificatePem: cert, caKeyPem: key }, /it is no root/);
});

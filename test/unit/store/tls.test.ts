import { spawn } from 'node:child_process';
import type { webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { chooseFreePorts, findEtcd } from '../../../manager/store/etcd-process.ts';
import { openStore } from '../../../manager/store/open-store.ts';
import * as x509 from '../../../shared/wire/x509.ts';
import { put, silent, within } from './helpers.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
/** RFC 5280, 4.2.1.12. */
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const DAY_MS = 86_400_000;

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

/** Writes ca.pem, and cert.pem with key.pem for server and client alike, into the directory. */
async function writeCertificates(directory: string): Promise<void> {
  const [caKeys, keys] = [await newKeys(), await newKeys()];
  const validity = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) };
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity,
    name: 'CN=test CA',
    keys: caKeys,
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
  });
  const cert = await x509.X509CertificateGenerator.create({
    ...validity,
    serialNumber: '02',
    subject: 'CN=test',
    issuer: ca.subject,
    publicKey: keys.publicKey,
    signingKey: caKeys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }]),
      new x509.ExtendedKeyUsageExtension([SERVER_AUTH, CLIENT_AUTH]),
    ],
  });
  await writeFile(join(directory, 'ca.pem'), ca.toString('pem'));
  await writeFile(join(directory, 'cert.pem'), cert.toString('pem'));
  await writeFile(join(directory, 'key.pem'), await pemOf(keys.privateKey), { mode: 0o600 });
}

test('an external etcd that demands certificates: served with them, not without', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-tls-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  await writeCertificates(directory);
  const file = (name: string): string => join(directory, name);
  const ports = await chooseFreePorts();
  const url = `https://127.0.0.1:${ports.client}`;
  const peer = `http://127.0.0.1:${ports.peer}`;
  const etcd = spawn(
    await findEtcd(undefined),
    [
      `--data-dir=${file('data')}`,
      `--listen-client-urls=${url}`,
      `--advertise-client-urls=${url}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
      `--cert-file=${file('cert.pem')}`,
      `--key-file=${file('key.pem')}`,
      `--trusted-ca-file=${file('ca.pem')}`,
      '--client-cert-auth',
    ],
    { stdio: 'ignore' },
  );
  const ended = once(etcd, 'exit');
  try {
    const tls = { ca: file('ca.pem'), cert: file('cert.pem'), key: file('key.pem') };
    await using store = await openStore({ endpoints: [url], tls, logger: silent, signal: within() });
    await store.commit([put('t1')], { signal: within() });
    t.is(store.get('tasks', 't1')?.id, 't1');
    const bare = { ca: file('ca.pem') };
    await using stranger = openingOf(url, bare);
    t.is(await Promise.race([stranger.opened, refusals(stranger, 3)]), 'refused');
  } finally {
    etcd.kill('SIGKILL');
    await ended;
  }
});

interface Opening extends AsyncDisposable {
  readonly opened: Promise<string>;
  refused: number;
}

/** Tries to open a store; counts how often etcd could not be read. */
function openingOf(url: string, tls: { ca: string }): Opening {
  const stop = new AbortController();
  const logger = Object.assign(Object.create(silent) as typeof silent, {
    warn: () => void (opening.refused += 1),
  });
  const opened = openStore({ endpoints: [url], tls, logger, signal: stop.signal }).then(
    () => 'opened',
    () => 'aborted',
  );
  const opening: Opening = {
    opened,
    refused: 0,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await opened;
    },
  };
  return opening;
}

async function refusals(opening: Opening, count: number): Promise<string> {
  while (opening.refused < count) await new Promise((resolve) => setTimeout(resolve, 10));
  return 'refused';
}

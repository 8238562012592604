import { spawn } from 'node:child_process';
import type { webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { CLI_PATH } from '../../../deploy/local/project.ts';
import { chooseFreePorts, findEtcd } from '../../../manager/store/etcd-process.ts';
import { openStore } from '../../../manager/store/open-store.ts';
import * as x509 from '../../../shared/wire/x509.ts';
import { delay } from '../../../shared/lib/abort.ts';
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

test('an external etcd that demands certificates: served with them, by the command too, and not without', async (t) => {
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
    const [ca, cert, key] = await Promise.all(
      ['ca.pem', 'cert.pem', 'key.pem'].map((name) => readFile(file(name), 'utf8')),
    );
    if (ca === undefined || cert === undefined || key === undefined) throw new Error('no certificates');
    const tls = { ca, cert, key };
    await using store = await openStore({ endpoints: [url], tls, logger: silent, signal: within() });
    await store.commit([put('t1')], { signal: within() });
    t.is(store.get('tasks', 't1')?.id, 't1');
    await managerServes(directory, url);
    t.regex(store.get('cluster', 'self')?.caCertificatePem ?? '', /BEGIN CERTIFICATE/);
    const bare = { ca };
    await using stranger = openingOf(url, bare);
    t.is(await Promise.race([stranger.opened, refusals(stranger, 3)]), 'refused');
  } finally {
    etcd.kill('SIGKILL');
    await ended;
  }
});

/** `shoal manager` with the files of the directory; resolves once it has served, and ended. */
async function managerServes(directory: string, url: string): Promise<void> {
  const file = (name: string): string => join(directory, name);
  const { client: port } = await chooseFreePorts();
  const options = {
    'state-dir': file('state'),
    'run-dir': file('run'),
    socket: file('api.sock'),
    listen: `127.0.0.1:${port}`,
    etcd: url,
    'etcd-ca': file('ca.pem'),
    'etcd-cert': file('cert.pem'),
    'etcd-key': file('key.pem'),
  };
  const flags = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  const manager = spawn(process.execPath, [CLI_PATH, 'manager', ...flags], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  manager.stderr.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')));
  const ended = once(manager, 'exit');
  try {
    while (!existsSync(file('run/manager.json'))) {
      if (manager.exitCode !== null) throw new Error(`the manager did not start: ${said}`);
      await delay(20, within());
    }
  } finally {
    manager.kill('SIGTERM');
    await ended;
  }
}

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

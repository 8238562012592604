import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BuiltImage } from '../../agent/image/build-tar.ts';
import { sha256Of } from '../../agent/image/digest.ts';
import { MANIFEST_TYPE } from '../../agent/image/manifest.ts';
import { parseReference } from '../../agent/image/reference.ts';
import { ensurePeers } from './peers.ts';

/** Debian's docker-registry, running. Disposing it stops it and removes its storage. */
export interface Registry extends AsyncDisposable {
  /** host:port, as references name it. */
  readonly address: string;
  /** Where it keeps blobs: `docker/registry/v2/blobs/sha256/<2 digits>/<digits>/data`. */
  readonly storageDir: string;
}

const START_TIMEOUT_MS = 30_000;

/** Who may use a registry that is closed to others. The hash is bcrypt's (crypt(5)): the only kind that it reads. */
export const REGISTRY_USER = {
  username: 'ali',
  password: 'open sesame',
  hash: '$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW',
};

export interface RegistryOptions {
  /** For REGISTRY_USER alone. */
  readonly closed?: boolean;
  /** It listens in the network namespace of this process; there, not here, it can be asked. */
  readonly besidePid?: number;
  /** Another registry's, whose contents it shows too. */
  readonly storageDir?: string;
}

/** Starts a registry on `host`, on `port` or any free one. */
export async function startRegistry(
  host = '127.0.0.1',
  port = 0,
  options: RegistryOptions = {},
): Promise<Registry> {
  const { registry, env } = await ensurePeers();
  const directory = await mkdtemp(join(tmpdir(), 'shoal-registry-'));
  const address = `${host}:${port === 0 ? await freePort(host) : port}`;
  const storageDir = options.storageDir ?? join(directory, 'storage');
  const configFile = join(directory, 'config.yml');
  const users = join(directory, 'htpasswd');
  await writeFile(users, `${REGISTRY_USER.username}:${REGISTRY_USER.hash}\n`);
  await writeFile(configFile, configOf(address, storageDir, options.closed === true ? users : undefined));
  const log = join(directory, 'log');
  // A test run that is killed takes it along.
  const serve = ['/bin/sh', '-c', 'exec "$0" serve "$1" >"$2" 2>&1', registry, configFile, log];
  const { besidePid } = options;
  const enter = besidePid === undefined ? [] : ['nsenter', '-t', String(besidePid), '-n'];
  const child = spawn('setpriv', ['--pdeathsig=KILL', ...enter, ...serve], {
    env: { ...env, OTEL_TRACES_EXPORTER: 'none' },
    stdio: 'ignore',
  });
  const dispose = async (): Promise<void> => {
    await stop(child);
    await rm(directory, { recursive: true, force: true });
  };
  const ask = (): Promise<boolean> =>
    besidePid === undefined ? answers(address) : answersIn(enter, address);
  try {
    await waitUntil(ask, address, child, log);
  } catch (error) {
    await dispose();
    throw error;
  }
  return { address, storageDir, [Symbol.asyncDispose]: dispose };
}

async function answers(address: string): Promise<boolean> {
  const response = await fetch(`http://${address}/v2/`).catch(() => undefined);
  return response?.ok === true || response?.status === 401;
}

async function answersIn([enter = '', ...args]: readonly string[], address: string): Promise<boolean> {
  const child = spawn(enter, [...args, 'curl', '-s', '-o', '/dev/null', `http://${address}/v2/`], {
    stdio: 'ignore',
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code === 0;
}

function configOf(address: string, storageDir: string, users: string | undefined): string {
  return `version: 0.1
log: { level: warn }
storage: { filesystem: { rootdirectory: ${JSON.stringify(storageDir)} }, delete: { enabled: true } }
http: { addr: ${JSON.stringify(address)} }
${users === undefined ? '' : `auth: { htpasswd: { realm: test, path: ${JSON.stringify(users)} } }\n`}`;
}

/** A port that was free a moment ago. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function waitUntil(
  ask: () => Promise<boolean>,
  address: string,
  child: ChildProcess,
  log: string,
): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadline && child.exitCode === null && child.signalCode === null) {
    if (await ask()) return;
    await sleep(50);
  }
  throw new Error(
    `docker-registry does not answer on ${address}:\n${await readFile(log, 'utf8').catch(() => '')}`,
  );
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Pushes an image under its own name and tag. Returns the reference to pull it by, registry included. */
export async function pushImage(
  { address }: { readonly address: string },
  image: BuiltImage,
): Promise<string> {
  const { repository, tag } = parseReference(`${address}/${image.reference}`);
  for (const blob of [image.config, ...image.layers.map((layer) => layer.bytes)]) {
    await pushBlob(address, repository, blob);
  }
  await pushManifest(address, repository, tag ?? 'latest', image.manifest, MANIFEST_TYPE);
  return `${address}/${repository}:${tag ?? 'latest'}`;
}

export async function pushBlob(address: string, repository: string, bytes: Buffer): Promise<void> {
  const digest = sha256Of(bytes);
  const known = await fetch(`http://${address}/v2/${repository}/blobs/${digest}`, { method: 'HEAD' });
  if (known.ok) return;
  const begun = await fetch(`http://${address}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  const location = new URL(begun.headers.get('location') ?? '', `http://${address}`);
  location.searchParams.set('digest', digest);
  const headers = { 'content-type': 'application/octet-stream' };
  const done = await fetch(location, { method: 'PUT', headers, body: new Uint8Array(bytes) });
  if (done.status !== 201) throw new Error(`pushing a blob: ${done.status} ${await done.text()}`);
}

/** `tag` may be a digest. */
export async function pushManifest(
  address: string,
  repository: string,
  tag: string,
  manifest: Buffer,
  type: string,
): Promise<void> {
  const url = `http://${address}/v2/${repository}/manifests/${tag}`;
  const headers = { 'content-type': type };
  const done = await fetch(url, { method: 'PUT', headers, body: new Uint8Array(manifest) });
  if (done.status !== 201) throw new Error(`pushing a manifest: ${done.status} ${await done.text()}`);
}

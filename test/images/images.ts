import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { promisify } from 'node:util';
import {
  type BuiltImage,
  type BuiltLayer,
  buildImage,
  buildLayer,
  type LayerEntry,
} from '../../agent/image/build-tar.ts';
import { BUSYBOX_PATH, busyboxLayer } from '../../agent/image/busybox-layer.ts';
import { ensurePeers } from '../harness/peers.ts';

/**
 * Images of real servers, made from the distribution's packages without any container tool. They share the busybox
 * layer. Give them to pushImage (test/harness/registry.ts), or to imageArchive (agent/image/build-tar.ts).
 */

let base: Promise<BuiltLayer> | undefined;

function baseLayer(): Promise<BuiltLayer> {
  base ??= busyboxLayer();
  return base;
}

/** `busybox:latest`: every applet, sh by default. */
export async function busyboxImage(): Promise<BuiltImage> {
  const profile = await buildLayer([{ kind: 'file', path: 'etc/os-release', content: 'ID=busybox\n' }]);
  return buildImage('busybox:latest', [await baseLayer(), profile], { Env: [BUSYBOX_PATH], Cmd: ['sh'] });
}

const NGINX_CONF = `user root;
worker_processes 1;
pid /run/nginx.pid;
error_log /dev/stderr warn;
events { worker_connections 512; }
http {
  access_log /dev/stdout;
  keepalive_timeout 0;
  server {
    listen 80;
    location / { default_type text/plain; return 200 "$hostname $remote_addr\\n"; }
  }
}
`;

/** `nginx:latest`: answers on port 80 with its hostname and the client's address. */
export async function nginxImage(): Promise<BuiltImage> {
  const { nginx } = await ensurePeers();
  const layer = await buildLayer([
    ...(await programEntries(nginx, 'usr/sbin/nginx')),
    { kind: 'directory', path: 'etc/nginx' },
    { kind: 'file', path: 'etc/nginx/nginx.conf', content: NGINX_CONF },
    { kind: 'directory', path: 'var/log/nginx' },
    { kind: 'directory', path: 'var/lib/nginx' },
  ]);
  return buildImage('nginx:latest', [await baseLayer(), layer], {
    Env: [BUSYBOX_PATH],
    Entrypoint: ['/usr/sbin/nginx', '-e', '/dev/stderr'],
    Cmd: ['-g', 'daemon off;'],
    ExposedPorts: { '80/tcp': {} },
    StopSignal: 'SIGQUIT',
  });
}

/** `redis:latest`: redis-server on port 6379, for every address, without persistence; redis-cli is in it too. */
export async function redisImage(): Promise<BuiltImage> {
  const { redisServer, redisCli } = await ensurePeers();
  const layer = await buildLayer([
    ...(await programEntries(redisServer, 'usr/bin/redis-server')),
    ...(await programEntries(redisCli, 'usr/bin/redis-cli')),
    { kind: 'directory', path: 'data' },
  ]);
  return buildImage('redis:latest', [await baseLayer(), layer], {
    Env: [BUSYBOX_PATH],
    Entrypoint: ['/usr/bin/redis-server'],
    Cmd: ['--bind', '0.0.0.0', '--protected-mode', 'no', '--save', '', '--dir', '/data'],
    ExposedPorts: { '6379/tcp': {} },
    WorkingDir: '/data',
  });
}

/** A program, and every library that it loads, where the dynamic loader looks for them. */
async function programEntries(program: string, path: string): Promise<LayerEntry[]> {
  const { env } = await ensurePeers();
  const { stdout } = await promisify(execFile)('ldd', [program], { env });
  const entries: LayerEntry[] = [{ kind: 'file', path, content: await readFile(program), mode: 0o755 }];
  for (const line of stdout.split('\n')) {
    // "libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x...)", and the loader: "/lib64/ld-linux-x86-64.so.2 (0x...)"
    const match = /^\s*(?:(\S+) => )?(\/\S+) \(0x/.exec(line);
    const file = match?.[2];
    if (file === undefined) continue;
    const target = match?.[1] === undefined ? file.slice(1) : `${await multiarchDir()}/${basename(match[1])}`;
    entries.push({ kind: 'file', path: target, content: await readFile(file), mode: 0o755 });
  }
  return entries;
}

/** e.g. lib/x86_64-linux-gnu */
async function multiarchDir(): Promise<string> {
  const { stdout } = await promisify(execFile)('gcc', ['-print-multiarch']);
  return `lib/${stdout.trim()}`;
}

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { type BuiltImage, imageArchive } from '../../../agent/image/build-tar.ts';
import { ImageService } from '../../../agent/image/image-service.ts';
import { buildExampleImage } from '../../../deploy/local/example-image.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { busyboxImage, nginxImage, redisImage } from '../../images/images.ts';

/**
 * Imports the image, mounts its layers as overlayfs does for a container, and runs a command in there, in namespaces
 * of its own that take every mount and process along when it ends. The command has a loopback network and /proc.
 */
async function runIn(image: BuiltImage, command: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-workload-'));
  try {
    const service = await ImageService.open({ dir: join(dir, 'images'), logger: silentLogger });
    const [imported] = await service.importTar(imageArchive([image]), AbortSignal.timeout(60_000));
    const script = `set -e
      mkdir "$1" && mount -t tmpfs none "$1" && mkdir "$1/upper" "$1/work" "$1/root"
      mount -t overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
      mount -t proc proc "$1/root/proc"
      touch "$1/root/dev/null"; mount --bind /dev/null "$1/root/dev/null"
      ln -s /proc/self/fd/1 "$1/root/dev/stdout"; ln -s /proc/self/fd/2 "$1/root/dev/stderr"
      ip link set lo up
      exec chroot "$1/root" /bin/sh -c "$3"`;
    const flags = ['--mount', '--pid', '--net', '--uts', '--fork', '--kill-child'];
    const args = [
      ...flags,
      '/bin/sh',
      '-c',
      script,
      'sh',
      join(dir, 'box'),
      imported?.layers.join(':') ?? '',
      command,
    ];
    const { stdout } = await promisify(execFile)('unshare', args, { timeout: 60_000 });
    return stdout;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Starts a server and asks until it answers; the time limit of runIn ends it otherwise. */
function serverThen(server: string, ask: string): string {
  return `hostname box; ${server} >/dev/null 2>&1 & until ${ask} 2>/dev/null; do usleep 20000; done`;
}

test('busybox runs its applets', async (t) => {
  const output = await runIn(await busyboxImage(), 'echo hello | tr a-z A-Z; cat /etc/os-release; id -un');
  t.is(output, 'HELLO\nID=busybox\nroot\n');
});

test("the example answers with its hostname and the client's address", async (t) => {
  const image = await buildExampleImage();
  const output = await runIn(image, serverThen('httpd -f -p 80 -h /www', 'wget -q -O - http://127.0.0.1/'));
  t.is(output, 'Hello from container box\nyou are 127.0.0.1\n');
});

test("nginx answers with its hostname and the client's address", async (t) => {
  const server = `/usr/sbin/nginx -e /dev/stderr -g 'daemon off;'`;
  const output = await runIn(await nginxImage(), serverThen(server, 'wget -q -O - http://127.0.0.1/'));
  t.is(output, 'box 127.0.0.1\n');
});

test('redis keeps what it is given', async (t) => {
  const server = '/usr/bin/redis-server --bind 0.0.0.0 --protected-mode no --save "" --dir /data';
  const ask = 'redis-cli set key value && redis-cli get key';
  t.is(await runIn(await redisImage(), serverThen(server, ask)), 'OK\nvalue\n');
});

/** docker cp, export and diff on containers of other nodes, running, ended, read-only, and on hostile ones. */
import { execFile } from 'node:child_process';
import { mkdtemp, mkdir, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import Dockerode from 'dockerode';
import { IMAGE, LOCAL, type Scene, suite, SWIFT } from './suite.ts';

const { test } = await suite((cluster) => cluster.agents(2));
const run = promisify(execFile);

async function withDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-test-cp-'));
  try {
    await body(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function running({ docker, swarm }: Scene, name: string, options: readonly string[], script = 'true') {
  const create = ['service', 'create', ...LOCAL, ...SWIFT, '--name', name, '--detach', ...options];
  await docker.ok(...create, '--entrypoint', '/bin/sh', IMAGE, '-c', `${script}; exec sleep 1000`);
  await swarm.eventually((s) => s.running(name).count === 1);
  const [id] = await docker.lines('ps', '--quiet', '--no-trunc', '--filter', `name=${name}`);
  return id ?? '';
}

/** A container that has ended, and stays as its task's history. */
async function ended({ docker, swarm }: Scene, name: string, options: readonly string[], script: string) {
  const create = ['service', 'create', ...LOCAL, ...SWIFT, '--name', name, '--detach', ...options];
  await docker.ok(...create, '--restart-condition', 'none', '--entrypoint', '/bin/sh', IMAGE, '-c', script);
  let id = '';
  await swarm.eventually(async () => {
    [id = ''] = await docker.lines(
      ...['ps', '--all', '--quiet', '--no-trunc', '--filter', `name=${name}`, '--filter', 'status=exited'],
    );
    return id !== '';
  });
  return id;
}

async function inside({ docker }: Scene, id: string, script: string): Promise<string> {
  return docker.ok('exec', id, 'sh', '-c', script);
}

test('cp: files, directories and archives, in and out, of a container that runs', async (t, scene) => {
  const { docker, tag } = scene;
  const id = await running(
    scene,
    `cp-${tag}`,
    [],
    'mkdir -p /box/deep; echo in > /box/deep/file; ln -s deep /box/link',
  );
  await withDirectory(async (directory) => {
    const large = randomBytes(3_000_000);
    await writeFile(path.join(directory, 'large'), large, { mode: 0o640 });
    await docker.ok('cp', path.join(directory, 'large'), `${id}:/box/`);
    t.is(await inside(scene, id, 'stat -c %s:%a /box/large'), '3000000:640');
    await docker.ok('cp', `${id}:/box/large`, path.join(directory, 'back'));
    t.true((await readFile(path.join(directory, 'back'))).equals(large));

    await mkdir(path.join(directory, 'tree', 'sub'), { recursive: true });
    await writeFile(path.join(directory, 'tree', 'sub', 'leaf'), 'leaf');
    await symlink('sub/leaf', path.join(directory, 'tree', 'way'));
    await docker.ok('cp', path.join(directory, 'tree'), `${id}:/box`);
    t.is(await inside(scene, id, 'cat /box/tree/way; readlink /box/tree/way'), 'leafsub/leaf');
    await docker.ok('cp', `${directory}/tree/.`, `${id}:/box/contents`);
    t.is(await inside(scene, id, 'cat /box/contents/sub/leaf'), 'leaf');
    await docker.ok('cp', `${id}:/box`, path.join(directory, 'copy'));
    t.deepEqual((await readdir(path.join(directory, 'copy'))).sort(), [
      'contents',
      'deep',
      'large',
      'link',
      'tree',
    ]);
    t.is(await readlink(path.join(directory, 'copy', 'link')), 'deep');
    t.is(await readFile(path.join(directory, 'copy', 'deep', 'file'), 'utf8'), 'in\n');
    await docker.ok('cp', '--follow-link', `${id}:/box/link`, path.join(directory, 'followed'));
    t.true((await stat(path.join(directory, 'followed'))).isDirectory());

    const tar = (await run('tar', ['-C', directory, '-cf', '-', 'tree'], { encoding: 'buffer' })).stdout;
    t.is((await docker.runWith(tar, ['cp', '-', `${id}:/tmp`])).code, 0);
    t.is(await inside(scene, id, 'cat /tmp/tree/sub/leaf'), 'leaf');
    t.regex(await docker.ok('cp', `${id}:/tmp/tree/sub`, '-'), /sub\/leaf/);

    t.regex(
      await docker.fails('cp', `${id}:/nosuch`, directory),
      /Could not find the file \/nosuch in container|No such container:path/,
    );
    t.regex(
      await docker.fails('cp', path.join(directory, 'large'), `${id}:/nosuch/dir/`),
      /no such directory|Could not find/i,
    );
    t.regex(
      await docker.fails('cp', path.join(directory, 'tree'), `${id}:/box/large`),
      /cannot copy (a )?directory/i,
    );
    t.regex(
      (await docker.runWith('no tar at all, only words', ['cp', '-', `${id}:/tmp`])).stderr,
      /can not be read/,
    );
  });
  await docker.ok('service', 'rm', `cp-${tag}`);
});

test('cp sees volumes and tmpfs of the container, and refuses what is read-only', async (t, scene) => {
  const { docker, tag } = scene;
  const mounts = [
    ...['--mount', `type=volume,source=vol-${tag},target=/vol`],
    ...['--mount', `type=volume,source=fix-${tag},target=/fix,readonly`],
    ...['--mount', 'type=tmpfs,target=/mem'],
  ];
  const id = await running(
    scene,
    `ro-${tag}`,
    [...mounts, '--read-only'],
    'echo v > /vol/v; echo m > /mem/m',
  );
  await withDirectory(async (directory) => {
    const file = path.join(directory, 'file');
    await docker.ok('cp', `${id}:/vol/v`, file);
    t.is(await readFile(file, 'utf8'), 'v\n');
    await docker.ok('cp', `${id}:/mem/m`, file);
    t.is(await readFile(file, 'utf8'), 'm\n');
    await docker.ok('cp', file, `${id}:/vol/new`);
    await docker.ok('cp', file, `${id}:/mem/new`);
    t.is(await inside(scene, id, 'cat /vol/new /mem/new'), 'm\nm');
    t.regex(await docker.fails('cp', file, `${id}:/etc/new`), /container rootfs is marked read-only/);
    t.regex(await docker.fails('cp', file, `${id}:/fix/new`), /mounted volume is marked read-only/);
  });
  await docker.ok('service', 'rm', `ro-${tag}`);
});

test('cp on a container that has ended: its files, its volumes, its read-only root', async (t, scene) => {
  const { docker, tag } = scene;
  const volume = ['--mount', `type=volume,source=end-${tag},target=/vol`];
  const id = await ended(scene, `end-${tag}`, volume, 'echo left > /left; echo v > /vol/v; rm /etc/group');
  await withDirectory(async (directory) => {
    const file = path.join(directory, 'file');
    await docker.ok('cp', `${id}:/left`, file);
    t.is(await readFile(file, 'utf8'), 'left\n');
    await docker.ok('cp', `${id}:/vol/v`, file);
    t.is(await readFile(file, 'utf8'), 'v\n');
    await docker.ok('cp', file, `${id}:/vol/w`);
    await docker.ok('cp', file, `${id}:/new`);
    await docker.ok('cp', `${id}:/vol/w`, path.join(directory, 'w'));
    await docker.ok('cp', `${id}:/new`, path.join(directory, 'new'));
    t.is(await readFile(path.join(directory, 'new'), 'utf8'), 'v\n');
    t.regex(
      await docker.fails('cp', `${id}:/etc/group`, file),
      /Could not find the file|No such container:path/,
    );
    const changes = await docker.lines('diff', id);
    for (const line of ['A /left', 'A /new', 'C /etc', 'D /etc/group'])
      t.true(changes.includes(line), changes.join());
    t.deepEqual(
      changes.filter((line) => /hosts|resolv|\/dev|\/proc|\/sys/.test(line)),
      [],
    );

    const fixed = await ended(scene, `fixed-${tag}`, ['--read-only'], 'true');
    t.regex(await docker.fails('cp', file, `${fixed}:/new`), /container rootfs is marked read-only/);
  });
  await docker.ok('service', 'rm', `end-${tag}`, `fixed-${tag}`);
});

test('export and diff of a container that runs', async (t, scene) => {
  const { docker, tag } = scene;
  const volume = ['--mount', `type=volume,source=exp-${tag},target=/vol`];
  const id = await running(
    scene,
    `exp-${tag}`,
    volume,
    'echo own > /own; echo v > /vol/v; rm /etc/group; touch /ready',
  );
  await scene.swarm.eventually(
    async () => (await docker.run(['exec', id, 'test', '-e', '/ready'])).code === 0,
  );
  const changes = await docker.lines('diff', id);
  for (const line of ['A /own', 'A /ready', 'C /etc', 'D /etc/group'])
    t.true(changes.includes(line), changes.join());
  t.deepEqual(
    changes,
    [...changes].sort((a, b) => (a.slice(2) < b.slice(2) ? -1 : 1)),
  );
  await withDirectory(async (directory) => {
    const archive = path.join(directory, 'out.tar');
    await docker.ok('export', '--output', archive, id);
    const { stdout } = await run('tar', ['-tf', archive]);
    const names = stdout.split('\n');
    for (const name of ['own', 'bin/', 'vol/', 'etc/passwd']) t.true(names.includes(name), name);
    for (const name of ['vol/v', 'etc/group']) t.false(names.includes(name), name);
    t.deepEqual(
      names.filter((name) => /^(proc|sys|dev)\/./.test(name)),
      [],
    );
  });
  await docker.ok('service', 'rm', `exp-${tag}`);
});

/** CVE-2018-15664: a path is resolved, then swapped. CVE-2019-14271: libraries of the container are loaded. */
test('a hostile container gets nothing of its node, and nothing of its is run', async (t, scene) => {
  const { docker, tag } = scene;
  await withDirectory(async (directory) => {
    const victim = path.join(directory, 'victim');
    await mkdir(victim);
    await writeFile(path.join(victim, 'secret'), 'of the node');
    const file = path.join(directory, 'payload');
    await writeFile(file, 'payload');
    const depth = '../'.repeat(12);
    const script = [
      `ln -s ${victim} /absolute; ln -s ${depth}${victim.slice(1)} /climbing; ln -s /proc/1/root /magic`,
      `mkdir /a /b; ln -s ${victim} /b/swap; mkdir /a/swap`,
      'mkfifo /pipe; mkdir -p /lib/x86_64-linux-gnu /usr/lib/x86_64-linux-gnu/gconv',
      'for l in libnss_files.so.2 libarchive.so.13 libc.so.6; do cp /bin/busybox /lib/x86_64-linux-gnu/$l; done',
      'echo "files: nosuch" > /etc/nsswitch.conf',
      // a directory and a link to the node's in turn
      '(while :; do rm -rf /race; mkdir /race; rm -rf /race; ln -s ' +
        victim +
        ' /race; done) & touch /ready',
    ].join('; ');
    const id = await running(scene, `evil-${tag}`, [], script);
    await scene.swarm.eventually(
      async () => (await docker.run(['exec', id, 'test', '-e', '/ready'])).code === 0,
    );
    const out = path.join(directory, 'out');
    for (const way of ['/absolute/secret', '/climbing/secret', `${victim}/secret`, `/magic${victim}/secret`])
      await refused(t, scene, ['cp', `${id}:${way}`, out], out);
    for (const way of ['/absolute/', '/climbing/', '/race/', '/b/swap/']) {
      for (let i = 0; i < 5; i += 1) await docker.run(['cp', file, `${id}:${way}`]);
      t.deepEqual(await readdir(victim), ['secret'], way);
    }
    // the pipe is copied as one, not read
    await docker.ok('cp', `${id}:/pipe`, out);
    t.true((await stat(out)).isFIFO());
    await docker.ok('cp', file, `${id}:/received`);
    t.is(await inside(scene, id, 'cat /received'), 'payload');
    await docker.ok('service', 'rm', `evil-${tag}`);
  });
});

async function refused(t: ExecutionContext, { docker }: Scene, args: string[], out: string): Promise<void> {
  const output = await docker.run(args);
  const found = await readFile(out, 'utf8').catch(() => '');
  t.false(found.includes('of the node'), args.join(' '));
  t.not(output.code, 0, args.join(' '));
}

test('a client that goes away in the middle leaves no helper behind', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const id = await running(
    scene,
    `gone-${tag}`,
    [],
    'dd if=/dev/zero of=/large bs=1M count=64 2>/dev/null; touch /ready',
  );
  await swarm.eventually(async () => (await docker.run(['exec', id, 'test', '-e', '/ready'])).code === 0);
  const api = new Dockerode({ socketPath: swarm.layout.socket });
  const stream = (await api.getContainer(id).getArchive({ path: '/large' })) as NodeJS.ReadableStream & {
    destroy(): void;
  };
  await new Promise((resolve) => stream.once('readable', () => resolve(undefined)));
  await swarm.eventually(async () => (await helpersOf()) > 0);
  stream.destroy();
  await swarm.eventually(async () => (await helpersOf()) === 0);
  t.pass();
  await docker.ok('service', 'rm', `gone-${tag}`);
});

/** Of this checkout: others may test at the same time. */
async function helpersOf(): Promise<number> {
  const program = path.resolve('native/build/shoal-files');
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const programs = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/exe`).catch(() => '')));
  return programs.filter((one) => one === program).length;
}

test('dockerode: infoArchive, getArchive, putArchive, changes, export, df', async (t, scene) => {
  const { swarm, docker, tag } = scene;
  const id = await running(scene, `rode-${tag}`, [], 'echo x > /x; ln -s /x /y; mkdir -m 1777 /d');
  const api = new Dockerode({ socketPath: swarm.layout.socket });
  const container = api.getContainer(id);
  const statOf = async (at: string) => {
    const answer = (await container.infoArchive({ path: at })) as unknown as {
      headers: Record<string, string>;
    };
    const header = answer.headers['x-docker-container-path-stat'] ?? '';
    return JSON.parse(Buffer.from(header, 'base64').toString()) as Record<string, unknown>;
  };
  await swarm.eventually(async () => (await docker.run(['exec', id, 'test', '-e', '/d'])).code === 0);
  t.like(await statOf('/x'), { name: 'x', size: 2, mode: 0o644, linkTarget: '' });
  t.like(await statOf('/y'), { name: 'y', linkTarget: '/x', mode: 2 ** 27 + 0o777 });
  t.like(await statOf('/d'), { name: 'd', mode: 2 ** 31 + 2 ** 20 + 0o777 });
  const { stdout } = await run('tar', ['-czf', '-', '-C', '/etc', 'passwd'], { encoding: 'buffer' });
  await container.putArchive(stdout, { path: '/d' });
  t.like(await statOf('/d/passwd'), { name: 'passwd' });
  const changes = (await container.changes()) as { Path: string; Kind: number }[];
  t.true(changes.some((change) => change.Path === '/d/passwd' && change.Kind === 1));
  await t.throwsAsync(container.infoArchive({ path: '/nosuch' }), { message: /404/ });
  const usage = (await api.df()) as { Containers: { Id: string; SizeRw: number }[]; Volumes: unknown[] };
  t.true((usage.Containers.find((one) => one.Id === id)?.SizeRw ?? 0) > 0);
  await docker.ok('service', 'rm', `rode-${tag}`);
});

test('cp into a container that was created: it finds the file when it starts, again and again', async (t, scene) => {
  const { docker, tag } = scene;
  const name = `made-${tag}`;
  await withDirectory(async (directory) => {
    const file = path.join(directory, 'given');
    await writeFile(file, 'given\n');
    const shell = ['--entrypoint', '/bin/sh', IMAGE, '-c', 'cat /given /vol/given; echo ran >> /runs'];
    await docker.ok('create', '--name', name, '--volume', `made-${tag}:/vol`, ...shell);
    t.regex(
      await docker.fails('cp', `${name}:/runs`, directory),
      /Could not find the file|No such container:path/,
    );
    await docker.ok('cp', file, `${name}:/given`);
    await docker.ok('cp', file, `${name}:/vol/given`);
    t.is(await docker.ok('start', '--attach', name), 'given\ngiven');
    await writeFile(file, 'later\n');
    await docker.ok('cp', file, `${name}:/given`);
    t.is(await docker.ok('start', '--attach', name), 'later\ngiven');
    await docker.ok('cp', `${name}:/runs`, file);
    t.is(await readFile(file, 'utf8'), 'ran\nran\n');
    t.true((await docker.lines('diff', name)).includes('A /runs'));
    t.regex(await docker.fails('volume', 'rm', `made-${tag}`), /volume is in use/);
    await docker.ok('rm', name);
    await docker.ok('volume', 'rm', `made-${tag}`);
  });
});

/** docker volume, and volumes of services: their place, names that two nodes have, options, use, removal. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { IMAGE, LOCAL, type Scene, suite, SWIFT } from './suite.ts';

const { test } = await suite((cluster) => cluster.agents(2));

interface VolumeJson {
  readonly Name: string;
  readonly Driver: string;
  readonly Mountpoint: string;
  readonly CreatedAt: string;
  readonly Labels: Readonly<Record<string, string>> | null;
  readonly Options: Readonly<Record<string, string>> | null;
  readonly Scope: string;
  readonly Status: { readonly Node: string };
}

async function inspect({ docker }: Scene, name: string): Promise<VolumeJson> {
  const [volume] = await docker.json<VolumeJson[]>('volume', 'inspect', name);
  if (volume === undefined) throw new Error(`inspect ${name} printed nothing`);
  return volume;
}

/** Host names of the nodes. */
function nodes({ docker }: Scene): Promise<string[]> {
  return docker.lines('node', 'ls', '--format', '{{.Hostname}}');
}

async function running({ docker, swarm }: Scene, name: string, options: readonly string[], script: string) {
  const create = ['service', 'create', ...LOCAL, ...SWIFT, '--name', name, '--detach', ...options];
  await docker.ok(...create, '--entrypoint', '/bin/sh', IMAGE, '-c', `${script}; exec sleep 1000`);
  await swarm.eventually((s) => s.running(name).count === 1);
  const [id] = await docker.lines('ps', '--quiet', '--no-trunc', '--filter', `name=${name}`);
  return id ?? '';
}

/** The service's containers are gone, too: they hold volumes. */
async function removed({ docker, swarm }: Scene, ...names: string[]) {
  await docker.ok('service', 'rm', ...names);
  for (const name of names)
    await swarm.eventually(
      async () => (await docker.lines('ps', '--all', '--quiet', '--filter', `name=${name}`)).length === 0,
    );
}

test('volumes of another container', async (t, { docker, tag }) => {
  const [volume, lender, borrower] = [`lent-${tag}`, `lender-${tag}`, `borrower-${tag}`];
  const shell = (script: string): string[] => ['--entrypoint', '/bin/sh', IMAGE, '-c', script];
  const mounts = ['-v', `${volume}:/named`, '-v', '/unnamed', '-v', '/etc:/bound:ro'];
  await docker.ok('run', '--name', lender, ...mounts, ...shell('echo 1 >/named/f; echo 2 >/unnamed/f'));
  const look = shell('read a </named/f; read b </unnamed/f; echo $a $b; test -f /bound/hosts && : >/bound/x');
  const from = ['--volumes-from', lender, '-v', '/unnamed'];
  const seen = await docker.run(['run', '--name', borrower, ...from, ...look]);
  t.is(seen.stdout, '1 2\n', seen.stderr);
  t.regex(seen.stderr, /\/bound\/x: Read-only file system/);
  const write = shell('echo 3 >/named/f');
  const readOnly = await docker.run(['run', '--rm', '--volumes-from', `${borrower}:ro`, ...write]);
  t.regex(readOnly.stderr, /Read-only file system/);
  await docker.ok('rm', '-v', lender);
  const after = shell('read b </unnamed/f; echo $b');
  t.is(await docker.ok('run', '--rm', '--volumes-from', borrower, ...after), '2');
  await docker.ok('rm', borrower);
  await docker.ok('volume', 'rm', volume);
});

test('volume create, ls, inspect, rm', async (t, scene) => {
  const { docker, tag } = scene;
  const name = `data-${tag}`;
  t.is(await docker.ok('volume', 'create', '--label', 'a=1', '--label', `tag=${tag}`, name), name);
  t.is(await docker.ok('volume', 'create', name), name, 'one that exists is given back');
  const volume = await inspect(scene, name);
  t.like(volume, { Name: name, Driver: 'local', Scope: 'local', Options: null });
  t.deepEqual(volume.Labels, { a: '1', tag });
  t.true((await nodes(scene)).includes(volume.Status.Node));
  t.true(Date.now() - Date.parse(volume.CreatedAt) < 600_000);
  t.deepEqual(await docker.lines('volume', 'ls', '--quiet', '--filter', `label=tag=${tag}`), [name]);
  t.deepEqual(await docker.lines('volume', 'ls', '--quiet', '--filter', `name=${name}`), [name]);
  t.deepEqual(await docker.lines('volume', 'ls', '--quiet', '--filter', 'driver=nfs'), []);
  t.deepEqual(
    await docker.lines('volume', 'ls', '--quiet', '--filter', 'dangling=false', '--filter', `name=${name}`),
    [],
  );
  t.regex(await docker.fails('volume', 'ls', '--filter', 'nosuch=1'), /invalid filter 'nosuch'/);
  t.is(await docker.ok('volume', 'rm', name), name);
  t.regex(await docker.fails('volume', 'inspect', name), /no such volume/i);
  t.regex(await docker.fails('volume', 'rm', name), /no such volume/i);
  t.is(await docker.ok('volume', 'rm', '--force', name), name);

  const unnamed = await docker.ok('volume', 'create');
  t.regex(unnamed, /^[0-9a-f]{64}$/);
  await docker.ok('volume', 'rm', unnamed);
  t.regex(await docker.fails('volume', 'create', 'no good'), /includes invalid characters/);
  t.regex(await docker.fails('volume', 'create', '--driver', 'nosuch', 'x'), /plugin "nosuch" not found/);
  t.regex(await docker.fails('volume', 'create', '--opt', 'colour=red', 'x'), /invalid option: "colour"/);
  t.regex(await docker.fails('volume', 'create', '--opt', 'size=1g', 'x'), /no quota support/);
  t.regex(
    await docker.fails('volume', 'create', '--opt', 'device=/tmp', 'x'),
    /missing required option: "type"/,
  );
});

test('a name that two nodes have: lists say where, a plain name is refused', async (t, scene) => {
  const { docker, tag } = scene;
  const name = `twice-${tag}`;
  const [one = '', two = ''] = await nodes(scene);
  await docker.ok('volume', 'create', `${one}/${name}`);
  t.is((await inspect(scene, name)).Status.Node, one);
  t.deepEqual(await docker.lines('volume', 'ls', '--quiet', '--filter', `name=${name}`), [name]);
  await docker.ok('volume', 'create', '--label', 'second=', `${two}/${name}`);
  const both = [`${one}/${name}`, `${two}/${name}`].sort();
  t.deepEqual(await docker.lines('volume', 'ls', '--quiet', '--filter', `name=${name}`), both);
  const complaint = await docker.fails('volume', 'inspect', name);
  for (const each of both) t.true(complaint.includes(each), complaint);
  t.regex(await docker.fails('volume', 'rm', name), /ambiguous/);
  t.regex(await docker.fails('volume', 'create', name), /ambiguous/);
  t.deepEqual((await inspect(scene, `${two}/${name}`)).Labels, { second: '' });
  await docker.ok('volume', 'rm', `${two}/${name}`);
  t.is((await inspect(scene, name)).Status.Node, one);
  await docker.ok('volume', 'rm', name);
  t.regex(await docker.fails('volume', 'create', `nosuch/${name}`), /node nosuch not found/);
});

test('a volume that a container has stays; contents outlive the container', async (t, scene) => {
  const { docker, tag } = scene;
  const [node = ''] = await nodes(scene);
  const name = `kept-${tag}`;
  const where = ['--constraint', `node.hostname==${node}`];
  const mount = ['--mount', `type=volume,source=${name},target=/data`];
  const id = await running(scene, `user-${tag}`, [...where, ...mount], 'echo first > /data/x');
  const complaint = await docker.fails('volume', 'rm', name);
  t.regex(complaint, new RegExp(`remove ${name}: volume is in use - \\[${id}\\]`));
  t.deepEqual(
    await docker.lines('volume', 'ls', '--quiet', '--filter', 'dangling=true', '--filter', `name=${name}`),
    [],
  );
  t.false((await docker.ok('volume', 'prune', '--force')).includes(name));
  await removed(scene, `user-${tag}`);
  const again = await running(scene, `again-${tag}`, [...where, ...mount], 'cat /data/x > /seen');
  await scene.swarm.eventually(
    async () => (await docker.run(['exec', again, 'cat', '/seen'])).stdout === 'first\n',
  );
  await removed(scene, `again-${tag}`);
  await docker.ok('volume', 'rm', name);
  t.pass();
});

/** Anonymous ones only since API 1.42; older clients mean all. */
test('volume prune: what nobody has, by label', async (t, scene) => {
  const { docker, tag } = scene;
  const all = docker.version.startsWith('20.') ? [] : ['--all'];
  const [one = '', two = ''] = await nodes(scene);
  await docker.ok('volume', 'create', '--label', `sweep=${tag}`, `${one}/p1-${tag}`);
  await docker.ok('volume', 'create', '--label', `sweep=${tag}`, `${two}/p2-${tag}`);
  await docker.ok('volume', 'create', '--label', `sweep=${tag}`, '--label', 'keep=', `${two}/p3-${tag}`);
  const filters = ['--filter', `label=sweep=${tag}`, '--filter', 'label!=keep'];
  const printed = await docker.ok('volume', 'prune', '--force', ...all, ...filters);
  t.regex(printed, new RegExp(`p1-${tag}\np2-${tag}\n`));
  t.deepEqual(await docker.lines('volume', 'ls', '--quiet', '--filter', `label=sweep=${tag}`), [`p3-${tag}`]);
  await docker.ok('volume', 'rm', `p3-${tag}`);
  const unnamed = await docker.ok('volume', 'create');
  t.true((await docker.ok('volume', 'prune', '--force')).includes(unnamed));
});

test('a service’s anonymous volume goes with its container', async (t, scene) => {
  const { docker, tag } = scene;
  const id = await running(scene, `anon-${tag}`, ['--mount', 'type=volume,target=/data'], 'echo x > /data/x');
  const [name = ''] = await docker.lines(
    'volume',
    'ls',
    '--quiet',
    '--filter',
    'label=com.docker.volume.anonymous',
  );
  t.regex(name, /^[0-9a-f]{64}$/);
  t.regex(await docker.fails('volume', 'rm', name), new RegExp(id));
  await removed(scene, `anon-${tag}`);
  await scene.swarm.eventually(async () => !(await docker.lines('volume', 'ls', '--quiet')).includes(name));
  t.pass();
});

async function mountedUnder(mountpoint: string): Promise<boolean> {
  return (await readFile('/proc/self/mountinfo', 'utf8'))
    .split('\n')
    .some((l) => l.split(' ')[4] === mountpoint);
}

async function seen(
  t: ExecutionContext,
  { docker, swarm }: Scene,
  id: string,
  command: string[],
  text: RegExp,
) {
  let last = '';
  await swarm.eventually(async () => {
    last = (await docker.run(['exec', id, ...command])).stdout;
    return text.test(last);
  });
  t.regex(last, text);
}

test('options of the local driver: tmpfs and bind, mounted while a container has them', async (t, scene) => {
  const { docker, tag } = scene;
  const [node = ''] = await nodes(scene);
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-test-volume-'));
  try {
    await writeFile(path.join(directory, 'there'), 'before');
    const bound = ['--opt', 'type=none', '--opt', `device=${directory}`, '--opt', 'o=bind,ro'];
    await docker.ok('volume', 'create', ...bound, `${node}/bound-${tag}`);
    await docker.ok(
      ...['volume', 'create', '--opt', 'type=tmpfs', '--opt', 'device=tmpfs', '--opt', 'o=size=1m,uid=7'],
      `${node}/mem-${tag}`,
    );
    t.deepEqual((await inspect(scene, `mem-${tag}`)).Options, {
      type: 'tmpfs',
      device: 'tmpfs',
      o: 'size=1m,uid=7',
    });
    const { Mountpoint } = await inspect(scene, `mem-${tag}`);
    t.false(await mountedUnder(Mountpoint));
    const options = ['--constraint', `node.hostname==${node}`];
    options.push('--mount', `type=volume,source=bound-${tag},target=/bound`);
    options.push('--mount', `type=volume,source=mem-${tag},target=/mem`);
    const id = await running(scene, `opts-${tag}`, options, 'touch /mem/x');
    t.true(await mountedUnder(Mountpoint));
    await seen(t, scene, id, ['cat', '/bound/there'], /^before$/);
    await seen(t, scene, id, ['sh', '-c', 'touch /bound/new 2>&1'], /Read-only/);
    await seen(t, scene, id, ['df', '-k', '/mem'], / 1024 /);
    await seen(t, scene, id, ['stat', '-c', '%u', '/mem'], /^7\n$/);
    await removed(scene, `opts-${tag}`);
    t.false(await mountedUnder(Mountpoint));
    await docker.ok('volume', 'rm', `bound-${tag}`, `mem-${tag}`);
    t.is(
      await readFile(path.join(directory, 'there'), 'utf8'),
      'before',
      'what was bound is not the volume’s',
    );
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

test('system df counts volumes, containers and images', async (t, scene) => {
  const { docker, tag } = scene;
  const [node = ''] = await nodes(scene);
  const options = ['--constraint', `node.hostname==${node}`, '--mount', `source=sized-${tag},target=/data`];
  const write = (file: string) => `dd if=/dev/zero of=${file} bs=1000 count=300 2>/dev/null`;
  const id = await running(scene, `df-${tag}`, options, `${write('/data/x')}; ${write('/own')}; touch /done`);
  await seen(t, scene, id, ['sh', '-c', 'test -e /done && echo ok'], /ok/);
  const summary = await docker.ok('system', 'df');
  t.regex(summary, /Images +[1-9]/);
  t.regex(summary, /Containers +[1-9]/);
  t.regex(summary, /Local Volumes +[1-9]/);
  const verbose = await docker.ok('system', 'df', '--verbose');
  t.regex(verbose, new RegExp(`sized-${tag} +1 +300kB`));
  t.regex(verbose, new RegExp(`${id.slice(0, 12)}.* 300kB `));
  await removed(scene, `df-${tag}`);
  await docker.ok('volume', 'rm', `sized-${tag}`);
});

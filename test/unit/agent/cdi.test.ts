/** Files of CDI: what is one, who has precedence, and what they change in a container's configuration. */
import { mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { CdiDirectories } from '../../../agent/cdi/directories.ts';
import { cdiDevices, chooseEdits, withCdiDevices, withEdits } from '../../../agent/cdi/edits.ts';
import { nodeDevices, registryOf } from '../../../agent/cdi/registry.ts';
import { parseCdiFile } from '../../../agent/cdi/spec-file.ts';
import type { OciConfig } from '../../../agent/native/container.ts';
import { namedRequests } from '../../../shared/lib/cdi.ts';
import type { NodeDevices } from '../../../shared/model/index.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const env = (name: string) => ({ name, containerEdits: { env: [`DEVICE=${name}`] } });
const FILE = { cdiVersion: '0.6.0', kind: 'acme.com/card', devices: [env('a'), env('b')] };
const NODE = { path: '/dev/card', hostPath: '/dev/null', permissions: 'r' };

for (const [what, change, message] of [
  ['no version', { cdiVersion: undefined }, /cdiVersion undefined: one of 0.3.0/],
  ['a version of the future', { cdiVersion: '9.0.0' }, /cdiVersion "9.0.0"/],
  ['a kind', { kind: 'card' }, /^kind: such as vendor.com\/class is expected/],
  ['no devices', { devices: [] }, /^devices: /],
  ['the same twice', { devices: [env('a'), env('a')] }, /the device a is described twice/],
  ['a hostile name', { devices: [env('../a')] }, /^devices.0.name: no name of a device/],
  ['no edits', { devices: [{ name: 'a', containerEdits: { env: [] } }] }, /the device a has no edits/],
  ['an unknown field', { containerEdits: { envs: [] } }, /^containerEdits: Unrecognized key: "envs"/],
  ['a variable', { containerEdits: { env: ['=x'] } }, /^containerEdits.env.0: NAME=VALUE is expected/],
  [
    'a path',
    { containerEdits: { deviceNodes: [{ path: 'dev/a' }] } },
    /^containerEdits.deviceNodes.0.path: an absolute/,
  ],
  ['a permission', { containerEdits: { deviceNodes: [{ path: '/a', permissions: 'x' }] } }, /letters of rwm/],
  ['a hook', { containerEdits: { hooks: [{ hookName: 'after', path: '/a' }] } }, /hookName/],
  ['a group', { cdiVersion: '0.6.0', containerEdits: { additionalGids: [1] } }, /additionalGids needs 0.7.0/],
  [
    'a network device',
    { cdiVersion: '1.0.0', containerEdits: { netDevices: [{ hostInterfaceName: 'a', name: 'b' }] } },
    /netDevices needs 1.1.0/,
  ],
] as const) {
  test(`refused: ${what}`, (t) => {
    const error = t.throws(() => parseCdiFile({ ...FILE, ...change }), { instanceOf: TypeError });
    t.regex(error.message, message);
  });
}

test('property: whatever a file says, it is taken or refused with one line', (t) => {
  const any = fc.anything();
  const near = fc.record({
    cdiVersion: fc.constant('1.1.0'),
    kind: fc.constant('a/b'),
    devices: any,
    containerEdits: any,
  });
  fc.assert(
    fc.property(fc.oneof(any, near), (value) => {
      try {
        return parseCdiFile(value).devices.length > 0;
      } catch (error) {
        return error instanceof TypeError && error.message.length > 0;
      }
    }),
  );
  t.pass();
});

const read = (path: string, priority: number, ...names: string[]) => ({
  path,
  priority,
  content: parseCdiFile({ ...FILE, devices: names.map(env) }),
});

test('a later directory has precedence; two files of one directory have neither', (t) => {
  const files = [
    read('/etc/cdi/1.json', 0, 'a', 'b', 'c'),
    read('/etc/cdi/2.json', 0, 'b', 'c'),
    read('/run/cdi/1.json', 1, 'a', 'c'),
    { path: '/run/cdi/2.json', priority: 1, content: { problem: 'no JSON' } },
  ];
  const registry = registryOf(files);
  t.deepEqual(
    [...registry.devices.values()].map(({ name, path }) => [name, path]),
    [
      ['acme.com/card=a', '/run/cdi/1.json'],
      ['acme.com/card=c', '/run/cdi/1.json'],
    ],
  );
  t.deepEqual(nodeDevices(registry), {
    names: ['acme.com/card=a', 'acme.com/card=c'],
    problems: [
      { of: '/run/cdi/2.json', why: 'no JSON' },
      { of: 'acme.com/card=b', why: 'both /etc/cdi/1.json and /etc/cdi/2.json describe it' },
    ],
  });
  t.is(nodeDevices(registryOf([])), undefined);
  t.throws(() => chooseEdits(namedRequests(['acme.com/card=b']), registry), {
    message: 'CDI device acme.com/card=b: both /etc/cdi/1.json and /etc/cdi/2.json describe it on this node',
  });
});

test('property: the order of the files changes nothing', (t) => {
  const file = fc.record({
    path: fc.constantFrom('/a/1.json', '/a/2.json', '/b/1.json', '/b/2.json'),
    names: fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { minLength: 1 }),
  });
  const files = fc.uniqueArray(file, { selector: ({ path }) => path });
  fc.assert(
    fc.property(files, (list) => {
      const all = list.map(({ path, names }) => read(path, path.startsWith('/a') ? 0 : 1, ...names));
      const names = (some: typeof all) => nodeDevices(registryOf(some))?.names ?? [];
      t.deepEqual(names(all.toReversed()), names(all));
    }),
  );
});

test('what this runtime does not have makes the device unusable, by name', (t) => {
  const unable = (containerEdits: object) => {
    const content = parseCdiFile({ ...FILE, cdiVersion: '1.1.0', devices: [{ name: 'a', containerEdits }] });
    return registryOf([{ path: '/f', priority: 0, content }]).problems[0]?.why;
  };
  t.is(unable({ netDevices: [{ hostInterfaceName: 'a', name: 'b' }] }), '/f: netDevices are not supported');
  t.is(unable({ intelRdt: { closID: 'a' } }), '/f: intelRdt is not supported');
  t.regex(
    unable({ hooks: [{ hookName: 'poststop', path: '/a' }] }) ?? '',
    /hooks poststop are not supported/,
  );
});

const CONFIG = {
  process: { user: { uid: 5, gid: 5, additionalGids: [7] }, env: ['A=1', 'DEVICE=mine'], args: [], cwd: '/' },
  mounts: [
    { destination: '/dev', type: 'tmpfs' },
    { destination: '/dev/shm', type: 'tmpfs' },
    { destination: '/srv', type: 'bind', source: '/mine' },
  ],
} as unknown as OciConfig;

function chosen(edits: object, common?: object, cdiVersion = '1.0.0') {
  const devices = [{ name: 'a', containerEdits: edits }, env('b')];
  const content = parseCdiFile({
    ...FILE,
    cdiVersion,
    devices,
    ...(common ? { containerEdits: common } : {}),
  });
  return chooseEdits(
    namedRequests(['acme.com/card=a', 'acme.com/card=b']),
    registryOf([{ path: '/f', priority: 0, content }]),
  );
}

test('environment, mounts and groups: what CDI says replaces what was there, what is deeper comes later', (t) => {
  const mounts = [
    { hostPath: '/lib/x', containerPath: '/usr/lib/x', options: ['ro', 'nosuid'] },
    { hostPath: 'tmpfs', containerPath: '/t', type: 'tmpfs', options: ['size=1m'] },
    { hostPath: '/other', containerPath: '/srv', options: ['bind', 'ro'] },
  ];
  const hook = { hookName: 'createContainer', path: '/bin/h', args: ['h', 'x'], timeout: 3 };
  const edits = chosen(
    { env: ['DEVICE=a', 'NEW=1'], mounts, additionalGids: [0, 7, 9] },
    { env: ['ALL=1'], hooks: [hook] },
  );
  const { process, mounts: made } = withEdits(CONFIG, edits);
  t.deepEqual(process.env, ['A=1', 'DEVICE=b', 'NEW=1', 'ALL=1']);
  t.deepEqual(process.user.additionalGids, [7, 9]);
  t.deepEqual(
    made?.map(({ destination, source, options }) => [destination, source, options]),
    [
      ['/dev', undefined, undefined],
      ['/t', 'tmpfs', ['size=1m']],
      ['/srv', '/other', ['bind', 'ro']],
      ['/dev/shm', undefined, undefined],
      ['/usr/lib/x', '/lib/x', ['rbind', 'ro', 'nosuid']],
    ],
  );
  t.deepEqual(withEdits(CONFIG, edits).hooks, {
    createContainer: [{ path: '/bin/h', args: ['h', 'x'], timeout: 3 }],
  });
  t.throws(() => withEdits(CONFIG, edits, true), { message: /need the node's user namespace/ });
  t.is(withEdits(CONFIG, { devices: [], edits: [] }, true), CONFIG);
});

test('a device is as on the node where nothing is said; one that is missing, or none, is refused', async (t) => {
  const { rdev } = await stat('/dev/null');
  t.is(rdev, 259);
  const [device, ...rest] = await cdiDevices(
    chosen({ deviceNodes: [{ path: '/dev/card', hostPath: '/dev/zero' }, NODE] }),
    5,
  );
  t.deepEqual(device, {
    device: { path: '/dev/card', type: 'c', major: 1, minor: 3, fileMode: 0o666, uid: 5, gid: 0 },
    access: 'r',
  });
  t.deepEqual(rest, []);
  const told = { path: '/dev/x', type: 'b', major: 8, minor: 0, fileMode: 0o600, uid: 1, gid: 2 };
  t.deepEqual(await cdiDevices(chosen({ deviceNodes: [told] }), 0), [{ device: told, access: 'rwm' }]);
  for (const [node, message] of [
    [{ path: '/dev/missing' }, 'device /dev/missing, which CDI names, is not on this node'],
    [{ path: '/dev/x', hostPath: '/etc/passwd' }, '/etc/passwd, which CDI names as a device, is none'],
    [{ path: '/dev/null', type: 'b' }, 'device /dev/null is of type c; CDI says b'],
  ] as const)
    await t.throwsAsync(cdiDevices(chosen({ deviceNodes: [node] }), 0), { message });
  const other = { device: { path: '/dev/card', type: 'b' }, access: 'rwm' };
  const kept = { device: { path: '/dev/y', type: 'c' }, access: 'rwm' };
  t.deepEqual(withCdiDevices([other, kept], device === undefined ? [] : [device]), [kept, device]);
});

async function directories(t: ExecutionContext) {
  const root = await mkdtemp(join(tmpdir(), 'shoal-cdi-'));
  t.teardown(() => rm(root, { recursive: true }));
  const told: (NodeDevices | undefined)[] = [];
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const cdiDirectories = [join(root, 'etc'), join(root, 'run')];
  const cdi = await CdiDirectories.open(
    { cdiDirectories, logger: silentLogger },
    (one) => told.push(one),
    stop.signal,
    20,
  );
  return { root, told, cdi };
}

test('the directories are read again when they change: JSON and YAML, broken files, directories that come later', async (t) => {
  const { root, told, cdi } = await directories(t);
  t.deepEqual(told, []);
  const until = async (names: string[] | undefined, problem?: RegExp): Promise<void> => {
    const fits = (one: NodeDevices | undefined): boolean =>
      JSON.stringify(one?.names) === JSON.stringify(names) &&
      (problem === undefined ? one?.problems === undefined : problem.test(JSON.stringify(one?.problems)));
    for (let i = 0; !fits(told.at(-1)); i += 1) {
      if (i > 1000) return t.fail(JSON.stringify([names, told]));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  await mkdir(join(root, 'etc'));
  await writeFile(join(root, 'etc/a.json'), JSON.stringify(FILE));
  await until(['acme.com/card=a', 'acme.com/card=b']);
  await mkdir(join(root, 'run'));
  const yaml =
    'cdiVersion: 0.5.0\nkind: acme.com/disk\ndevices:\n- name: "1"\n  containerEdits:\n    deviceNodes:\n    - {path: /dev/d, fileMode: 0660}\n';
  await writeFile(join(root, 'run/b.yaml'), yaml);
  await writeFile(join(root, 'run/ignored.txt'), 'x');
  await until(['acme.com/card=a', 'acme.com/card=b', 'acme.com/disk=1']);
  const { devices } = await cdi.read();
  t.is(devices.get('acme.com/disk=1')?.edits.deviceNodes?.[0]?.fileMode, 0o660);
  await writeFile(join(root, 'etc/a.json'), '{');
  await until(['acme.com/disk=1'], /a\.json.*JSON/);
  await rm(join(root, 'etc/a.json'));
  await symlink('/dev/zero', join(root, 'run/c.json'));
  await until(['acme.com/disk=1'], /c\.json.*no file/);
  await rm(join(root, 'run'), { recursive: true });
  await until(undefined);
});

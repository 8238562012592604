/** What goes into a release, and that it is the same every time: from a project as small as it can be. */
import {
  appendFile,
  chmod,
  mkdir,
  mkdtemp,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { productionPackages } from '../../../deploy/release/production-packages.ts';
import { makeRelease } from '../../../deploy/release/release.ts';
import { releaseFiles } from '../../../deploy/release/tree.ts';

const signal = new AbortController().signal;
const EPOCH_SECONDS = 1_700_000_000;

const LOCK = {
  lockfileVersion: 3,
  packages: {
    '': { version: '0.1.0' },
    'node_modules/used': { version: '1.0.0' },
    'node_modules/used/node_modules/deeper': { version: '2.0.0' },
    'node_modules/tool': { version: '3.0.0', dev: true },
    'node_modules/elsewhere': { version: '4.0.0', optional: true },
  },
} as const;

const FILES = [
  'CHANGELOG.md',
  'LICENSE',
  'README.md',
  'deploy/install.sh',
  'deploy/prerequisites.sh',
  'deploy/stacks/example.yaml',
  'deploy/systemd/shoal-agent.service',
  'docs/operate.md',
  'agent/main.ts',
  'deploy/cli/main.ts',
  'dist/agent/unbundled.js',
  'dist/bundle/chunks/main-ABCDEFGH.js',
  'dist/bundle/deploy/cli/main.js',
  'dist/deploy/cli/main.js',
  'dist/test/unit/x.test.js',
  'native/build/libshoal.so',
  'native/build/shoal-files',
  'native/build/shoal-init',
  'native/build/shoal-monitor',
  'native/build/obj/error.o',
  'node_modules/used/index.js',
  'node_modules/used/index.js.map',
  'node_modules/used/index.d.ts',
  'node_modules/used/LICENSE',
  'node_modules/used/node_modules/deeper/index.js',
  'node_modules/tool/index.js',
];

async function put(root: string, file: string, text: string): Promise<void> {
  await mkdir(path.dirname(path.join(root, file)), { recursive: true });
  await writeFile(path.join(root, file), text);
}

async function temporary(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-release-'));
  t.teardown(() => rm(directory, { recursive: true }));
  return directory;
}

async function project(t: ExecutionContext): Promise<string> {
  const root = await temporary(t);
  for (const file of FILES) await put(root, file, `${file}\n`);
  await put(root, 'package.json', '{\n  "version": "0.1.0",\n  "type": "module"\n}\n');
  await put(root, 'package-lock.json', JSON.stringify(LOCK));
  const versions = { used: '1.0.0', tool: '3.0.0', 'used/node_modules/deeper': '2.0.0' };
  for (const [name, version] of Object.entries(versions)) {
    await put(root, `node_modules/${name}/package.json`, JSON.stringify({ version }));
  }
  await mkdir(path.join(root, 'node_modules/used/node_modules/.bin'));
  await symlink('../deeper/index.js', path.join(root, 'node_modules/used/node_modules/.bin/deeper'));
  await chmod(path.join(root, 'native/build/shoal-monitor'), 0o700);
  return root;
}

test('what a host needs is in it: no sources, tests, stale output, or packages for development', async (t) => {
  const files = (await releaseFiles(await project(t))).map((file) => file.path);
  const out = [
    '.ts',
    '.map',
    'unbundled.js',
    'dist/bundle',
    'x.test.js',
    'error.o',
    'tool',
    '.bin',
    'package-lock.json',
  ];
  const unwanted = files.filter((file) => out.some((part) => file.includes(part)));
  t.deepEqual(unwanted, []);
  const wanted = FILES.filter((file) => !out.some((part) => file.includes(part)));
  t.deepEqual(
    wanted.filter((file) => !files.includes(file)),
    [],
  );
  t.true(files.includes('node_modules/used/node_modules/deeper/package.json'));
  t.true(files.includes('dist/chunks/main-ABCDEFGH.js'));
  t.deepEqual(files, files.toSorted());
});

test('the same files at another time, with other modes of the same meaning, give the same bytes', async (t) => {
  const root = await project(t);
  const build = async (): Promise<Buffer[]> => {
    const outDir = await temporary(t);
    const made = await makeRelease({ root, outDir, epochSeconds: EPOCH_SECONDS }, signal);
    const files = [made.tarball, made.checksums, ...(made.deb === undefined ? [] : [made.deb])];
    return Promise.all(files.map((file) => readFile(file)));
  };
  const first = await build();
  await utimes(path.join(root, 'dist/bundle/deploy/cli/main.js'), 1, 1);
  await chmod(path.join(root, 'native/build/shoal-monitor'), 0o755);
  await chmod(path.join(root, 'LICENSE'), 0o600);
  const second = await build();
  t.deepEqual(
    first.map((bytes, index) => bytes.equals(second[index] ?? Buffer.alloc(0))),
    first.map(() => true),
  );
  await appendFile(path.join(root, 'LICENSE'), 'more');
  t.false((await build())[0]?.equals(first[0] ?? Buffer.alloc(0)));
  t.deepEqual((await stat(path.join(root, 'LICENSE'))).mode & 0o777, 0o600);
});

test('what is not built, not installed or another version is named, with what to do', async (t) => {
  const root = await project(t);
  const release = async (): Promise<void> => {
    await makeRelease({ root, outDir: await temporary(t), epochSeconds: EPOCH_SECONDS }, signal);
  };
  await rm(path.join(root, 'dist/bundle'), { recursive: true });
  await t.throwsAsync(release, {
    message: /dist\/bundle\/deploy\/cli\/main\.js is not there: run npm run build/,
  });
  await put(root, 'dist/bundle/deploy/cli/main.js', '');
  await rm(path.join(root, 'native/build/shoal-init'));
  await t.throwsAsync(release, { message: /native\/build\/shoal-init is not there: run npm run build/ });
  await put(root, 'node_modules/used/package.json', JSON.stringify({ version: '1.0.1' }));
  await t.throwsAsync(release, {
    message: /used is version 1\.0\.1, package-lock\.json says 1\.0\.0: run npm ci/,
  });
  await rm(path.join(root, 'node_modules/used'), { recursive: true });
  await t.throwsAsync(release, { message: /node_modules\/used is not installed: run npm ci/ });
});

test('a linked package can not be in a release', (t) => {
  const lock = { lockfileVersion: 3, packages: { 'node_modules/other': { link: true } } } as const;
  t.throws(() => productionPackages(lock), { message: /node_modules\/other .* is a link/ });
});

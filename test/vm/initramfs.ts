/** The file system of the virtual machine: busybox, the C tests, the monitor, their libraries, kernel modules. */
import { execFile } from 'node:child_process';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { libraryDirs } from '../harness/peers.ts';
import { cpioArchive, type Entry } from './cpio.ts';

const run = promisify(execFile);

/** What lets names in layers be UTF-8. */
const LOCALE = '/usr/lib/locale/C.utf8/LC_CTYPE';

/** Of this host. The library is what shoal-oci asks systemd through. */
const SYSTEMD = [
  '/usr/lib/systemd/systemd',
  '/usr/bin/systemctl',
  '/usr/bin/dbus-daemon',
  '/usr/lib/x86_64-linux-gnu/libsystemd.so.0',
];

/** A system bus for root alone. */
const BUS = `<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
`;

/** Of this host: Debian's busybox knows nothing of projects. */
const OF_PROJECTS = ['/usr/sbin/mke2fs', '/usr/bin/chattr', '/usr/bin/lsattr'];

/** Of the unpacked packages, where they are: what makes an xfs, and what compiles policies. */
const UNPACKED = ['sbin/mkfs.xfs', 'sbin/apparmor_parser', 'usr/bin/checkpolicy'];

export interface GuestFiles {
  /** The C tests, run in this order. */
  readonly tests: readonly string[];
  readonly monitor: string;
  /** The init of containers. */
  readonly containerInit: string;
  /** shoal-oci. */
  readonly oci: string;
  /** libshoal.so. */
  readonly library: string;
  /** Of Node: files of the checkout, by their paths from its root. */
  readonly modules: readonly string[];
  readonly checkout: string;
  /** More files, by their paths in the machine. */
  readonly texts: ReadonlyMap<string, string>;
  /** The first program: test/vm/init.sh. */
  readonly init: string;
  /** What systemd runs after it: test/vm/systemd.sh. */
  readonly systemd: string;
  /** Of security modules: an AppArmor profile, and a policy of SELinux's (test/vm/*.conf). */
  readonly policies: readonly string[];
  /** Where the packages of the kernel, and of what runs on it, are unpacked. */
  readonly kernelRoot: string;
}

/** Rejects when a file is missing; the message names it. */
export async function buildInitramfs(files: GuestFiles): Promise<Buffer> {
  const found = new Map<string, Entry>();
  const add = async (source: string, target: string): Promise<void> => {
    const { mode } = await stat(source);
    const executable = (mode & 0o111) !== 0;
    found.set(target, { path: target, kind: 'file', content: await readFile(source), executable });
  };
  await add(files.init, 'init');
  await add(files.systemd, 'systemd.sh');
  for (const program of [...SYSTEMD, ...OF_PROJECTS]) await add(program, program.slice(1));
  found.set('dbus.conf', { path: 'dbus.conf', kind: 'file', content: Buffer.from(BUS), executable: false });
  await add('/bin/busybox', 'bin/busybox');
  found.set('bin/sh', { path: 'bin/sh', kind: 'link', target: 'busybox' });
  found.set('sbin/modprobe', { path: 'sbin/modprobe', kind: 'link', target: '../bin/busybox' });
  await add(files.monitor, 'tests/shoal-monitor');
  await add(files.containerInit, 'tests/shoal-init');
  await add(files.oci, 'tests/shoal-oci');
  await add(files.library, 'tests/libshoal.so');
  await add(process.execPath, 'usr/bin/node');
  for (const name of files.modules) await add(path.join(files.checkout, name), `app/${name}`);
  for (const test of files.tests) await add(test, `tests/${path.basename(test)}`);
  const programs = [...files.tests, files.oci, files.library, process.execPath, ...SYSTEMD, ...OF_PROJECTS];
  for (const [name, source] of await librariesOf(programs)) await add(source, name);
  for (const policy of files.policies) await add(policy, path.basename(policy));
  for (const name of UNPACKED) await add(path.join(files.kernelRoot, name), name);
  for (const [name, source] of await unpackedLibraries(files.kernelRoot, found)) await add(source, name);
  for (const [target, text] of files.texts)
    found.set(target, { path: target, kind: 'file', content: Buffer.from(text), executable: false });
  await add(LOCALE, LOCALE.slice(1));
  for (const file of await modulesOf(files.kernelRoot)) await add(path.join(files.kernelRoot, file), file);
  const entries = [...found.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  return cpioArchive([...parentsOf(entries), ...entries]);
}

function parentsOf(entries: readonly Entry[]): Entry[] {
  const paths = new Set(['dev', 'proc', 'sys', 'tmp', 'run', 'root']);
  for (const entry of entries)
    for (let at = path.dirname(entry.path); at !== '.'; at = path.dirname(at)) paths.add(at);
  return [...paths].sort().map((directory) => ({ path: directory, kind: 'directory' }));
}

/** The shared libraries, and the loader, by the names that the programs look for; target -> source. */
async function librariesOf(programs: readonly string[], libraryPath?: string): Promise<Map<string, string>> {
  const env = libraryPath === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: libraryPath };
  const { stdout } = await run('ldd', [...programs], { env });
  const libraries = new Map<string, string>();
  for (const line of stdout.split('\n')) {
    if (line.includes('not found')) throw new Error(`a library is missing: ${line.trim()}`);
    const file = /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1];
    if (file !== undefined) libraries.set(file.slice(1), await realpath(file));
  }
  return libraries;
}

/** Of the unpacked programs: those that the machine has not got by then, where its loader looks. */
async function unpackedLibraries(
  root: string,
  found: ReadonlyMap<string, unknown>,
): Promise<Map<string, string>> {
  const programs = UNPACKED.map((name) => path.join(root, name));
  const libraries = await librariesOf(programs, (await libraryDirs(root)).join(':'));
  const had = new Set([...found.keys()].map((name) => path.basename(name)));
  return new Map(
    [...libraries]
      .filter(([name]) => !had.has(path.basename(name)))
      .map(([name, source]) => [path.join('lib/x86_64-linux-gnu', path.basename(name)), source]),
  );
}

/** Everything that deploy/prerequisites.sh has kept of the kernel's modules, with their index. */
async function modulesOf(kernelRoot: string): Promise<string[]> {
  const top = path.join('lib', 'modules');
  const files = await readdir(path.join(kernelRoot, top), { recursive: true, withFileTypes: true });
  return files
    .filter((file) => file.isFile())
    .map((file) => path.relative(kernelRoot, path.join(file.parentPath, file.name)));
}

/** Containers from a layer that holds busybox (Debian's busybox-static) and nothing else. Needs root. */
import { randomBytes } from 'node:crypto';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ContainerState,
  type CreateRequest,
  createContainer,
  deleteContainer,
  type OciConfig,
  startContainer,
  waitContainer,
} from '../../../agent/native/container.ts';
import { leftoverName } from '../../harness/leftovers.ts';

const APPLETS = [
  'sh',
  'true',
  'cat',
  'ls',
  'echo',
  'sleep',
  'id',
  'mount',
  'unshare',
  'dd',
  'mknod',
  'touch',
  'stty',
  'readlink',
];
const NONE = ['nosuid', 'noexec', 'nodev'];
const CAPABILITIES = ['CAP_CHOWN', 'CAP_KILL', 'CAP_MKNOD', 'CAP_SETUID', 'CAP_SETGID'];

export const DEADLINE_MS = 60_000;

export interface LogLine {
  stream: string;
  tag: string;
  text: string;
}

export class Fixture {
  readonly directory: string;
  readonly layer: string;
  readonly runRoot: string;
  readonly cgroup: string;
  readonly #runDirs = new Set<string>();

  constructor(name: string) {
    this.directory = mkdtempSync(join(tmpdir(), `shoal-${name}-`));
    this.runRoot = mkdtempSync(`/dev/shm/${leftoverName(name)}`);
    this.cgroup = `/${leftoverName(name)}${randomBytes(4).toString('hex')}`;
    this.layer = join(this.directory, 'layer');
    mkdirSync(join(this.layer, 'bin'), { recursive: true });
    copyFileSync('/bin/busybox', join(this.layer, 'bin', 'busybox'));
    for (const applet of APPLETS) symlinkSync('busybox', join(this.layer, 'bin', applet));
  }

  /** A request for a container that runs args; adjust may change its config. */
  request(args: string[], adjust: (config: OciConfig) => void = () => undefined): CreateRequest {
    const id = randomBytes(32).toString('hex');
    const own = join(this.directory, id);
    const runDir = join(this.runRoot, id);
    for (const name of ['upper', 'work']) mkdirSync(join(own, name), { recursive: true });
    this.#runDirs.add(runDir);
    const config = baseConfig(args, `${this.cgroup}/${id}`);
    adjust(config);
    return {
      id,
      runDir,
      config,
      rootfs: { lower: [this.layer], upper: join(own, 'upper'), work: join(own, 'work') },
      log: { path: join(own, 'log'), maxBytes: 0, maxFiles: 1 },
    };
  }

  async run(args: string[], adjust?: (config: OciConfig) => void) {
    const request = this.request(args, adjust);
    await createContainer(request);
    await startContainer(request.runDir);
    return this.finish(request);
  }

  async finish(request: CreateRequest): Promise<{ state: ContainerState; lines: LogLine[]; stdout: string }> {
    const state = await waitContainer(request.runDir, AbortSignal.timeout(DEADLINE_MS));
    await deleteContainer(request.runDir);
    const lines = logOf(request);
    const stdout = lines.flatMap((line) => (line.stream === 'stdout' ? [line.text] : [])).join('\n');
    return { state, lines, stdout };
  }

  async close(): Promise<void> {
    for (const runDir of this.#runDirs) await deleteContainer(runDir);
    rmSync(this.directory, { recursive: true, force: true });
    rmSync(this.runRoot, { recursive: true, force: true });
    for (const parent of this.cgroupDirectories('')) rmdirSync(parent);
  }

  /** The directories of this path in every hierarchy. */
  cgroupDirectories(path: string): string[] {
    const found: string[] = [];
    for (const mount of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
      if (!/ - cgroup2? /.test(mount)) continue;
      const directory = `${mount.split(' ')[4]}${this.cgroup}${path}`;
      if (exists(directory)) found.push(directory);
    }
    return found;
  }
}

/** The lines of a container whose log is in one file. */
export function logOf({ log }: CreateRequest): LogLine[] {
  return readLog(`${log?.path}.0`);
}

export function readLog(path: string): LogLine[] {
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.slice(0, -1).map((line) => {
    const match = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([FP]) (.*)$/s.exec(line);
    if (match === null) throw new Error(`not a CRI log line: ${line}`);
    return { stream: match[1] ?? '', tag: match[2] ?? '', text: match[3] ?? '' };
  });
}

function exists(directory: string): boolean {
  try {
    readdirSync(directory);
    return true;
  } catch {
    return false;
  }
}

function baseConfig(args: string[], cgroupsPath: string): OciConfig {
  const held = [...CAPABILITIES];
  return {
    ociVersion: '1.1.0',
    hostname: 'boat',
    root: { path: 'rootfs' },
    process: {
      user: { uid: 0, gid: 0 },
      args,
      env: ['PATH=/bin'],
      cwd: '/',
      capabilities: { bounding: held, effective: held, permitted: held },
    },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: NONE },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755'] },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
      },
      {
        destination: '/dev/shm',
        type: 'tmpfs',
        source: 'shm',
        options: [...NONE, 'mode=1777', 'size=65536k'],
      },
      { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: NONE },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...NONE, 'ro'] },
      { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: [...NONE, 'ro'] },
    ],
    linux: {
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
      cgroupsPath,
      maskedPaths: ['/proc/kcore', '/proc/timer_list', '/sys/firmware'],
      readonlyPaths: ['/proc/sys', '/proc/irq'],
    },
  };
}

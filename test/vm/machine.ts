/** A virtual machine of Debian's cloud kernel, emulated in software (qemu's TCG), so that it runs on any host. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { libraryDirs } from '../harness/peers.ts';

export interface Machine {
  /** Where deploy/prerequisites.sh --vm has unpacked qemu and the kernel. */
  readonly root: string;
  readonly initramfs: Buffer;
  readonly memoryMiB: number;
  readonly cpus: number;
  /** More for the kernel's command line. */
  readonly kernelOptions?: string;
}

export interface Output {
  /** What the guest wrote to its second serial port. */
  readonly report: string;
  /** What its kernel said. */
  readonly console: string;
  /** Why it did not end by itself. */
  readonly failure?: string;
}

/**
 * Boots, and resolves when the guest has powered itself off, its kernel has panicked, qemu has failed or the signal has
 * stopped it. Nothing of it is left then.
 */
export async function runMachine(machine: Machine, signal: AbortSignal): Promise<Output> {
  const directory = await mkdtemp(path.join(tmpdir(), 'shoal-vm-'));
  const files = ['initramfs', 'console', 'report'].map((name) => path.join(directory, name));
  const [initramfs = '', console = '', report = ''] = files;
  try {
    await writeFile(initramfs, machine.initramfs);
    const failure = await runQemu(machine, { initramfs, console, report }, signal);
    const output = { report: await readText(report), console: await readText(console) };
    return failure === undefined ? output : { ...output, failure };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Resolves to what went wrong, if anything. */
async function runQemu(
  machine: Machine,
  files: { initramfs: string; console: string; report: string },
  signal: AbortSignal,
): Promise<string | undefined> {
  const qemu = path.join(machine.root, 'usr/bin/qemu-system-x86_64');
  const kernel = path.join(machine.root, 'boot', await kernelName(machine.root));
  const firmware = ['qemu', 'seabios'].flatMap((name) => [
    ['-L', path.join(machine.root, 'usr/share', name)],
    ['-L', path.join('/usr/share', name)],
  ]);
  const args = [
    ...firmware.flat(),
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-accel', 'tcg', '-m', `${machine.memoryMiB}M`, '-smp', `${machine.cpus}`],
    ...['-serial', `file:${files.console}`, '-serial', `file:${files.report}`],
    ...['-kernel', kernel, '-initrd', files.initramfs],
    ...['-append', `console=ttyS0 panic=-1 quiet ${machine.kernelOptions ?? ''}`],
  ];
  signal.throwIfAborted();
  // a test that is killed takes its machine along
  const child = spawn('setpriv', ['--pdeathsig=KILL', qemu, ...args], {
    env: { ...process.env, LD_LIBRARY_PATH: (await libraryDirs(machine.root)).join(':') },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const stop = () => child.kill('SIGKILL');
  signal.addEventListener('abort', stop);
  let said = '';
  child.stderr.on('data', (data: Buffer) => {
    said += data.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  signal.removeEventListener('abort', stop);
  if (signal.aborted) return `the virtual machine was stopped: ${String(signal.reason)}`;
  return code === 0 ? undefined : `qemu ended with ${code}: ${said}`;
}

async function kernelName(root: string): Promise<string> {
  const name = (await readdir(path.join(root, 'boot'))).find((file) => file.startsWith('vmlinuz-'));
  if (name === undefined) throw new Error(`${root}/boot holds no kernel`);
  return name;
}

const readText = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '');

/** Devices of the node for a container: what stat(2) says of them, as the OCI configuration wants it. */
import { readdir, stat } from 'node:fs/promises';
import { InvalidError } from '../../shared/errors/index.ts';
import type { DeviceMapping, RuntimeOptions } from '../../shared/model/index.ts';
import type { OciDevice } from '../native/oci.ts';

export interface ResolvedDevice {
  readonly device: OciDevice;
  readonly access: string;
}

/** makedev(3) of the C library, taken apart. */
export function deviceNumbers(rdev: number): { major: number; minor: number } {
  const all = BigInt(rdev);
  const major = ((all >> 8n) & 0xfffn) | ((all >> 32n) & ~0xfffn);
  const minor = (all & 0xffn) | ((all >> 12n) & ~0xffn & 0xffffffffn);
  return { major: Number(major), minor: Number(minor) };
}

/** Rejects with InvalidError for what is no device on this node. */
export async function resolveDevices(options: RuntimeOptions): Promise<ResolvedDevice[]> {
  const named = await Promise.all((options.devices ?? []).map(resolveNamed));
  if (options.privileged !== true) return named.flat();
  const targets = new Set(named.flat().map(({ device }) => device.path));
  const all = await below('/dev', '/dev', 'rwm', skipped);
  return [...named.flat(), ...all.filter(({ device }) => !targets.has(device.path))];
}

/** What each container has of its own, or is no device of the machine. */
function skipped(path: string): boolean {
  return /^\/dev\/(pts|shm|mqueue|fd|hugepages|console|null|zero|full|random|urandom|tty|ptmx)$/.test(path);
}

async function resolveNamed({ source, target, access }: DeviceMapping): Promise<ResolvedDevice[]> {
  const found = await stat(source).catch(() => undefined);
  if (found === undefined) throw new InvalidError(`device ${source} is not on this node`);
  const devices = found.isDirectory()
    ? await below(source, target, access, () => false)
    : await one(source, target, access);
  if (devices.length === 0) throw new InvalidError(`${source} is no device, and no directory of devices`);
  return devices;
}

async function below(
  directory: string,
  target: string,
  access: string,
  skip: (path: string) => boolean,
): Promise<ResolvedDevice[]> {
  const found: ResolvedDevice[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = `${directory}/${entry.name}`;
    if (skip(path)) continue;
    if (entry.isDirectory()) found.push(...(await below(path, `${target}/${entry.name}`, access, skip)));
    else if (entry.isCharacterDevice() || entry.isBlockDevice()) {
      found.push(...(await one(path, `${target}/${entry.name}`, access)));
    }
  }
  return found;
}

async function one(path: string, target: string, access: string): Promise<ResolvedDevice[]> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined || !(info.isCharacterDevice() || info.isBlockDevice())) return [];
  const { major, minor } = deviceNumbers(info.rdev);
  const type = info.isBlockDevice() ? 'b' : 'c';
  const { uid, gid, mode } = info;
  return [{ device: { path: target, type, major, minor, fileMode: mode & 0o7777, uid, gid }, access }];
}

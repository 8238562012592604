/** What the descriptions of chosen devices change in a container's configuration. */
import { stat } from 'node:fs/promises';
import { InvalidError } from '../../shared/errors/index.ts';
import { chooseDevices } from '../../shared/lib/cdi.ts';
import type { DeviceRequest } from '../../shared/model/index.ts';
import type { OciConfig, OciHooks, OciMount } from '../native/container.ts';
import { deviceNumbers, type ResolvedDevice } from '../container/devices.ts';
import type { Registry } from './registry.ts';
import { type CdiDeviceNode, type CdiEdits, isRun } from './spec-file.ts';

/** Of all devices of one container, in their order. */
export interface ChosenEdits {
  readonly devices: readonly string[];
  readonly edits: readonly CdiEdits[];
}

/** The edits of a file's own come after its first device's. Throws InvalidError for what is not on this node. */
export function chooseEdits(requests: readonly DeviceRequest[], registry: Registry): ChosenEdits {
  const { devices, problems } = registry;
  const choice = chooseDevices(requests, { names: [...devices.keys()].toSorted(), problems });
  if ('problem' in choice) throw new InvalidError(`${choice.problem} on this node`);
  const files = new Set<string>();
  const edits: CdiEdits[] = [];
  for (const name of choice.devices) {
    const device = devices.get(name);
    if (device === undefined) continue;
    edits.push(device.edits);
    if (device.common !== undefined && !files.has(device.path)) edits.push(device.common);
    files.add(device.path);
  }
  return { devices: choice.devices, edits };
}

/** What the descriptions leave out is as it is on the node; `uid`: of the container's process. */
export async function cdiDevices({ edits }: ChosenEdits, uid: number): Promise<ResolvedDevice[]> {
  const nodes = edits.flatMap(({ deviceNodes }) => deviceNodes ?? []);
  const found = await Promise.all(nodes.map((node) => resolveNode(node, uid)));
  // The last that has a path counts.
  return [...new Map(found.map((one) => [one.device.path, one])).values()];
}

async function resolveNode(node: CdiDeviceNode, uid: number): Promise<ResolvedDevice> {
  const access = node.permissions || 'rwm';
  const own = {
    path: node.path,
    ...(typeof node.fileMode === 'number' ? { fileMode: node.fileMode & 0o7777 } : {}),
    ...(typeof node.uid === 'number' ? { uid: node.uid } : uid > 0 ? { uid } : {}),
    ...(typeof node.gid === 'number' ? { gid: node.gid } : {}),
  };
  const given = node.type || undefined;
  if (given === 'p') return { device: { ...own, type: 'p' }, access };
  const { major = null, minor = null } = node;
  if (given !== undefined && major !== null && minor !== null && major > 0)
    return { device: { ...own, type: given === 'u' ? 'c' : given, major, minor }, access };
  return { device: { ...(await nodeOnHost(node, given)), ...own }, access };
}

async function nodeOnHost({ path, hostPath }: CdiDeviceNode, given: 'b' | 'c' | 'u' | undefined) {
  const source = hostPath || path;
  const info = await stat(source).catch(() => undefined);
  const type = info?.isBlockDevice() === true ? 'b' : info?.isCharacterDevice() === true ? 'c' : undefined;
  if (info === undefined) throw new InvalidError(`device ${source}, which CDI names, is not on this node`);
  if (type === undefined) throw new InvalidError(`${source}, which CDI names as a device, is none`);
  if (given !== undefined && type !== (given === 'u' ? 'c' : given))
    throw new InvalidError(`device ${source} is of type ${type}; CDI says ${given}`);
  const { uid, gid, mode } = info;
  return { type, ...deviceNumbers(info.rdev), fileMode: mode & 0o7777, uid, gid };
}

/** Devices of CDI, and in other places those that were asked for otherwise. */
export function withCdiDevices(
  others: readonly ResolvedDevice[],
  cdi: readonly ResolvedDevice[],
): readonly ResolvedDevice[] {
  const paths = new Set(cdi.map(({ device }) => device.path));
  return [...others.filter(({ device }) => !paths.has(device.path)), ...cdi];
}

/** PURE. `remapped`: with a user namespace of its own. Throws InvalidError. Everything but the devices: environment, mounts, groups and hooks. What CDI says replaces what was there. */
export function withEdits(config: OciConfig, { edits }: ChosenEdits, remapped = false): OciConfig {
  if (edits.length === 0) return config;
  const hooks = hooksOf(edits);
  if (remapped && hooks.hooks !== undefined)
    throw new InvalidError("hooks of CDI devices need the node's user namespace (--userns host)");
  const env = new Map((config.process.env ?? []).map((line) => [line.slice(0, line.indexOf('=')), line]));
  for (const line of edits.flatMap((one) => one.env ?? [])) env.set(line.slice(0, line.indexOf('=')), line);
  const gids = edits.flatMap(({ additionalGids }) => additionalGids ?? []).filter((gid) => gid !== 0);
  const { user } = config.process;
  const additionalGids = [...new Set([...(user.additionalGids ?? []), ...gids])];
  return {
    ...config,
    process: { ...config.process, env: [...env.values()], user: { ...user, additionalGids } },
    mounts: withMounts(config.mounts ?? [], edits.flatMap(mountsOf)),
    ...hooks,
  };
}

function mountsOf({ mounts }: CdiEdits): OciMount[] {
  return (mounts ?? []).map(({ hostPath, containerPath, options, type }): OciMount => {
    const said = options ?? [];
    const plain = !said.some((option) => option === 'bind' || option === 'rbind');
    const bound = (type || 'bind') === 'bind';
    return {
      destination: containerPath,
      type: type || 'bind',
      source: hostPath,
      options: bound && plain ? ['rbind', ...said] : [...said],
    };
  });
}

const depth = ({ destination }: OciMount): number =>
  destination.split('/').filter((part) => part !== '').length;

/** What is deeper comes later, whoever asked for it. */
function withMounts(others: readonly OciMount[], added: readonly OciMount[]): OciMount[] {
  if (added.length === 0) return [...others];
  const last = new Map(added.map((mount) => [mount.destination, mount]));
  const kept = others.filter(({ destination }) => !last.has(destination));
  return [...kept, ...last.values()].toSorted((a, b) => depth(a) - depth(b));
}

/** By their names; `hooks` absent where there are none. */
function hooksOf(edits: readonly CdiEdits[]): Pick<OciConfig, 'hooks'> {
  const hooks: OciHooks = {};
  for (const { hookName, path, args, env, timeout } of edits.flatMap((one) => one.hooks ?? [])) {
    if (!isRun(hookName)) continue;
    const parts = { ...(args ? { args } : {}), ...(env ? { env } : {}), ...(timeout ? { timeout } : {}) };
    (hooks[hookName] ??= []).push({ path, ...parts });
  }
  return Object.keys(hooks).length === 0 ? {} : { hooks };
}

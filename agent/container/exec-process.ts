/** What a further command of a container runs as: the container's own user, environment and rights, but for what is asked. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { InvalidError } from '../../shared/errors/index.ts';
import type { ExecSpec } from '../../shared/model/node-methods/index.ts';
import type { OciConfig, OciProcess } from '../native/container.ts';
import { capabilitySet } from './capabilities.ts';
import { readBounded } from './image-files.ts';
import { availableCapabilities } from './own-capabilities.ts';
import type { ContainerRecord } from './record.ts';
import { type ResolvedUser, resolveUser } from './users.ts';

/** Throws InvalidError for a user that the container does not know, and for a working directory that is not absolute. */
export async function execProcess(record: ContainerRecord, pid: number, spec: ExecSpec): Promise<OciProcess> {
  if (spec.workingDir !== '' && !spec.workingDir.startsWith('/'))
    throw new InvalidError(`the working directory "${spec.workingDir}" is not absolute`);
  const user = spec.user === '' ? undefined : await userOf(pid, spec.user);
  const env = execEnv(record.env, spec, user);
  // The filter of system calls, the rules of devices, the profile and the label stay the container's, as with Docker.
  const rights = spec.privileged === true ? { capabilities: availableCapabilities() } : {};
  const process = commandProcess({ ...record, ...user, ...rights }, spec.args);
  return { ...process, env, cwd: spec.workingDir || record.cwd };
}

export type HeldProcess = Pick<
  ContainerRecord,
  | 'args'
  | 'env'
  | 'cwd'
  | 'rlimits'
  | 'noNewPrivileges'
  | 'capabilities'
  | 'apparmorProfile'
  | 'selinuxLabel'
  | 'mountLabel'
>;

/** PURE. What the record keeps of a container's configuration, for further commands in the container. */
export function heldProcess(
  { process, linux }: Pick<OciConfig, 'process' | 'linux'>,
  args: readonly string[],
): HeldProcess {
  const { env = [], cwd, capabilities, rlimits = [], noNewPrivileges = false } = process;
  const { apparmorProfile, selinuxLabel } = process;
  return {
    ...{ args, env, cwd, rlimits, noNewPrivileges, capabilities: capabilities?.bounding ?? [] },
    ...(apparmorProfile === undefined ? {} : { apparmorProfile }),
    ...(selinuxLabel === undefined ? {} : { selinuxLabel }),
    ...(linux.mountLabel === undefined ? {} : { mountLabel: linux.mountLabel }),
  };
}

/** PURE. A command with no more rights than the container's own process: its user, groups, limits, capabilities. */
export function commandProcess(record: ContainerRecord, args: readonly string[]): OciProcess {
  const { uid, gid, additionalGids = [], apparmorProfile, selinuxLabel } = record;
  const bounding = [...(record.capabilities ?? capabilitySet([], []))];
  const held = uid === 0 ? bounding : [];
  return {
    user: { uid, gid, additionalGids: [...additionalGids] },
    args: [...args],
    env: [...record.env],
    cwd: record.cwd,
    capabilities: { bounding, effective: held, permitted: held, inheritable: [], ambient: [] },
    rlimits: record.rlimits ?? [],
    noNewPrivileges: record.noNewPrivileges ?? false,
    ...(apparmorProfile === undefined ? {} : { apparmorProfile }),
    ...(selinuxLabel === undefined ? {} : { selinuxLabel }),
  };
}

/** PURE. Another user has another home; a terminal has a type; what is asked for comes last. */
export function execEnv(
  own: readonly string[],
  spec: Pick<ExecSpec, 'env' | 'tty'>,
  user: Pick<ResolvedUser, 'home'> | undefined,
): string[] {
  const env = new Map<string, string>();
  const terminal = spec.tty ? ['TERM=xterm'] : [];
  const home = user === undefined ? [] : [`HOME=${user.home}`];
  for (const line of [...terminal, ...own, ...home, ...spec.env]) {
    const equals = line.indexOf('=');
    if (equals < 0) env.delete(line);
    else env.set(line.slice(0, equals), line.slice(equals + 1));
  }
  return [...env].map(([key, value]) => `${key}=${value}`);
}

/** From the files as the container sees them now: they may have changed since its image. */
async function userOf(pid: number, user: string): Promise<ResolvedUser> {
  const [passwd, group] = await Promise.all(['passwd', 'group'].map((name) => readEtc(pid, name)));
  try {
    return resolveUser(user, [], passwd ?? '', group ?? '');
  } catch (cause) {
    throw new InvalidError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/**
 * A file of the container's /etc; '' when there is none. No symbolic link is followed, in neither component: it would be
 * resolved against the node's root, not the container's.
 */
async function readEtc(pid: number, name: string): Promise<string> {
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const etc = await open(`/proc/${pid}/root/etc`, O_RDONLY | O_DIRECTORY | O_NOFOLLOW).catch(() => undefined);
  if (etc === undefined) return '';
  try {
    const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
    const file = await open(`/proc/self/fd/${etc.fd}/${name}`, flags).catch(() => undefined);
    if (file === undefined) return '';
    try {
      return await readBounded(file);
    } finally {
      await file.close();
    }
  } finally {
    await etc.close();
  }
}

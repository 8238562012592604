/** PURE but for hashing. Volumes without a name, and what is different about the container of `docker create`: it outlives its tasks, and shows more. */
import { createHash } from 'node:crypto';
import { cleanPath } from '../../shared/lib/clean-path.ts';
import type { ContainerMode, ContainerSpec, MountSpec, TaskAssignment } from '../../shared/model/index.ts';
import type { ContainerDetails, MountPoint } from '../../shared/model/node-methods/index.ts';
import type { ImageConfig } from '../image/image-config.ts';
import { type BindMount, isEmptyEntrypoint } from './runtime-spec.ts';

/** The container's mode when it is one; undefined for a task of a service. */
export function standaloneMode({ spec: { mode } }: Pick<TaskAssignment, 'spec'>): ContainerMode | undefined {
  return mode.kind === 'container' ? mode : undefined;
}

/** What the agent keeps of it besides, in its record. */
export interface StandaloneRecord {
  /** It has not run yet. */
  readonly created?: true;
  readonly details: ContainerDetails;
  /** Names of the volumes that were made for it alone. */
  readonly anonymousVolumes: readonly string[];
  /** They are removed with it. */
  readonly discardVolumes: boolean;
}

/** The same name each time, so that every start finds the volume again. */
export function anonymousVolumeName(containerId: string, target: string): string {
  return createHash('sha256').update(`${containerId}:${target}`).digest('hex');
}

/**
 * The spec with a name for each anonymous volume, and with a volume for each path that the image wants one at and nothing
 * else is mounted over. Environment and host name are taken as they are: templates are services'.
 */
export function withAnonymousVolumes(
  spec: ContainerSpec,
  image: Pick<ImageConfig, 'volumes'>,
  containerId: string,
): { readonly spec: ContainerSpec; readonly names: readonly string[] } {
  const names: string[] = [];
  const anonymous = (target: string): string => {
    const name = anonymousVolumeName(containerId, target);
    names.push(name);
    return name;
  };
  const given = spec.mounts.map((mount): MountSpec => {
    const unnamed = mount.kind === 'volume' && mount.source === '';
    return unnamed ? { ...mount, source: anonymous(mount.target) } : mount;
  });
  const taken = new Set(given.map(({ target }) => cleanPath(target)));
  const wanted = image.volumes.map(cleanPath).filter((target) => !taken.has(target));
  const own = [...new Set(wanted)].map((target): MountSpec => {
    return { kind: 'volume', source: anonymous(target), target, readOnly: false };
  });
  return { spec: { ...spec, mounts: [...given, ...own] }, names };
}

/** What `docker inspect` shows of it that the image has a part in. */
export function detailsOf(
  spec: ContainerSpec,
  image: ImageConfig,
  hostname: string,
  binds: readonly BindMount[],
): ContainerDetails {
  const dropped = isEmptyEntrypoint(spec.command);
  const replaced = spec.command.length > 0 && !dropped;
  return {
    hostname,
    domainname: spec.runtime?.domainname ?? '',
    user: spec.user ?? image.user,
    workingDir: spec.workingDir || image.workingDir,
    entrypoint: dropped ? [] : replaced ? spec.command : image.entrypoint,
    cmd: spec.args.length > 0 || replaced ? spec.args : image.cmd,
    exposedPorts: image.exposedPorts,
    volumes: image.volumes,
    stopSignal: spec.stopSignal ?? image.stopSignal ?? '',
    mounts: spec.mounts.map((mount) => mountPoint(mount, binds)),
  };
}

function mountPoint(mount: MountSpec, binds: readonly BindMount[]): MountPoint {
  const { kind, target, readOnly } = mount;
  const bind = binds.find((one) => one.target === target);
  return {
    kind,
    target,
    readOnly,
    source: bind?.source ?? '',
    ...(mount.kind === 'volume' ? { name: mount.source } : {}),
    ...(mount.kind === 'bind' && mount.propagation !== undefined ? { propagation: mount.propagation } : {}),
  };
}

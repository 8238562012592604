/** PURE. The config of a container whose users and groups are others on the node. */
import type { IdRange } from '../../shared/lib/id-ranges.ts';
import { InvalidError } from '../../shared/errors/index.ts';
import { nodesOwn } from '../../shared/lib/nodes-own.ts';
import type { ContainerSpec } from '../../shared/model/index.ts';
import type { OciConfig } from '../native/container.ts';
import type { BindMount } from './runtime-spec.ts';

/** Which groups may ping: all that there are. */
const PING_GROUPS = 'net.ipv4.ping_group_range';

/** The config of a container whose ids are these of the node. */
export function withUserRange(config: OciConfig, { first, count }: IdRange): OciConfig {
  const { linux } = config;
  const map = [{ containerID: 0, hostID: first, size: count }];
  const sysctl = { ...linux.sysctl };
  if (PING_GROUPS in sysctl) sysctl[PING_GROUPS] = `0 ${count - 1}`;
  return {
    ...config,
    linux: {
      ...linux,
      sysctl,
      namespaces: [...linux.namespaces, { type: 'user' }],
      uidMappings: map,
      gidMappings: map,
    },
  };
}

/** What is Shoal's own: on disk its owners have the ids that they have in a container. */
export function withOwnIds(bind: BindMount): BindMount {
  return { ...bind, options: [...bind.options, 'idmap'] };
}

/** What the agent makes for one container: its label is that of the container's files, if they have one. */
export function asOwn(bind: BindMount, remapped: boolean, { selinux }: ContainerSpec): BindMount {
  const own = remapped ? withOwnIds(bind) : bind;
  return selinux === undefined ? own : { ...own, options: [...own.options, 'x-label'] };
}

/** Throws InvalidError. `usual`: what a container has that says nothing. */
export function isRemapped({ runtime = {} }: ContainerSpec, usual = false): boolean {
  if (runtime.userNamespace !== undefined) return runtime.userNamespace === 'private';
  const theNodes = usual ? nodesOwn(runtime) : [];
  if (theNodes.length === 0) return usual;
  const what = theNodes.join(', ');
  throw new InvalidError(
    `${what}: this node gives containers a user namespace of their own (--userns-remap), unless they ask for the node's with UsernsMode host`,
  );
}

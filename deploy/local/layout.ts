/**
 * Names, paths and ports of a cluster that lives on one machine. Everything that it makes carries the cluster's name
 * or lies under its two directories, so that it can be found and removed even when all its processes were killed.
 */
import { createHash } from 'node:crypto';
import path from 'node:path';
import { InvalidError } from '../../shared/errors/index.ts';

export const DEFAULT_NAME = 'local';
export const DEFAULT_PORT_BASE = 7370;
export const MAX_NODES = 200;

export interface LocalNode {
  /** From 1. */
  readonly index: number;
  readonly hostname: string;
  /** Underlay address. */
  readonly address: string;
  /** Path of the node's network namespace; absent: the node is the machine itself. */
  readonly netns?: { readonly name: string; readonly path: string };
  readonly stateDir: string;
  readonly runDir: string;
}

export interface Layout {
  readonly name: string;
  readonly stateDir: string;
  readonly runDir: string;
  readonly socket: string;
  readonly logDir: string;
  readonly imageDir: string;
  readonly managerPort: number;
  readonly etcdClientPort: number;
  readonly etcdPeerPort: number;
  readonly vxlanPort: number;
  /** Prefix of network namespaces. */
  readonly netnsPrefix: string;
  readonly bridge: string;
  /** Prefix of the machine's ends of the hosts' cables. */
  readonly cablePrefix: string;
  readonly cgroup: string;
  readonly nftTable: string;
}

export interface LayoutInput {
  readonly name: string;
  readonly stateDir?: string;
  readonly runDir?: string;
  readonly portBase: number;
}

/** Throws InvalidError for a name or a port that does not fit. */
export function makeLayout(input: LayoutInput): Layout {
  const { name, portBase } = input;
  if (!/^[a-z][a-z0-9]{0,11}$/.test(name)) {
    throw new InvalidError(
      `cluster name '${name}' does not fit: at most 12 characters, a-z and 0-9, starting with a letter`,
    );
  }
  if (!Number.isInteger(portBase) || portBase < 1 || portBase > 65_530) {
    throw new InvalidError(`--port-base ${portBase} does not fit: a number from 1 to 65530`);
  }
  const suffix = name === DEFAULT_NAME ? '' : `-${name}`;
  const stateDir = path.resolve(input.stateDir ?? `/var/lib/shoal${suffix}`);
  const runDir = path.resolve(input.runDir ?? `/run/shoal${suffix}`);
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 6);
  return {
    name,
    stateDir,
    runDir,
    socket: path.join(runDir, 'shoal.sock'),
    logDir: path.join(stateDir, 'logs'),
    imageDir: path.join(stateDir, 'images'),
    managerPort: portBase,
    etcdClientPort: portBase + 1,
    etcdPeerPort: portBase + 2,
    vxlanPort: portBase + 3,
    netnsPrefix: `shoal-${name}-`,
    // an interface's name has at most 15 characters
    bridge: name.length <= 9 ? `shoal-${name}` : `shoal-${hash}`,
    cablePrefix: `shc${hash}-`,
    cgroup: `shoal-${name}`,
    nftTable: `shoal-${name}-masquerade`,
  };
}

/** True for the name of a table that belongs to this cluster. */
export function ownsTable(layout: Layout, table: string): boolean {
  return new RegExp(`^shoal[-_]${layout.name}([-_].*)?$`).test(table);
}

/**
 * The hosts of a cluster. `subnet` is the first three bytes of the underlay, e.g. 10.213.7; the machine itself has .1.
 * Without `machineIsNode` every node is a network namespace, and the machine only holds the manager.
 */
export function makeNodes(
  layout: Layout,
  subnet: string,
  count: number,
  options: { readonly machineIsNode: boolean; readonly prefix: string },
): LocalNode[] {
  return Array.from({ length: count }, (_, offset) => {
    const index = offset + 1;
    const onMachine = options.machineIsNode && index === 1;
    const netns = `${layout.netnsPrefix}host_${index}`;
    return {
      index,
      hostname: `${options.prefix}${index}`,
      address: `${subnet}.${options.machineIsNode ? index : index + 1}`,
      ...(onMachine ? {} : { netns: { name: netns, path: `/run/netns/${netns}` } }),
      stateDir: path.join(layout.stateDir, `node-${index}`),
      runDir: path.join(layout.runDir, `node-${index}`),
    };
  });
}

/** PURE. Networks that are not Shoal's own: their driver options, and which nodes can be on them. */
import type { Network, NetworkSpec } from '../model/network.ts';
import {
  MACVLAN_MODES,
  type MacvlanMode,
  type NodeDrivers,
  type OutsideNetwork,
} from '../model/outside-network.ts';
import type { Labels } from '../model/service.ts';

const PARENT_OPTION = 'parent';
const MODE_OPTION = 'macvlan_mode';
export const MACVLAN_OPTIONS: readonly string[] = [PARENT_OPTION, MODE_OPTION];

/** Of plugins, which are names of files. */
export const PLUGIN_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$/;

/** As the kernel takes names of devices (dev_valid_name), and no others than Shoal's. */
const DEVICE = /^(?!\.{1,2}$)[^\s/:]{1,15}$/;
const SHOALS = /^s[uw][0-9a-f]{6}/;

type Parent = { readonly device: string; readonly vlan?: number };

/** `eth1.50` is VLAN 50 on eth1. */
export function parentOf(name: string): Parent {
  const [, device = '', id = ''] = /^(.+)\.(\d{1,4})$/.exec(name) ?? [];
  const vlan = Number(id);
  return device !== '' && vlan >= 1 && vlan <= 4094 ? { device, vlan } : { device: name };
}

/** What is wrong with a macvlan network's options, by the option. */
export function macvlanProblem(options: Labels): (readonly [option: string, why: string])[] {
  const { [PARENT_OPTION]: parent = '', [MODE_OPTION]: mode = 'bridge' } = options;
  if (parent === '') return [[PARENT_OPTION, 'a device of the nodes is needed, such as parent=eth1']];
  if (!DEVICE.test(parent) || SHOALS.test(parent) || parent === 'lo')
    return [[PARENT_OPTION, `'${parent}': a device of the nodes is expected, such as eth1 or eth1.50`]];
  if (MACVLAN_MODES.some((one) => one === mode)) return [];
  return [[MODE_OPTION, `'${mode}': one of ${MACVLAN_MODES.join(', ')} is expected`]];
}

/** What the network is outside of Shoal; undefined of one that is Shoal's own. */
export function outsideOf(spec: NetworkSpec): OutsideNetwork | undefined {
  if (spec.driver === 'macvlan') {
    const { [PARENT_OPTION]: parent = '', [MODE_OPTION]: mode = 'bridge' } = spec.driverOptions;
    return { kind: 'macvlan', parent, mode: mode as MacvlanMode };
  }
  if (spec.driver !== 'plugin') return undefined;
  return { kind: 'plugin', plugin: spec.plugin ?? '', options: spec.driverOptions };
}

/** True of one that each node has by itself. */
export function isLocal({ driver }: Pick<NetworkSpec, 'driver'>): boolean {
  return driver !== 'overlay';
}

/** Why a node with these drivers can not be on the first of the networks that it can not be on. */
export function outsideProblem(
  networks: Iterable<Pick<Network, 'spec'>>,
  drivers: NodeDrivers | undefined,
): string | undefined {
  for (const { spec } of networks) {
    const outside = outsideOf(spec);
    const why = outside === undefined ? undefined : whyNot(outside, drivers ?? {});
    if (why !== undefined) return `network ${spec.name}: ${why}`;
  }
  return undefined;
}

function whyNot(outside: OutsideNetwork, { macvlanParents, plugins = [] }: NodeDrivers): string | undefined {
  if (outside.kind === 'plugin')
    return plugins.includes(outside.plugin) ? undefined : `no network plugin ${outside.plugin}`;
  if (macvlanParents === undefined) return 'the kernel has no macvlan';
  const { device } = parentOf(outside.parent);
  return macvlanParents.includes(outside.parent) || macvlanParents.includes(device)
    ? undefined
    : `no device ${device}`;
}

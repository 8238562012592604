/** Drivers of networks, and what their options may say. */
import { InvalidError, UnsupportedError } from '../../../shared/errors/index.ts';
import { ENCRYPTED_OPTION, readEncrypted } from '../../../shared/lib/network-encrypted.ts';
import { ICC_OPTION, MTU_OPTION, readMtu } from '../../../shared/lib/network-mtu.ts';
import {
  isLocal,
  MACVLAN_OPTIONS,
  macvlanProblem,
  PLUGIN_NAME,
} from '../../../shared/lib/network-outside.ts';
import { type Labels, NETWORK_DRIVERS, type NetworkSpec } from '../../../shared/model/index.ts';

type Driver = Pick<NetworkSpec, 'driver' | 'plugin'>;

/** As users name it. */
export function driverName({ driver, plugin = driver }: Driver): string {
  return plugin;
}

export function scopeOf(spec: Driver): 'swarm' | 'local' {
  return isLocal(spec) ? 'local' : 'swarm';
}

/** Any other name is a plugin's: whether a node has it is seen later. */
export function readDriver(name: string, scope: string): Driver {
  const known = NETWORK_DRIVERS.find((one) => one === name && one !== 'plugin');
  if (known === undefined && !PLUGIN_NAME.test(name)) throw noSuchDriver(name);
  const driver: Driver = known === undefined ? { driver: 'plugin', plugin: name } : { driver: known };
  if (scope !== '' && scope !== scopeOf(driver))
    throw new InvalidError(`networks of driver ${name} have the scope '${scopeOf(driver)}', not '${scope}'`);
  return driver;
}

export function noSuchDriver(name: string): InvalidError {
  return new InvalidError(
    `network driver '${name}' is not supported: overlay, bridge, macvlan and the network plugins of nodes are (docker network create --driver overlay)`,
  );
}

/** Throws for a network that is not Shoal's own. */
export function requireIpv6({ driver, plugin = driver }: Driver): void {
  if (driver === 'macvlan' || driver === 'plugin')
    throw new UnsupportedError(`network: not supported by Shoal: EnableIPv6 with the driver ${plugin}`);
}

/** Options of Docker's bridges: what they may say, and why not otherwise. */
const BRIDGE_OPTIONS: Readonly<Record<string, { readonly values: readonly string[]; readonly why: string }>> =
  {
    [ICC_OPTION]: { values: ['true', 'false'], why: 'true or false is expected' },
    'com.docker.network.bridge.enable_ip_masquerade': {
      values: ['true'],
      why: 'not supported: what leaves a node has its address (--internal lets nothing out)',
    },
    'com.docker.network.bridge.name': {
      values: [],
      why: 'not supported: containers are routed, there is no bridge device to name',
    },
  };

const OPTIONS: Readonly<Record<NetworkSpec['driver'], readonly string[]>> = {
  overlay: [MTU_OPTION, ENCRYPTED_OPTION],
  bridge: [MTU_OPTION, ...Object.keys(BRIDGE_OPTIONS)],
  macvlan: [MTU_OPTION, ...MACVLAN_OPTIONS],
  plugin: [],
};

/** Throws for an option that would change what the network is, and for a value that can not be. A plugin has its own. */
export function requireOptions(spec: NetworkSpec): void {
  const { driver, driverOptions: options } = spec;
  if (driver === 'plugin') return;
  const refused = Object.keys(options).filter((key) => !OPTIONS[driver].includes(key));
  if (refused.length > 0) {
    throw new UnsupportedError(
      `network: not supported by Shoal: driver option ${refused.join(', ')} (of the driver ${driver} there are ${OPTIONS[driver].join(', ')})`,
    );
  }
  if (driver === 'bridge') requireBridge(options);
  const found: readonly (readonly [string, unknown])[] = [
    [MTU_OPTION, readMtu(options)],
    [ENCRYPTED_OPTION, readEncrypted(options)],
    ...(driver === 'macvlan' ? macvlanProblem(options) : []),
  ];
  for (const [key, problem] of found)
    if (typeof problem === 'string') throw new InvalidError(`network: driver option ${key}: ${problem}`);
}

function requireBridge(options: Labels): void {
  for (const [key, { values, why }] of Object.entries(BRIDGE_OPTIONS)) {
    const value = options[key];
    if (value === undefined || values.includes(value)) continue;
    const Problem = why.startsWith('not supported') ? UnsupportedError : InvalidError;
    throw new Problem(`network: driver option ${key}: '${value}': ${why}`);
  }
}

/** `network_mode` of a service: a network of its node in place of the cluster's. */
import { NODE_NETWORKS, type NetworkAttachment } from '../../shared/model/index.ts';
import type { Section } from './section.ts';

export function hasNetworkMode(service: Section): boolean {
  const value = service.map.entries.get('network_mode')?.value;
  return value !== undefined && !(value.kind === 'scalar' && (value.value === null || value.text === ''));
}

/** The network that it names, alone; undefined without it, and `networks` counts. */
export function readNetworkMode(service: Section): NetworkAttachment[] | undefined {
  const mode = service.text('network_mode');
  if (mode === undefined || mode === '') return undefined;
  const at = service.map.entries.get('network_mode')?.value ?? service.map;
  const refuse = (why: string): [] => {
    service.problems.error(at, at.key, why);
    return [];
  };
  if (service.take('networks') !== undefined) return refuse('can not be combined with networks');
  const name = NODE_NETWORKS.find((one) => one === mode);
  // bridge is what a service without networks has
  if (name !== undefined) return name === 'bridge' ? [] : [{ network: name, aliases: [] }];
  if (/^(service|container):/.test(mode))
    return refuse(
      `'${mode}' is not supported: tasks are placed one by one, on different nodes; let them meet on a network by name, or run both as single containers (docker compose, docker run --network container:NAME)`,
    );
  return refuse(`'${mode}' is not supported: host, none or bridge is expected`);
}

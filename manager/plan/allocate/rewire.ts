/** The addresses of a container's task while it lives: it is connected to networks and taken from them. Pure. */
import { isEncrypted } from '../../../shared/lib/network-encrypted.ts';
import { outsideProblem } from '../../../shared/lib/network-outside.ts';
import type { ServiceSpec, Task, TaskAddress } from '../../../shared/model/index.ts';
import { INGRESS_NETWORK_ID } from '../../../shared/model/index.ts';
import type { Planning } from '../plan.ts';
import { networksOf } from './addresses.ts';
import { networkSkew } from '../schedule/filters.ts';
import { addressOn, type Taken, takeOne } from './endpoint.ts';

/** What stays of a task's addresses, and the networks that it has none on. */
export interface Wiring {
  readonly kept: readonly TaskAddress[];
  readonly missing: readonly string[];
}

export function wiring(task: Task, spec: ServiceSpec): Wiring {
  const networks = new Set(networksOf(spec));
  // What is open through its way out is not cut because it has another one now.
  if (networks.size > 0) networks.add(INGRESS_NETWORK_ID);
  const kept = withDevices(task.addresses, []).filter(({ network }) => networks.has(network));
  const has = new Set(kept.map(({ network }) => network));
  return { kept, missing: networksOf(spec).filter((network) => !has.has(network)) };
}

export function isWired(task: Task, spec: ServiceSpec): boolean {
  const { kept, missing } = wiring(task, spec);
  return kept.length === task.addresses.length && missing.length === 0 && task.networkProblem === undefined;
}

/** Why a task that has its node can not be on these networks there. */
export function whyNotThere(
  { view }: Pick<Planning, 'view'>,
  { nodeId = '' }: Task,
  networks: readonly string[],
): string | undefined {
  const node = view.nodes.get(nodeId);
  const wanted = networks.flatMap((id) => view.networks.get(id) ?? []);
  const encrypted = wanted.find(({ spec }) => isEncrypted(spec));
  if (encrypted !== undefined && node?.description?.tunnelKeys === undefined)
    return `network ${encrypted.spec.name} is encrypted and the kernel of its node has no WireGuard`;
  const own = wanted.filter(({ spec }) => !spec.ingress);
  const skew = node === undefined ? undefined : networkSkew(view, own, node);
  if (skew !== undefined) return `${skew}, on its node`;
  const problem = outsideProblem(wanted, node?.drivers);
  return problem === undefined ? undefined : `${problem} on its node`;
}

/** Each with the number of its interface, which it keeps when others go. */
export function withDevices(kept: readonly TaskAddress[], more: readonly TaskAddress[]): TaskAddress[] {
  const numbered = kept.map((one, index) => ({ ...one, device: one.device ?? index }));
  const taken = new Set(numbered.map(({ device }) => device));
  for (const one of more) {
    let device = 0;
    while (taken.has(device)) device += 1;
    taken.add(device);
    numbered.push({ ...one, device });
  }
  return numbered;
}

/** A container has the address that its spec asks for; of a service that is the virtual one, and tasks have any. */
export function takeAddress(
  { view, addresses }: Pick<Planning, 'view' | 'addresses'>,
  serviceId: string,
  spec: ServiceSpec,
  network: string,
): Taken {
  const given = spec.mode.kind === 'container' ? addressOn(spec, network) : undefined;
  return takeOne(view, addresses, serviceId, network, given);
}

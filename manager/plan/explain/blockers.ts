/** Why no node is even looked at: other services, networks, ports of the mesh, or that there is no node. */
import { givenFrom } from '../../../shared/lib/subnet-choice.ts';
import type { Service, ServiceSpec } from '../../../shared/model/index.ts';
import { INGRESS_NETWORK_ID } from '../../../shared/model/index.ts';
import { AddressBook, networksOf } from '../allocate/addresses.ts';
import { allocateEndpoint, whyNoAddress } from '../allocate/endpoint.ts';
import { PortBook } from '../allocate/ports.ts';
import { gateOf } from '../reconcile/dependencies.ts';
import { whyNoNode } from '../schedule/filters.ts';
import type { View } from '../view.ts';
import type { Step } from './step.ts';

export interface Blocker {
  /** As the task says it. */
  readonly reason: string;
  readonly help: readonly Step[];
}

export function blockerOf(view: View, service: Service, spec: ServiceSpec): Blocker | undefined {
  const gate = gateOf(view, service, spec);
  if (gate.kind === 'held') return { reason: gate.reason, help: dependencySteps(view, service, spec) };
  const noNode = whyNoNode(view.nodes.values());
  if (noNode !== undefined) {
    const text = 'join a node: shoal token agent prints the command';
    return { reason: noNode, help: [{ change: { kind: 'join-node' }, text }] };
  }
  const addresses = new AddressBook(view);
  const ports = new PortBook(view);
  const endpoint = allocateEndpoint(view, service, spec, addresses, () => ports);
  const wanted = networksOf(spec);
  if (endpoint.kind === 'blocked') {
    const network = wanted.find((id) => whyNoAddress(view, id) === endpoint.reason);
    return {
      reason: endpoint.reason,
      help: [network === undefined ? portStep() : networkStep(view, spec, network)],
    };
  }
  const full = wanted.find((id) => addresses.take(id) === undefined);
  return full === undefined
    ? undefined
    : { reason: whyNoAddress(view, full), help: [networkStep(view, spec, full)] };
}

function inWords(text: string): Step {
  return { change: { kind: 'other' }, text };
}

/** One for each service that is waited for. */
function dependencySteps(view: View, service: Service, spec: ServiceSpec): Step[] {
  return (spec.dependsOn ?? []).flatMap((dependency) => {
    const gate = gateOf(view, service, { ...spec, dependsOn: [dependency] });
    if (gate.kind !== 'held') return [];
    const name = dependency.service;
    if (view.serviceNamed(name) === undefined) return [inWords(`deploy service ${name}`)];
    if (gate.hopeless) return [inWords(`mend service ${name} and update it: by itself this does not pass`)];
    return [inWords(`shoal explain ${name} says how far that is`)];
  });
}

function portStep(): Step {
  return inWords(
    'publish another port (docker service update --publish-rm, --publish-add), or free that one',
  );
}

function networkStep(view: View, spec: ServiceSpec, id: string): Step {
  const network = view.networks.get(id);
  if (network === undefined && id === INGRESS_NETWORK_ID) {
    return inWords('the manager that leads makes the ingress network: it is away, or has just begun');
  }
  if (network === undefined) {
    return inWords(`network ${id} was removed: docker service update --network-rm ${id} ${spec.name}`);
  }
  const { name } = network.spec;
  if (network.allocation === undefined) {
    return inWords(`free subnets with docker network prune, or make network ${name} anew with --subnet`);
  }
  const subnets = givenFrom(network);
  return inWords(
    `all addresses of ${subnets.join(' and ')} are taken: use fewer tasks on network ${name}, or another network with a larger --subnet or --ip-range`,
  );
}

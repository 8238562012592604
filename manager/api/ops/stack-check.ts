/** Everything that can be wrong with a converted stack in this cluster, found before anything is written. */
import {
  modeFamily,
  nodeNetworkOf,
  nounOf,
  type PublishedPort,
  STACK_LABEL,
} from '../../../shared/model/index.ts';
import { choice6Problem } from '../../../shared/lib/network-pools.ts';
import { isLocal } from '../../../shared/lib/network-outside.ts';
import { HeldPorts, portText } from '../../../shared/lib/published-port.ts';
import { overlapOf } from '../../../shared/lib/network-subnets.ts';
import { choicesProblem } from '../../../shared/lib/subnet-choice.ts';
import { wholeStore } from '../access/limited-store.ts';
import type { Store } from '../../store/store.ts';
import {
  placeOf,
  type Problem,
  type StackConversion,
  type StackNetwork,
  type StackService,
} from '../../stack/index.ts';
import { driverName } from '../codec/network-driver.ts';
import { addressWarnings } from './absent-addresses.ts';
import { areOnOwnNodes, portHolder } from './port-holders.ts';
import { checkServiceSpec } from '../validate/service-spec.ts';
import { heldSubnets, overlap6, wantedSubnets } from './networks.ts';
import { checkFile } from './stack-files.ts';
import { currentSpec, liveServices } from './service-reads.ts';

type Found = Omit<Problem, 'severity'>;

/** Where a field of the spec stands in a compose file. The longest prefix counts. */
const PLACES: Readonly<Record<string, readonly string[]>> = {
  image: ['image'],
  env: ['environment'],
  hostname: ['hostname'],
  workingDir: ['working_dir'],
  stopSignal: ['stop_signal'],
  stopGracePeriod: ['stop_grace_period'],
  mounts: ['volumes'],
  secrets: ['secrets'],
  configs: ['configs'],
  ports: ['ports'],
  logDriver: ['logging'],
  blockIo: ['blkio_config'],
  networks: ['networks'],
  ulimits: ['ulimits'],
  healthCheck: ['healthcheck'],
  oomScoreAdj: ['oom_score_adj'],
  devices: ['devices'],
  deviceRules: ['device_cgroup_rules'],
  cpuset: ['cpuset'],
  cpuShares: ['cpu_shares'],
  cpuPeriod: ['cpu_period'],
  memorySwap: ['memswap_limit'],
  memorySwappiness: ['mem_swappiness'],
  uts: ['uts'],
  shmSize: ['shm_size'],
  storageOpt: ['storage_opt'],
  seccomp: ['security_opt'],
  appArmor: ['security_opt'],
  selinux: ['security_opt'],
  annotations: ['annotations'],
  replicas: ['deploy', 'replicas'],
  endpointMode: ['deploy', 'endpoint_mode'],
  'limits.cpus': ['deploy', 'resources', 'limits', 'cpus'],
  'limits.memory': ['deploy', 'resources', 'limits', 'memory'],
  'limits.pids': ['deploy', 'resources', 'limits', 'pids'],
  reservations: ['deploy', 'resources', 'reservations'],
  'reservations.genericResources': ['deploy', 'resources', 'reservations', 'generic_resources'],
  'placement.constraints': ['deploy', 'placement', 'constraints'],
  'placement.preferences': ['deploy', 'placement', 'preferences'],
  'placement.maxReplicas': ['deploy', 'placement', 'max_replicas_per_node'],
  update: ['deploy', 'update_config'],
  rollback: ['deploy', 'rollback_config'],
  restart: ['deploy', 'restart_policy'],
  'restart.maxAttempts': ['deploy', 'restart_policy', 'max_attempts'],
};

export function checkStack(store: Store, stack: string, conversion: StackConversion): Found[] {
  return [
    ...conversion.services.flatMap((service) => [
      ...checkSpec(service),
      ...checkExisting(store, stack, service),
    ]),
    ...conversion.networks.flatMap((network) => checkNetwork(store, stack, network)),
    ...conversion.files.flatMap((file) => checkFile(store, stack, file)),
    ...checkPorts(store, conversion.services),
  ];
}

/** Ports of the mesh that another service has, in the cluster or in the file. */
function checkPorts(store: Store, services: readonly StackService[]): Found[] {
  const holders = new HeldPorts<PublishedPort & { readonly of: string }>();
  return services.flatMap(({ spec, source }) => {
    const place = placeOf(source, ['ports']);
    const self = [...liveServices(store)].find((service) => service.name === spec.name)?.id;
    const taken = portHolder(store, spec, self, false);
    const found: Found[] = [];
    // A service of the file keeps or gives up its ports in this same deployment.
    const single = taken?.service.run !== undefined;
    const ours = !single && services.some((service) => service.spec.name === taken?.service.name);
    if (taken !== undefined && !ours) {
      const holder = `${nounOf(taken.service)} ${taken.service.name}`;
      found.push({
        message: `port ${portText(taken.wanted)} is already in use by ${holder}`,
        ...place,
      });
    }
    for (const port of spec.ports) {
      if (port.publishedPort === 0) continue;
      const other = holders
        .inTheWayOf(port)
        .find((held) => held.of !== spec.name && !areOnOwnNodes(held, port));
      if (other === undefined) holders.add({ ...port, of: spec.name });
      else found.push({ message: `port ${portText(port)} is published by ${other.of} too`, ...place });
    }
    return found;
  });
}

/** Ports on addresses that no node has. */
export function portWarnings(store: Store, services: readonly StackService[]): Found[] {
  return services.flatMap(({ spec, source }) =>
    addressWarnings(store, spec.ports).map((message) => ({ message, ...placeOf(source, ['ports']) })),
  );
}

/** etcd takes 1.5 MiB in one request. */
const SPEC_LIMIT_BYTES = 1024 * 1024;

function checkSpec(service: StackService): Found[] {
  const size = Buffer.byteLength(JSON.stringify(service.spec));
  if (size > SPEC_LIMIT_BYTES) {
    const message = `the service has ${size} bytes as JSON: at most ${SPEC_LIMIT_BYTES} can be kept`;
    return [{ message, ...placeOf(service.source, []) }];
  }
  // A missing image was reported by the conversion.
  return checkServiceSpec(service.spec).map(({ field, message }) => {
    const place = placeOf(service.source, placeIn(field));
    const last = PLACES[field]?.at(-1);
    // The key says which field it is, unless the file has it under another one, or one for several.
    const isNamed = last !== undefined && place.key.endsWith(`.${last}`);
    return { message: isNamed ? message : `${field}: ${message}`, ...place };
  });
}

function placeIn(field: string): readonly string[] {
  return (
    PLACES[field] ?? PLACES[field.slice(0, field.lastIndexOf('.'))] ?? PLACES[field.split('.')[0] ?? ''] ?? []
  );
}

function checkExisting(store: Store, stack: string, service: StackService): Found[] {
  const { name, mode } = service.spec;
  for (const existing of liveServices(store)) {
    if (existing.name !== name) continue;
    const current = currentSpec(store, existing);
    if (current.labels[STACK_LABEL] !== stack) {
      return [
        {
          message: `a service ${name} exists already and is not part of this stack`,
          ...placeOf(service.source, []),
        },
      ];
    }
    if (modeFamily(current.mode) !== modeFamily(mode)) {
      const message = `the mode can not change from ${current.mode.kind} to ${mode.kind}: remove the service first`;
      return [{ message, ...placeOf(service.source, ['deploy', 'mode']) }];
    }
  }
  return [];
}

function checkNetwork(store: Store, stack: string, network: StackNetwork): Found[] {
  const key = `networks.${network.key}`;
  const report = (message: string): Found[] => [
    { message, key, line: network.at.line, column: network.at.column, file: network.at.file },
  ];
  const id = store.get('names', `network:${network.name}`)?.id;
  const existing = id === undefined ? undefined : store.get('networks', id);
  if (network.spec === undefined) {
    if (nodeNetworkOf(network.name) !== undefined) return [];
    if (existing === undefined) {
      return report(
        `the external network ${network.name} does not exist: docker network create -d overlay ${network.name}`,
      );
    }
    if (isLocal(existing.spec))
      return report(
        `services can not be attached to network ${network.name}: its driver is ${driverName(existing.spec)}, not overlay`,
      );
    return existing.spec.ingress ? report('services can not be attached to the ingress network') : [];
  }
  if (existing !== undefined) {
    return existing.spec.labels[STACK_LABEL] === stack
      ? []
      : report(
          `a network ${network.name} exists already and is not part of this stack (external: true uses it)`,
        );
  }
  const { spec } = network;
  const problem = choicesProblem(spec) ?? choice6Problem(spec);
  if (problem !== undefined) return report(problem);
  return [...wholeStore(store).all('networks').values()].flatMap((other) => {
    const overlap = overlapOf(wantedSubnets(spec), heldSubnets(other)) ?? overlap6(spec, other);
    return overlap === undefined
      ? []
      : report(`subnet ${overlap[0]} overlaps with network ${other.spec.name}`);
  });
}

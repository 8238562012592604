/** One entry of `services` -> a service spec, its networks named as the cluster names them. */
import { readLogDriver } from '../../shared/lib/log-driver.ts';
import {
  type ContainerSpec,
  type ServiceSpec,
  STACK_IMAGE_LABEL,
  STACK_LABEL,
} from '../../shared/model/index.ts';
import { allowFromLabels, checkAllowFrom } from './allow-keys.ts';
import { readAttachments } from './attachments.ts';
import { readDeploy } from './deploy.ts';
import { type Dependent, dependsOn, readDependencies } from './depends-on.ts';
import { readEnvironment, readLabels } from './environment.ts';
import type { ProjectFiles } from './files.ts';
import { readHealthCheck } from './healthcheck.ts';
import type { Variables } from './interpolate.ts';
import { hasNetworkMode, readNetworkMode } from './network-mode.ts';
import { readMoveLabels } from './move-labels.ts';
import { readMounts, type StackVolume } from './mounts.ts';
import { readPorts } from './ports.ts';
import { canaryLabel, readTrafficLabels } from './traffic-labels.ts';
import { readRuntime } from './runtime-keys.ts';
import { defined, labels, Section } from './section.ts';
import { SERVICE_RULES } from './service-keys.ts';
import { shellSplit } from './shell-split.ts';
import { readFileReferences, type StackFiles } from './stack-files.ts';
import type { StackNetwork } from './top-level.ts';
import { readVolumesFrom, type VolumesFrom } from './volumes-from.ts';

export interface ServiceContext {
  readonly stack: string;
  readonly variables: Variables;
  readonly files: ProjectFiles;
  readonly networks: ReadonlyMap<string, StackNetwork>;
  readonly volumes: ReadonlyMap<string, StackVolume>;
  readonly stored: StackFiles;
  /** How many more ports the stack may publish. */
  readonly ports: { left: number };
  /** Keys of all services of the file. */
  readonly keys: ReadonlySet<string>;
}

export function readService(
  key: string,
  service: Section,
  context: ServiceContext,
): Omit<Dependent, 'key'> & { readonly volumesFrom: readonly VolumesFrom[] } {
  const dependencies = readDependencies(service);
  const deploy = readDeploy(service);
  const container = readContainer(service, context);
  const logDriver = readLogging(service);
  const spec = defined({
    name: `${context.stack}_${key}`,
    labels: {
      ...deploy.labels,
      ...canaryLabel(deploy.labels, context.stack, context.keys),
      ...allowFromLabels(service),
      [STACK_LABEL]: context.stack,
      [STACK_IMAGE_LABEL]: service.text('image') ?? '',
    },
    mode: deploy.mode,
    container,
    limits: deploy.limits,
    reservations: deploy.reservations,
    restart: deploy.restart,
    placement: deploy.placement,
    update: deploy.update,
    rollback: deploy.rollback,
    networks: readNetworkMode(service) ?? readAttachments(key, service, context.networks),
    ...(deploy.updateDeadlineMs === undefined ? {} : { updateDeadlineMs: deploy.updateDeadlineMs }),
    ...(deploy.priority === undefined ? {} : { priority: deploy.priority }),
    ...(deploy.autoscale === undefined ? {} : { autoscale: deploy.autoscale }),
    endpointMode: deploy.endpointMode,
    ports: readPorts(service, context.ports),
    forceUpdate: 0,
    logDriver,
    dependsOn: dependsOn(context.stack, dependencies),
  }) as ServiceSpec;
  const volumesFrom = readVolumesFrom(service);
  service.end(SERVICE_RULES);
  checkAllowFrom(service, spec.labels, context.keys);
  return {
    spec: { ...spec, ...readRules(service, spec) },
    dependencies,
    volumesFrom,
    saysRestart: deploy.saysRestart,
  };
}

/** What labels below `deploy` ask for besides. */
function readRules(service: Section, spec: ServiceSpec): Partial<ServiceSpec> {
  const moves = readMoveLabels(spec);
  const traffic = readTrafficLabels(spec);
  if (moves.kind === 'problem') return refuseLabel(service, moves);
  if (traffic.kind === 'problem') return refuseLabel(service, traffic);
  return { ...moves.moves, ...traffic.traffic };
}

function refuseLabel(
  service: Section,
  reading: { readonly field: string; readonly message: string },
): Partial<ServiceSpec> {
  const deploy = service.map.entries.get('deploy')?.value;
  const at = deploy?.kind === 'map' ? deploy.entries.get('labels')?.at : undefined;
  if (at !== undefined) service.problems.error(at, at.key, `${reading.field}: ${reading.message}`);
  return {};
}

function readContainer(service: Section, context: ServiceContext): ContainerSpec {
  return defined({
    image: withTag(readImage(service)),
    labels: { ...readLabels(service, context), [STACK_LABEL]: context.stack },
    command: readCommand(service, 'entrypoint'),
    args: readCommand(service, 'command'),
    env: readEnvironment(service, context),
    workingDir: service.text('working_dir'),
    user: service.text('user'),
    groups: nonEmpty(service.texts('group_add')),
    hostname: service.text('hostname'),
    readOnlyRoot: service.flag('read_only') === true ? true : undefined,
    init: service.flag('init'),
    tty: service.flag('tty') || undefined,
    openStdin: service.flag('stdin_open') || undefined,
    stopSignal: service.text('stop_signal'),
    stopGraceNs: service.duration('stop_grace_period'),
    mounts: readMounts(service, context.volumes),
    extraHosts: readExtraHosts(service),
    dns: readDns(service),
    healthCheck: readHealthCheck(service),
    capAdd: capabilities(service, 'cap_add'),
    capDrop: capabilities(service, 'cap_drop'),
    sysctls: readSysctls(service),
    ulimits: readUlimits(service),
    ...readFileReferences(service, context.stored),
    ...readRuntime(service, context.files),
  }) as ContainerSpec;
}

/** As docker writes it: a name alone is its latest. */
function withTag(image: string): string {
  const named = image.includes('@') || image.lastIndexOf(':') > image.lastIndexOf('/');
  return image === '' || named ? image : `${image}:latest`;
}

/** As docker writes them: CAP_NET_ADMIN for net_admin. */
function capabilities(service: Section, name: 'cap_add' | 'cap_drop'): readonly string[] | undefined {
  const names = service.texts(name)?.map((text) => text.toUpperCase());
  return nonEmpty(names?.map((text) => (text === 'ALL' || text.startsWith('CAP_') ? text : `CAP_${text}`)));
}

function nonEmpty<T>(list: readonly T[] | undefined): readonly T[] | undefined {
  return list === undefined || list.length === 0 ? undefined : list;
}

function readImage(service: Section): string {
  const image = service.text('image');
  const build = service.take('build');
  const { map, problems } = service;
  if (image === undefined || image === '') {
    const message =
      build === undefined
        ? 'image is missing'
        : 'a cluster builds no images: build it, push it to a registry, and name it under image';
    problems.error(
      map.entries.get('build')?.at ?? map,
      build === undefined ? map.key : `${map.key}.build`,
      message,
    );
    return '';
  }
  if (build !== undefined) {
    const at = map.entries.get('build')?.at ?? map;
    problems.warning(at, `${map.key}.build`, 'has no effect: a cluster builds no images, it pulls the image');
  }
  return image;
}

/** A text is split as a shell would; a list is taken as it is. */
function readCommand(service: Section, name: 'command' | 'entrypoint'): string[] {
  const value = service.take(name);
  if (value === undefined) return [];
  // An empty entrypoint drops the image's; an empty command says nothing.
  const none = name === 'entrypoint' ? [''] : [];
  if (value.kind === 'list') {
    const words = value.items.flatMap((item) => service.textOf(item) ?? []);
    return words.length === 0 ? none : words;
  }
  const line = service.textOf(value);
  if (line === undefined) return [];
  const words = shellSplit(line);
  if (words === undefined)
    service.problems.error(value, value.key, `'${line}': a quotation mark is not closed`);
  return words === undefined || words.length === 0 ? none : words;
}

/** ["name:address"], ["name=address"] or {name: address} -> "name:address". */
function readExtraHosts(service: Section): string[] | undefined {
  const value = service.take('extra_hosts');
  if (value === undefined) return undefined;
  const found: string[] = [];
  const add = (name: string, address: string, at: typeof value): void => {
    if (name === '' || !/^([0-9a-fA-F.:]+|host-gateway)$/.test(address))
      service.problems.error(at, at.key, `'${name}:${address}': NAME:ADDRESS is expected`);
    else found.push(`${name}:${address}`);
  };
  if (value.kind === 'map') {
    for (const { name, value: address } of value.entries.values()) {
      const items = address.kind === 'list' ? address.items : [address];
      for (const item of items) add(name, service.textOf(item) ?? '', item);
    }
  } else if (value.kind === 'list') {
    for (const item of value.items) {
      const text = service.textOf(item) ?? '';
      const at = text.search(/[:=]/);
      add(at < 0 ? '' : text.slice(0, at), text.slice(at + 1).replace(/^\[|\]$/g, ''), item);
    }
  } else service.expected(value, 'a list or a mapping');
  return found.length === 0 ? undefined : found;
}

function readDns(service: Section): ContainerSpec['dns'] {
  const nameservers = service.textOrTexts('dns') ?? [];
  const search = service.textOrTexts('dns_search') ?? [];
  const options = service.texts('dns_opt') ?? [];
  return nameservers.length + search.length + options.length === 0
    ? undefined
    : { nameservers, search, options };
}

function readSysctls(service: Section): Record<string, string> | undefined {
  const found = labels(service, 'sysctls');
  return Object.keys(found).length === 0 ? undefined : found;
}

/** `nofile: 1024` or `nofile: {soft: 1024, hard: 2048}`; -1 is unlimited. */
function readUlimits(service: Section): ContainerSpec['ulimits'] {
  const section = service.section('ulimits');
  if (section === undefined) return undefined;
  const found = [...section.map.entries.values()].flatMap(({ name, value }) => {
    if (name.startsWith('x-')) return [];
    if (value.kind === 'map') {
      const pair = new Section(value, service.problems);
      const soft = pair.whole('soft', -1);
      const hard = pair.whole('hard', -1);
      pair.end();
      if (soft !== undefined && hard !== undefined) return [{ name, soft, hard }];
      if (!pair.has('soft') || !pair.has('hard'))
        service.problems.error(value, value.key, 'soft and hard are expected');
      return [];
    }
    const both = section.whole(name, -1);
    return both === undefined ? [] : [{ name, soft: both, hard: both }];
  });
  return found.length === 0 ? undefined : found;
}

function readLogging(service: Section): ServiceSpec['logDriver'] {
  const logging = service.section('logging');
  if (logging === undefined) return undefined;
  const name = logging.text('driver') ?? 'json-file';
  const options = labels(logging, 'options');
  logging.end();
  const logDriver = { name, options };
  for (const text of readLogDriver(logDriver).warnings)
    service.problems.warning(logging.map, logging.map.key, text);
  return logDriver;
}

/** True when the service is on the stack's default network. */
export function usesDefaultNetwork(service: Section): boolean {
  if (hasNetworkMode(service)) return false;
  const value = service.map.entries.get('networks')?.value;
  if (value === undefined || (value.kind === 'scalar' && value.value === null)) return true;
  if (value.kind === 'map') return value.entries.has('default');
  return (
    value.kind === 'list' && value.items.some((item) => item.kind === 'scalar' && item.text === 'default')
  );
}

/** Compose YAML -> what a stack consists of. Pure; never throws for what a file may contain. */
import type { ServiceSpec } from '../../shared/model/index.ts';
import {
  checkDependencies,
  completingRestart,
  completingServices,
  type Dependency,
  inOrder,
} from './depends-on.ts';
import { type FileTexts, ProjectFiles } from './files.ts';
import type { Variables } from './interpolate.ts';
import { type ComposeText, Loader } from './load.ts';
import { type Position, type Problem, Problems } from './problem.ts';
import { STACK_PORTS_MAX } from './ports.ts';
import { Section } from './section.ts';
import { readService, usesDefaultNetwork } from './service.ts';
import { TOP_RULES } from './service-keys.ts';
import { readStackFiles, type StackContents, type StackFile } from './stack-files.ts';
import { readNetworks, readVolumes, type StackNetwork } from './top-level.ts';
import { withVolumesFrom } from './volumes-from.ts';
import { isNull, type MapValue, type Value } from './value.ts';

export interface StackInput {
  /** The stack's name. */
  readonly stack: string;
  /** One file; or several, merged in their order, with their paths from the project's directory. */
  readonly compose: string | readonly ComposeText[];
  /** For ${NAME} in the files. */
  readonly variables: Variables;
  /** Of secrets and configs; never stored with the file. */
  readonly contents?: StackContents | undefined;
  /** What the files refer to: env_file, extends, include. */
  readonly files?: FileTexts | undefined;
  /** Services with other profiles are left out; '*' takes all. */
  readonly profiles?: readonly string[] | undefined;
}

export interface StackService {
  readonly key: string;
  /** Networks are named as in StackNetwork.name, not by id. */
  readonly spec: ServiceSpec;
  readonly dependencies: readonly Dependency[];
  /** Where it stands in the file. */
  readonly source: MapValue;
}

export interface StackConversion {
  /** Those that others wait for come before these. */
  readonly services: readonly StackService[];
  /** Those that a service is on. */
  readonly networks: readonly StackNetwork[];
  /** Secrets and configs, whether a service uses them or not. */
  readonly files: readonly StackFile[];
  /** In the order of the file. With an error among them, services and networks are not to be used. */
  readonly problems: readonly Problem[];
  /** Files that were asked for and not sent, required or not. */
  readonly missing: readonly string[];
}

/** One deployment writes all of them. */
const SERVICES_MAX = 1000;
const SERVICE_NAME = /^[a-zA-Z0-9._-]+$/;

export function convertStack(input: StackInput): StackConversion {
  const problems = new Problems();
  const files = new ProjectFiles(input.files ?? {}, problems);
  const texts = typeof input.compose === 'string' ? [{ text: input.compose }] : input.compose;
  const root = new Loader(files, problems).load(texts, '', input.variables);
  const found = root === undefined ? undefined : convertRoot(new Section(root, problems), input, files);
  return {
    services: found?.services ?? [],
    networks: found?.networks ?? [],
    files: found?.files ?? [],
    problems: problems.list(),
    missing: [...files.missing],
  };
}

function convertRoot(
  top: Section,
  input: StackInput,
  files: ProjectFiles,
): Pick<StackConversion, 'services' | 'networks' | 'files'> {
  const { problems } = top;
  const entries = serviceEntries(top, input.profiles ?? []);
  const keys = new Set(entries.map(({ key }) => key));
  const needsDefault = entries.some(({ section }) => usesDefaultNetwork(section));
  const networks = readNetworks(top, input.stack, needsDefault, keys);
  const volumes = readVolumes(top, input.stack);
  const stored = readStackFiles(top, input);
  const { stack, variables } = input;
  const ports = { left: STACK_PORTS_MAX };
  const context = { stack, variables, files, stored, networks, volumes, ports, keys };
  const read = entries.map(({ key, section }) => ({
    key,
    ...readService(key, section, context),
    source: section.map,
  }));
  const services = orderedServices(withVolumesFrom(read, problems), problems);
  top.end(TOP_RULES);
  const used = new Set(services.flatMap(({ spec }) => spec.networks.map((attachment) => attachment.network)));
  for (const network of networks.values()) {
    if (!used.has(network.name)) {
      problems.warning(network.at, `networks.${network.key}`, 'no service is on it: it is not created');
    }
  }
  return {
    services,
    networks: [...networks.values()].filter((network) => used.has(network.name)),
    files: [...stored.secret.values(), ...stored.config.values()],
  };
}

type ReadService = ReturnType<typeof readService> & Pick<StackService, 'key' | 'source'>;

function orderedServices(all: readonly ReadService[], problems: Problems): StackService[] {
  checkDependencies(all, problems);
  const completing = completingServices(all);
  const services = all.map((service) => {
    const restart = completingRestart(service, completing);
    return restart === undefined ? service : { ...service, spec: { ...service.spec, restart } };
  });
  return inOrder(services);
}

function serviceEntries(top: Section, profiles: readonly string[]): { key: string; section: Section }[] {
  const services = top.section('services');
  const value = top.map.entries.get('services')?.value;
  const none = value === undefined || isNull(value) || services?.map.entries.size === 0;
  if (none) top.problems.error(value ?? top.map, 'services', 'there are no services');
  if (none || services === undefined) return [];
  if (services.map.entries.size > SERVICES_MAX) {
    top.problems.error(services.map, 'services', `a stack has at most ${SERVICES_MAX} services`);
    return [];
  }
  const enabled = [...services.map.entries.values()].flatMap(({ name, at, value }) => {
    if (name.startsWith('x-')) return [];
    if (!SERVICE_NAME.test(name)) {
      top.problems.error(at, at.key, `'${name}' is no valid name: letters, digits, . _ - are allowed`);
      return [];
    }
    if (value.kind !== 'map') {
      top.expected(value, 'a mapping');
      return [];
    }
    const section = new Section(placed(value, at), top.problems);
    const own = section.texts('profiles') ?? [];
    const wanted = own.length === 0 || profiles.includes('*') || own.some((one) => profiles.includes(one));
    return wanted ? [{ key: name, section }] : [];
  });
  if (enabled.length === 0 && !top.problems.hasErrors()) {
    top.problems.error(
      services.map,
      'services',
      'all services have profiles, and none of them was asked for',
    );
  }
  return enabled;
}

/** Problems of the service as a whole point at its name, not at its first key. */
function placed(map: MapValue, at: Position): MapValue {
  const { line, column, file } = at;
  return { ...map, line, column, ...(file === undefined ? {} : { file }) };
}

/** The place of a path below a service: as deep as the file goes. */
export function placeOf(source: MapValue, path: readonly string[]): Position & { readonly key: string } {
  let here: Value = source;
  let place: Position & { readonly key: string } = source;
  for (const name of path) {
    const entry: ReturnType<MapValue['entries']['get']> =
      here.kind === 'map' ? here.entries.get(name) : undefined;
    if (entry === undefined) break;
    place = entry.at;
    here = entry.value;
  }
  const { line, column, key, file } = place;
  return { line, column, key, ...(file === undefined ? {} : { file }) };
}

/** Compose YAML -> what a stack consists of. Pure; never throws for what a file may contain. */
import type { ServiceSpec } from '../../shared/model/index.ts';
import type { Variables } from './interpolate.ts';
import { parseCompose } from './parse-yaml.ts';
import { type Problem, Problems } from './problem.ts';
import { Section } from './section.ts';
import { readService, usesDefaultNetwork } from './service.ts';
import { TOP_RULES } from './service-keys.ts';
import { readStackFiles, type StackContents, type StackFile } from './stack-files.ts';
import { readNetworks, readVolumes, type StackNetwork } from './top-level.ts';
import { isNull, type MapValue, type Value } from './value.ts';

export interface StackInput {
  /** The stack's name. */
  readonly stack: string;
  readonly compose: string;
  /** For ${NAME} in the file. */
  readonly variables: Variables;
  /** Of secrets and configs; never stored with the file. */
  readonly contents?: StackContents | undefined;
}

export interface StackService {
  readonly key: string;
  /** Networks are named as in StackNetwork.name, not by id. */
  readonly spec: ServiceSpec;
  /** Where it stands in the file. */
  readonly source: MapValue;
}

export interface StackConversion {
  readonly services: readonly StackService[];
  /** Those that a service is on. */
  readonly networks: readonly StackNetwork[];
  /** Secrets and configs, whether a service uses them or not. */
  readonly files: readonly StackFile[];
  /** In the order of the file. With an error among them, services and networks are not to be used. */
  readonly problems: readonly Problem[];
}

const SERVICE_NAME = /^[a-zA-Z0-9._-]+$/;

export function convertStack(input: StackInput): StackConversion {
  const problems = new Problems();
  const root = parseCompose(input.compose, input.variables, problems);
  if (root === undefined) return { services: [], networks: [], files: [], problems: problems.list() };
  if (root.kind !== 'map') {
    problems.error(root, '', 'a mapping with services is expected');
    return { services: [], networks: [], files: [], problems: problems.list() };
  }
  return convertRoot(new Section(root, problems), input, problems);
}

function convertRoot(top: Section, input: StackInput, problems: Problems): StackConversion {
  const entries = serviceEntries(top);
  const networks = readNetworks(
    top,
    input.stack,
    entries.some(({ section }) => usesDefaultNetwork(section)),
  );
  const volumes = readVolumes(top, input.stack);
  const files = readStackFiles(top, input);
  const context = { stack: input.stack, variables: input.variables, networks, volumes, files };
  const services = entries.map(({ key, section }) => ({
    key,
    spec: readService(key, section, context),
    source: section.map,
  }));
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
    files: [...files.secret.values(), ...files.config.values()],
    problems: problems.list(),
  };
}

function serviceEntries(top: Section): { key: string; section: Section }[] {
  const services = top.section('services');
  const value = top.map.entries.get('services')?.value;
  const none = value === undefined || isNull(value) || services?.map.entries.size === 0;
  if (none) top.problems.error(value ?? top.map, 'services', 'there are no services');
  if (none || services === undefined) return [];
  return [...services.map.entries.values()].flatMap(({ name, at, value }) => {
    if (name.startsWith('x-')) return [];
    if (!SERVICE_NAME.test(name)) {
      top.problems.error(at, at.key, `'${name}' is no valid name: letters, digits, . _ - are allowed`);
      return [];
    }
    if (value.kind === 'map') return [{ key: name, section: new Section(placed(value, at), top.problems) }];
    top.expected(value, 'a mapping');
    return [];
  });
}

/** Problems of the service as a whole point at its name, not at its first key. */
function placed(map: MapValue, at: { line: number; column: number }): MapValue {
  return { ...map, line: at.line, column: at.column };
}

/** The place of a path below a service: as deep as the file goes. */
export function placeOf(
  source: MapValue,
  path: readonly string[],
): { line: number; column: number; key: string } {
  let here: Value = source;
  let place: { line: number; column: number; key: string } = source;
  for (const name of path) {
    const entry: ReturnType<MapValue['entries']['get']> =
      here.kind === 'map' ? here.entries.get(name) : undefined;
    if (entry === undefined) break;
    place = entry.at;
    here = entry.value;
  }
  return { line: place.line, column: place.column, key: place.key };
}

/** `depends_on` and `links`: which services of the file wait for which. */
import {
  DEFAULT_RESTART,
  type RestartPolicy,
  type ServiceDependency,
  type ServiceSpec,
} from '../../shared/model/index.ts';
import type { Position, Problems } from './problem.ts';
import { Section } from './section.ts';
import type { Value } from './value.ts';

/** One dependency as a file says it. */
export interface Dependency {
  /** The file's name of the service that is waited for. */
  readonly key: string;
  readonly condition: ServiceDependency['condition'];
  readonly required: boolean;
  /** Redeploy the dependent when a deployment changes the dependency. */
  readonly restart: boolean;
  readonly at: Position & { readonly key: string };
}

/** A service of the file, as far as dependencies go. */
export interface Dependent {
  readonly key: string;
  readonly spec: ServiceSpec;
  readonly dependencies: readonly Dependency[];
  /** The file says itself when the service is restarted. */
  readonly saysRestart: boolean;
}

const CONDITIONS = {
  service_started: 'started',
  service_healthy: 'healthy',
  service_completed_successfully: 'completed',
} as const;
const CONDITION_NAMES = Object.keys(CONDITIONS) as (keyof typeof CONDITIONS)[];

/** `depends_on` wins over what `links` implies. */
export function readDependencies(service: Section): Dependency[] {
  const own = readDependsOn(service);
  const named = new Set(own.map(({ key }) => key));
  return [...own, ...readLinks(service).filter(({ key }) => !named.has(key))];
}

/** A list of names, or `{NAME: {condition, required, restart}}`. */
function readDependsOn(service: Section): Dependency[] {
  const value = service.take('depends_on');
  if (value === undefined) return [];
  if (value.kind === 'list') {
    return value.items.flatMap((item) => {
      const key = service.textOf(item);
      return key === undefined ? [] : [started(key, item)];
    });
  }
  if (value.kind !== 'map') {
    service.expected(value, 'a list or a mapping');
    return [];
  }
  return [...value.entries.values()].map(({ name, at, value: item }): Dependency => {
    if (item.kind === 'scalar' && item.value === null) return started(name, at);
    if (item.kind !== 'map') {
      service.expected(item, 'a mapping with a condition');
      return started(name, at);
    }
    const section = new Section(item, service.problems);
    const condition = CONDITIONS[section.oneOf('condition', CONDITION_NAMES) ?? 'service_started'];
    const required = section.flag('required') ?? true;
    const restart = section.flag('restart') ?? false;
    section.end();
    return { key: name, condition, required, restart, at };
  });
}

function started(key: string, at: Dependency['at']): Dependency {
  return { key, condition: 'started', required: true, restart: false, at };
}

/** ["db", "db:database"]: the services reach one another anyway; what is left is the order in which they start. */
function readLinks(service: Section): Dependency[] {
  return (service.list('links')?.items ?? []).flatMap((item: Value) => {
    const text = service.textOf(item);
    if (text === undefined) return [];
    const [key = '', alias = key] = text.split(':');
    if (alias !== key) {
      service.problems.warning(
        item,
        item.key,
        `the alias '${alias}' has no effect: '${key}' answers to it on a network where it has the alias`,
      );
    }
    return [started(key, item)];
  });
}

/** As the spec has them. `stack`: the stack's name. */
export function dependsOn(
  stack: string,
  dependencies: readonly Dependency[],
): readonly ServiceDependency[] | undefined {
  if (dependencies.length === 0) return undefined;
  return dependencies.map(({ key, condition, required }) => ({
    service: `${stack}_${key}`,
    condition,
    required,
  }));
}

/** Names what can not come: services that are not there, cycles, conditions that the other service never meets. */
export function checkDependencies(services: readonly Dependent[], problems: Problems): void {
  const byKey = new Map(services.map((service) => [service.key, service]));
  for (const { dependencies } of services) {
    for (const dependency of dependencies) {
      const target = byKey.get(dependency.key);
      if (target === undefined) reportMissing(dependency, problems);
      else reportNever(dependency, target, problems);
    }
  }
  reportCycles(byKey, problems);
}

function reportMissing({ key, required, at }: Dependency, problems: Problems): void {
  const what = `service '${key}' is not in the files, or not in the profiles that were asked for`;
  if (required) problems.error(at, at.key, what);
  else problems.warning(at, at.key, `${what}: it is not waited for`);
}

function reportNever({ key, condition, at }: Dependency, target: Dependent, problems: Problems): void {
  const { container, restart } = target.spec;
  if (condition === 'healthy' && container.healthCheck?.test[0] === 'NONE') {
    problems.error(at, at.key, `service '${key}' has no health check, so it is never healthy`);
  }
  if (condition === 'completed' && target.saysRestart && restart.condition === 'any') {
    problems.error(at, at.key, `service '${key}' is restarted whenever it ends, so it never completes`);
  }
}

/** Each cycle once, by the way around it. */
function reportCycles(byKey: ReadonlyMap<string, Dependent>, problems: Problems): void {
  const done = new Set<string>();
  const walk = (key: string, path: readonly string[]): void => {
    for (const { key: next, at } of byKey.get(key)?.dependencies ?? []) {
      const start = path.indexOf(next);
      if (start >= 0) {
        const way = [...path.slice(start), next].join(' -> ');
        problems.error(at, at.key, `services wait for one another: ${way}`);
      } else if (!done.has(next) && byKey.has(next)) walk(next, [...path, next]);
    }
    done.add(key);
  };
  for (const key of byKey.keys()) if (!done.has(key)) walk(key, [key]);
}

/**
 * The restart policy of a service that another one waits for to complete: where the file says nothing, it runs once, as the
 * compose specification has it (a service of a cluster would be started again).
 */
export function completingRestart(
  target: Dependent,
  services: readonly Dependent[],
): RestartPolicy | undefined {
  if (target.saysRestart) return undefined;
  const awaited = services.some(({ dependencies }) =>
    dependencies.some(({ key, condition }) => key === target.key && condition === 'completed'),
  );
  return awaited ? { ...DEFAULT_RESTART, condition: 'none' } : undefined;
}

/** Those that are waited for before those that wait; else in the order of the file. */
export function inOrder<T extends Pick<Dependent, 'key' | 'dependencies'>>(services: readonly T[]): T[] {
  const byKey = new Map(services.map((service) => [service.key, service]));
  const placed = new Set<T>();
  const place = (service: T): void => {
    if (placed.has(service)) return;
    byKey.delete(service.key);
    for (const { key } of service.dependencies) {
      const other = byKey.get(key);
      if (other !== undefined) place(other);
    }
    placed.add(service);
  };
  for (const service of services) place(service);
  return [...placed];
}

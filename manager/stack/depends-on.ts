/** `depends_on` and `links`: which services of the file wait for which. */
import {
  DEFAULT_RESTART,
  isJob,
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
  const { container, restart, mode } = target.spec;
  if (condition === 'healthy' && container.healthCheck?.test[0] === 'NONE') {
    problems.error(at, at.key, `service '${key}' has no health check, so it is never healthy`);
  }
  if (condition === 'completed' && !isJob(mode) && target.saysRestart && restart.condition === 'any') {
    problems.error(at, at.key, `service '${key}' is restarted whenever it ends, so it never completes`);
  }
}

/** Each cycle once, by the way around it. Without recursion: a chain may be as long as the file. */
function reportCycles(byKey: ReadonlyMap<string, Dependent>, problems: Problems): void {
  let reported = 0;
  walkDepthFirst(byKey, {
    back: ({ at }, path) => {
      reported += 1;
      if (reported > CYCLES_REPORTED) return;
      const way = path();
      const shown = way.length > WAY_SHOWN ? [...way.slice(0, WAY_SHOWN - 1), '...', way.at(-1)] : way;
      problems.error(at, at.key, `services wait for one another: ${shown.join(' -> ')}`);
    },
  });
}

/** Enough for people; a file of many thousand services could have as many cycles. */
const CYCLES_REPORTED = 20;
const WAY_SHOWN = 20;

interface Walker {
  /** An edge leads back into the path that led here; `path` begins and ends with the same service. */
  readonly back?: (edge: Dependency, path: () => readonly string[]) => void;
  /** All that the service depends on has been left. */
  readonly leave?: (key: string) => void;
}

function walkDepthFirst(
  services: ReadonlyMap<string, Pick<Dependent, 'dependencies'>>,
  { back, leave }: Walker,
): void {
  const entered = new Set<string>();
  for (const root of services.keys()) {
    if (entered.has(root)) continue;
    /** The way from the root: where on it each service is, and which dependency of it comes next. */
    const path: { key: string; next: number }[] = [];
    const onPath = new Map<string, number>();
    const enter = (key: string): void => {
      entered.add(key);
      onPath.set(key, path.length);
      path.push({ key, next: 0 });
    };
    enter(root);
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const edge = services.get(top.key)?.dependencies[top.next];
      top.next += 1;
      if (edge === undefined) {
        leave?.(top.key);
        onPath.delete(top.key);
        path.pop();
        continue;
      }
      const start = onPath.get(edge.key);
      if (start !== undefined) back?.(edge, () => [...path.slice(start).map(({ key }) => key), edge.key]);
      else if (services.has(edge.key) && !entered.has(edge.key)) enter(edge.key);
    }
  }
}

/**
 * The restart policy of a service that another one waits for to complete: where the file says nothing, it runs once, as the
 * compose specification has it (a service of a cluster would be started again).
 */
export function completingRestart(
  { saysRestart, key, spec }: Dependent,
  completing: ReadonlySet<string>,
): RestartPolicy | undefined {
  return saysRestart || isJob(spec.mode) || !completing.has(key)
    ? undefined
    : { ...DEFAULT_RESTART, condition: 'none' };
}

/** Keys of the services that another one waits for to complete. */
export function completingServices(services: readonly Dependent[]): Set<string> {
  const awaited = services.flatMap(({ dependencies }) =>
    dependencies.filter(({ condition }) => condition === 'completed').map(({ key }) => key),
  );
  return new Set(awaited);
}

/** Those that are waited for before those that wait; else in the order of the file. */
export function inOrder<T extends Pick<Dependent, 'key' | 'dependencies'>>(services: readonly T[]): T[] {
  const byKey = new Map(services.map((service) => [service.key, service]));
  const ordered: T[] = [];
  walkDepthFirst(byKey, {
    leave: (key) => {
      const service = byKey.get(key);
      if (service !== undefined) ordered.push(service);
    },
  });
  return ordered;
}

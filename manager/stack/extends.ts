/** `extends`: a service upon another one, of this file or of another. */
import { mergeValues } from './merge.ts';
import type { Budget } from './parse-yaml.ts';
import { directoryOf, resolvePath } from './paths.ts';
import type { Position, Problems } from './problem.ts';
import { Section } from './section.ts';
import { type MapEntry, type MapValue, mapWith, type Value } from './value.ts';

type ReadFile = (path: string, at: Position, key: string) => MapValue | undefined;

interface Scope {
  readonly file: MapValue;
  /** Names the file in the chain; '' is the one that is being read. */
  readonly path: string;
  readonly directory: string;
  /** What the files before this one, and included ones, give. */
  readonly below: MapValue | undefined;
}

/** Services upon services upon services. */
const CHAIN_LIMIT = 50;

export class Extender {
  readonly #readFile: ReadFile;
  readonly #problems: Problems;
  readonly #budget: Budget;
  readonly #resolved = new Map<Value, Value>();
  readonly #files = new Map<string, MapValue | undefined>();

  constructor(readFile: ReadFile, problems: Problems, budget: Budget) {
    this.#budget = budget;
    this.#readFile = readFile;
    this.#problems = problems;
  }

  /** The file with each service that extends another as what it comes to. */
  resolve(file: MapValue, directory: string, below: MapValue | undefined): MapValue {
    const services = servicesOf(file);
    if (services === undefined) return file;
    const scope: Scope = { file, path: '', directory, below };
    const entries = new Map<string, MapEntry>();
    for (const [name, entry] of services.entries) {
      entries.set(name, { ...entry, value: this.#service(name, entry.value, scope, []) });
    }
    return mapWith(file, { services: { ...services, entries } });
  }

  /** Each service once, however many extend it. */
  #service(name: string, value: Value, scope: Scope, chain: readonly string[]): Value {
    const known = this.#resolved.get(value);
    if (known !== undefined) return known;
    const result = this.#resolve(name, value, scope, chain);
    this.#resolved.set(value, result);
    return result;
  }

  #resolve(name: string, value: Value, scope: Scope, chain: readonly string[]): Value {
    if (value.kind !== 'map' || !value.entries.has('extends')) return value;
    const own = mapWith(value, { extends: undefined });
    const wanted = this.#wanted(value);
    if (wanted === undefined) return own;
    const at = value.entries.get('extends')?.at ?? value;
    const here = `${scope.path}:${name}`;
    if (chain.includes(here)) {
      this.#problems.error(
        at,
        `${value.key}.extends`,
        `the service extends itself: ${[...chain, here].join(' > ')}`,
      );
      return own;
    }
    const key = `${value.key}.extends`;
    if (chain.length >= CHAIN_LIMIT) {
      this.#problems.error(at, key, `more than ${CHAIN_LIMIT} services extend one another`);
      return own;
    }
    const base = this.#base(wanted, scope, { ...at, key }, [...chain, here]);
    if (base?.kind !== 'map') return own;
    if (this.#budget.left >= 0) this.#budget.left -= countValues(base);
    if (this.#budget.left >= 0) return mergeValues(base, own, 'services.*');
    this.#problems.error(
      at,
      key,
      'the files are too large with what services extend (counted as if written out)',
    );
    return own;
  }

  /** `extends: NAME` or `{service, file}`. */
  #wanted(service: MapValue): { service: string; file: string | undefined } | undefined {
    const section = new Section(service, this.#problems);
    const value = section.take('extends');
    if (value === undefined) return undefined;
    if (value.kind !== 'map') {
      const text = section.textOf(value);
      return text === undefined ? undefined : { service: text, file: undefined };
    }
    const long = new Section(value, this.#problems);
    const name = long.text('service');
    const file = long.text('file');
    long.end();
    if (name === undefined && !long.has('service'))
      this.#problems.error(value, value.key, 'service is missing');
    return name === undefined ? undefined : { service: name, file };
  }

  #base(
    wanted: { service: string; file: string | undefined },
    scope: Scope,
    at: Position & { key: string },
    chain: readonly string[],
  ): Value | undefined {
    const target =
      wanted.file === undefined ? scope : this.#other(resolvePath(scope.directory, wanted.file), at);
    if (target === undefined) return undefined;
    const found =
      servicesOf(target.file)?.entries.get(wanted.service)?.value ??
      servicesOf(target.below)?.entries.get(wanted.service)?.value;
    if (found === undefined) {
      const where = wanted.file === undefined ? '' : ` in ${target.path}`;
      this.#problems.error(at, at.key, `there is no service '${wanted.service}'${where}`);
      return undefined;
    }
    return this.#service(wanted.service, found, target, chain);
  }

  #other(path: string, at: Position & { key: string }): Scope | undefined {
    if (!this.#files.has(path)) this.#files.set(path, this.#readFile(path, at, at.key));
    const file = this.#files.get(path);
    return file === undefined ? undefined : { file, path, directory: directoryOf(path), below: undefined };
  }
}

function countValues(value: Value): number {
  if (value.kind === 'scalar') return 1;
  const parts = value.kind === 'list' ? value.items : [...value.entries.values()].map((entry) => entry.value);
  return parts.reduce((sum, part) => sum + countValues(part), 1);
}

function servicesOf(file: MapValue | undefined): MapValue | undefined {
  const services = file?.entries.get('services')?.value;
  return services?.kind === 'map' ? services : undefined;
}

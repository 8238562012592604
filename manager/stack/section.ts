/** A mapping of the file while it is read: typed access to its keys, and a report on those that nobody took. */
import type { Problems } from './problem.ts';
import { parseBytes } from '../../shared/lib/bytes.ts';
import { parseCpus, parseDuration } from './units.ts';
import { describe, isNull, type ListValue, type MapValue, type Value } from './value.ts';

/** What is said about a key that Shoal does not act on. */
export interface KeyRule {
  readonly severity: 'error' | 'warning';
  readonly message: string;
}

export type KeyRules = Readonly<Record<string, KeyRule>>;

export class Section {
  readonly map: MapValue;
  readonly problems: Problems;
  readonly #taken = new Set<string>();

  constructor(map: MapValue, problems: Problems) {
    this.map = map;
    this.problems = problems;
  }

  /** The value of a key; undefined when it is absent or null. */
  take(name: string): Value | undefined {
    this.#taken.add(name);
    const value = this.map.entries.get(name)?.value;
    return value === undefined || isNull(value) ? undefined : value;
  }

  has(name: string): boolean {
    return this.map.entries.has(name);
  }

  section(name: string): Section | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    if (value.kind === 'map') return new Section(value, this.problems);
    this.expected(value, 'a mapping');
    return undefined;
  }

  list(name: string): ListValue | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    if (value.kind === 'list') return value;
    this.expected(value, 'a list');
    return undefined;
  }

  text(name: string): string | undefined {
    const value = this.take(name);
    return value === undefined ? undefined : this.textOf(value);
  }

  flag(name: string): boolean | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    if (value.kind === 'scalar') {
      if (typeof value.value === 'boolean') return value.value;
      if (/^(true|yes|on|y)$/i.test(value.text)) return true;
      if (/^(false|no|off|n)$/i.test(value.text)) return false;
    }
    this.expected(value, 'true or false');
    return undefined;
  }

  /** A whole number from `min` on. Text is taken too: variables give nothing else. */
  whole(name: string, min = 0): number | undefined {
    return this.#read(name, `a whole number from ${min}`, (text) => {
      const number = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
      return Number.isSafeInteger(number) && number >= min ? number : undefined;
    });
  }

  ratio(name: string): number | undefined {
    return this.#read(name, 'a ratio from 0 to 1', (text) => {
      const number = /^(?:\d+(?:\.\d+)?|\.\d+)$/.test(text) ? Number(text) : Number.NaN;
      return number >= 0 && number <= 1 ? number : undefined;
    });
  }

  /** Nanoseconds. */
  duration(name: string): number | undefined {
    return this.#read(name, 'a duration such as 10s, 1m30s or 500ms', parseDuration);
  }

  bytes(name: string): number | undefined {
    return this.#read(name, 'a size such as 64m, 1.5g or 1024', parseBytes);
  }

  /** Nano-CPUs. */
  cpus(name: string): number | undefined {
    return this.#read(name, "a number of CPUs such as '0.5'", parseCpus);
  }

  oneOf<const T extends string>(name: string, allowed: readonly T[]): T | undefined {
    return this.#read(name, `one of ${allowed.join(', ')}`, (text) => allowed.find((word) => word === text));
  }

  texts(name: string): string[] | undefined {
    return this.list(name)?.items.flatMap((item) => this.textOf(item) ?? []);
  }

  /** One text or a list of them. */
  textOrTexts(name: string): string[] | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    const items = value.kind === 'list' ? value.items : [value];
    return items.flatMap((item) => this.textOf(item) ?? []);
  }

  textOf(value: Value): string | undefined {
    if (value.kind === 'scalar' && value.value !== null) return value.text;
    this.expected(value, 'a text');
    return undefined;
  }

  expected(value: Value, what: string): void {
    this.problems.error(value, value.key, `${what} is expected, not ${describe(value)}`);
  }

  /**
   * Reports keys that were not taken: by their rule, or as unknown. `x-` keys mean nothing by definition, but for Shoal's own.
   */
  end(rules: KeyRules = {}): void {
    for (const { name, at, value } of this.map.entries.values()) {
      if (this.#taken.has(name) || (name.startsWith('x-') && !name.startsWith('x-shoal-'))) continue;
      const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
      if (rule === undefined) this.problems.error(at, at.key, 'unknown key');
      else if (saysSomething(value)) this.problems[rule.severity](at, at.key, rule.message);
    }
  }

  #read<T>(name: string, what: string, parse: (text: string) => T | undefined): T | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    const parsed = value.kind === 'scalar' ? parse(value.text) : undefined;
    if (parsed === undefined) this.expected(value, what);
    return parsed;
  }
}

/** False for null, false, an empty list and an empty mapping: they ask for nothing. */
function saysSomething(value: Value): boolean {
  if (value.kind === 'list') return value.items.length > 0;
  if (value.kind === 'map') return value.entries.size > 0;
  return value.value !== null && value.value !== false;
}

/** The entries of `{k: v}` or of `["k=v"]`; a null value, and an entry without "=", give undefined. */
export function pairs(
  section: Section,
  name: string,
): Map<string, { text: string | undefined; value: Value }> {
  const found = new Map<string, { text: string | undefined; value: Value }>();
  const value = section.take(name);
  if (value === undefined) return found;
  if (value.kind === 'map') {
    for (const entry of value.entries.values()) {
      const item = entry.value;
      const nothing = item.kind === 'scalar' && item.value === null;
      const text = nothing ? undefined : section.textOf(item);
      if (nothing || text !== undefined) found.set(entry.name, { text, value: item });
    }
    return found;
  }
  if (value.kind !== 'list') {
    section.expected(value, 'a mapping or a list of NAME=VALUE');
    return found;
  }
  for (const item of value.items) {
    const text = section.textOf(item);
    if (text === undefined) continue;
    const at = text.indexOf('=');
    if (at === 0 || text === '') section.problems.error(item, item.key, `'${text}': NAME=VALUE is expected`);
    else
      found.set(at < 0 ? text : text.slice(0, at), {
        text: at < 0 ? undefined : text.slice(at + 1),
        value: item,
      });
  }
  return found;
}

/** The same as labels: what has no value is empty. */
export function labels(section: Section, name: string): Record<string, string> {
  return Object.fromEntries([...pairs(section, name)].map(([key, { text }]) => [key, text ?? '']));
}

/** A copy without the keys whose value is undefined. */
export function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

/**
 * What clients were told. A write that was acknowledged must be there at the end; one whose answer never came may be or may not;
 * nothing else may be. Names are used once, and changes name ids and versions, so that a write that is late changes nothing
 * that came after it.
 */
export type Kind = 'service' | 'secret' | 'network';

export interface Entry {
  readonly kind: Kind;
  readonly name: string;
  /** What the object must look like: as text, to be compared. The last is the newest that was acknowledged; later ones may be. */
  readonly values: string[];
  id: string | undefined;
  /** `unknown`: nobody knows; `present`, `absent`: acknowledged. */
  state: 'unknown' | 'present' | 'absent';
  /** A removal was tried, and its answer never came. */
  removing: boolean;
  /** How many of `values` are no longer possible. */
  settled: number;
}

export interface Seen {
  readonly kind: Kind;
  readonly name: string;
  readonly value: string;
}

export class Ledger {
  readonly #entries = new Map<string, Entry>();
  readonly counts = { acknowledged: 0, unknown: 0, refused: 0 };

  /** To be called before the object is asked for. */
  begin(kind: Kind, name: string, value: string): Entry {
    const entry: Entry = {
      kind,
      name,
      values: [value],
      id: undefined,
      state: 'unknown',
      removing: false,
      settled: 0,
    };
    this.#entries.set(`${kind} ${name}`, entry);
    return entry;
  }

  created(entry: Entry, id: string): void {
    entry.id = id;
    entry.state = 'present';
    this.counts.acknowledged += 1;
  }

  /** To be called before the change is asked for. */
  changing(entry: Entry, value: string): void {
    entry.values.push(value);
  }

  /** The newest change is there, and all before it are past. */
  changed(entry: Entry): void {
    entry.settled = entry.values.length - 1;
    this.counts.acknowledged += 1;
  }

  /** The newest change was not made, for sure. */
  unchanged(entry: Entry): void {
    entry.values.pop();
    this.counts.refused += 1;
  }

  removed(entry: Entry): void {
    entry.state = 'absent';
    this.counts.acknowledged += 1;
  }

  /** Those that may be worked on. */
  present(kind: Kind): Entry[] {
    return [...this.#entries.values()].filter((one) => one.kind === kind && one.state === 'present');
  }

  /** What is wrong with what is there at the end, one line each. */
  compare(seen: readonly Seen[]): string[] {
    const found = new Map(seen.map((one) => [`${one.kind} ${one.name}`, one.value]));
    const wrong: string[] = [];
    for (const [key, entry] of this.#entries) {
      const value = found.get(key);
      found.delete(key);
      if (value === undefined) {
        if (entry.state === 'present' && !entry.removing) wrong.push(`${key}: acknowledged, and lost`);
        continue;
      }
      if (entry.state === 'absent') wrong.push(`${key}: its removal was acknowledged, and it is there`);
      const possible = entry.values.slice(entry.settled);
      if (!possible.includes(value))
        wrong.push(`${key}: is ${value}, which is none of ${possible.join(', ')}`);
    }
    for (const key of found.keys()) wrong.push(`${key}: nobody has asked for it`);
    return wrong;
  }
}

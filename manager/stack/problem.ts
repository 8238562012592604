/** What is to be said about a compose file: where it is, and whether the file can still be deployed. */

export interface Problem {
  readonly severity: 'error' | 'warning';
  readonly message: string;
  /** Path of the key: services.web.ports[0]. Empty: the file as a whole. */
  readonly key: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
  /** Which file, when the caller named its files. */
  readonly file?: string | undefined;
}

export interface Position {
  readonly line: number;
  readonly column: number;
  readonly file?: string | undefined;
}

/** Collects problems; nothing in the conversion stops at the first one. */
export class Problems {
  readonly #all: Problem[] = [];
  readonly #said = new Set<string>();

  error(at: Position, key: string, message: string): void {
    this.#add('error', at, key, message);
  }

  warning(at: Position, key: string, message: string): void {
    this.#add('warning', at, key, message);
  }

  #add(severity: Problem['severity'], at: Position, key: string, message: string): void {
    const { line, column, file } = at;
    // An anchor that is used twice says the same thing twice.
    const same = `${file ?? ''}:${line}:${column} ${key} ${message}`;
    if (this.#said.has(same)) return;
    this.#said.add(same);
    this.#all.push({ severity, message, key, line, column, ...(file === undefined ? {} : { file }) });
  }

  hasErrors(): boolean {
    return this.#all.some((problem) => problem.severity === 'error');
  }

  /** File by file, in the order of each. */
  list(): readonly Problem[] {
    const files = [...new Set(this.#all.map(({ file }) => file))];
    const rank = new Map(files.map((file, i) => [file, i]));
    const order = (problem: Problem): number => rank.get(problem.file) ?? 0;
    return this.#all.toSorted((a, b) => order(a) - order(b) || a.line - b.line || a.column - b.column);
  }
}

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

/** So many errors, and so many warnings, are told one by one. */
const EACH_MAX = 500;
/** Of a message: it may quote what is in the file. */
const HEAD_CHARS = 400;
const TAIL_CHARS = 200;

/** Collects problems; nothing in the conversion stops at the first one. */
export class Problems {
  readonly #all: Problem[] = [];
  readonly #said = new Set<string>();
  readonly #count = { error: 0, warning: 0 };

  error(at: Position, key: string, message: string): void {
    this.#add('error', at, key, message);
  }

  warning(at: Position, key: string, message: string): void {
    this.#add('warning', at, key, message);
  }

  #add(severity: Problem['severity'], at: Position, key: string, whole: string): void {
    if (this.#count[severity] > EACH_MAX) return;
    const { line, column, file } = at;
    const message = shortened(whole);
    // An anchor that is used twice says the same thing twice.
    const same = `${file ?? ''}:${line}:${column} ${key} ${message}`;
    if (this.#said.has(same)) return;
    this.#said.add(same);
    this.#count[severity] += 1;
    const more = this.#count[severity] > EACH_MAX;
    const text = more ? `there are more ${severity}s than these ${EACH_MAX}` : message;
    const place = { key, line, column, ...(file === undefined ? {} : { file }) };
    this.#all.push({ severity, message: text, ...place });
  }

  hasErrors(): boolean {
    return this.#count.error > 0;
  }

  /** File by file, in the order of each. */
  list(): readonly Problem[] {
    const files = [...new Set(this.#all.map(({ file }) => file))];
    const rank = new Map(files.map((file, i) => [file, i]));
    const order = (problem: Problem): number => rank.get(problem.file) ?? 0;
    return this.#all.toSorted((a, b) => order(a) - order(b) || a.line - b.line || a.column - b.column);
  }
}

function shortened(text: string): string {
  if (text.length <= HEAD_CHARS + TAIL_CHARS) return text;
  return `${text.slice(0, HEAD_CHARS)} ... ${text.slice(-TAIL_CHARS)}`;
}

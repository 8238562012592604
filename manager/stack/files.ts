/** The files that a compose file refers to, as the client sent them; those that it did not are noted. */
import type { Position, Problems } from './problem.ts';

/** By path from the project's directory; null: the client looked, and there is none. */
export type FileTexts = Readonly<Record<string, string | null>>;

/** Characters that are read from files for services and put into their environments; what is read twice counts twice. */
const CHARS_LIMIT = 4 * 1024 * 1024;

export class ProjectFiles {
  #chars = CHARS_LIMIT;
  /** Asked for and not sent. */
  readonly missing = new Set<string>();
  readonly #texts: FileTexts;
  readonly #problems: Problems;

  constructor(texts: FileTexts, problems: Problems) {
    this.#texts = texts;
    this.#problems = problems;
  }

  /** Reports a file that is not there, unless it may be absent. */
  read(path: string, required: boolean, at: Position, key: string): string | undefined {
    const text = Object.hasOwn(this.#texts, path) ? this.#texts[path] : undefined;
    if (text === undefined) this.missing.add(path);
    if (required && text === undefined) {
      this.#problems.error(at, key, `the file ${path} was not sent along (shoal deploy does so)`);
    }
    if (required && text === null) this.#problems.error(at, key, `there is no file ${path}`);
    if (typeof text === 'string' && !this.charge(text.length, at, key)) return undefined;
    return text ?? undefined;
  }

  /** False, and a problem, once the services have taken too much. */
  charge(chars: number, at: Position, key: string): boolean {
    this.#chars -= chars;
    if (this.#chars >= 0) return true;
    this.#problems.error(
      at,
      key,
      `the files and environments of the services have more than ${CHARS_LIMIT} characters together`,
    );
    return false;
  }
}

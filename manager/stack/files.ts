/** The files that a compose file refers to, as the client sent them; those that it did not are noted. */
import type { Position, Problems } from './problem.ts';

/** By path from the project's directory; null: the client looked, and there is none. */
export type FileTexts = Readonly<Record<string, string | null>>;

export class ProjectFiles {
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
    return text ?? undefined;
  }
}

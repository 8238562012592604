/** Variables in compose files, as the compose specification (12-interpolation) and POSIX sh have them. */

export type Variables = Readonly<Record<string, string>>;

export interface Filled {
  readonly text: string;
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}

const NAME = /[a-zA-Z_][a-zA-Z0-9_]*/y;
const OPERATORS = [':-', ':?', ':+', '-', '?', '+'] as const;
type Operator = (typeof OPERATORS)[number];
const NESTING_LIMIT = 20;
/** Characters that a text may have once its variables are filled in. */
const FILLED_LIMIT = 1024 * 1024;

/**
 * `$NAME`, `${NAME}`, `${NAME:-default}`, `-`, `:?error`, `?`, `:+replacement`, `+`, nested ones in the last part, and
 * `$$` for a dollar sign. A variable that is not set is empty, with a warning.
 */
export function interpolate(text: string, variables: Variables): Filled {
  if (!text.includes('$')) return { text, errors: [], warnings: [] };
  const filler = new Filler(text, variables);
  return { text: filler.until(undefined, 0), errors: filler.errors, warnings: filler.warnings };
}

class Filler {
  readonly errors: string[] = [];
  readonly warnings: string[] = [];
  readonly #text: string;
  readonly #variables: Variables;
  #at = 0;

  constructor(text: string, variables: Variables) {
    this.#text = text;
    this.#variables = variables;
  }

  /** Up to the closing brace (consumed), or to the end. */
  until(close: '}' | undefined, depth: number): string {
    let out = '';
    while (this.#at < this.#text.length) {
      const char = this.#text.charAt(this.#at);
      if (char === close) {
        this.#at += 1;
        return out;
      }
      out += char === '$' ? this.#dollar(depth) : this.#plainRun(close);
      if (out.length > FILLED_LIMIT) return this.#tooLong();
    }
    if (close !== undefined)
      this.errors.push(`invalid interpolation in '${this.#text}': a closing brace is missing`);
    return out;
  }

  #dollar(depth: number): string {
    this.#at += 1;
    return this.#variable(depth);
  }

  /** Up to what means something: a dollar sign, or the closing brace. */
  #plainRun(close: '}' | undefined): string {
    const start = this.#at;
    while (this.#at < this.#text.length) {
      const char = this.#text.charAt(this.#at);
      if (char === '$' || char === close) break;
      this.#at += 1;
    }
    return this.#text.slice(start, this.#at);
  }

  /** After a dollar sign. */
  #variable(depth: number): string {
    const next = this.#text.charAt(this.#at);
    if (next === '$') {
      this.#at += 1;
      return '$';
    }
    if (next !== '{') {
      const name = this.#name();
      return name === '' ? this.#invalid() : this.#plain(name);
    }
    this.#at += 1;
    const name = this.#name();
    if (name === '' || depth > NESTING_LIMIT) return this.#invalid();
    const operator = OPERATORS.find((candidate) => this.#text.startsWith(candidate, this.#at));
    if (operator !== undefined) return this.#operation(name, operator, depth);
    if (this.#text.charAt(this.#at) !== '}') return this.#invalid();
    this.#at += 1;
    return this.#plain(name);
  }

  #operation(name: string, operator: Operator, depth: number): string {
    this.#at += operator.length;
    const warnings = this.warnings.length;
    const word = this.until('}', depth + 1);
    const value = this.#get(name);
    const set = operator.startsWith(':') ? value !== undefined && value !== '' : value !== undefined;
    const takesWord = operator.endsWith('+') ? set : !set;
    // A word that is not used needs no variables.
    if (!takesWord) this.warnings.length = warnings;
    if (operator.endsWith('+')) return set ? word : '';
    if (set) return value ?? '';
    if (operator.endsWith('-')) return word;
    this.errors.push(
      `required variable ${name} is ${value === undefined ? 'not set' : 'empty'}${word === '' ? '' : `: ${word}`}`,
    );
    return '';
  }

  #plain(name: string): string {
    const value = this.#get(name);
    if (value === undefined) this.warnings.push(`the variable ${name} is not set: it counts as empty`);
    return value ?? '';
  }

  #get(name: string): string | undefined {
    return Object.hasOwn(this.#variables, name) ? this.#variables[name] : undefined;
  }

  #name(): string {
    NAME.lastIndex = this.#at;
    const name = NAME.exec(this.#text)?.[0] ?? '';
    this.#at += name.length;
    return name;
  }

  #tooLong(): string {
    this.errors.push(`is longer than ${FILLED_LIMIT} characters once variables are filled in`);
    this.#at = this.#text.length;
    return '';
  }

  #invalid(): string {
    this.errors.push(
      `invalid interpolation in '${this.#text}': "\${NAME}" is expected; "$$" stands for a dollar sign`,
    );
    this.#at = this.#text.length;
    return '';
  }
}

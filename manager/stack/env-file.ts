/** Files of variables (`env_file`), as docker compose reads them: quotes, comments, `export`, and variables within. */
import { interpolate, type Variables } from './interpolate.ts';
import type { Problems } from './problem.ts';

const LINE = /^\s*(?:export\s+)?(?<name>[^\s=#'"]+?)\s*(?:[=](?<rest>.*))?$/;
const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  '"': '"',
  '\\': '\\',
  $: '$$',
};

export interface EnvFile {
  readonly path: string;
  readonly text: string;
  /** `format: raw`: values are taken as they stand. */
  readonly raw: boolean;
}

/** Later lines win. A name without "=" is taken from the variables, and left out where they do not have it. */
export function readEnvFile(file: EnvFile, variables: Variables, problems: Problems): Map<string, string> {
  const found = new Map<string, string>();
  /** What the file said so far, before the variables around it. */
  const known = Object.assign(Object.create(null) as Record<string, string>, variables);
  const set = (name: string, value: string): void => {
    found.set(name, value);
    known[name] = value;
  };
  const lines = file.text.replace(/^\uFEFF/, '').split(/\r?\n/);
  for (let i = 0; i < lines.length; i += 1) {
    const line = lines[i] ?? '';
    if (/^\s*(#|$)/.test(line)) continue;
    const at = { line: i + 1, column: 1, file: file.path };
    const groups = LINE.exec(line)?.groups;
    const name = groups?.['name'];
    if (name === undefined) {
      problems.error(at, '', `'${line.trim()}': NAME=VALUE is expected`);
      continue;
    }
    const rest = groups?.['rest'];
    if (rest === undefined) {
      const outer = Object.hasOwn(variables, name) ? variables[name] : undefined;
      if (outer !== undefined) set(name, outer);
      continue;
    }
    if (file.raw) {
      set(name, rest);
      continue;
    }
    const value = readValue(rest.trimStart(), lines, i + 1);
    if (typeof value === 'string') {
      problems.error(at, name, 'a quotation mark is not closed, or something follows it');
      // The rest of the file was looked through for it.
      if (value === 'open') break;
      continue;
    }
    i += value.lines;
    const { text, errors, warnings } = value.literal
      ? { text: value.text, errors: [], warnings: [] }
      : interpolate(value.text, known);
    set(name, text);
    for (const message of errors) problems.error(at, name, message);
    for (const message of warnings) problems.warning(at, name, message);
  }
  return found;
}

interface Read {
  readonly text: string;
  /** Nothing in it is a variable. */
  readonly literal: boolean;
  /** How many further lines it took. */
  readonly lines: number;
}

/** `following`: the index of the next line. `open`: a quotation is not closed; `more`: something follows it. */
function readValue(rest: string, lines: readonly string[], following: number): Read | 'open' | 'more' {
  const quote = rest.charAt(0);
  if (quote !== '"' && quote !== "'") {
    const text = rest.replace(/(^|\s)#.*$/, '').trimEnd();
    return { text, literal: false, lines: 0 };
  }
  const parts: string[] = [];
  let line = rest.slice(1);
  for (let taken = 0; ; taken += 1) {
    const end = closing(line, quote);
    if (end >= 0) {
      if (!/^\s*(#.*)?$/.test(line.slice(end + 1))) return 'more';
      const inner = [...parts, line.slice(0, end)].join('\n');
      if (quote === "'") return { text: inner, literal: true, lines: taken };
      return {
        text: inner.replaceAll(/\\(.)/g, (all, char: string) => ESCAPES[char] ?? all),
        literal: false,
        lines: taken,
      };
    }
    parts.push(line);
    const next = lines[following + taken];
    if (next === undefined) return 'open';
    line = next;
  }
}

/** A backslash at the end of a line escapes nothing in the next. */
function closing(text: string, quote: string): number {
  for (let i = 0; i < text.length; i += 1) {
    if (text[i] === '\\' && quote === '"') i += 1;
    else if (text[i] === quote) return i;
  }
  return -1;
}

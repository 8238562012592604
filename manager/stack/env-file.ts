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
      if (outer !== undefined) found.set(name, outer);
      continue;
    }
    if (file.raw) {
      found.set(name, rest);
      continue;
    }
    const value = readValue(rest.trimStart(), lines.slice(i + 1));
    if (value === undefined) {
      problems.error(at, name, 'a quotation mark is not closed, or something follows it');
      continue;
    }
    i += value.lines;
    const known = { ...variables, ...Object.fromEntries(found) };
    const { text, errors, warnings } = value.literal
      ? { text: value.text, errors: [], warnings: [] }
      : interpolate(value.text, known);
    found.set(name, text);
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

/** Undefined when a quotation is not closed. */
function readValue(rest: string, following: readonly string[]): Read | undefined {
  const quote = rest.charAt(0);
  if (quote !== '"' && quote !== "'") {
    const text = rest.replace(/(^|\s+)#.*$/, '').trimEnd();
    return { text, literal: false, lines: 0 };
  }
  let text = rest.slice(1);
  for (let lines = 0; ; lines += 1) {
    const end = closing(text, quote);
    if (end >= 0) {
      if (!/^\s*(#.*)?$/.test(text.slice(end + 1))) return undefined;
      const inner = text.slice(0, end);
      if (quote === "'") return { text: inner, literal: true, lines };
      return {
        text: inner.replaceAll(/\\(.)/g, (all, char: string) => ESCAPES[char] ?? all),
        literal: false,
        lines,
      };
    }
    const next = following[lines];
    if (next === undefined) return undefined;
    text += `\n${next}`;
  }
}

function closing(text: string, quote: string): number {
  for (let i = 0; i < text.length; i += 1) {
    if (text[i] === '\\' && quote === '"') i += 1;
    else if (text[i] === quote) return i;
  }
  return -1;
}

/** Compose YAML -> values with positions. Bounded: in size, in depth, and in what aliases may unfold to. */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  type Scalar,
  type YAMLMap,
} from 'yaml';
import { interpolate, type Variables } from './interpolate.ts';
import type { Position, Problems } from './problem.ts';
import { childKey, type MapEntry, type MapValue, type Value } from './value.ts';

export const COMPOSE_LIMIT_BYTES = 1024 * 1024;
const DEPTH_LIMIT = 60;
const VALUE_LIMIT = 50_000;
/** Of all texts together, variables filled in and aliases counted as what they stand for. */
const CHARS_LIMIT = 4 * 1024 * 1024;
/** Far beyond any real file, text with brackets included; the parser would take seconds to give up. */
const OPEN_LIMIT = 2000;
/** More than a file of as many values as are allowed needs. */
const TOKEN_LIMIT = 60_000;
const TOO_DEEP = `the file is nested deeper than ${DEPTH_LIMIT} levels`;

/** Of values; all files of a project draw from one. */
export interface Budget {
  left: number;
  /** Characters of their texts. */
  chars: number;
}

export function newBudget(): Budget {
  return { left: VALUE_LIMIT, chars: CHARS_LIMIT };
}

/** Reports to `problems`; undefined when there is nothing to go on with. */
export function parseCompose(
  text: string,
  variables: Variables,
  problems: Problems,
  file?: string,
  budget: Budget = newBudget(),
): Value | undefined {
  const start: Position = { line: 1, column: 1, file };
  if (text.length > COMPOSE_LIMIT_BYTES) {
    problems.error(start, '', `the file is larger than ${COMPOSE_LIMIT_BYTES} bytes`);
    return undefined;
  }
  if (openBrackets(text) > OPEN_LIMIT) {
    problems.error(start, '', TOO_DEEP);
    return undefined;
  }
  if (tokensOf(text) > TOKEN_LIMIT) {
    problems.error(start, '', `the file is too large: more than ${TOKEN_LIMIT} lines, keys and entries`);
    return undefined;
  }
  const lines = new FileLines(file);
  const [document, second] = parseDocuments(text, lines, problems);
  if (document === undefined) {
    if (!problems.list().some((problem) => problem.file === file))
      problems.error(start, '', 'the file is empty');
    return undefined;
  }
  if (second !== undefined) {
    problems.error(placeOf(lines, second.range?.[0]), '', 'one YAML document is expected, not several');
  }
  for (const error of document.errors)
    problems.error(placeOf(lines, error.pos[0]), '', yamlMessage(error.message));
  for (const warning of document.warnings) {
    if (warning.code === 'TAG_RESOLVE_FAILED' && /: !(reset|override)$/.test(warning.message)) continue;
    problems.warning(placeOf(lines, warning.pos[0]), '', `YAML: ${warning.message}`);
  }
  if (document.errors.length > 0) return undefined;
  if (document.contents === null) {
    problems.error(start, '', 'the file is empty');
    return undefined;
  }
  return new Reader(document, lines, variables, problems, budget).read();
}

/** The most brackets that are open at once, quotations disregarded. */
function openBrackets(text: string): number {
  let open = 0;
  let most = 0;
  for (const char of text) {
    if (char === '[' || char === '{') open += 1;
    else if ((char === ']' || char === '}') && open > 0) open -= 1;
    if (open > most) most = open;
  }
  return most;
}

/** What may begin a value: ends of lines, commas, and signs with a space behind. Cheap, since the parser is not. */
function tokensOf(text: string): number {
  let tokens = 0;
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i];
    if (char === '\n' || char === ',') tokens += 1;
    else if (text[i + 1] === ' ' && (char === ':' || char === '-' || char === '?')) tokens += 1;
  }
  return tokens;
}

function parseDocuments(text: string, lines: FileLines, problems: Problems): readonly Document[] {
  try {
    // Keys that are given twice are found below: the parser compares each key with all others.
    const options = { lineCounter: lines, prettyErrors: false, merge: false, uniqueKeys: false } as const;
    const documents = parseAllDocuments(text, options);
    return Array.isArray(documents) ? documents : [];
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    problems.error({ line: 1, column: 1, file: lines.file }, '', TOO_DEEP);
    return [];
  }
}

/** The parser calls itself for each level: very deep nesting runs out of stack before it can be counted. */
function yamlMessage(message: string): string {
  return message.includes('call stack') ? TOO_DEEP : `YAML: ${message}`;
}

class FileLines extends LineCounter {
  readonly file: string | undefined;
  constructor(file: string | undefined) {
    super();
    this.file = file;
  }
}

function placeOf(lines: FileLines, offset: number | undefined): Position {
  const { line, col } = lines.linePos(offset ?? 0);
  const { file } = lines;
  return { line: Math.max(1, line), column: Math.max(1, col), ...(file === undefined ? {} : { file }) };
}

const MERGE_TAGS = ['reset', 'override'] as const;

/** Thrown once a bound is passed; the rest of the file is not looked at. */
class LimitPassed extends Error {}

class Reader {
  readonly #document: Document;
  readonly #lines: FileLines;
  readonly #variables: Variables;
  readonly #problems: Problems;
  readonly #budget: Budget;
  /** The newest node of each anchor so far. Node.resolve would search the document for each alias. */
  readonly #anchors = new Map<string, Node>();
  #inAlias = false;

  constructor(
    document: Document,
    lines: FileLines,
    variables: Variables,
    problems: Problems,
    budget: Budget,
  ) {
    this.#budget = budget;
    this.#document = document;
    this.#lines = lines;
    this.#variables = variables;
    this.#problems = problems;
  }

  read(): Value | undefined {
    try {
      return this.#value(this.#document.contents, '', 0);
    } catch (error) {
      if (error instanceof LimitPassed) return undefined;
      throw error;
    }
  }

  #value(node: Node | null, key: string, depth: number, fallback?: Position): Value {
    const value = this.#untagged(node, key, depth, fallback ?? placeOf(this.#lines, 0));
    const tag = isAlias(node) ? undefined : MERGE_TAGS.find((name) => node?.tag === `!${name}`);
    return tag === undefined ? value : { ...value, tag };
  }

  #untagged(node: Node | null, key: string, depth: number, fallback: Position): Value {
    const at =
      node?.range === undefined || node.range === null ? fallback : placeOf(this.#lines, node.range[0]);
    this.#count(at, key, depth);
    if (node === null) return { kind: 'scalar', value: null, text: '', key, ...at };
    if (isAlias(node)) {
      const target = this.#anchors.get(node.source);
      if (target === undefined) this.#problems.error(at, key, `YAML: unknown anchor *${node.source}`);
      const outer = this.#inAlias;
      this.#inAlias = true;
      const value = this.#value(target ?? null, key, depth + 1, at);
      this.#inAlias = outer;
      return value;
    }
    if (!this.#inAlias && node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    if (isMap(node)) return { kind: 'map', entries: this.#entries(node, key, depth), key, ...at };
    if (isSeq(node)) {
      const items = node.items.map((item, i) =>
        this.#value(item as Node | null, `${key}[${i}]`, depth + 1, at),
      );
      return { kind: 'list', items, key, ...at };
    }
    return this.#scalar(node, key, at);
  }

  #count(at: Position, key: string, depth: number): void {
    this.#budget.left -= 1;
    if (this.#budget.left >= 0 && depth <= DEPTH_LIMIT) return;
    const what =
      depth > DEPTH_LIMIT ? `nested deeper than ${DEPTH_LIMIT} levels` : `more than ${VALUE_LIMIT} values`;
    this.#problems.error(
      at,
      key,
      `the file is ${depth > DEPTH_LIMIT ? what : `too large: ${what}`} (aliases count as what they stand for)`,
    );
    throw new LimitPassed();
  }

  #countChars(count: number, at: Position, key: string): void {
    this.#budget.chars -= count;
    if (this.#budget.chars >= 0) return;
    const what = `more than ${CHARS_LIMIT} characters, variables filled in`;
    this.#problems.error(at, key, `the file is too large: ${what} (aliases count as what they stand for)`);
    throw new LimitPassed();
  }

  /** Merge keys (`<<: *base`) give what the mapping does not say itself. */
  #entries(map: YAMLMap, key: string, depth: number): ReadonlyMap<string, MapEntry> {
    const own = new Map<string, MapEntry>();
    const merged: MapValue[] = [];
    for (const pair of map.items) {
      const keyNode = pair.key as Node | null;
      const at =
        keyNode?.range === undefined || keyNode.range === null
          ? placeOf(this.#lines, map.range?.[0])
          : placeOf(this.#lines, keyNode.range[0]);
      const name = isScalar(keyNode) ? nameOf(keyNode.value) : undefined;
      if (name === undefined) {
        this.#problems.error(at, key, 'the name of a key must be plain text');
        continue;
      }
      const path = childKey(key, name);
      if (own.has(name)) this.#problems.error(at, path, 'YAML: the key is given twice');
      const value = this.#value(pair.value as Node | null, name === '<<' ? key : path, depth + 1, at);
      if (name !== '<<') own.set(name, { name, at: { ...at, key: path }, value });
      else merged.push(...this.#mergeSources(value, path));
    }
    return merged.length === 0 ? own : mergeEntries(own, merged);
  }

  #mergeSources(value: Value, path: string): MapValue[] {
    const sources = value.kind === 'list' ? value.items : [value];
    return sources.flatMap((source) => {
      if (source.kind === 'map') return [source];
      this.#problems.error(source, path, 'YAML: a mapping, or a list of mappings, is expected after <<');
      return [];
    });
  }

  #scalar(node: Scalar, key: string, at: Position): Value {
    const { value, source } = node;
    if (typeof value === 'string') {
      this.#countChars(value.length, at, key);
      const filled = interpolate(value, this.#variables);
      this.#countChars(Math.max(0, filled.text.length - value.length), at, key);
      for (const message of filled.errors) this.#problems.error(at, key, message);
      for (const message of filled.warnings) this.#problems.warning(at, key, message);
      return { kind: 'scalar', value: filled.text, text: filled.text, key, ...at };
    }
    if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') {
      return { kind: 'scalar', value, text: source ?? String(value), key, ...at };
    }
    if (value !== null && value !== undefined) {
      this.#problems.error(at, key, 'YAML: this kind of value has no meaning in a compose file');
    }
    return { kind: 'scalar', value: null, text: '', key, ...at };
  }
}

function nameOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}

/** The mapping's own keys first, then the sources in their order. */
function mergeEntries(own: Map<string, MapEntry>, sources: readonly MapValue[]): Map<string, MapEntry> {
  const all = new Map(own);
  for (const source of sources) {
    for (const [name, entry] of source.entries) if (!all.has(name)) all.set(name, entry);
  }
  return all;
}

/** Compose files -> one: read, with what they include and extend, and merged. Pure: the client sent all files. */
import { readEnvFile } from './env-file.ts';
import { Extender } from './extends.ts';
import type { ProjectFiles } from './files.ts';
import type { Variables } from './interpolate.ts';
import { mergeValues, plain, settle } from './merge.ts';
import { type Budget, newBudget, parseCompose } from './parse-yaml.ts';
import { directoryOf, resolvePath } from './paths.ts';
import type { Position, Problems } from './problem.ts';
import { profileFile } from './runtime-keys.ts';
import { Section } from './section.ts';
import { isNull, type MapEntry, type MapValue, mapWith, placeOnly, type Value } from './value.ts';

export interface ComposeText {
  /** From the project's directory; absent: the only file, which messages need not name. */
  readonly path?: string | undefined;
  readonly text: string;
}

/** Includes within includes. */
const INCLUDE_DEPTH = 20;
const FILES_LIMIT = 200;
const CHARS_LIMIT = 4 * 1024 * 1024;
const SHARED = ['services', 'networks', 'volumes', 'secrets', 'configs'] as const;

export class Loader {
  readonly #files: ProjectFiles;
  readonly #problems: Problems;
  #read = 0;
  #chars = 0;
  /** Whatever the files unfold to, all of them together. */
  readonly #budget: Budget = newBudget();

  constructor(files: ProjectFiles, problems: Problems) {
    this.#files = files;
    this.#problems = problems;
  }

  /** The files merged in their order; undefined when one of them can not be read at all. */
  load(
    texts: readonly ComposeText[],
    directory: string,
    variables: Variables,
    chain: readonly string[] = [],
  ): MapValue | undefined {
    let result: MapValue | undefined;
    for (const text of texts) {
      const file = this.#one(text, directory, variables, chain, result);
      if (file === undefined) return undefined;
      result = result === undefined ? (settle(file) as MapValue) : (mergeValues(result, file) as MapValue);
    }
    return result;
  }

  #one(
    { path, text }: ComposeText,
    directory: string,
    variables: Variables,
    chain: readonly string[],
    below: MapValue | undefined,
  ): MapValue | undefined {
    const raw = this.#parse(text, variables, path);
    if (raw === undefined) return undefined;
    const included = this.#included(raw, directory, variables, [...chain, path ?? '']);
    const own = withPaths(mapWith(raw, { include: undefined }), directory);
    const extender = new Extender(
      (file, at, key) => this.#extended(file, variables, at, key),
      this.#problems,
      this.#budget,
    );
    const extended = extender.resolve(own, directory, below);
    return included.reduce((whole, part) => this.#adopt(whole, part), extended);
  }

  #parse(text: string, variables: Variables, path: string | undefined): MapValue | undefined {
    this.#read += 1;
    this.#chars += text.length;
    const start: Position = { line: 1, column: 1, file: path };
    if (this.#read > FILES_LIMIT) {
      this.#problems.error(start, '', `more than ${FILES_LIMIT} files are read for one stack`);
      return undefined;
    }
    if (this.#chars > CHARS_LIMIT || this.#budget.left < 0) {
      this.#problems.error(
        start,
        '',
        'the files of the stack are too large together (a file counts each time it is read)',
      );
      return undefined;
    }
    const value = parseCompose(text, variables, this.#problems, path, this.#budget);
    if (value === undefined) return undefined;
    if (value.kind === 'map') return value;
    this.#problems.error(value, '', 'a mapping with services is expected');
    return undefined;
  }

  /** The file that `extends` names. */
  #extended(path: string, variables: Variables, at: Position, key: string): MapValue | undefined {
    const text = this.#files.read(path, true, at, key);
    const raw = text === undefined ? undefined : this.#parse(text, variables, path);
    return raw === undefined ? undefined : withPaths(raw, directoryOf(path));
  }

  #included(file: MapValue, directory: string, variables: Variables, chain: readonly string[]): MapValue[] {
    const entry = file.entries.get('include');
    if (entry === undefined || isNull(entry.value)) return [];
    const section = new Section(file, this.#problems);
    return (section.list('include')?.items ?? []).flatMap((item) => {
      const include = this.#readInclude(item, directory, variables);
      if (include === undefined) return [];
      const again = include.paths.find((path) => chain.includes(path));
      if (again !== undefined || chain.length > INCLUDE_DEPTH) {
        this.#problems.error(item, item.key, `${again ?? 'the file'} includes itself: ${chain.join(' > ')}`);
        return [];
      }
      const texts = include.paths.flatMap((path) => {
        const text = this.#files.read(path, true, item, item.key);
        return text === undefined ? [] : [{ path, text }];
      });
      if (texts.length < include.paths.length) return [];
      return this.load(texts, include.directory, include.variables, [...chain, ...include.paths]) ?? [];
    });
  }

  /** `include: [path]` or `{path, project_directory, env_file}`. */
  #readInclude(
    item: Value,
    directory: string,
    variables: Variables,
  ): { paths: string[]; directory: string; variables: Variables } | undefined {
    const long = item.kind === 'map' ? new Section(item, this.#problems) : undefined;
    const given = long === undefined ? textsOf(item, this.#problems) : long.textOrTexts('path');
    const [first] = given ?? [];
    const own = long?.text('project_directory');
    const envFiles = long?.textOrTexts('env_file');
    long?.end();
    if (first === undefined || given === undefined) {
      if (long !== undefined && !long.has('path')) this.#problems.error(item, item.key, 'path is missing');
      return undefined;
    }
    const paths = given.map((path) => resolvePath(directory, path));
    const within = own === undefined ? directoryOf(paths[0] ?? '') : resolvePath(directory, own);
    const known = (envFiles ?? ['']).flatMap((name) => {
      const path = name === '' ? resolvePath(within, '.env') : resolvePath(directory, name);
      const text = this.#files.read(path, name !== '', item, item.key);
      return text === undefined
        ? []
        : [...readEnvFile({ path, text, raw: false }, variables, this.#problems)];
    });
    // What the including project says comes first.
    return { paths, directory: within, variables: { ...Object.fromEntries(known), ...variables } };
  }

  /** What is included stands beside the file's own; the same name twice must mean the same. */
  #adopt(whole: MapValue, part: MapValue): MapValue {
    const changes: Record<string, Value> = {};
    for (const kind of SHARED) {
      const theirs = part.entries.get(kind)?.value;
      if (theirs?.kind !== 'map') continue;
      const ours = whole.entries.get(kind)?.value;
      const entries = new Map<string, MapEntry>(ours?.kind === 'map' ? ours.entries : []);
      for (const [name, entry] of theirs.entries) {
        const other = entries.get(name);
        if (
          other !== undefined &&
          JSON.stringify(plain(other.value)) !== JSON.stringify(plain(entry.value))
        ) {
          const where = `${other.at.file ?? 'the file'}:${other.at.line}`;
          this.#problems.error(entry.at, entry.at.key, `is included, and differs from what ${where} says`);
        }
        entries.set(name, entry);
      }
      changes[kind] = { kind: 'map', entries, ...placeOnly(ours ?? theirs) };
    }
    return mapWith(whole, changes);
  }
}

function textsOf(value: Value, problems: Problems): string[] | undefined {
  if (value.kind === 'scalar' && value.value !== null) return [value.text];
  problems.error(value, value.key, 'a path, or a mapping with path, is expected');
  return undefined;
}

/** Paths in services, secrets and configs as seen from the project's directory. */
function withPaths(whole: MapValue, directory: string): MapValue {
  const file = withFilePaths(withFilePaths(whole, 'secrets', directory), 'configs', directory);
  const services = file.entries.get('services')?.value;
  if (services?.kind !== 'map') return file;
  const entries = new Map<string, MapEntry>();
  for (const [name, entry] of services.entries) {
    const value = entry.value.kind === 'map' ? servicePaths(entry.value, directory) : entry.value;
    entries.set(name, { ...entry, value });
  }
  return mapWith(file, { services: { ...services, entries } });
}

/** Those of the project's own directory stay as they are written: contents are sent by that name. */
function withFilePaths(file: MapValue, section: 'secrets' | 'configs', directory: string): MapValue {
  const all = file.entries.get(section)?.value;
  if (all?.kind !== 'map' || directory === '') return file;
  const entries = new Map<string, MapEntry>();
  for (const [name, entry] of all.entries) {
    const map = entry.value.kind === 'map' ? entry.value : undefined;
    const path = map?.entries.get('file')?.value;
    const moved = map !== undefined && path !== undefined;
    const value = moved ? mapWith(map, { file: seenFrom(directory, path) }) : entry.value;
    entries.set(name, { ...entry, value });
  }
  return mapWith(file, { [section]: { ...all, entries } });
}

function servicePaths(service: MapValue, directory: string): MapValue {
  let result = service;
  for (const name of ['env_file', 'label_file']) {
    const value = service.entries.get(name)?.value;
    if (value !== undefined) result = mapWith(result, { [name]: seenFrom(directory, value) });
  }
  const security = service.entries.get('security_opt')?.value;
  if (security?.kind !== 'list') return result;
  const items = security.items.map((item) => profilePath(item, directory));
  return mapWith(result, { security_opt: { ...security, items } });
}

/** seccomp=FILE */
function profilePath(item: Value, directory: string): Value {
  const file = item.kind === 'scalar' ? profileFile(item.text) : undefined;
  if (file === undefined) return item;
  const text = `seccomp=${resolvePath(directory, file)}`;
  return { ...item, kind: 'scalar', value: text, text };
}

function seenFrom(directory: string, value: Value): Value {
  if (value.kind === 'list') return { ...value, items: value.items.map((item) => seenFrom(directory, item)) };
  if (value.kind === 'map') {
    const path = value.entries.get('path')?.value;
    return path === undefined ? value : mapWith(value, { path: seenFrom(directory, path) });
  }
  if (value.value === null || value.text === '') return value;
  const path = resolvePath(directory, value.text);
  return { ...value, value: path, text: path };
}

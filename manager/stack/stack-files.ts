/** `secrets` and `configs`: of the top level, and as services name them. Pure: contents are handed in. */
import {
  DEFAULT_FILE_MODE,
  type FileReference,
  type Labels,
  STACK_LABEL,
  type StoredFileKind,
  type StoredFileSpec,
} from '../../shared/model/index.ts';
import type { Position } from './problem.ts';
import { defined, type KeyRules, labels, Section } from './section.ts';
import { entriesOf, readExternal, sectionOf } from './top-level.ts';
import type { MapEntry, Value } from './value.ts';

/** Contents that are on the client: in base64, by path as the file has it, and by name of a variable. */
export interface StackContents {
  readonly files: Readonly<Record<string, string>>;
  readonly environment: Readonly<Record<string, string>>;
}

/** Where on the client contents come from. */
export interface ContentSource {
  readonly kind: 'file' | 'environment';
  readonly name: string;
  /** Path of the key for messages. */
  readonly key: string;
}

export interface StackFile {
  readonly kind: StoredFileKind;
  /** The file's name for it. */
  readonly key: string;
  /** The cluster's name for it: `<stack>_<key>`, or what `name` says. */
  readonly name: string;
  readonly at: Position;
  /** Absent: external, it must be there already. */
  readonly spec?: StoredFileSpec;
  /** base64. Absent: external, or not sent. */
  readonly data?: string;
  readonly source?: ContentSource;
}

export type StackFiles = Readonly<Record<StoredFileKind, ReadonlyMap<string, StackFile>>>;

interface Input {
  readonly stack: string;
  readonly contents?: StackContents | undefined;
}

const DRIVER_RULE = {
  severity: 'error',
  message: 'not supported: contents are kept by the cluster, not by a driver',
} as const;
const RULES: KeyRules = { driver: DRIVER_RULE, driver_opts: DRIVER_RULE };
const MODE = /^(?:0o?)?[0-7]{1,4}$/;

export function readStackFiles(top: Section, input: Input): StackFiles {
  const read = (kind: StoredFileKind): ReadonlyMap<string, StackFile> => {
    const files = new Map<string, StackFile>();
    for (const entry of entriesOf(top, `${kind}s`)) {
      const section = sectionOf(top, entry);
      if (section !== undefined) files.set(entry.name, readFile(kind, section, entry, input));
    }
    return files;
  };
  return { secret: read('secret'), config: read('config') };
}

function readFile(kind: StoredFileKind, section: Section, entry: MapEntry, input: Input): StackFile {
  const { stack } = input;
  const external = readExternal(section);
  const name = external.name ?? section.text('name') ?? (external.is ? entry.name : `${stack}_${entry.name}`);
  const own: Labels = { ...labels(section, 'labels'), [STACK_LABEL]: stack };
  const templating = readTemplateDriver(section);
  const contents = readContents(kind, section, entry, input.contents);
  section.end(RULES);
  const { problems } = section;
  const { at } = entry;
  const base = { kind, key: entry.name, name, at };
  const given = contents.given.join(', ');
  if (external.is) {
    if (given !== '') problems.error(at, at.key, `external goes with none of: ${given}`);
    return base;
  }
  if (contents.given.length !== 1) {
    const ways =
      kind === 'secret' ? 'file, environment or external' : 'file, environment, content or external';
    problems.error(at, at.key, `one of ${ways} is expected${given === '' ? '' : `, not ${given}`}`);
  }
  const spec: StoredFileSpec = { name, labels: own, ...(templating === undefined ? {} : { templating }) };
  return defined({ ...base, spec, data: contents.data, source: contents.source }) as StackFile;
}

function readTemplateDriver(section: Section): 'golang' | undefined {
  const value = section.take('template_driver');
  const text = value === undefined ? '' : (section.textOf(value) ?? '');
  if (value === undefined || text === '') return undefined;
  if (text !== 'golang') section.problems.error(value, value.key, `'${text}' is not supported: golang is`);
  return 'golang';
}

interface Contents {
  readonly given: readonly string[];
  readonly data: string | undefined;
  readonly source: ContentSource | undefined;
}

function readContents(
  kind: StoredFileKind,
  section: Section,
  entry: MapEntry,
  sent: StackContents | undefined,
): Contents {
  const file = section.text('file');
  const environment = section.text('environment');
  const content = section.take('content');
  const text = content === undefined ? undefined : section.textOf(content);
  if (content !== undefined && kind === 'secret') {
    section.problems.error(
      content,
      content.key,
      'a secret is not written into the file: use file or environment',
    );
  }
  const given = Object.entries({ file, environment, content }).flatMap(([way, value]) =>
    value === undefined ? [] : [way],
  );
  const { key } = entry.at;
  if (file !== undefined)
    return { given, data: own(sent?.files, file), source: { kind: 'file', name: file, key } };
  if (environment !== undefined) {
    const source = { kind: 'environment', name: environment, key } as const;
    return { given, data: own(sent?.environment, environment), source };
  }
  const data = text === undefined ? undefined : Buffer.from(text).toString('base64');
  return { given, data, source: undefined };
}

function own(map: Readonly<Record<string, string>> | undefined, name: string): string | undefined {
  return map !== undefined && Object.hasOwn(map, name) ? map[name] : undefined;
}

/** `secrets` and `configs` of a service; ids are looked up when it is stored. */
export function readFileReferences(
  service: Section,
  files: StackFiles,
): { secrets?: readonly FileReference[]; configs?: readonly FileReference[] } {
  const read = (kind: StoredFileKind): FileReference[] | undefined => {
    const items = service.list(`${kind}s`)?.items ?? [];
    const found = items.flatMap((item) => readReference(kind, service, item, files) ?? []);
    return found.length === 0 ? undefined : found;
  };
  return defined({ secrets: read('secret'), configs: read('config') }) as ReturnType<
    typeof readFileReferences
  >;
}

function readReference(
  kind: StoredFileKind,
  service: Section,
  item: Value,
  files: StackFiles,
): FileReference | undefined {
  const long = item.kind === 'map' ? new Section(item, service.problems) : undefined;
  const source = long === undefined ? service.textOf(item) : long.text('source');
  const target = {
    name: long?.text('target') ?? source ?? '',
    uid: long?.text('uid') ?? '0',
    gid: long?.text('gid') ?? '0',
    mode: long === undefined ? DEFAULT_FILE_MODE : readMode(long),
  };
  long?.end();
  if (source === undefined) {
    if (long !== undefined)
      service.problems.error(item, item.key, `source is missing: the ${kind}'s name in this file`);
    return undefined;
  }
  const file = files[kind].get(source);
  if (file !== undefined) return { id: '', name: file.name, target };
  service.problems.error(item, item.key, `${kind} '${source}' is not declared under the file's ${kind}s`);
  return undefined;
}

/** Octal, as compose has it: 0440, "0440", 0o440. */
function readMode(long: Section): number {
  const value = long.take('mode');
  if (value === undefined) return DEFAULT_FILE_MODE;
  const text = long.textOf(value);
  if (text !== undefined && MODE.test(text)) return Number.parseInt(text.replace(/^0o/, ''), 8);
  if (text !== undefined)
    long.problems.error(value, value.key, `'${text}': octal permissions such as 0440 are expected`);
  return DEFAULT_FILE_MODE;
}

/** `volumes` and `tmpfs` of a service. */
import { parseTmpfsOption, TMPFS_OPTIONS } from '../../shared/lib/tmpfs-options.ts';
import type { BindPropagation, Labels, MountSpec } from '../../shared/model/index.ts';
import { defined, Section } from './section.ts';
import type { Value } from './value.ts';

/** A volume of the top level: its name on the nodes, and its labels. */
export interface StackVolume {
  readonly name: string;
  readonly labels?: Labels;
  /** Of the driver. */
  readonly options?: Labels;
  /** It is this directory of the node, and no volume at all. */
  readonly directory?: { readonly path: string; readonly readOnly: boolean };
}

const TYPES = ['bind', 'volume', 'tmpfs', 'image'] as const;
const PROPAGATIONS = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'] as const;

export function readMounts(service: Section, volumes: ReadonlyMap<string, StackVolume>): MountSpec[] {
  const mounts = (service.list('volumes')?.items ?? []).flatMap((item) => {
    const mount =
      item.kind === 'map'
        ? readLong(new Section(item, service.problems), volumes)
        : readShort(service, item, volumes);
    return mount === undefined ? [] : [mount];
  });
  return [...mounts, ...readTmpfs(service)];
}

function readShort(
  service: Section,
  item: Value,
  volumes: ReadonlyMap<string, StackVolume>,
): MountSpec | undefined {
  const text = service.textOf(item);
  if (text === undefined) return undefined;
  const { problems } = service;
  const [source = '', target, options = '', ...rest] = text.split(':');
  if (target === undefined && source.startsWith('/')) return unnamed(source);
  if (target === undefined || rest.length > 0 || source === '' || target === '') {
    const message = 'SOURCE:TARGET, SOURCE:TARGET:OPTIONS or /TARGET is expected';
    problems.error(item, item.key, `'${text}': ${message}`);
    return undefined;
  }
  const words = new Set(options === '' ? [] : options.split(','));
  const readOnly = words.delete('ro');
  words.delete('rw');
  const propagation = PROPAGATIONS.find((word) => words.delete(word));
  const noCopy = words.delete('nocopy');
  for (const word of ['cached', 'delegated', 'consistent']) words.delete(word);
  for (const word of ['z', 'Z']) {
    if (words.delete(word))
      problems.warning(item, item.key, `option '${word}' has no effect: SELinux labels are left alone`);
  }
  for (const word of words) problems.error(item, item.key, `'${text}': unknown option '${word}'`);
  const parts = { source, target, readOnly, propagation, noCopy: noCopy ? true : undefined };
  return isPath(source) ? bind(service, item, parts) : volume(service, item, parts, volumes);
}

/** A volume that is one container's alone, and goes with it. */
function unnamed(target: string, more: Partial<Parts> = {}): MountSpec {
  const { readOnly = false, noCopy, subpath } = more;
  return defined({ kind: 'volume' as const, source: '', target, readOnly, noCopy, subpath }) as MountSpec;
}

interface Parts {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly propagation?: BindPropagation | undefined;
  readonly createSource?: boolean | undefined;
  readonly noCopy?: boolean | undefined;
  readonly recursive?: false | undefined;
  readonly subpath?: string | undefined;
}

function isPath(source: string): boolean {
  return /^[./~\\]/.test(source);
}

function bind(section: Section, item: Value, parts: Parts): MountSpec | undefined {
  const { source, target, readOnly, propagation, createSource, recursive } = parts;
  if (!source.startsWith('/')) {
    section.problems.error(
      item,
      item.key,
      `'${source}': an absolute path is expected, since it is looked up on the node`,
    );
    return undefined;
  }
  return defined({
    kind: 'bind' as const,
    source,
    target,
    readOnly,
    propagation,
    createSource,
    recursive,
  }) as MountSpec;
}

function volume(
  section: Section,
  item: Value,
  parts: Parts,
  volumes: ReadonlyMap<string, StackVolume>,
): MountSpec | undefined {
  const declared = volumes.get(parts.source);
  if (declared === undefined) {
    section.problems.error(
      item,
      item.key,
      `volume '${parts.source}' is not declared under the file's volumes`,
    );
    return undefined;
  }
  const { target, readOnly, noCopy, subpath } = parts;
  const { directory } = declared;
  if (directory !== undefined) {
    if (subpath !== undefined)
      section.problems.error(item, item.key, 'a volume that is a directory of the node has no subpath');
    return { kind: 'bind', source: directory.path, target, readOnly: readOnly || directory.readOnly };
  }
  return defined({
    kind: 'volume' as const,
    source: declared.name,
    target,
    readOnly,
    labels: declared.labels,
    options: declared.options,
    noCopy,
    subpath,
  }) as MountSpec;
}

function readLong(mount: Section, volumes: ReadonlyMap<string, StackVolume>): MountSpec | undefined {
  const type = mount.oneOf('type', TYPES);
  const source = mount.text('source');
  const target = mount.text('target');
  const readOnly = mount.flag('read_only') ?? false;
  mount.take('consistency');
  const item = mount.map;
  if (!mount.has('type')) mount.problems.error(item, item.key, `type is missing: ${TYPES.join(', ')}`);
  if (target === undefined)
    mount.problems.error(item, item.key, 'target is missing: the path in the container');
  const result =
    type === undefined || target === undefined
      ? undefined
      : ofType(mount, type, source, target, readOnly, volumes);
  mount.end({
    bind: { severity: 'error', message: `has no meaning for a mount of type ${type ?? '?'}` },
    volume: { severity: 'error', message: `has no meaning for a mount of type ${type ?? '?'}` },
    tmpfs: { severity: 'error', message: `has no meaning for a mount of type ${type ?? '?'}` },
    image: { severity: 'error', message: `has no meaning for a mount of type ${type ?? '?'}` },
    cluster: { severity: 'error', message: 'not supported yet' },
  });
  return result;
}

function ofType(
  mount: Section,
  type: (typeof TYPES)[number],
  source: string | undefined,
  target: string,
  readOnly: boolean,
  volumes: ReadonlyMap<string, StackVolume>,
): MountSpec | undefined {
  const item = mount.map;
  if (type === 'tmpfs') {
    const options = mount.section('tmpfs');
    const sizeBytes = options?.bytes('size');
    const mode = options === undefined ? undefined : readMode(options);
    options?.end();
    if (source !== undefined) mount.problems.error(item, item.key, 'a tmpfs has no source');
    return defined({ kind: 'tmpfs' as const, target, readOnly, sizeBytes, mode }) as MountSpec;
  }
  if (source === undefined && type !== 'volume') {
    mount.problems.error(item, item.key, 'source is missing');
    return undefined;
  }
  if (type === 'image') return image(mount, source ?? '', target);
  if (type === 'bind' && source !== undefined) {
    const options = mount.section('bind');
    const propagation = options?.oneOf('propagation', PROPAGATIONS);
    const createSource = options?.flag('create_host_path');
    const recursive = readRecursive(options);
    options?.end({
      selinux: { severity: 'warning', message: 'has no effect: SELinux labels are left alone' },
    });
    return bind(mount, item, { source, target, readOnly, propagation, createSource, recursive });
  }
  const options = mount.section('volume');
  const noCopy = options?.flag('nocopy');
  const subpath = options?.text('subpath');
  options?.end({
    labels: { severity: 'error', message: "not supported: label it under the file's volumes" },
  });
  return source === undefined
    ? unnamed(target, { readOnly, noCopy, subpath })
    : volume(mount, item, { source, target, readOnly, noCopy, subpath }, volumes);
}

/** Nothing of it can be written, whatever `read_only` says. */
function image(mount: Section, source: string, target: string): MountSpec {
  const options = mount.section('image');
  const subpath = options?.text('subpath');
  options?.end();
  return defined({ kind: 'image' as const, source, target, readOnly: true, subpath }) as MountSpec;
}

/** `enabled` is so anyway, and a read-only bind is so with all that is mounted below it. */
function readRecursive(options: Section | undefined): false | undefined {
  const value = options?.oneOf('recursive', ['enabled', 'disabled', 'readonly', 'writable']);
  if (value === 'writable')
    options?.problems.error(
      options.map,
      `${options.map.key}.recursive`,
      'writable is not supported: what is mounted below a read-only bind is read-only',
    );
  return value === 'disabled' ? false : undefined;
}

/** File permissions, octal as chmod has them: 1777, 0o1777, "0755". */
function readMode(options: Section): number | undefined {
  const text = options.text('mode');
  if (text === undefined) return undefined;
  const mode = parseMode(text);
  if (mode === undefined)
    options.problems.error(
      options.map,
      `${options.map.key}.mode`,
      `'${text}': octal permissions such as 1777 are expected`,
    );
  return mode;
}

function parseMode(text: string): number | undefined {
  return /^(?:0o?)?[0-7]{1,4}$/.test(text) ? Number.parseInt(text.replace(/^0o/, ''), 8) : undefined;
}

/** `tmpfs: /run` or a list; options after a colon as mount(8) has them: size=64m,mode=1777. */
function readTmpfs(service: Section): MountSpec[] {
  const value = service.take('tmpfs');
  if (value === undefined) return [];
  const items = value.kind === 'list' ? value.items : [value];
  return items.flatMap((item) => {
    const text = service.textOf(item);
    if (text === undefined) return [];
    const [target = '', options = ''] = text.split(':');
    const found = (options === '' ? [] : options.split(',')).map((option) => {
      const parsed = parseTmpfsOption(option);
      if (parsed === undefined) service.problems.error(item, item.key, `'${option}': ${TMPFS_OPTIONS}`);
      return parsed;
    });
    return [Object.assign({ kind: 'tmpfs', target, readOnly: false }, ...found) as MountSpec];
  });
}

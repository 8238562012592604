/** The tables of docs/compose.md, made from what the conversion does with each key. SHOAL_WRITE_DOCS=1 writes them. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { parse, stringify } from 'yaml';
import { convertStack, type StackConversion } from '../../../manager/stack/index.ts';
import { checkoutDir } from '../../harness/peers.ts';
import {
  type KeySample,
  MOUNT_KEYS,
  NESTED_KEYS,
  NETWORK_KEYS,
  PORT_KEYS,
  SERVICE_KEYS,
  TOP_KEYS,
  VOLUME_KEYS,
} from './compose-keys.ts';

type Tree = Record<string, unknown>;

const FILES = { 'more.yaml': 'services: {base: {image: a, user: them}}', 'a.env': 'A=b\n', '.env': null };

/** A file to which a key is added; other services and names are there for what refers to them. */
function base(): Tree {
  return {
    services: { web: { image: 'a' }, other: { image: 'b', networks: ['front'], volumes: ['data:/d'] } },
    networks: { front: { ipam: { config: [{ subnet: '10.0.0.0/24' }] } } },
    volumes: { data: null, spare: null },
    secrets: { old: { external: true } },
    configs: { old: { external: true } },
  };
}

function setAt(tree: Tree, keys: readonly string[], value: unknown): Tree {
  const [first = '', ...rest] = keys;
  if (rest.length === 0) return { ...tree, [first]: value };
  return { ...tree, [first]: setAt((tree[first] ?? {}) as Tree, rest, value) };
}

function convert(tree: Tree): StackConversion {
  return convertStack({ stack: 's', compose: stringify(tree), variables: {}, files: FILES });
}

interface Outcome {
  readonly support: string;
  readonly note: string;
  readonly changes: boolean;
}

/** What is said with the sample and was not said without it. */
function outcome(without: Tree, withKey: Tree): Outcome {
  const [before, after] = [convert(without), convert(withKey)];
  const known = new Set(before.problems.map(({ message }) => message));
  const said = after.problems.filter(({ message }) => !known.has(message));
  const [worst] = [...said].sort((a, b) => a.severity.localeCompare(b.severity));
  const result = ({ services, networks, files }: StackConversion): string =>
    JSON.stringify([
      files.map(({ kind, name, spec }) => [kind, name, spec]),
      services.map(({ key, spec }) => [key, spec]),
      networks.map(({ name, spec }) => [name, spec]),
    ]);
  return {
    support: worst === undefined ? 'honoured' : worst.severity === 'error' ? 'refused' : 'warned about',
    note: worst?.message ?? '',
    changes: result(before) !== result(after),
  };
}

interface Group {
  readonly title: string;
  readonly keys: readonly KeySample[];
  /** The file without the key, and with it. */
  readonly files: (sample: KeySample) => readonly [Tree, Tree];
}

function within(...keys: readonly string[]): Group['files'] {
  return (sample) => {
    const tree = sample.key.startsWith('depends_on.') ? dependent() : base();
    return [tree, setAt(tree, [...keys, ...sample.key.split('.')], parse(sample.sample))];
  };
}

function dependent(): Tree {
  return setAt(base(), ['services', 'web', 'depends_on', 'other'], { condition: 'service_started' });
}

/** As the only entry of a list, beside what such an entry needs. */
function entryOf(list: string, needed: (sample: KeySample) => Tree): Group['files'] {
  return (sample) => {
    const entry = needed(sample);
    const place = (value: Tree): Tree => setAt(base(), ['services', 'web', list], [value]);
    return [place(entry), place(setAt(entry, sample.key.split('.'), parse(sample.sample)))];
  };
}

function neededByMount({ key }: KeySample): Tree {
  if (key.startsWith('bind.')) return { type: 'bind', source: '/a', target: '/t' };
  if (key.startsWith('image.')) return { type: 'image', source: 'b', target: '/t' };
  if (key.startsWith('tmpfs.')) return { type: 'tmpfs', target: '/t' };
  return { type: key === 'type' ? 'bind' : 'volume', source: 'data', target: '/t' };
}

function ofNetwork(sample: KeySample): readonly [Tree, Tree] {
  const keys = sample.key.split('.');
  const value: unknown = parse(sample.sample);
  const at = ['networks', 'front'];
  if (keys[1] !== 'config') return within(...at)(sample);
  const [, , name = ''] = keys;
  const subnet = name === 'subnet' ? {} : { subnet: '10.1.0.0/24' };
  const without = name === 'subnet' ? base() : setAt(base(), [...at, 'ipam', 'config'], [subnet]);
  return [without, setAt(base(), [...at, 'ipam', 'config'], [{ ...subnet, [name]: value }])];
}

/** A mapping stands beside what the file has under that key. */
function ofTop(sample: KeySample): readonly [Tree, Tree] {
  const tree = base();
  const value: unknown = parse(sample.sample);
  const isMap = typeof value === 'object' && !Array.isArray(value);
  return [tree, { ...tree, [sample.key]: isMap ? { ...asTree(tree[sample.key]), ...asTree(value) } : value }];
}

function asTree(value: unknown): Tree {
  return typeof value === 'object' && value !== null ? (value as Tree) : {};
}

const GROUPS: readonly Group[] = [
  { title: 'top', keys: TOP_KEYS, files: ofTop },
  { title: 'service', keys: SERVICE_KEYS, files: within('services', 'web') },
  { title: 'nested', keys: NESTED_KEYS, files: within('services', 'web') },
  {
    title: 'ports',
    keys: PORT_KEYS,
    files: entryOf('ports', ({ key }) => ({
      target: 80,
      published: 80,
      ...(key === 'target' ? { target: 79 } : {}),
    })),
  },
  { title: 'mounts', keys: MOUNT_KEYS, files: entryOf('volumes', neededByMount) },
  { title: 'networks', keys: NETWORK_KEYS, files: ofNetwork },
  { title: 'volumes', keys: VOLUME_KEYS, files: within('volumes', 'data') },
];

function rowsOf(group: Group): { sample: KeySample; outcome: Outcome }[] {
  return group.keys.map((sample) => ({ sample, outcome: outcome(...group.files(sample)) }));
}

for (const group of GROUPS) {
  test(`${group.title}: each key is known, and none that is honoured is dropped`, (t) => {
    for (const { sample, outcome: found } of rowsOf(group)) {
      t.notRegex(found.note, /unknown key|is expected, not|is missing/, sample.key);
      if (found.support !== 'honoured') continue;
      t.is(found.changes, sample.idle !== true, `${sample.key} is honoured: the services must show it`);
    }
  });
}

test('the tables of docs/compose.md say what the conversion does', async (t) => {
  const file = path.join(checkoutDir(), 'docs', 'compose.md');
  const text = await readFile(file, 'utf8');
  let expected = text;
  for (const group of GROUPS) {
    const rows = rowsOf(group).map(({ sample, outcome: found }) => {
      const note = found.support === 'honoured' ? sample.note : found.note;
      return `| \`${sample.key.replace(/^(networks|depends_on)\.\w+\./, '$1.NAME.')}\` | ${found.support} | ${note} |`;
    });
    const table = ['| key | | |', '|---|---|---|', ...rows].join('\n');
    const block = new RegExp(`(<!-- keys: ${group.title} -->\n)[\\s\\S]*?(\n<!-- end -->)`);
    t.regex(text, block, `the table ${group.title} is missing`);
    expected = expected.replace(block, (_all, start: string, end: string) => `${start}${table}${end}`);
  }
  if (process.env['SHOAL_WRITE_DOCS'] === '1') await writeFile(file, expected);
  t.is(process.env['SHOAL_WRITE_DOCS'] === '1' ? expected : text, expected);
});

/** One compose file over another, by the rules of the compose specification (13-merge), !reset and !override included. */
import {
  childKey,
  isNull,
  type ListValue,
  type MapEntry,
  type MapValue,
  placeOnly,
  type Value,
} from './value.ts';

/** Where names are the user's: they count as `*` in the patterns below. */
const NAMED = new Set([
  'services',
  'networks',
  'volumes',
  'secrets',
  'configs',
  'services.*.networks',
  'services.*.ulimits',
]);

type Rule = 'replace' | 'pairs' | 'names' | 'texts' | 'ports' | 'targets' | 'logging';

const RULES: Readonly<Record<string, Rule>> = {
  'services.*.command': 'replace',
  'services.*.entrypoint': 'replace',
  'services.*.healthcheck.test': 'replace',
  'services.*.environment': 'pairs',
  'services.*.labels': 'pairs',
  'services.*.annotations': 'pairs',
  'services.*.sysctls': 'pairs',
  'services.*.deploy.labels': 'pairs',
  'services.*.build.args': 'pairs',
  'networks.*.labels': 'pairs',
  'volumes.*.labels': 'pairs',
  'secrets.*.labels': 'pairs',
  'configs.*.labels': 'pairs',
  'services.*.networks': 'names',
  'services.*.depends_on': 'names',
  'services.*.dns': 'texts',
  'services.*.dns_search': 'texts',
  'services.*.dns_opt': 'texts',
  'services.*.tmpfs': 'texts',
  'services.*.env_file': 'texts',
  'services.*.label_file': 'texts',
  'services.*.ports': 'ports',
  'services.*.volumes': 'targets',
  'services.*.devices': 'targets',
  'services.*.secrets': 'targets',
  'services.*.configs': 'targets',
  'services.*.logging': 'logging',
};

/** `over` wins. `pattern` says where both stand: '' for whole files, 'services.*' for services. */
export function mergeValues(base: Value, over: Value, pattern = ''): Value {
  if (over.tag === 'override') return settle(over);
  const rule = Object.hasOwn(RULES, pattern) ? RULES[pattern] : undefined;
  if (isNull(over) && base.kind !== 'scalar') return settle(base);
  switch (rule) {
    case 'replace':
      return settle(over);
    case 'pairs':
      return mergeMaps(pairsOf(base), pairsOf(over), pattern);
    case 'names':
      return mergeMaps(namesOf(base, pattern), namesOf(over, pattern), pattern);
    case 'texts':
      return appended(listOf(base), listOf(over), textKey);
    case 'ports':
      return appended(listOf(base), listOf(over), portKey);
    case 'targets':
      return appended(listOf(base), listOf(over), targetKey);
    case 'logging':
      return sameDriver(base, over) ? mergeMaps(base, over, pattern) : settle(over);
    case undefined:
      if (base.kind === 'list' && over.kind === 'list') return appended(base, over, textKey);
      return mergeMaps(base, over, pattern);
  }
}

/** A value that nothing lies under: what is reset is not there. */
export function settle(value: Value): Value {
  if (value.kind === 'list')
    return { ...value, items: value.items.filter((item) => item.tag !== 'reset').map(settle) };
  if (value.kind !== 'map') return value;
  const entries = new Map<string, MapEntry>();
  for (const [name, entry] of value.entries) {
    if (entry.value.tag !== 'reset') entries.set(name, { ...entry, value: settle(entry.value) });
  }
  return { ...value, entries };
}

/** What is no mapping on either side is replaced. */
function mergeMaps(base: Value, over: Value, pattern: string): Value {
  if (base.kind !== 'map' || over.kind !== 'map') return settle(over);
  const entries = new Map((settle(base) as MapValue).entries);
  for (const [name, entry] of over.entries) {
    const below = entries.get(name);
    if (entry.value.tag === 'reset') entries.delete(name);
    else if (below === undefined) entries.set(name, { ...entry, value: settle(entry.value) });
    else {
      const value = mergeValues(below.value, entry.value, patternOf(pattern, name));
      entries.set(name, { name, at: entry.at, value });
    }
  }
  return { ...over, entries };
}

function patternOf(pattern: string, name: string): string {
  return childKey(pattern, NAMED.has(pattern) ? '*' : name);
}

function listOf(value: Value): ListValue {
  return value.kind === 'list'
    ? value
    : { kind: 'list', items: isNull(value) ? [] : [value], ...placeOnly(value) };
}

/** The base's items, then those of `over`; one that has the key of another takes its place. */
function appended(base: ListValue, over: ListValue, keyOf: (item: Value) => string): ListValue {
  const items = new Map<string, Value>();
  for (const item of [...base.items, ...over.items]) {
    if (item.tag !== 'reset') items.set(keyOf(item), settle(item));
  }
  return { ...over, items: [...items.values()] };
}

/** ["A=b"] as {A: b}. */
function pairsOf(value: Value): Value {
  if (value.kind !== 'list') return value;
  return mapOf(value, (item) => {
    const text = item.kind === 'scalar' ? item.text : '';
    const at = text.indexOf('=');
    const rest = at < 0 ? null : text.slice(at + 1);
    return [
      at < 0 ? text : text.slice(0, at),
      { kind: 'scalar', value: rest, text: rest ?? '', ...placeOnly(item) },
    ];
  });
}

/** ["front"] as {front: nothing}; depends_on's list means that the service was started. */
function namesOf(value: Value, pattern: string): Value {
  if (value.kind !== 'list') return value;
  const nothing = (item: Value): Value => ({ kind: 'scalar', value: null, text: '', ...placeOnly(item) });
  const started = (item: Value): Value => {
    const at = placeOnly(item);
    const condition: Value = { kind: 'scalar', value: 'service_started', text: 'service_started', ...at };
    return {
      kind: 'map',
      entries: new Map([['condition', { name: 'condition', at, value: condition }]]),
      ...at,
    };
  };
  const make = pattern.endsWith('.depends_on') ? started : nothing;
  return mapOf(value, (item) => [item.kind === 'scalar' ? item.text : '', make(item)]);
}

function mapOf(list: ListValue, pairOf: (item: Value) => [string, Value]): MapValue {
  const entries = new Map<string, MapEntry>();
  for (const item of list.items) {
    const [name, value] = pairOf(item);
    entries.set(name, { name, at: placeOnly(item), value });
  }
  return { kind: 'map', entries, ...placeOnly(list) };
}

/** A value without its places. */
export function plain(value: Value): unknown {
  if (value.kind === 'scalar') return value.value === null ? null : value.text;
  if (value.kind === 'list') return value.items.map(plain);
  return Object.fromEntries([...value.entries.values()].map((entry) => [entry.name, plain(entry.value)]));
}

function textKey(item: Value): string {
  return JSON.stringify(plain(item));
}

function fieldOf(item: MapValue, name: string): string {
  const value = item.entries.get(name)?.value;
  return value?.kind === 'scalar' ? value.text : '';
}

/** Address, published, target and protocol make a port. */
function portKey(item: Value): string {
  if (item.kind === 'map') {
    const [address, published, target] = ['host_ip', 'published', 'target'].map((name) =>
      fieldOf(item, name),
    );
    return `${address}:${published}:${target}/${fieldOf(item, 'protocol') || 'tcp'}`;
  }
  const text = item.kind === 'scalar' ? item.text : textKey(item);
  const [ports = '', protocol = 'tcp'] = text.split('/');
  const parts = ports.split(':');
  const target = parts.pop() ?? '';
  const published = parts.pop() ?? '';
  return `${parts.join(':')}:${published}:${target}/${protocol}`;
}

/** The path in the container is what a mount and a device have for themselves. */
function targetKey(item: Value): string {
  if (item.kind === 'map') return fieldOf(item, 'target') || fieldOf(item, 'source') || textKey(item);
  const [source = '', target] = item.kind === 'scalar' ? item.text.split(':') : [textKey(item)];
  return target ?? source;
}

function sameDriver(base: Value, over: Value): boolean {
  if (base.kind !== 'map' || over.kind !== 'map') return false;
  return !over.entries.has('driver') || fieldOf(base, 'driver') === fieldOf(over, 'driver');
}

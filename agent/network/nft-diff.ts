/** The nftables part of a difference: one transaction, in which only what differs is touched. */
import { type Chain, type KernelObject, keyOf, type Scope } from './kernel-object.ts';

type NftObject = Extract<KernelObject, { table: string; type: 'table' | 'set' | 'chain' | 'element' }>;
type Element = Extract<KernelObject, { type: 'element' }>;

function isNft(object: KernelObject): object is NftObject {
  return (
    object.type === 'table' || object.type === 'set' || object.type === 'chain' || object.type === 'element'
  );
}

/**
 * `wanted` is made or changed, `stale` goes. Empty when neither has anything of nftables. An observed table that is not
 * wanted is removed whole.
 */
export function nftCommands(
  observed: Scope,
  wanted: readonly KernelObject[],
  stale: readonly KernelObject[],
): string {
  const gone = stale.filter(isNft);
  const changed = wanted.filter(isNft);
  const chains = changed.filter((object) => object.type === 'chain');
  const elements = changed.filter((object) => object.type === 'element');
  const outdated = elements.flatMap((element) => {
    const before = observed.get(keyOf(element));
    return before?.type === 'element' ? [before] : [];
  });
  const tablesGone = new Set(gone.filter((object) => object.type === 'table').map((object) => object.table));
  const leftovers = gone.filter((object) => !tablesGone.has(object.table));
  const lines = [
    ...changed.filter((object) => object.type === 'table').map(({ table }) => `add table ${familied(table)}`),
    ...changed.filter((object) => object.type === 'set').map(addSet),
    ...chains.map((chain) => declareChain(chain)),
    ...elementLines('delete', [...outdated, ...leftovers.filter((object) => object.type === 'element')]),
    ...chains.flatMap((chain) => fillChain(chain, observed.has(keyOf(chain)))),
    ...elementLines('add', elements),
    ...leftovers.filter((object) => object.type === 'chain').flatMap(removeChain),
    ...leftovers
      .filter((o) => o.type === 'set')
      .map((set) => `delete set ${familied(set.table)} ${set.name}`),
    ...[...tablesGone].map((table) => `delete table ${familied(table)}`),
  ];
  return lines.join('\n');
}

/** With its family before it, as nft wants it. */
export function familied(table: string): string {
  return table.includes(' ') ? table : `ip ${table}`;
}

function addSet(set: Extract<KernelObject, { type: 'set' }>): string {
  const kind = set.of.includes(':') ? 'map' : 'set';
  return `add ${kind} ${familied(set.table)} ${set.name} { ${set.of.startsWith('typeof ') ? '' : 'type '}${set.of}; }`;
}

function declareChain(chain: Chain): string {
  const hook = chain.hook === undefined ? '' : ` { ${chain.hook}; policy accept; }`;
  return `add chain ${familied(chain.table)} ${chain.name}${hook}`;
}

function fillChain(chain: Chain, exists: boolean): string[] {
  const where = `${familied(chain.table)} ${chain.name}`;
  const rules = (chain.rules ?? []).map(
    (rule, index) => `add rule ${where} ${rule} comment "${chain.marks[index]}"`,
  );
  // A device that goes takes a chain hooked to it along, and no other.
  return exists || chain.dev !== undefined ? [`flush chain ${where}`, ...rules] : rules;
}

/** Emptied first: a rule of another chain that is removed as well may still lead to it. */
function removeChain(chain: Chain): string[] {
  const where = `${familied(chain.table)} ${chain.name}`;
  return [`flush chain ${where}`, `delete chain ${where}`];
}

/** One command a set. */
function elementLines(verb: 'add' | 'delete', elements: readonly Element[]): string[] {
  const texts = new Map<string, string[]>();
  for (const { table, set, key, value } of elements) {
    const name = `${familied(table)} ${set}`;
    const text = verb === 'delete' || value === undefined ? key : `${key} : ${value}`;
    const list = texts.get(name);
    if (list === undefined) texts.set(name, [text]);
    else list.push(text);
  }
  return [...texts].map(([name, members]) => `${verb} element ${name} { ${members.join(', ')} }`);
}

/**
 * PURE. How new connections to one address are spread over its backends: the address has numbered slots in a map, each
 * with a backend, and one chain for each number of slots chooses one. A change of backends changes elements of maps;
 * rules are made when the first service of a size comes, and go with the last.
 */
import type { Balance } from '../../shared/model/index.ts';
import { hashOf } from './hash.ts';
import { type Chain, chain, type KernelObject } from './kernel-object.ts';

/** Numbers of slots of a source-hash, primes as the table's making needs, each about four times the one before. */
const TABLE_SIZES = [61, 251, 1021, 4093, 16_381] as const;
/** So many slots a backend keep the shares of a source-hash within a few per cent of one another. */
const SLOTS_A_BACKEND = 16;
/** So many slots at most, where numbers of them give the shares exactly. */
const MOST_EXACT = 1000;
/** One per cent is several slots. */
const LEAST_FOR_SHARES = 1000;
const ROUNDING = 1e-9;
/** The same on every node: a client comes to the same backend through any. */
const HASH_SEED = 0x51_0a_1b;

/**
 * Chains for so many slots are always there. The kernel looks at all elements of the map when a rule that looks it up comes
 * in a new chain (nf_tables_bind_set): 20 ms at 100,000 of them, nothing while there are none.
 */
const STANDING = 16;

/** Above all numbers of slots: added to those of hash chains. */
const HASHED = 65_536;

/** Who new connections go to. Texts are distinct. */
export interface Backends<T = string> {
  /** Nothing goes to canaries while this is empty. */
  readonly own: readonly T[];
  /** `share`: per cent of the connections, for all of them together. */
  readonly canaries: readonly { readonly share: number; readonly members: readonly T[] }[];
}

/** What a chain looks up and where: `key` and `backends` are of nft's language. */
export interface Dispatcher {
  readonly ip: 'ip' | 'ip6';
  readonly table: string;
  /** What the names of its chains begin with. */
  readonly prefix: string;
  /** The expression that stands for the address or port asked for: the first part of a slot's key. */
  readonly key: string;
  readonly backends: string;
  /** Goes before the choice, e.g. the protocol. */
  readonly condition: string;
  /**
   * A map from numbers to chains: an address is then led to a number. With its chain as its own verdict the kernel looks at
   * all addresses whenever that of one changes (nft_lookup_validate): 0.7 ms at 10,000 of them.
   */
  readonly choices?: string;
}

export interface Choice {
  readonly objects: readonly KernelObject[];
  /** What the address or port is led to: the value of its own element. */
  readonly value: string;
}

/** A chain that chooses, and what stands for it in `choices`. */
interface Choosing {
  readonly chain: Chain;
  readonly number: number;
}

/** nft's type for the keys of a dispatcher's slots. */
export function slotKey(key: string): string {
  return `typeof ${key} . numgen random mod 65536`;
}

/** The chains for the usual numbers of slots. */
export function standingChains(dispatcher: Dispatcher): KernelObject[] {
  return Array.from({ length: STANDING }, (_, index) =>
    choosingObjects(dispatcher, pickChain(dispatcher, index + 1)),
  ).flat();
}

/** The chain and the slots for one address or port. There is at least one backend. */
export function choose(
  dispatcher: Dispatcher,
  subject: string,
  backends: Backends,
  balance: Balance = 'random',
): Choice {
  const { table, backends: set } = dispatcher;
  const slots = slotsOf(backends, balance);
  const hashed = balance === 'source-hash' && slots.length > 1;
  const choosing = hashed ? hashChain(dispatcher, slots.length) : pickChain(dispatcher, slots.length);
  return {
    objects: [
      ...choosingObjects(dispatcher, choosing),
      ...slots.map(
        (value, slot): KernelObject => ({ type: 'element', table, set, key: `${subject} . ${slot}`, value }),
      ),
    ],
    value: dispatcher.choices === undefined ? `goto ${choosing.chain.name}` : String(choosing.number),
  };
}

function choosingObjects({ table, choices }: Dispatcher, { chain: own, number }: Choosing): KernelObject[] {
  if (choices === undefined) return [own];
  const value = `goto ${own.name}`;
  return [own, { type: 'element', table, set: choices, key: String(number), value }];
}

function pickChain(dispatcher: Dispatcher, slots: number): Choosing {
  return { chain: chooseBy(dispatcher, `pick_${slots}`, `numgen random mod ${slots}`), number: slots };
}

function hashChain(dispatcher: Dispatcher, slots: number): Choosing {
  const seed = `0x${HASH_SEED.toString(16)}`;
  const index = `jhash ${dispatcher.ip} saddr mod ${slots} seed ${seed}`;
  return { chain: chooseBy(dispatcher, `hash_${slots}`, index), number: HASHED + slots };
}

function chooseBy(
  { ip, table, prefix, key, backends, condition, choices }: Dispatcher,
  name: string,
  index: string,
): Chain {
  // The number has led here, and is no mark for routing.
  const first = choices === undefined ? condition : `meta mark set 0 ${condition}`;
  return chain(table, `${prefix}${name}`, [`${first}dnat ${ip} to ${key} . ${index} map @${backends}`]);
}

function slotsOf({ own, canaries }: Backends, balance: Balance): string[] {
  const there = canaries.filter(({ members }) => members.length > 0);
  if (there.length === 0) return balance === 'random' ? [...own].sort() : hashSlots(own);
  const given = there.reduce((sum, { share }) => sum + share, 0);
  // However much is asked for, the service itself keeps something.
  const shares = [{ share: Math.max(1, 100 - given), members: own }, ...there];
  // Whole numbers, so that few slots may do.
  const unit = shares.reduce((product, { members }) => leastMultiple(product, members.length), 1);
  const weights = new Map(
    shares.flatMap(({ share, members }) => members.map((name) => [name, (share * unit) / members.length])),
  );
  const common = [...weights.values()].reduce(greatestDivisor);
  const exact = sumOf(weights) / common;
  if (balance === 'source-hash' || exact > MOST_EXACT) return tableOf(weights, LEAST_FOR_SHARES);
  return [...weights].sort().flatMap(([name, weight]) => Array.from({ length: weight / common }, () => name));
}

function sumOf(weights: ReadonlyMap<string, number>): number {
  return [...weights.values()].reduce((sum, weight) => sum + weight, 0);
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

function leastMultiple(a: number, b: number): number {
  return (a / greatestDivisor(a, b)) * b;
}

/** All of the backends have as many slots. */
export function hashSlots(backends: readonly string[]): string[] {
  return backends.length < 2 ? [...backends] : tableOf(new Map(backends.map((name) => [name, 1])));
}

/**
 * Maglev's table (Eisenbud et al., NSDI 2016, 3.4): each backend fills slots in an order of its own, in turns, which come by
 * its weight. When one comes or goes few slots besides its own change hands.
 */
function tableOf(weights: ReadonlyMap<string, number>, least = 0): string[] {
  const sum = sumOf(weights);
  const most = Math.max(...weights.values());
  const wanted = Math.max(least, (sum / Math.min(...weights.values())) * SLOTS_A_BACKEND);
  const size = TABLE_SIZES.find((one) => one >= wanted) ?? TABLE_SIZES[TABLE_SIZES.length - 1] ?? 1;
  const slots: (string | undefined)[] = Array.from({ length: size });
  const cursors = [...weights].sort().map(([name, weight]) => ({
    name,
    turns: 0,
    weight: weight / most,
    left: Math.ceil((size * weight) / sum),
    at: hashOf(`${name} offset`) % size,
    step: 1 + (hashOf(`${name} step`) % (size - 1)),
  }));
  for (let filled = 0; filled < size; ) {
    for (const cursor of cursors) {
      if (filled === size) break;
      cursor.turns += cursor.weight;
      if (cursor.turns < 1 - ROUNDING || cursor.left === 0) continue;
      cursor.turns -= 1;
      cursor.left -= 1;
      while (slots[cursor.at] !== undefined) cursor.at = (cursor.at + cursor.step) % size;
      slots[cursor.at] = cursor.name;
      filled += 1;
    }
  }
  return slots.flatMap((name) => name ?? []);
}

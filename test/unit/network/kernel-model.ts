/** A kernel that is a map: it obeys the operations and nft commands of a difference, and refuses what a real one would. */
import type { NetOp } from '../../../agent/network/diff.ts';
import { type KernelObject, keyOf } from '../../../agent/network/kernel-object.ts';

const ADDS: Readonly<Record<string, KernelObject['type']>> = {
  'addr-add': 'address',
  'route-add': 'route',
  'rule-add': 'rule',
  'neigh-add': 'neighbour',
  'fdb-add': 'fdb',
  'rate-add': 'rate',
  'wg-peer-add': 'wg-peer',
  'fast-path-add': 'fast-path',
  sysctl: 'sysctl',
};

const DELETES: Readonly<Record<string, KernelObject['type']>> = {
  'addr-del': 'address',
  'route-del': 'route',
  'rule-del': 'rule',
  'neigh-del': 'neighbour',
  'fdb-del': 'fdb',
  'rate-del': 'rate',
  'wg-peer-del': 'wg-peer',
  'fast-path-del': 'fast-path',
};

export class KernelModel {
  readonly objects: Map<string, KernelObject>;

  constructor(objects: ReadonlyMap<string, KernelObject>) {
    this.objects = new Map(objects);
  }

  run(op: NetOp): void {
    const { op: verb, optional: _, ...fields } = op;
    const adds = ADDS[verb];
    const deletes = DELETES[verb];
    if (adds !== undefined) return this.#add({ type: adds, ...fields } as KernelObject);
    if (deletes !== undefined) return this.#delete({ type: deletes, ...fields } as KernelObject);
    switch (verb) {
      case 'link-add': {
        const { kind, into: __, ...link } = fields;
        return this.#add({ type: kind, ...link } as KernelObject);
      }
      case 'link-set':
        return this.#add({ type: 'veth', name: fields['name'], mtu: fields['mtu'] } as KernelObject);
      case 'link-del':
        return this.#removeDevice(String(fields['name']));
      case 'nft':
        return String(fields['commands'])
          .split('\n')
          .forEach((line) => this.#nft(line));
      default:
        throw new Error(`unknown operation ${verb}`);
    }
  }

  #add(object: KernelObject): void {
    if ('dev' in object && object.dev !== 'lo' && !this.objects.has(`link ${object.dev}`)) {
      throw new Error(`ENODEV ${object.dev} for ${keyOf(object)}`);
    }
    this.objects.set(keyOf(object), object);
  }

  /** A forwarding entry with another destination is another one. */
  #delete(object: KernelObject): void {
    const old = this.objects.get(keyOf(object));
    if (object.type === 'fdb' && old?.type === 'fdb' && object.dst !== old.dst) return;
    this.objects.delete(keyOf(object));
  }

  #removeDevice(name: string): void {
    for (const [key, object] of this.objects) {
      const isOn =
        object.type === 'sysctl' ? object.path.includes(`/${name}/`) : 'dev' in object && object.dev === name;
      if (isOn) this.objects.delete(key);
    }
    this.objects.delete(`link ${name}`);
  }

  #nft(line: string): void {
    const [verb, what, family, own = '', name = ''] = line.split(' ');
    const table = family === 'ip' ? own : `${family} ${own}`;
    if (what === 'table') return this.#nftTable(verb, table);
    if (!this.objects.has(`table ${table}`)) throw new Error(`no table: ${line}`);
    if (what === 'set' || what === 'map') return this.#nftSet(verb, table, name);
    if (what === 'chain') return this.#nftChain(verb, table, name, line);
    if (what === 'rule') return this.#nftRule(table, name, line);
    if (what === 'element') return this.#nftElements(verb, table, name, line);
    throw new Error(`unknown: ${line}`);
  }

  #nftTable(verb: string | undefined, table: string): void {
    if (verb === 'add') this.objects.set(`table ${table}`, { type: 'table', table });
    else for (const [key, o] of this.objects) if ('table' in o && o.table === table) this.objects.delete(key);
  }

  #nftSet(verb: string | undefined, table: string, name: string): void {
    if (verb === 'add') this.#add({ type: 'set', table, name, of: '' });
    else this.objects.delete(`set ${table} ${name}`);
  }

  #nftChain(verb: string | undefined, table: string, name: string, line: string): void {
    const key = `chain ${table} ${name}`;
    if (verb === 'add' && !this.objects.has(key)) this.#add({ type: 'chain', table, name, marks: [] });
    if (verb === 'flush') this.#add({ type: 'chain', table, name, marks: [] });
    if (verb !== 'delete') return;
    const used = [...this.objects.values()].some(
      (o) => o.type === 'element' && o.table === table && o.value === `goto ${name}`,
    );
    if (used) throw new Error(`EBUSY: ${line}`);
    this.objects.delete(key);
  }

  #nftRule(table: string, name: string, line: string): void {
    const chain = this.objects.get(`chain ${table} ${name}`);
    if (chain?.type !== 'chain') throw new Error(`no chain: ${line}`);
    const mark = /comment "([^"]*)"$/.exec(line)?.[1] ?? '';
    this.objects.set(keyOf(chain), { ...chain, marks: [...chain.marks, mark] });
  }

  #nftElements(verb: string | undefined, table: string, set: string, line: string): void {
    if (!this.objects.has(`set ${table} ${set}`)) throw new Error(`no set: ${line}`);
    const list = /\{ (.*) \}/.exec(line)?.[1]?.split(', ') ?? [];
    for (const text of list) {
      // A MAC address has colons too, but no spaces around them.
      const [key = '', value] = text.split(' : ');
      const id = `element ${table} ${set} ${key}`;
      if (verb === 'delete') {
        if (!this.objects.delete(id)) throw new Error(`ENOENT: ${line}`);
      } else {
        if (this.objects.has(id)) throw new Error(`EEXIST: ${line}`);
        const target = value?.startsWith('goto ') ? value.slice(5) : undefined;
        if (target !== undefined && !this.objects.has(`chain ${table} ${target}`))
          throw new Error(`ENOENT: ${line}`);
        this.objects.set(id, { type: 'element', table, set, key, ...(value === undefined ? {} : { value }) });
      }
    }
  }
}

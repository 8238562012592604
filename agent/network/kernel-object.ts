/**
 * Kernel objects as data. Each has a key, which says what it is, and a fingerprint, which says how it is; the same key
 * with another fingerprint is a change.
 */
import { assertNever } from '../../shared/lib/assert-never.ts';

export type KernelObject =
  | {
      readonly type: 'sysctl';
      readonly path: string;
      readonly value: string;
      /** Its device is born with it: only written when it is read back as another. */
      readonly born?: true;
    }
  | {
      readonly type: 'vxlan';
      readonly name: string;
      readonly id: number;
      readonly port: number;
      /** Absent: that of the route to each node. */
      readonly local?: string;
      readonly mtu: number;
      readonly mac: string;
      /** Only of an observed one. */
      readonly down?: true;
    }
  | {
      readonly type: 'veth';
      readonly name: string;
      readonly mtu: number;
      readonly down?: true;
      /**
       * How to make it; absent for an observed one, and where the other end's scope makes it. `netns` is a path. `up` is false
       * where something else sets the other end up.
       */
      readonly peer?: {
        readonly name: string;
        readonly netns: string;
        readonly mtu: number;
        readonly mac?: string;
        readonly up?: false;
      };
    }
  /** On the host. The alias says whose it is. */
  | {
      readonly type: 'vlan';
      readonly name: string;
      /** The device below. */
      readonly link: string;
      readonly id: number;
      readonly alias: string;
      readonly down?: true;
    }
  | {
      readonly type: 'wireguard';
      readonly name: string;
      readonly mtu: number;
      readonly port: number;
      readonly publicKey: string;
      /** Absent in an observed one. */
      readonly keyFile?: string;
      readonly down?: true;
    }
  | {
      readonly type: 'wg-peer';
      readonly dev: string;
      readonly publicKey: string;
      readonly address: string;
      readonly port: number;
      /** The one subnet that it may send from and is sent to. */
      readonly allowed: string;
    }
  | { readonly type: 'address'; readonly dev: string; readonly address: string }
  | {
      readonly type: 'neighbour';
      readonly dev: string;
      readonly address: string;
      readonly mac: string;
    }
  | { readonly type: 'fdb'; readonly dev: string; readonly mac: string; readonly dst: string }
  /** How fast a device sends. */
  | { readonly type: 'rate'; readonly dev: string; readonly bytesPerSecond: number }
  | {
      readonly type: 'route';
      readonly dst: string;
      readonly table: number;
      readonly dev: string;
      readonly via?: string;
      readonly onlink?: boolean;
      readonly src?: string;
      /** What comes by the device is for this machine. */
      readonly local?: true;
      /** Of a local one. */
      readonly metric?: number;
    }
  | {
      readonly type: 'rule';
      readonly priority: number;
      readonly table: number;
      readonly fwmark?: number;
      readonly from?: string;
      readonly ipv6?: true;
    }
  /** A table's name; with `ip6 ` or `netdev ` before it, that of one of this family. */
  | { readonly type: 'table'; readonly table: string }
  | {
      readonly type: 'set';
      readonly table: string;
      readonly name: string;
      /** nft's type or `typeof EXPRESSION`, with ` : DATA` for a map. Never changes for a name: read back it is not compared. */
      readonly of: string;
    }
  | {
      readonly type: 'chain';
      readonly table: string;
      readonly name: string;
      /** Hook and priority; absent for a chain that is only jumped to. */
      readonly hook?: string;
      /** Absent in an observed one. */
      readonly rules?: readonly string[];
      /** One mark a rule, kept as the rule's comment, by which an observed rule is recognised. */
      readonly marks: readonly string[];
      /** The device whose number its rules know: they are made anew with it. */
      readonly dev?: string;
    }
  /** Made with a container's device and never later; only the kernel knows what passed before. */
  | {
      readonly type: 'fast-path';
      readonly dev: string;
      readonly table: string;
      readonly ways: readonly FastWay[];
    }
  | {
      readonly type: 'element';
      readonly table: string;
      readonly set: string;
      readonly key: string;
      readonly value?: string;
    };

/** A container's address, with the names of what is for its family: fast-path.ts. */
export interface FastWay {
  readonly address: string;
  readonly chain: string;
  readonly here: string;
  readonly translated: string;
}

export type Chain = Extract<KernelObject, { type: 'chain' }>;

/** What one network namespace holds, by key. */
export type Scope = ReadonlyMap<string, KernelObject>;

export const MAIN_TABLE = 254;
export const LOCAL_TABLE = 255;

export function keyOf(object: KernelObject): string {
  switch (object.type) {
    case 'sysctl':
      return `sysctl ${object.path}`;
    case 'vxlan':
    case 'veth':
    case 'vlan':
    case 'wireguard':
      return `link ${object.name}`;
    case 'wg-peer':
      return `peer ${object.dev} ${object.publicKey}`;
    case 'address':
      return `address ${object.dev} ${object.address}`;
    case 'neighbour':
      return `neighbour ${object.dev} ${object.address}`;
    case 'fdb':
      return `fdb ${object.dev} ${object.mac}`;
    case 'rate':
      return `rate ${object.dev}`;
    case 'route':
      return `route ${object.table} ${object.dst}`;
    case 'rule':
      return `rule ${object.priority} ${object.from ?? ''} ${object.fwmark ?? ''}${object.ipv6 === true ? ' ipv6' : ''}`;
    case 'table':
      return `table ${object.table}`;
    case 'set':
      return `set ${object.table} ${object.name}`;
    case 'chain':
      return `chain ${object.table} ${object.name}`;
    case 'fast-path':
      return `fast-path ${object.dev}`;
    case 'element':
      return `element ${object.table} ${object.set} ${object.key}`;
    default:
      return assertNever(object);
  }
}

export function fingerprintOf(object: KernelObject): string {
  switch (object.type) {
    case 'sysctl':
      return object.value;
    case 'vxlan':
      return `vxlan ${object.id} ${object.port} ${object.local ?? ''} ${object.mtu} ${object.mac} ${object.down === true}`;
    case 'veth':
      return `veth ${object.mtu} ${object.down === true}`;
    case 'vlan':
      return `vlan ${object.link} ${object.id} ${object.down === true}`;
    case 'wireguard':
      return `wireguard ${object.port} ${object.mtu} ${object.publicKey} ${object.down === true}`;
    case 'wg-peer':
      return `${object.address} ${object.port} ${object.allowed}`;
    case 'neighbour':
      return object.mac;
    case 'fdb':
      return object.dst;
    case 'rate':
      return String(object.bytesPerSecond);
    case 'route':
      return `${object.dev} ${object.via ?? ''} ${object.onlink === true} ${object.src ?? ''} ${object.metric ?? ''}`;
    case 'rule':
      return String(object.table);
    case 'chain':
      return object.marks.join(' ');
    case 'element':
      return object.value ?? '';
    case 'address':
    case 'table':
    case 'set':
    case 'fast-path':
      return '';
    default:
      return assertNever(object);
  }
}

/** A scope of these objects. Of two with one key the later stays. */
export function scopeOf(objects: Iterable<KernelObject>): Map<string, KernelObject> {
  const scope = new Map<string, KernelObject>();
  for (const object of objects) scope.set(keyOf(object), object);
  return scope;
}

/** A chain whose rules can be recognised when they are read back. */
export function chain(table: string, name: string, rules: readonly string[], hook?: string): Chain {
  const marks = rules.map(markOf);
  return { type: 'chain', table, name, rules, marks, ...(hook === undefined ? {} : { hook }) };
}

/** 53 bits of the text (cyrb53), in base 36: to recognise, not to protect. */
function markOf(text: string): string {
  let [a, b] = [0xdeadbeef, 0x41c6ce57];
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 2_654_435_761);
    b = Math.imul(b ^ code, 1_597_334_677);
  }
  a = Math.imul(a ^ (a >>> 16), 2_246_822_507) ^ Math.imul(b ^ (b >>> 13), 3_266_489_909);
  b = Math.imul(b ^ (b >>> 16), 2_246_822_507) ^ Math.imul(a ^ (a >>> 13), 3_266_489_909);
  return (4_294_967_296 * (2_097_151 & b) + (a >>> 0)).toString(36);
}

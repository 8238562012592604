/**
 * Ports of this host that other programs listen on. The mesh would lead their clients astray, for its rules come before
 * any socket; so a port that somebody listens on when it is to be published is left to him, and said so.
 */
import { readFile } from 'node:fs/promises';
import { ConflictError } from '../../shared/errors/index.ts';
import { formatAddress6 } from '../../shared/lib/cidr6.ts';
import type { TakenPort } from '../../shared/model/network-report.ts';
import type { Logger } from '../../shared/model/options.ts';
import type { ScopeChange } from './desired-tracker.ts';
import type { KernelObject, Scope } from './kernel-object.ts';

const PORT_SETS = new Map([
  ['tcp_ports', 'tcp'],
  ['udp_ports', 'udp'],
  ['tcp_bound', 'tcp'],
  ['udp_bound', 'udp'],
]);
/** Of include/net/tcp_states.h: TCP_LISTEN, and TCP_CLOSE, which a UDP socket without a peer is in. */
const LISTENING = { tcp: '0A', udp: '07' } as const;
/** As /proc/net/tcp6 writes the unspecified address, and what an IPv4 address inside IPv6 begins with. */
const ANY_IPV6 = '0'.repeat(32);
const MAPPED_IPV4 = '0000000000000000FFFF0000';

/**
 * `8080/tcp`, or `192.0.2.1:8080/tcp` or `[2001:db8::1]:8080/tcp` on one address, for the element that publishes it, else
 * undefined. Pure.
 */
function portOf(object: KernelObject | undefined): string | undefined {
  if (object?.type !== 'element') return undefined;
  const protocol = PORT_SETS.get(object.set);
  if (protocol === undefined) return undefined;
  const [port = '', address] = object.key.split(' . ').toReversed();
  return `${address === undefined ? '' : `${inBrackets(address)}:`}${port}/${protocol}`;
}

/**
 * The ports with a listener in one of the kernel's socket tables, see proc_net_tcp(5), as `8080/tcp` and, with the address,
 * as `192.0.2.1:8080/tcp` or `[2001:db8::1]:8080/tcp`. One of `::` mostly takes what comes over IPv4, too. Pure.
 */
export function listenersIn(table: string, protocol: 'tcp' | 'udp'): Set<string> {
  const found = new Set<string>();
  for (const line of table.split('\n').slice(1)) {
    const [, local = '', , state] = line.trim().split(/\s+/);
    const [address = '', port = ''] = local.split(':');
    if (state !== LISTENING[protocol]) continue;
    const name = `${Number.parseInt(port, 16)}/${protocol}`;
    const own = address.replace(MAPPED_IPV4, '');
    found.add(name).add(`${own.length === 8 ? dotted(own) : `[${colonned(own)}]`}:${name}`);
    if (address === ANY_IPV6) found.add(`0.0.0.0:${name}`);
  }
  return found;
}

function inBrackets(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

/** Four words of 32 bits, each with its last byte first. */
function colonned(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).toReversed());
  return formatAddress6(BigInt(`0x${bytes.join('')}`));
}

/** 0100007F is 127.0.0.1. */
function dotted(hex: string): string {
  return [6, 4, 2, 0].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)).join('.');
}

/** Whether somebody listens where this port, as portOf writes it, is published. */
export function isTaken(port: string, listening: ReadonlySet<string>): boolean {
  const everywhere = port.replace(/^[\d.]+:/, '0.0.0.0:').replace(/^\[.*\]:/, '[::]:');
  return listening.has(port) || listening.has(everywhere);
}

/** The listeners of this process's network namespace, as listenersIn writes them. */
export async function listeningPorts(): Promise<Set<string>> {
  const tables = (['tcp', 'udp'] as const).flatMap((protocol) =>
    ['', '6'].map(async (family) => {
      const table = await readFile(`/proc/self/net/${protocol}${family}`, 'utf8').catch(() => ''); // IPv6 may be off
      return [...listenersIn(table, protocol)];
    }),
  );
  return new Set((await Promise.all(tables)).flat());
}

/** The words for one such port. */
function portTaken(port: string): string {
  return `port ${port} is in use by another process on this node`;
}

export class ForeignPorts {
  readonly #logger: Logger;
  /** Elements that were left out, by their keys. */
  #left = new Map<string, KernelObject>();

  /** Published ports on which somebody began to listen, as said. */
  #shadowed: ReadonlySet<string> = new Set();
  #returned = false;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** All that there are, as last looked at. */
  get taken(): TakenPort[] {
    const theirs = new Set([...this.#left.values()].flatMap((object) => portOf(object) ?? []));
    return [
      ...[...theirs].map((port) => ({ port, holder: 'theirs' as const })),
      ...[...this.#shadowed].map((port) => ({ port, holder: 'ours' as const })),
    ].sort((a, b) => (a.port < b.port ? -1 : 1));
  }

  /** True when the last change publishes what had been left to others. */
  get returned(): boolean {
    return this.#returned;
  }

  /** Says which programs listen in vain: on a port that the host has published already. Each once. */
  async look(published: Scope): Promise<void> {
    const ports = [...published.values()].flatMap((object) => portOf(object) ?? []);
    const listening = ports.length === 0 ? new Set<string>() : await listeningPorts();
    const shadowed = new Set(ports.filter((port) => isTaken(port, listening)));
    for (const port of shadowed) {
      if (!this.#shadowed.has(port))
        this.#logger.error(
          { port },
          `a process on this node listens on port ${port}, which is published: it gets no connection`,
        );
    }
    this.#shadowed = shadowed;
  }

  /** The host's change without the ports that it does not hold yet and that others listen on; with those left before. */
  async leave(change: ScopeChange, observed: Scope): Promise<ScopeChange> {
    const before = this.#left;
    const objects = new Map([...(change.whole ? [] : before), ...change.objects]);
    const wanted = [...objects].filter(([key, object]) => portOf(object) !== undefined && !observed.has(key));
    this.#left = new Map();
    const known = new Set([...before.values()].flatMap((object) => portOf(object) ?? []));
    this.#returned = before.size > 0;
    if (wanted.length === 0) return change;
    const listening = await listeningPorts();
    for (const [key, object] of wanted) {
      const port = portOf(object);
      if (object === undefined || port === undefined || !isTaken(port, listening)) continue;
      this.#left.set(key, object);
      objects.delete(key);
      if (known.has(port)) continue;
      known.add(port);
      this.#logger.error({ port }, `${portTaken(port)}: it is not published here until that ends`);
    }
    this.#returned = [...before.keys()].some((key) => !this.#left.has(key));
    return { whole: change.whole, objects };
  }
}

/** Throws ConflictError when somebody else listens on one of these ports. */
export async function requireFree(ports: readonly string[]): Promise<void> {
  if (ports.length === 0) return;
  const listening = await listeningPorts();
  const taken = ports.find((port) => isTaken(port, listening));
  if (taken !== undefined) throw new ConflictError(portTaken(taken));
}

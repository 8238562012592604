/**
 * Ports of this host that other programs listen on. The mesh would lead their clients astray, for its rules come before
 * any socket; so a port that somebody listens on when it is to be published is left to him, and said so.
 */
import { readFile } from 'node:fs/promises';
import type { Logger } from '../../shared/model/options.ts';
import type { Scope } from './kernel-object.ts';

const PORT_SETS = new Map([
  ['tcp_ports', 'tcp'],
  ['udp_ports', 'udp'],
]);
/** Of include/net/tcp_states.h: TCP_LISTEN, and TCP_CLOSE, which a UDP socket without a peer is in. */
const LISTENING = { tcp: '0A', udp: '07' } as const;
/** As /proc/net/tcp6 writes the unspecified address, and what an IPv4 address inside IPv6 begins with. */
const ANY_IPV6 = '0'.repeat(32);
const MAPPED_IPV4 = '0000000000000000FFFF0000';

/** `8080/tcp` to the key of its element. Pure. */
function portElements(scope: Scope): Map<string, string> {
  const found = new Map<string, string>();
  for (const [key, object] of scope) {
    if (object.type !== 'element') continue;
    const protocol = PORT_SETS.get(object.set);
    if (protocol !== undefined) found.set(`${object.key}/${protocol}`, key);
  }
  return found;
}

/** The ports with a listener in one of the kernel's socket tables, see proc_net_tcp(5). IPv6-only ones are no matter. Pure. */
export function listenersIn(table: string, protocol: 'tcp' | 'udp'): Set<string> {
  const found = new Set<string>();
  for (const line of table.split('\n').slice(1)) {
    const [, local = '', , state] = line.trim().split(/\s+/);
    const [address = '', port = ''] = local.split(':');
    if (state !== LISTENING[protocol]) continue;
    if (address.length === 8 || address === ANY_IPV6 || address.startsWith(MAPPED_IPV4))
      found.add(`${Number.parseInt(port, 16)}/${protocol}`);
  }
  return found;
}

/** `8080/tcp` for each port of this process's network namespace that somebody listens on. */
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
export function portTaken(port: string): string {
  return `port ${port} is in use by another process on this node`;
}

export class ForeignPorts {
  readonly #logger: Logger;
  #known: ReadonlySet<string> = new Set();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** The host's scope without the ports that it does not hold yet and that others listen on. */
  async leave(desired: Scope, observed: Scope): Promise<Scope> {
    const wanted = [...portElements(desired)].filter(([, key]) => !observed.has(key));
    const listening = wanted.length === 0 ? new Set<string>() : await listeningPorts();
    const taken = new Map(wanted.filter(([port]) => listening.has(port)));
    for (const port of taken.keys()) {
      if (!this.#known.has(port))
        this.#logger.error({ port }, `${portTaken(port)}: it is not published here until that ends`);
    }
    this.#known = new Set(taken.keys());
    if (taken.size === 0) return desired;
    const left = new Set(taken.values());
    return new Map([...desired].filter(([key]) => !left.has(key)));
  }
}

/**
 * PURE. How much a container may ask its name server. All containers of a network on the node share the server's socket, and the
 * node's agent answers: one that asks without a pause would take the answers from the others, and the time from the agent.
 */
import { chain, type KernelObject } from './kernel-object.ts';

/** Who asked lately, with how much of it is left: a set that the kernel fills. */
export const ASKING = 'asking';

/** Questions have 50 to 100 bytes with their headers: 1,300 to 2,600 a second, and twice as many at once. */
const LIMIT = 'limit rate over 128 kbytes/second burst 256 kbytes';

/** Nothing that is forwarded passes this chain, only what is for the sandbox itself. TCP slows down by what is lost. */
export function questionLimit(table: string): KernelObject[] {
  const rule = `meta l4proto { tcp, udp } th dport 53 update @${ASKING} { ip saddr ${LIMIT} } drop`;
  return [
    { type: 'set', table, name: ASKING, of: 'ipv4_addr; size 65535; flags dynamic, timeout; timeout 1m' },
    chain(table, 'questions', [rule], 'type filter hook input priority filter'),
  ];
}

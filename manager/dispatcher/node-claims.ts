/**
 * What nodes say of themselves and others hold already: an address between the hosts, a host name. Follows the node records.
 * See docs/decisions/node-addresses.md.
 */
import type { Node, NodeDescription, TunnelKeys } from '../../shared/model/index.ts';
import { descriptionProblem } from './description-check.ts';

/** Values to the ids of the nodes that say them. */
class Index {
  readonly #ids = new Map<string, Set<string>>();
  readonly #values = new Map<string, string>();

  set(nodeId: string, value: string | undefined): void {
    const before = this.#values.get(nodeId);
    if (before === value) return;
    if (before !== undefined) {
      const ids = this.#ids.get(before);
      ids?.delete(nodeId);
      if (ids?.size === 0) this.#ids.delete(before);
      this.#values.delete(nodeId);
    }
    if (value === undefined) return;
    this.#values.set(nodeId, value);
    const ids = this.#ids.get(value);
    if (ids === undefined) this.#ids.set(value, new Set([nodeId]));
    else ids.add(nodeId);
  }

  others(nodeId: string, value: string): string[] {
    return [...(this.#ids.get(value) ?? [])].filter((id) => id !== nodeId);
  }
}

export class NodeClaims {
  readonly #addresses = new Index();
  readonly #hostnames = new Index();
  /** By slot. */
  readonly #keys = [new Index(), new Index()] as const;
  readonly #nodeOf: (nodeId: string) => Node | undefined;

  constructor(nodes: Iterable<Node>, nodeOf: (nodeId: string) => Node | undefined) {
    this.#nodeOf = nodeOf;
    for (const node of nodes) this.note(node.id, node);
  }

  note(nodeId: string, node: Node | undefined): void {
    this.#addresses.set(nodeId, node?.description?.address);
    this.#hostnames.set(nodeId, node?.description?.hostname);
    const keys = node?.description?.tunnelKeys?.keys ?? [];
    for (const [slot, index] of this.#keys.entries())
      index.set(nodeId, keys.find((key) => key.slot === slot)?.publicKey);
  }

  /** Why a session of this node can not be; undefined when it can. Who comes from the address that he says has it. */
  refusalOf(nodeId: string, description: NodeDescription, from: string | undefined): string | undefined {
    const problem = descriptionProblem(description, from);
    if (problem !== undefined) return problem;
    const { address, tunnelKeys } = description;
    const keyProblem = tunnelKeys === undefined ? undefined : this.keyRefusalOf(nodeId, tunnelKeys);
    if (keyProblem !== undefined) return keyProblem;
    if (address === from) return undefined;
    const [holder] = this.#ready(this.#addresses.others(nodeId, address));
    if (holder === undefined) return undefined;
    return `the address ${address} is that of node ${holder.id}: say another one with --address`;
  }

  /** Who says another's key takes away what is sent to that node. A node makes keys of its own: nobody says one by mistake. */
  keyRefusalOf(nodeId: string, { keys }: TunnelKeys): string | undefined {
    const [other] = keys.flatMap(({ publicKey }) =>
      this.#keys.flatMap((index) => index.others(nodeId, publicKey)),
    );
    return other === undefined ? undefined : `its key of encrypted networks is that of node ${other}`;
  }

  /** Of nodes that share the address with this one, which is ready: to be sent away unless their sessions come from there, too. */
  rivalsOf(node: Node): readonly string[] {
    if (node.status !== 'ready' || node.description === undefined) return [];
    return this.#addresses.others(node.id, node.description.address);
  }

  /** What people should know when two nodes have one host name. */
  nameWarning(nodeId: string, hostname: string): string | undefined {
    const [other] = this.#ready(this.#hostnames.others(nodeId, hostname));
    return other === undefined ? undefined : `node ${other.id} has the host name ${hostname}, too`;
  }

  #ready(ids: readonly string[]): Node[] {
    return ids.flatMap((id) => {
      const node = this.#nodeOf(id);
      return node?.status === 'ready' ? [node] : [];
    });
  }
}

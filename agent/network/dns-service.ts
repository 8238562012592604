/** Name servers for all sandboxes of a node, and what they know. */
import type { Logger } from '../../shared/model/options.ts';
import { describeError } from '../../shared/errors/index.ts';
import type { AssignmentSet, TaskAssignment } from '../../shared/model/index.ts';
import type { SandboxState } from './desired.ts';
import type { RowChanges } from './endpoint-index.ts';
import { answer } from './dns-answer.ts';
import { answerLink } from './dns-links.ts';
import { DnsUpstream } from './dns-upstream.ts';
import { readQuery, refusalOf, writeAnswer, writeFailure } from './dns-message.ts';
import { NameTable, type NetworkNames } from './dns-names.ts';
import { DnsServer } from './dns-server.ts';

interface Serving {
  readonly gateway: string;
  /** A network that is gone leaves its number, and while it lingers its sandbox too, to the next. */
  networkId: string;
  readonly server: DnsServer;
}

type NetnsOf = (taskId: string) => Promise<string | undefined>;

type Place = Omit<SandboxState, 'objects'>;

export class DnsService {
  readonly #logger: Logger;
  readonly #resolvers: () => readonly string[];
  readonly #servers = new Map<number, Serving>();
  readonly #upstream = new DnsUpstream();
  readonly #closing = new AbortController();
  #set: AssignmentSet | undefined;
  /** Made when first asked for, and then kept in step. */
  #names = new Map<string, NameTable>();
  #askers: ReadonlyMap<string, TaskAssignment> = new Map();

  readonly #nodeId: string;
  readonly #netnsOf: NetnsOf | undefined;

  /** `resolvers` is asked each time: the host's may change. `netnsOf` knows where the containers are. */
  constructor(nodeId: string, logger: Logger, resolvers: () => readonly string[], netnsOf?: NetnsOf) {
    this.#nodeId = nodeId;
    this.#netnsOf = netnsOf;
    this.#logger = logger;
    this.#resolvers = resolvers;
  }

  /** Answers from this set from now on, in these sandboxes. `rows`: all that differ from the last; undefined: unknown. */
  async serve(set: AssignmentSet, sandboxes: readonly Place[], rows: RowChanges | undefined): Promise<void> {
    this.#follow(set, rows);
    this.#askers = new Map(
      [...set.tasks.values()].flatMap((task) =>
        task.addresses.map(({ network, address }): [string, TaskAssignment] => [
          `${network}/${address}`,
          task,
        ]),
      ),
    );
    const moved = new Set(
      sandboxes
        .filter(({ vni, gateway }) => (this.#servers.get(vni)?.gateway ?? gateway) !== gateway)
        .map((s) => s.vni),
    );
    await this.closeFor((vni) => moved.has(vni));
    for (const { vni, networkId } of sandboxes) {
      const serving = this.#servers.get(vni);
      if (serving !== undefined) serving.networkId = networkId;
    }
    const missing = sandboxes.filter((sandbox) => !this.#servers.has(sandbox.vni));
    await Promise.all(missing.map((sandbox) => this.#listen(sandbox)));
  }

  #follow(set: AssignmentSet, rows: RowChanges | undefined): void {
    const before = this.#set;
    this.#set = set;
    for (const [id, names] of this.#names) {
      if (before === undefined || rows === undefined || set.networks.get(id) !== names.network)
        this.#names.delete(id);
      else names.update(before, set, rows);
    }
  }

  /** Lets go of sandboxes that are to be removed or made anew: an open socket would keep them alive. */
  async closeFor(condemned: (vni: number) => boolean): Promise<void> {
    const leaving = [...this.#servers].filter(([vni]) => condemned(vni));
    for (const [vni] of leaving) this.#servers.delete(vni);
    await Promise.all(leaving.map(([, { server }]) => server.close()));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.closeFor(() => true);
  }

  async #listen({ vni, netns, gateway, networkId }: Place): Promise<void> {
    try {
      const handler = (message: Buffer, from: string, overUdp: boolean): Promise<Buffer | undefined> =>
        this.#handle(this.#servers.get(vni)?.networkId ?? networkId, message, from, overUdp);
      this.#servers.set(vni, {
        gateway,
        networkId,
        server: await DnsServer.listen(netns, gateway, handler, this.#logger),
      });
    } catch (error) {
      throw new Error(`name server of ${netns}: ${describeError(error)}`, { cause: error });
    }
  }

  async #handle(
    networkId: string,
    message: Buffer,
    from: string,
    overUdp: boolean,
  ): Promise<Buffer | undefined> {
    const query = readQuery(message);
    if (query === undefined) return undefined;
    const refusal = refusalOf(query);
    if (refusal !== undefined) return writeFailure(query, refusal);
    const asker = this.#askers.get(`${networkId}/${from}`);
    const networks = this.#networksOf(asker, networkId);
    const linked = answerLink(query, asker, networks, Math.random);
    const result = linked ?? answer(query, networks, Math.random);
    if (result.kind !== 'elsewhere') return writeAnswer(query, result, overUdp);
    // A container with internal networks only has no way out, and names would be one.
    if (networks.every(({ network }) => network.internal))
      return writeAnswer(query, { kind: 'unknown' }, overUdp);
    const who = asker?.taskId ?? `${networkId}/${from}`;
    const own = asker?.spec.container.dns?.nameservers ?? [];
    const answered =
      own.length === 0
        ? this.#upstream.answer(who, message, this.#resolvers(), overUdp, this.#closing.signal)
        : this.#upstream.answer(who, message, own, overUdp, this.#closing.signal, this.#placeOf(who));
    return (await answered) ?? writeFailure(query);
  }

  /** A container's own servers are asked as it would do itself: they may be on its networks, or be localhost to it. */
  #placeOf(taskId: string): (() => Promise<string | undefined>) | undefined {
    const find = this.#netnsOf;
    return find && (() => find(taskId));
  }

  /** All networks of the asker; of one that is not known only that on which it asks. */
  #networksOf(asker: TaskAssignment | undefined, networkId: string): NetworkNames[] {
    const ids = asker === undefined ? [networkId] : asker.addresses.map(({ network }) => network);
    return ids.flatMap((id) => this.#namesOf(id) ?? []);
  }

  #namesOf(networkId: string): NetworkNames | undefined {
    const network = this.#set?.networks.get(networkId);
    const known = this.#names.get(networkId);
    if (known !== undefined || network === undefined || this.#set === undefined) return known;
    const made = new NameTable(this.#set, network, this.#nodeId);
    this.#names.set(networkId, made);
    return made;
  }
}

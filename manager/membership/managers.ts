/**
 * The managers of the cluster as this one sees them: their records, who is alive, who leads. A manager is alive while its
 * candidacy for leader is: its lease is the heartbeat, so an idle cluster writes nothing.
 */
import type { Etcd3 } from 'etcd3';
import { ConflictError, describeError, NotFoundError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import type { Logger, ManagerRecord, Node } from '../../shared/model/index.ts';
import { StaleError, type Store, type Write } from '../store/store.ts';
import { type EtcdMemberView, listMembers, memberOf, promoteMember, removeMember } from './etcd-members.ts';
import { removalProblem } from './quorum.ts';
import { readmissionWrites, removalWrites } from './removed.ts';

export interface ManagersOptions {
  readonly store: Store;
  readonly client: Etcd3;
  readonly election: { readonly leaderId: string | undefined; readonly alive: ReadonlySet<string> };
  /** This one. */
  readonly own: Pick<ManagerRecord, 'id' | 'hostname' | 'address' | 'peerUrl' | 'version' | 'schemaVersion'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface ManagerView {
  readonly record: ManagerRecord;
  readonly alive: boolean;
  readonly leads: boolean;
  /** The node that shares its machine, if there is one. */
  readonly nodeId: string | undefined;
}

const LOOK_MS = 500;
const ATTEMPTS = 5;
/** One that was let in and never came: its place is given back. */
const JOINING_FOR_MS = 3_600_000;

export class Managers {
  readonly #options: ManagersOptions;

  constructor(options: ManagersOptions) {
    this.#options = options;
  }

  get ownId(): string {
    return this.#options.own.id;
  }

  views(): ManagerView[] {
    return this.#records().map((record) => this.#view(record, this.#nodeAt(hostOf(record.address))));
  }

  /** The manager that shares the node's machine. */
  ofNode(node: Node): ManagerView | undefined {
    const host = node.description?.address;
    const record = this.#records().find((one) => hostOf(one.address) === host);
    return record === undefined ? undefined : this.#view(record, node.id);
  }

  /** The node that shares this manager's machine. */
  get ownNodeId(): string | undefined {
    return this.#nodeAt(hostOf(this.#options.own.address));
  }

  /** The node that shares the leader's machine. */
  get leaderNodeId(): string | undefined {
    const leader = this.#options.store.all('managers').get(this.#options.election.leaderId ?? '');
    return leader === undefined ? undefined : this.#nodeAt(hostOf(leader.address));
  }

  /** By id, the start of one, host name, address, or its node's id. Throws NotFoundError, ConflictError for several. */
  find(ref: string): ManagerView {
    const views = this.views();
    const exact = views.filter(({ record, nodeId }) =>
      [record.id, record.hostname, record.address, hostOf(record.address), nodeId].includes(ref),
    );
    const found = exact.length > 0 ? exact : views.filter(({ record }) => record.id.startsWith(ref));
    const [first] = found;
    if (first === undefined) throw new NotFoundError(`No such manager: ${ref} (see shoal manager ls)`);
    if (found.length > 1) throw new ConflictError(`${ref} names ${found.length} managers: say the id`);
    return first;
  }

  /** The others that are alive. */
  get peers(): ManagerRecord[] {
    const { election, own } = this.#options;
    return this.#records().filter((one) => one.id !== own.id && election.alive.has(one.id));
  }

  /** Of another manager that leads; undefined when this one does, or nobody. */
  get leaderAddress(): string | undefined {
    const { election, own, store } = this.#options;
    const { leaderId } = election;
    return leaderId === undefined || leaderId === own.id
      ? undefined
      : store.get('managers', leaderId)?.address;
  }

  /** Writes this manager's own record, unless it says all that already. */
  async register(signal: AbortSignal): Promise<void> {
    const { store, own, clock } = this.#options;
    for (let attempt = 1; ; attempt += 1) {
      const before = store.get('managers', own.id);
      if (before?.state === 'member' && sameManager(before, own)) return;
      const nowMs = clock.now();
      const value: ManagerRecord = {
        ...own,
        state: 'member',
        createdAtMs: before?.createdAtMs ?? nowMs,
        updatedAtMs: nowMs,
      };
      const expect = store.version('managers', own.id);
      try {
        const write: Write = { table: 'managers', key: own.id, value, expect };
        await store.commit([write, ...readmissionWrites(store, own.id)], { signal });
        return;
      } catch (error) {
        if (!(error instanceof StaleError) || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** Makes voters of those that join, as soon as they have caught up. Until the signal aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await delay(LOOK_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      try {
        for (const record of this.#joining()) await this.#help(record, signal);
      } catch (error) {
        if (!signal.aborted)
          this.#options.logger.warn({ error: describeError(error) }, 'a manager that joins waits');
      }
    }
  }

  /** Throws ConflictError, in words that say what to do, when the rest could not go on without it. */
  async checkRemovable({ record }: ManagerView): Promise<EtcdMemberView | undefined> {
    const { client, own, election } = this.#options;
    if (own.peerUrl === undefined) {
      if (election.alive.has(record.id)) throw new ConflictError(`${record.hostname} runs: stop it first`);
      return undefined;
    }
    const members = await listMembers(client);
    const problem = removalProblem(this.#voters(members), record.id);
    if (problem !== undefined) throw new ConflictError(problem);
    return memberOf(members, record);
  }

  /**
   * Takes a manager out for good: its etcd leaves the others, its record goes. Throws ConflictError, in words that say what to
   * do, when the rest could not go on.
   */
  async remove(ref: string, signal: AbortSignal): Promise<ManagerRecord> {
    const { client, own, logger } = this.#options;
    const view = this.find(ref);
    const { record } = view;
    const member = await this.checkRemovable(view);
    if (record.id === own.id) await this.#leave(record, member, signal);
    else {
      if (member !== undefined) await removeMember(client, member.id);
      await this.#forget(record, signal);
    }
    logger.warn({ managerId: record.id, hostname: record.hostname }, 'a manager was removed');
    return record;
  }

  /** Of its own etcd this manager could write nothing any more once that is out: the record goes first. */
  async #leave(
    record: ManagerRecord,
    member: EtcdMemberView | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#forget(record, signal);
    try {
      if (member !== undefined) await removeMember(this.#options.client, member.id);
    } catch (error) {
      await this.register(signal);
      throw error;
    }
  }

  /** The oldest first. */
  #records(): ManagerRecord[] {
    const all = [...this.#options.store.all('managers').values()];
    return all.toSorted((a, b) => a.createdAtMs - b.createdAtMs);
  }

  #view(record: ManagerRecord, nodeId: string | undefined): ManagerView {
    const { leaderId, alive } = this.#options.election;
    return { record, alive: alive.has(record.id), leads: leaderId === record.id, nodeId };
  }

  #joining(): ManagerRecord[] {
    return this.#records().filter((record) => record.state === 'joining');
  }

  async #help(record: ManagerRecord, signal: AbortSignal): Promise<void> {
    const { client, clock, store, logger } = this.#options;
    const member = memberOf(await listMembers(client), record);
    if (member === undefined || member.name === '') {
      if (clock.now() - record.updatedAtMs < JOINING_FOR_MS) return;
      if (member !== undefined) await removeMember(client, member.id);
      await this.#forget(record, signal);
      return;
    }
    if (member.learner && !(await promoteMember(client, member.id))) return;
    const value: ManagerRecord = { ...record, state: 'member', updatedAtMs: clock.now() };
    const expect = store.version('managers', record.id);
    await store.commit([{ table: 'managers', key: record.id, value, expect }], { signal }).catch(ignoreStale);
    logger.info({ managerId: record.id, hostname: record.hostname }, 'a manager has joined and votes');
  }

  #voters(members: readonly EtcdMemberView[]): { id: string; name: string; alive: boolean }[] {
    const { store, election } = this.#options;
    const records = [...store.all('managers').values()];
    return members
      .filter((member) => !member.learner)
      .map((member) => {
        const record = records.find((one) => memberOf([member], one) !== undefined);
        const id = record?.id ?? member.name;
        const name = record === undefined ? member.name : `${record.hostname} (${record.address})`;
        return { id, name, alive: election.alive.has(id) };
      });
  }

  async #forget(record: ManagerRecord, signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#options;
    for (let attempt = 1; ; attempt += 1) {
      const writes = removalWrites(store, [record.id], clock.now());
      try {
        await store.commit(writes, { signal });
        return;
      } catch (error) {
        if (!(error instanceof StaleError) || attempt === ATTEMPTS) throw error;
      }
    }
  }

  #nodeAt(host: string): string | undefined {
    for (const node of this.#options.store.all('nodes').values()) {
      if (node.description?.address === host) return node.id;
    }
    return undefined;
  }
}

/** The host of host:port, without an IPv6 address's brackets. */
export function hostOf(address: string): string {
  return address.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
}

function sameManager(record: ManagerRecord, own: ManagersOptions['own']): boolean {
  return (['hostname', 'address', 'peerUrl', 'version', 'schemaVersion'] as const).every(
    (key) => record[key] === own[key],
  );
}

/** Another manager was faster. */
function ignoreStale(error: unknown): void {
  if (!(error instanceof StaleError)) throw error;
}

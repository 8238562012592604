/**
 * The way from one root of etcd's authority to another (ca/etcd-root-moves.ts says which steps). A manager makes the next root and
 * writes it down before the cluster's record names it; the others fetch it over mutual TLS with the cluster's CA, never through
 * etcd, whose readers it is to keep out. Each tells in its record how far it is, and the last step is anybody's.
 */
import {
  ConflictError,
  describeError,
  UnavailableError,
  UnsupportedError,
} from '../../shared/errors/index.ts';
import { delay, isAbort } from '../../shared/lib/abort.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import { Mutex } from '../../shared/lib/mutex.ts';
import type { EtcdRoots, Logger, ManagerRecord } from '../../shared/model/index.ts';
import type { RootMaterial } from '../ca/authority.ts';
import { newEtcdRoot, rootName } from '../ca/etcd-authority.ts';
import { type RootMove, rootMove } from '../ca/etcd-root-moves.ts';
import type { EmbeddedEtcd } from '../store/embedded-etcd.ts';
import { StaleError, type Store } from '../store/store.ts';

const LOOK_EVERY_MS = 2_000;
/** The etcd that started before this one is connected to all others by then. */
const SETTLE_MS = 1_000;
/** Until then whoever made a root has told that it has it. */
const ORPHANED_MS = 60_000;

export interface EtcdRootRotationOptions {
  readonly store: Store;
  /** Absent: etcd is somebody else's, and so are its certificates. */
  readonly etcd: Pick<EmbeddedEtcd, 'trusted' | 'roots' | 'keepRoots' | 'believe'> | undefined;
  readonly managerId: string;
  readonly alive: () => ReadonlySet<string>;
  readonly leads: () => boolean;
  /** The roots that another manager has. */
  readonly fetchRoots: (manager: ManagerRecord, signal: AbortSignal) => Promise<readonly RootMaterial[]>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default: a second. */
  readonly settleMs?: number;
}

export interface EtcdRootProgress {
  readonly name: string;
  readonly startedAtMs: number;
  /** Managers that have not done all, with what they have done. */
  readonly waiting: readonly { readonly id: string; readonly hostname: string; readonly state: string }[];
}

export class EtcdRootRotation {
  readonly #options: EtcdRootRotationOptions;
  #wake: () => void = () => undefined;
  /** One at a time: what is begun is written down in two places. */
  readonly #mutex = new Mutex();

  constructor(options: EtcdRootRotationOptions) {
    this.#options = options;
  }

  /** Undefined when none goes on. */
  get progress(): EtcdRootProgress | undefined {
    const { store, alive } = this.#options;
    const rotation = store.get('cluster', 'self')?.etcdRootRotation;
    if (rotation === undefined) return undefined;
    const waiting = [...store.all('managers').values()].flatMap(({ id, hostname, etcdRoots }) => {
      const done = stateText(rotation.name, etcdRoots);
      return done === undefined
        ? []
        : [{ id, hostname, state: alive().has(id) ? done : `${done}, not reachable` }];
    });
    return { ...rotation, waiting };
  }

  /** Name of the root that this manager's etcd shows; undefined when etcd is not its own. */
  get shown(): string | undefined {
    return this.#options.etcd?.trusted[0];
  }

  /** Makes the next root; the rest is done by `run`. Throws ConflictError while a rotation goes on. */
  begin(signal: AbortSignal): Promise<void> {
    return this.#mutex.run(async () => {
      const { store, etcd, clock, logger } = this.#options;
      if (etcd === undefined)
        throw new UnsupportedError('etcd is not of this cluster alone (--etcd): replace its CA there');
      const cluster = store.get('cluster', 'self');
      const expect = store.version('cluster', 'self');
      if (cluster === undefined)
        throw new UnavailableError('the cluster is not set up yet: try again in a moment');
      if (cluster.etcdRootRotation !== undefined)
        throw new ConflictError("a rotation of etcd's authority is under way: see shoal ca");
      const next = await newEtcdRoot(clock.now());
      const name = rootName(next);
      const [shown] = await etcd.roots();
      if (shown === undefined) throw new UnavailableError("etcd's authority is not here yet");
      await etcd.keepRoots([shown, next]);
      const value = { ...cluster, etcdRootRotation: { name, startedAtMs: clock.now() } };
      try {
        await store.commit([{ table: 'cluster', key: 'self', value, expect }], { signal });
      } catch (error) {
        if (!(error instanceof StaleError)) throw error;
        throw new UnavailableError('the cluster was changed by others at the same moment: try once more');
      }
      logger.info({ root: name }, "a rotation of etcd's authority has begun");
      this.#wake();
    });
  }

  /** Until the signal aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, logger } = this.#options;
    const undo = store.onChange((changes) => {
      if (changes.some(({ table }) => table === 'cluster' || table === 'managers')) this.#wake();
    });
    const ended = (): void => this.#wake();
    signal.addEventListener('abort', ended);
    try {
      while (!signal.aborted) {
        const woken = new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, LOOK_EVERY_MS);
          this.#wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
        await this.#mutex
          .run(() => this.look(signal))
          .catch((error: unknown) => {
            if (!isAbort(error) && !(error instanceof StaleError))
              logger.warn({ error: describeError(error) }, "the rotation of etcd's authority waits");
          });
        if (!signal.aborted) await woken;
      }
    } finally {
      undo();
      signal.removeEventListener('abort', ended);
    }
  }

  /** Does the one step that is this manager's now. Each is told by the records and its own disk, so that it may be done again. */
  async look(signal: AbortSignal): Promise<void> {
    const { store, etcd, settleMs = SETTLE_MS } = this.#options;
    const rotation = store.get('cluster', 'self')?.etcdRootRotation;
    if (etcd === undefined) return;
    if (rotation === undefined) return this.#tell(undefined, signal);
    const own = await this.#own(etcd);
    await this.#tell(own, signal);
    if (await this.#dropOrphan(signal)) return;
    const move = this.#move(rotation.name, own);
    if (move.kind === 'trust' || move.kind === 'drop') {
      await delay(settleMs, signal);
      if (this.#move(rotation.name, own).kind !== move.kind) return;
    }
    await this.#do(move, rotation.name, etcd, signal);
    if (move.kind !== 'wait' && move.kind !== 'end') await this.#tell(await this.#own(etcd), signal);
  }

  #move(next: string, own: EtcdRoots): RootMove {
    const { store, managerId, alive } = this.#options;
    return rootMove(next, managerId, own, store.all('managers').values(), alive());
  }

  async #do(
    move: RootMove,
    name: string,
    etcd: NonNullable<EtcdRootRotationOptions['etcd']>,
    signal: AbortSignal,
  ): Promise<void> {
    if (move.kind === 'wait') return;
    if (move.kind === 'end') return this.#end(name, signal);
    const roots = await etcd.roots();
    const [shown] = roots;
    const next = roots.find((root) => rootName(root) === name) ?? (await this.#fetch(name, signal));
    this.#options.logger.info({ root: name, step: move.kind }, "etcd's authority is replaced");
    if (shown === undefined) throw new UnavailableError("etcd's authority is not here yet");
    if (move.kind === 'fetch') return etcd.keepRoots([shown, next]);
    if (move.kind === 'trust') return etcd.believe([shown, next], signal);
    const old = roots.filter((root) => rootName(root) !== name);
    return etcd.believe(move.kind === 'show' ? [next, ...old] : [next], signal);
  }

  async #own(etcd: NonNullable<EtcdRootRotationOptions['etcd']>): Promise<EtcdRoots> {
    const holds = (await etcd.roots()).map(rootName);
    return { holds, trusts: etcd.trusted, shows: etcd.trusted[0] ?? '' };
  }

  async #fetch(name: string, signal: AbortSignal): Promise<RootMaterial> {
    const { store, managerId, fetchRoots, logger } = this.#options;
    // Who made it is not in the records before it has looked itself: all are asked.
    for (const manager of store.all('managers').values()) {
      if (manager.id === managerId) continue;
      const roots = await fetchRoots(manager, signal).catch((error: unknown) => {
        logger.debug({ manager: manager.id, error: describeError(error) }, 'a manager gave no roots of etcd');
        return [];
      });
      const found = roots.find((root) => rootName(root) === name);
      if (found !== undefined) return found;
    }
    throw new UnavailableError(`no manager that answers has the root ${name} of etcd's authority`);
  }

  /** Whoever made it is gone with it before another had it, or it is of a backup: nobody can go on. */
  async #dropOrphan(signal: AbortSignal): Promise<boolean> {
    const { store, leads, clock, logger } = this.#options;
    const cluster = store.get('cluster', 'self');
    const expect = store.version('cluster', 'self');
    if (cluster?.etcdRootRotation === undefined || !leads()) return false;
    const { etcdRootRotation, ...value } = cluster;
    if (clock.now() - etcdRootRotation.startedAtMs < ORPHANED_MS) return false;
    const { name } = etcdRootRotation;
    const held = [...store.all('managers').values()].some(({ etcdRoots }) => etcdRoots?.holds.includes(name));
    if (held) return false;
    await store.commit([{ table: 'cluster', key: 'self', value, expect }], { signal });
    logger.warn({ root: name }, "no manager has the next root of etcd's authority: the rotation is given up");
    return true;
  }

  async #end(name: string, signal: AbortSignal): Promise<void> {
    const { store, clock, logger } = this.#options;
    const cluster = store.get('cluster', 'self');
    const expect = store.version('cluster', 'self');
    if (cluster?.etcdRootRotation?.name !== name) return;
    const { etcdRootRotation: _, ...rest } = cluster;
    const value = { ...rest, etcdRootChangedAtMs: clock.now() };
    await store.commit([{ table: 'cluster', key: 'self', value, expect }], { signal });
    logger.info({ root: name }, "the rotation of etcd's authority is done");
  }

  /** How far this one is; nothing while none goes on. */
  async #tell(own: EtcdRoots | undefined, signal: AbortSignal): Promise<void> {
    const { store, managerId } = this.#options;
    const record = store.get('managers', managerId);
    const expect = store.version('managers', managerId);
    if (record === undefined || JSON.stringify(record.etcdRoots) === JSON.stringify(own)) return;
    const { etcdRoots: _, ...rest } = record;
    const value = own === undefined ? rest : { ...rest, etcdRoots: own };
    await store.commit([{ table: 'managers', key: managerId, value, expect }], { signal });
  }
}

/** What a manager has done; undefined when that is all. */
function stateText(next: string, roots: EtcdRoots | undefined): string | undefined {
  if (roots?.trusts.includes(next) !== true) return 'does not trust the next root yet';
  if (roots.shows !== next) return 'trusts both roots';
  return roots.trusts.length > 1 ? 'shows the next root and trusts both' : undefined;
}

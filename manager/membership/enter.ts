/** How a machine becomes a manager of a cluster that is there: what it was handed over goes into its state directory. */
import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidError, UnavailableError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import { tryJson } from '../../shared/lib/try-json.ts';
import type { Logger, ManagerIdentity } from '../../shared/model/options.ts';
import { parseValue } from '../../shared/wire/frames.ts';
import { dataKeysSchema, etcdRootsSchema, type Handover, handoverSchema } from '../../shared/wire/join.ts';
import { askManagerAt, refusalOf } from '../../shared/wire/manager-exchange.ts';
import { managerIdentityCheck } from '../../shared/wire/manager-tls.ts';
import type { RootMaterial } from '../ca/authority.ts';
import { writeEtcdRoots } from '../ca/etcd-authority.ts';
import { dataDirectory } from '../store/etcd-process.ts';
import { writePrivate } from '../vault/private-file.ts';

const RETRY_MS = 500;
/** Another one that joins, or a member that is away, keeps a new one waiting. */
const PATIENCE_MS = 120_000;

/** In the state directory: this manager was taken out of its cluster. */
const REMOVED = 'removed';

function joinFile(stateDir: string): string {
  return join(stateDir, 'etcd', 'join');
}

/**
 * True when the machine is no manager yet, or none any more: only then `--join` means something. An attempt that never came to
 * the first start of etcd is made again.
 */
export async function mayJoin(stateDir: string): Promise<boolean> {
  return (await exists(join(stateDir, REMOVED))) || !(await hasData(stateDir));
}

/** etcd has begun its log there: it is a member. */
function hasData(stateDir: string): Promise<boolean> {
  return exists(join(dataDirectory(join(stateDir, 'etcd')), 'member', 'wal'));
}

/** The members of etcd that it joined, for the first start of its own. */
export async function joinedCluster(stateDir: string): Promise<string | undefined> {
  const text = await readFile(joinFile(stateDir), 'utf8').catch(() => undefined);
  return text?.trim();
}

/** Throws InvalidError when this manager was removed and is not told to join again. */
export async function refuseRemoved(stateDir: string): Promise<void> {
  if (!(await exists(join(stateDir, REMOVED)))) return;
  throw new InvalidError(
    'this manager was removed from its cluster: let it join again (shoal manager --join TOKEN HOST:PORT), or uninstall it',
  );
}

/** From now on a start is refused: without its etcd it would begin another cluster. */
export async function noteRemoved(stateDir: string): Promise<void> {
  await writeFile(join(stateDir, REMOVED), '', { mode: 0o600 });
}

/**
 * Fetches what the manager must have and writes it down; the file that says so is written last. Throws ForbiddenError when the
 * managers refuse, UnavailableError when none answered for two minutes.
 */
export async function enterCluster(
  options: { readonly stateDir: string; readonly identity: ManagerIdentity; readonly logger: Logger },
  signal: AbortSignal,
): Promise<void> {
  const { stateDir, identity } = options;
  const handover = await fetchHandover(options, signal);
  await setAside(stateDir);
  const etcd = join(stateDir, 'etcd');
  await mkdir(etcd, { recursive: true, mode: 0o700 });
  await writePrivate(join(stateDir, 'id'), `${identity.nodeId}\n`);
  await writePrivate(join(stateDir, 'data-key'), `${handover.dataKey.trim()}\n`);
  await writeEtcdRoots(etcd, [handover.etcdRoot]);
  await writePrivate(joinFile(stateDir), `${handover.initialCluster}\n`);
  await rm(join(stateDir, REMOVED), { force: true });
}

/** What is left of an earlier membership: moved, not deleted. */
async function setAside(stateDir: string): Promise<void> {
  const etcd = join(stateDir, 'etcd');
  if (await hasData(stateDir)) {
    const stamp = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
    await rename(etcd, join(stateDir, `before-join-${stamp}`));
  }
}

async function fetchHandover(
  { identity, logger }: { readonly identity: ManagerIdentity; readonly logger: Logger },
  signal: AbortSignal,
): Promise<Handover> {
  const endMs = performance.now() + PATIENCE_MS;
  for (;;) {
    let last: unknown;
    for (const address of identity.managers) {
      try {
        return await ask(address, identity, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof UnavailableError)) throw error;
        last = error;
      }
    }
    if (performance.now() > endMs) throw last;
    logger.info({ reason: String(last) }, 'waiting for a place among the managers');
    await delay(RETRY_MS, signal);
  }
}

async function ask(address: string, identity: ManagerIdentity, signal: AbortSignal): Promise<Handover> {
  return parseValue(
    handoverSchema,
    await askManager(address, '/managers/enter', identity, signal),
    `the answer of ${address}`,
  );
}

/** What this one shows, and whom it believes. */
export interface AskingManager extends Pick<ManagerIdentity, 'ca' | 'cert' | 'key'> {
  /** Default: whoever has a manager's certificate. */
  readonly isManager?: (id: string) => boolean;
}

/** The data keys of another manager. Rejects as `askManager`. */
export async function fetchDataKeys(
  address: string,
  identity: AskingManager,
  signal: AbortSignal,
): Promise<string> {
  const answer = await askManager(address, '/managers/data-keys', identity, signal);
  return parseValue(dataKeysSchema, answer, `the answer of ${address}`).dataKeys;
}

/** The roots of etcd's authority that another manager has. Rejects as `askManager`. */
export async function fetchEtcdRoots(
  address: string,
  identity: AskingManager,
  signal: AbortSignal,
): Promise<readonly RootMaterial[]> {
  const answer = await askManager(address, '/managers/etcd-roots', identity, signal);
  return parseValue(etcdRootsSchema, answer, `the answer of ${address}`).roots;
}

/** Rejects with ForbiddenError or ConflictError when it refuses, with UnavailableError when it does not answer. */
async function askManager(
  address: string,
  path: string,
  { ca, cert, key, isManager }: AskingManager,
  signal: AbortSignal,
): Promise<unknown> {
  const checkServerIdentity = managerIdentityCheck(cert, isManager);
  const options = { method: 'POST', path, ca, cert, key, checkServerIdentity };
  const answer = await askManagerAt(address, options, '', signal);
  if (answer.status !== 200) throw refusalOf(answer, address);
  return tryJson(answer.body);
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

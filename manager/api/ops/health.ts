/** PURE. How each part of the cluster is, in a word and a sentence that says what to do. */
import { durationText } from '../../../shared/lib/duration-text.ts';
import type { Cluster, Node } from '../../../shared/model/index.ts';
import { majority } from '../../membership/quorum.ts';
import type { KeyRotationProgress } from '../../vault/key-rotation.ts';

/** `warning`: it goes on, and will not for ever. `failed`: something does not work. */
export type HealthState = 'ok' | 'warning' | 'failed';

export interface PartHealth {
  readonly part: string;
  readonly state: HealthState;
  readonly message: string;
}

export interface HealthFacts {
  readonly nowMs: number;
  readonly cluster: Cluster;
  /** Of the root that all managers show. */
  readonly rootEndsAtMs: number;
  /** False: this manager's copy of the store does not follow etcd. */
  readonly storeIsCurrent: boolean;
  readonly managers: readonly {
    readonly name: string;
    readonly alive: boolean;
    readonly leads: boolean;
    readonly version: string;
  }[];
  /** Members of the managers' own etcd; undefined: it is somebody else's, or did not answer. */
  readonly etcdMembers: readonly { readonly name: string; readonly votes: boolean }[] | undefined;
  /** Of the managers' own etcd; undefined as above. */
  readonly etcdSpace: EtcdSpace | undefined;
  /** Of the manager that is asked: where its state lies, and its backups. */
  readonly disks: readonly DiskFacts[];
  readonly nodes: readonly Node[];
  readonly keyRotation: KeyRotationProgress | undefined;
  /** Versions of the stored data, and the managers that it waits for; undefined: not known. */
  readonly storedData: StoredDataFacts | undefined;
  readonly backups: BackupFacts | undefined;
}

export interface StoredDataFacts {
  readonly version: number;
  readonly current: number;
  readonly waitsFor: readonly string[];
}

export interface BackupFacts {
  readonly everyMs: number;
  /** In this manager's directory; undefined: there is none. */
  readonly newestAtMs: number | undefined;
  readonly leads: boolean;
}

export interface EtcdSpace {
  /** Of its file, which may have holes. */
  readonly bytes: number;
  readonly usedBytes: number;
  readonly quotaBytes: number;
}

export interface DiskFacts {
  readonly directory: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
}

const DAY_MS = 24 * 3600 * 1000;
const ROOT_WARN_MS = 60 * DAY_MS;
/** Nodes renew between half and four fifths of a certificate's life. */
const RENEWED_BY = 0.85;
const DEFAULT_LIFE_MS = 90 * DAY_MS;
const NAMES = 5;
const MIB = 2 ** 20;
/** Compaction brings it below this; if it does not, it is what is stored. */
const ETCD_WARN_SHARE = 0.8;
/** Of a large disk a tenth is much. */
const DISK_WARN = { share: 0.1, bytes: 10_240 * MIB };
/** A snapshot of etcd, or a backup, may not find room any more. */
const DISK_FAILED_BYTES = 64 * MIB;

export function healthOf(facts: HealthFacts): PartHealth[] {
  return [
    managersHealth(facts),
    leaderHealth(facts),
    etcdHealth(facts),
    versionsHealth(facts),
    storedDataHealth(facts),
    nodesHealth(facts),
    certificatesHealth(facts),
    caHealth(facts),
    dataKeyHealth(facts),
    backupHealth(facts),
    diskHealth(facts),
    clocksHealth(facts),
  ];
}

function managersHealth({ managers }: HealthFacts): PartHealth {
  const dead = managers.filter(({ alive }) => !alive).map(({ name }) => name);
  const alive = managers.length - dead.length;
  const spare = alive - majority(managers.length);
  const count = `${alive} of ${managers.length} reachable`;
  if (dead.length > 0 && spare <= 0)
    return part(
      'managers',
      'failed',
      `${count}; not ${list(dead)}: without another one nothing can be written`,
    );
  if (dead.length > 0)
    return part('managers', 'warning', `${count}; not ${list(dead)}: start them, or shoal manager rm`);
  if (managers.length === 2)
    return part('managers', 'warning', '2 reachable: both must be there; add a third');
  return part('managers', 'ok', `${count}; ${spare} may be lost`);
}

function leaderHealth({ managers }: HealthFacts): PartHealth {
  const leader = managers.find(({ leads }) => leads);
  if (leader === undefined) return part('leader', 'failed', 'nobody leads: nothing is planned');
  return part('leader', 'ok', leader.name);
}

function etcdHealth({ storeIsCurrent, etcdMembers, etcdSpace }: HealthFacts): PartHealth {
  if (!storeIsCurrent)
    return part(
      'etcd',
      'failed',
      'this manager does not reach etcd: it shows what was, and writes are refused',
    );
  if (etcdMembers === undefined) return part('etcd', 'ok', 'it answers');
  const learners = etcdMembers.filter(({ votes }) => !votes).map(({ name }) => name);
  const text = `${etcdMembers.length - learners.length} members that vote`;
  if (etcdSpace !== undefined && etcdSpace.bytes >= etcdSpace.quotaBytes)
    return part('etcd', 'failed', `it is full (${space(etcdSpace)}) and refuses writes: --etcd-quota`);
  if (etcdSpace !== undefined && etcdSpace.usedBytes > ETCD_WARN_SHARE * etcdSpace.quotaBytes)
    return part('etcd', 'warning', `${text}; it is nearly full (${space(etcdSpace)}): --etcd-quota`);
  return learners.length === 0
    ? part('etcd', 'ok', text)
    : part('etcd', 'warning', `${text}; ${list(learners)} not yet`);
}

function versionsHealth({ managers, nodes }: HealthFacts): PartHealth {
  const all = [
    ...managers.map(({ name, version }) => ({ name: `manager ${name}`, version })),
    ...nodes.flatMap((node) => {
      const version = node.description?.engineVersion;
      return version === undefined ? [] : [{ name: `node ${nameOf(node)}`, version }];
    }),
  ];
  const newestFirst = [...new Set(all.map(({ version }) => version))].toSorted(byVersion).toReversed();
  const [newest, ...older] = newestFirst;
  if (newest === undefined || older.length === 0) return part('versions', 'ok', newest ?? 'none');
  const behind = older.map((version) => {
    const names = all.filter((one) => one.version === version).map(({ name }) => name);
    return `${version} on ${list(names)}`;
  });
  return part('versions', 'warning', `${newest}, but ${behind.join('; ')}: bring all to one (shoal upgrade)`);
}

function byVersion(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

function storedDataHealth({ storedData }: HealthFacts): PartHealth {
  const name = 'stored data';
  if (storedData === undefined) return part(name, 'ok', 'not known');
  const { version, current, waitsFor } = storedData;
  if (version === current && waitsFor.length === 0) return part(name, 'ok', `version ${version}`);
  if (waitsFor.length > 0)
    return part(
      name,
      'warning',
      `version ${version}, becomes ${current} once these are upgraded, or removed: ${list(waitsFor)}`,
    );
  return part(name, 'warning', `version ${version}, is being brought to ${current}`);
}

function nodesHealth({ nodes }: HealthFacts): PartHealth {
  const away = nodes.filter(({ status }) => status !== 'ready').map(nameOf);
  const text = `${nodes.length - away.length} of ${nodes.length} ready`;
  return away.length === 0
    ? part('nodes', 'ok', text)
    : part('nodes', 'warning', `${text}; not ${list(away)}`);
}

function certificatesHealth({ nodes, cluster, nowMs }: HealthFacts): PartHealth {
  const lifeMs = cluster.certificateLifeMs ?? DEFAULT_LIFE_MS;
  const known = nodes.flatMap((node) =>
    node.certificate === undefined ? [] : [{ node, ...node.certificate }],
  );
  const ended = known.filter(({ endsAtMs }) => endsAtMs <= nowMs).map(({ node }) => nameOf(node));
  if (ended.length > 0)
    return part('certificates', 'failed', `ended: ${list(ended)}: they come back with a token`);
  const late = known.filter(({ endsAtMs }) => endsAtMs - nowMs < (1 - RENEWED_BY) * lifeMs);
  if (late.length > 0)
    return part(
      'certificates',
      'warning',
      `not renewed in time: ${list(late.map(({ node, endsAtMs }) => `${nameOf(node)} (${durationText(endsAtMs - nowMs)} left)`))}`,
    );
  const first = Math.min(...known.map(({ endsAtMs }) => endsAtMs));
  return part(
    'certificates',
    'ok',
    known.length === 0 ? 'none yet' : `the first ends in ${durationText(first - nowMs)}`,
  );
}

function caHealth({ cluster, rootEndsAtMs, nowMs }: HealthFacts): PartHealth {
  if (rootEndsAtMs <= nowMs) return part('ca', 'failed', 'the root has ended: shoal ca rotate');
  const left = durationText(rootEndsAtMs - nowMs);
  if (cluster.rotation !== undefined)
    return part(
      'ca',
      'warning',
      `a rotation goes on, since ${ago(nowMs, cluster.rotation.startedAtMs)}: see shoal ca`,
    );
  if (rootEndsAtMs - nowMs < ROOT_WARN_MS)
    return part('ca', 'warning', `the root ends in ${left}: shoal ca rotate`);
  return part('ca', 'ok', `the root ends in ${left}`);
}

function dataKeyHealth({ cluster, keyRotation, nowMs }: HealthFacts): PartHealth {
  if (keyRotation !== undefined) {
    const waiting = keyRotation.waiting.map(({ hostname }) => hostname);
    const what =
      waiting.length > 0 ? `it waits for ${list(waiting)}` : `${keyRotation.left} records are left`;
    return part(
      'data key',
      'warning',
      `a rotation goes on, since ${ago(nowMs, keyRotation.startedAtMs)}: ${what}`,
    );
  }
  const since = cluster.dataKeyChangedAtMs;
  return part('data key', 'ok', since === undefined ? 'the first one' : `rotated ${ago(nowMs, since)} ago`);
}

function backupHealth({ backups, nowMs }: HealthFacts): PartHealth {
  if (backups === undefined)
    return part('backups', 'warning', 'none are made by this manager (--backup-every)');
  const { newestAtMs, everyMs, leads } = backups;
  if (newestAtMs === undefined)
    return leads
      ? part('backups', 'warning', 'none yet')
      : part('backups', 'ok', 'none here: the manager that leads makes them');
  const text = `the newest is ${ago(nowMs, newestAtMs)} old`;
  const late = leads && nowMs - newestAtMs > 2 * everyMs;
  return late ? part('backups', 'failed', `${text}: see the manager's log`) : part('backups', 'ok', text);
}

function diskHealth({ disks }: HealthFacts): PartHealth {
  const [least] = disks.toSorted((a, b) => a.freeBytes - b.freeBytes);
  if (least === undefined) return part('disk', 'ok', 'not known');
  const { directory, freeBytes, totalBytes } = least;
  const text = `${mib(freeBytes)} of ${mib(totalBytes)} are free at ${directory}`;
  if (freeBytes < DISK_FAILED_BYTES) return part('disk', 'failed', `${text}: make room`);
  const scarce = freeBytes < DISK_WARN.share * totalBytes && freeBytes < DISK_WARN.bytes;
  return part('disk', scarce ? 'warning' : 'ok', text);
}

function space({ bytes, usedBytes, quotaBytes }: EtcdSpace): string {
  return `${mib(usedBytes)} used of ${mib(quotaBytes)}, a file of ${mib(bytes)}`;
}

function mib(bytes: number): string {
  return bytes < 10_240 * MIB ? `${Math.floor(bytes / MIB)} MiB` : `${Math.floor(bytes / MIB / 1024)} GiB`;
}

function clocksHealth({ nodes }: HealthFacts): PartHealth {
  const off = nodes.filter(({ statusMessage }) => statusMessage?.includes('its clock is') === true);
  if (off.length === 0) return part('clocks', 'ok', 'those of the nodes agree with the managers');
  const said = off.map((node) => `${nameOf(node)}: ${node.statusMessage}`);
  return part('clocks', 'warning', list(said));
}

function part(name: string, state: HealthState, message: string): PartHealth {
  return { part: name, state, message };
}

function nameOf({ id, description }: Node): string {
  return description?.hostname ?? id;
}

function list(names: readonly string[]): string {
  const more = names.length - NAMES;
  return names.slice(0, NAMES).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

function ago(nowMs: number, atMs: number): string {
  return durationText(Math.max(0, nowMs - atMs));
}

/** SwarmSpec of the Docker Engine API -> the settings of the cluster record. */
import { z } from 'zod';
import { InvalidError, UnsupportedError } from '../../../shared/errors/index.ts';
import type { Cluster, Labels } from '../../../shared/model/index.ts';
import { DEFAULT_LIFE_MS } from '../../ca/authority.ts';
import type { RotationRequest } from '../../ca/rotation.ts';
import { parseStrict } from '../http/unsupported.ts';
import { given, labelsOf, zFlag, zLabels, zText, zWhole } from './common.ts';

/** What Docker calls every cluster. */
export const SWARM_NAME = 'default';

const MS = 1e6;
const HOUR_MS = 3600 * 1000;
const DAY_MS = 24 * HOUR_MS;
/** Swarm's lower limit (swarmkit, ca/certificates.go: MinNodeCertExpiration). */
const MIN_CERTIFICATE_LIFE_MS = HOUR_MS;
const MAX_CERTIFICATE_LIFE_MS = 3650 * DAY_MS;
const MIN_SILENCE_MS = 500;
const MAX_SILENCE_MS = 3600 * 1000;
const MAX_HISTORY = 1000;

export const zSwarmSpec = z.object({
  // Parameters of the update: dockerode sends them in the body as well as in the query, where they count.
  version: z.unknown().optional(),
  rotateWorkerToken: z.unknown().optional(),
  rotateManagerToken: z.unknown().optional(),
  rotateManagerUnlockKey: z.unknown().optional(),
  Name: zText,
  Labels: zLabels,
  Orchestration: z.object({ TaskHistoryRetentionLimit: z.number().int().nullish() }).nullish(),
  Raft: z
    .object({
      SnapshotInterval: zWhole,
      KeepOldSnapshots: zWhole,
      LogEntriesForSlowFollowers: zWhole,
      ElectionTick: zWhole,
      HeartbeatTick: zWhole,
    })
    .nullish(),
  Dispatcher: z.object({ HeartbeatPeriod: zWhole }).nullish(),
  CAConfig: z
    .object({
      // Nanoseconds: 105 days are more than a whole number that is exact.
      NodeCertExpiry: z.number().nonnegative().nullish(),
      ExternalCAs: z.array(z.unknown()).nullish(),
      SigningCACert: zText,
      SigningCAKey: zText,
      ForceRotate: zWhole,
    })
    .nullish(),
  EncryptionConfig: z.object({ AutoLockManagers: zFlag }).nullish(),
  TaskDefaults: z.object({ LogDriver: z.object({ Name: zText, Options: zLabels }).nullish() }).nullish(),
});

type RawSpec = z.output<typeof zSwarmSpec>;

export type SwarmSettings = Required<Pick<Cluster, 'nodeDownAfterMs' | 'taskHistoryLimit' | 'labels'>> &
  Pick<Cluster, 'certificateLifeMs' | 'autolock'>;

/**
 * The settings that the cluster then has, and a rotation of the CA that is asked for; what the body leaves out stays. Throws
 * UnsupportedError, with the field's name, for a change of what Shoal does not have, InvalidError for a value out of its range.
 */
export function decodeSwarmSpec(
  value: unknown,
  current: Cluster,
): { settings: SwarmSettings; rotation: RotationRequest | undefined } {
  const raw = parseStrict(zSwarmSpec, value, 'swarm spec');
  for (const [path, why] of refusals(raw)) {
    throw new UnsupportedError(`swarm spec: not supported by Shoal: ${path}: ${why}`);
  }
  const settings = {
    labels:
      raw.Labels === undefined || raw.Labels === null ? (current.labels ?? {}) : checkedLabels(raw.Labels),
    taskHistoryLimit: history(raw, current),
    nodeDownAfterMs: silence(raw, current),
    ...certificateLife(raw, current),
    autolock: raw.EncryptionConfig?.AutoLockManagers ?? current.autolock ?? false,
  };
  return { settings, rotation: rotationOf(raw, current) };
}

/** Docker's client asks with another ForceRotate, or with a certificate and its key. */
function rotationOf({ CAConfig: ca }: RawSpec, current: Cluster): RotationRequest | undefined {
  const [caCertificatePem, caKeyPem] = [given(ca?.SigningCACert), given(ca?.SigningCAKey)];
  if (caCertificatePem !== undefined && caKeyPem !== undefined)
    return { root: { caCertificatePem, caKeyPem }, skipDead: false };
  if (caCertificatePem !== undefined || caKeyPem !== undefined)
    throw new InvalidError('swarm spec: CAConfig.SigningCACert and SigningCAKey belong together: give both');
  const force = given(ca?.ForceRotate);
  return force === undefined || force === (current.caRotations ?? 0) ? undefined : { skipDead: false };
}

/** A client sends back what it read, so that only what differs from it asks for something. */
function refusals(raw: RawSpec): [string, string][] {
  const found: [string, string][] = [];
  const refuse = (asked: unknown, path: string, why: string): void => {
    if (asked) found.push([path, why]);
  };
  const name = given(raw.Name);
  refuse(name !== undefined && name !== SWARM_NAME, 'Name', `a cluster is called '${SWARM_NAME}' here`);
  const raft = Object.entries(raw.Raft ?? {}).find(([, number]) => given(number) !== undefined);
  refuse(raft, `Raft.${raft?.[0]}`, 'the state is in etcd, not in a Raft log of the managers');
  const ca = raw.CAConfig;
  refuse(given(ca?.ExternalCAs), 'CAConfig.ExternalCAs', 'the cluster has its own certificate authority');
  refuse(
    given(raw.TaskDefaults?.LogDriver),
    'TaskDefaults.LogDriver',
    'logs are kept on the nodes, for docker service logs',
  );
  return found;
}

function checkedLabels(labels: Labels): Labels {
  const bad = Object.keys(labels).find((key) => !/^[^\s=]+$/.test(key));
  if (bad !== undefined) throw new InvalidError(`swarm spec: '${bad}' is no valid label name`);
  return labelsOf(labels);
}

function history(raw: RawSpec, current: Cluster): number {
  const limit = raw.Orchestration?.TaskHistoryRetentionLimit ?? current.taskHistoryLimit;
  if (limit < 0 || limit > MAX_HISTORY) {
    throw new InvalidError(
      `swarm spec: Orchestration.TaskHistoryRetentionLimit: ${limit}: 0 to ${MAX_HISTORY} is expected`,
    );
  }
  return limit;
}

function silence(raw: RawSpec, current: Cluster): number {
  const ns = given(raw.Dispatcher?.HeartbeatPeriod);
  const ms = ns === undefined ? current.nodeDownAfterMs : Math.round(ns / MS);
  if (ms < MIN_SILENCE_MS || ms > MAX_SILENCE_MS) {
    throw new InvalidError(
      'rpc error: code = InvalidArgument desc = swarm spec: Dispatcher.HeartbeatPeriod: 500ms to 1h is expected',
    );
  }
  return ms;
}

function certificateLife(raw: RawSpec, current: Cluster): Pick<Cluster, 'certificateLifeMs'> {
  const ns = given(raw.CAConfig?.NodeCertExpiry);
  const currentMs = current.certificateLifeMs ?? DEFAULT_LIFE_MS;
  const ms = ns === undefined ? currentMs : Math.round(ns / MS);
  if (ms === currentMs) return {};
  if (ms < MIN_CERTIFICATE_LIFE_MS || ms > MAX_CERTIFICATE_LIFE_MS) {
    throw new InvalidError(
      'rpc error: code = InvalidArgument desc = swarm spec: CAConfig.NodeCertExpiry: 1h to 3650 days are expected',
    );
  }
  return { certificateLifeMs: ms };
}

/** The cluster's Spec as /swarm and /info show it. */
export function encodeSwarmSpec(cluster: Cluster | undefined): object {
  return {
    Name: SWARM_NAME,
    Labels: cluster?.labels ?? {},
    Orchestration: { TaskHistoryRetentionLimit: cluster?.taskHistoryLimit ?? 5 },
    Raft: {
      SnapshotInterval: 0,
      KeepOldSnapshots: 0,
      LogEntriesForSlowFollowers: 0,
      ElectionTick: 0,
      HeartbeatTick: 0,
    },
    Dispatcher: { HeartbeatPeriod: (cluster?.nodeDownAfterMs ?? 0) * MS },
    CAConfig: {
      NodeCertExpiry: (cluster?.certificateLifeMs ?? DEFAULT_LIFE_MS) * MS,
      ForceRotate: cluster?.caRotations ?? 0,
    },
    TaskDefaults: {},
    EncryptionConfig: { AutoLockManagers: cluster?.autolock === true },
  };
}

/** The simulated nodes: their records in etcd as if they had joined, and a certificate for each. */
import { silentLogger } from '../../harness/silent-logger.ts';
import { authorityOf } from '../../../manager/ca/cluster.ts';
import { openStore } from '../../../manager/store/open-store.ts';
import type { Write } from '../../../manager/store/store.ts';
import { openVault } from '../../../manager/vault/data-key-file.ts';
import { newId } from '../../../shared/lib/ids.ts';
import { VERSION } from '../../../shared/lib/version.ts';
import type { Node, NodeDescription } from '../../../shared/model/index.ts';
import { certificateRequest, generateKeys, privateKeyPem } from '../../../shared/wire/keys.ts';
import type { AgentsFile } from './agents-process.ts';
import type { AgentIdentity } from './simulated-agent.ts';
import { newSpecKeys } from '../../../shared/wire/spec-keys.ts';

const NODES_PER_COMMIT = 500;
const ISSUING = 8;
const GIB = 2 ** 30;
/** One node of so many has no label that the constraint asks for. */
const UNFIT_EVERY = 10;

/** What the services of the benchmark ask of a node: 9 of 10 have it. */
export const CONSTRAINTS = ['node.labels.disk == ssd', 'node.platform.os == linux'];

/** Writes `count` nodes into the cluster of the manager with this state directory, on this etcd, and returns what their agents need. */
export async function makeNodes(
  { etcd, stateDir }: { readonly etcd: readonly string[]; readonly stateDir: string },
  count: number,
  manager: string,
  signal: AbortSignal,
): Promise<AgentsFile> {
  await using store = await openStore({ endpoints: etcd, logger: silentLogger, signal });
  const cluster = store.get('cluster', 'self');
  if (cluster === undefined) throw new Error('the manager has made no cluster');
  const authority = await authorityOf(cluster, await openVault(store, stateDir, false, signal));
  const nodes = Array.from({ length: count }, (_, i) => nodeOf(i + 1, Date.now()));
  for (let at = 0; at < count; at += NODES_PER_COMMIT) {
    const writes = nodes.slice(at, at + NODES_PER_COMMIT).flatMap(writesOf);
    await store.commit(writes, { signal });
  }
  const keys = await generateKeys();
  const request = await certificateRequest(keys);
  const agents: AgentIdentity[] = [];
  const waiting = [...nodes];
  const issue = async (): Promise<void> => {
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
      const cert = await authority.issue(request, { nodeId: node.id, role: 'worker' }, Date.now());
      agents.push({ nodeId: node.id, cert, description: descriptionOf(node.index) });
    }
  };
  await Promise.all(Array.from({ length: ISSUING }, issue));
  return { manager, ca: authority.caPem, key: await privateKeyPem(keys.privateKey), agents };
}

function nodeOf(index: number, nowMs: number): Node {
  const labels = index % UNFIT_EVERY === 0 ? { disk: 'hdd' } : { disk: 'ssd', zone: `z${index % 4}` };
  return {
    id: newId(),
    spec: { role: 'worker', availability: 'active', labels },
    status: 'unknown',
    statusMessage: 'joined, not heard yet',
    statusAtMs: nowMs,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
    index,
  };
}

function writesOf(node: Node): Write[] {
  return [
    { table: 'nodes', key: node.id, value: node, expect: 0 },
    { table: 'names', key: `node-index:${node.index}`, value: { id: node.id }, expect: 0 },
  ];
}

function descriptionOf(index: number): NodeDescription {
  return {
    hostname: `node-${index}`,
    os: 'linux',
    arch: 'x86_64',
    nanoCpus: 64e9,
    memoryBytes: 256 * GIB,
    engineVersion: VERSION,
    knows: newSpecKeys(),
    engineLabels: {},
    address: `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`,
    localSubnets: ['10.0.0.0/24'],
  };
}

/** Three real members of etcd, whose authority is replaced while clients write: see etcd-root-rotation.test.ts for who dies when. */
import { mkdtemp, rm } from 'node:fs/promises';
import { get, type RequestOptions } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { writeEtcdRoots } from '../../../manager/ca/etcd-authority.ts';
import { addLearner, promoteMember } from '../../../manager/membership/etcd-members.ts';
import { EtcdRootRotation } from '../../../manager/membership/etcd-root-rotation.ts';
import { type EmbeddedEtcd, startEmbeddedEtcd } from '../../../manager/store/embedded-etcd.ts';
import { chooseFreePorts } from '../../../manager/store/etcd-process.ts';
import { type OpenStore, openStore } from '../../../manager/store/open-store.ts';
import { delay } from '../../../shared/lib/abort.ts';
import { UndoStack } from '../../../shared/lib/undo-stack.ts';
import type { ManagerRecord } from '../../../shared/model/index.ts';
import { tlsOfEmbedded } from '../../harness/etcd.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const logger = silentLogger;
const never = new AbortController().signal;
const IDS = ['m1', 'm2', 'm3'] as const;

interface Member {
  readonly id: string;
  readonly peerPort: number;
  readonly etcd: EmbeddedEtcd;
  readonly store: OpenStore;
}

/** The first makes the cluster, and each other one joins it as a manager's does. */
async function startMember(
  id: string,
  others: readonly Member[],
  stack: UndoStack,
  signal: AbortSignal,
): Promise<Member> {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-roots-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const ports = await chooseFreePorts();
  const peerUrl = `https://127.0.0.1:${ports.peer}`;
  const [first] = others;
  const learners = first === undefined ? [] : await addLearner(first.store.client, peerUrl);
  if (first !== undefined) await writeEtcdRoots(directory, await first.etcd.roots());
  const joins = learners.flatMap(({ name, peerUrls }) =>
    peerUrls.map((url) => `${url === peerUrl ? id : name}=${url}`),
  );
  const member = { name: id, peerUrl, listenHost: '127.0.0.1' };
  const starting = startEmbeddedEtcd({
    ...{ directory, ports, logger, signal },
    member: first === undefined ? member : { ...member, joins: joins.join(',') },
  });
  const learner = learners.find(({ peerUrls }) => peerUrls.includes(peerUrl));
  const over = new AbortController();
  const promoting =
    first === undefined || learner === undefined ? undefined : promote(first, learner.id, over.signal);
  const etcd = stack.use(await starting.finally(() => over.abort()));
  await promoting;
  const store = stack.use(await openStore({ ...etcd.reach, logger, signal }));
  return { id, peerPort: ports.peer, etcd, store };
}

/** It serves once it votes. */
async function promote({ store }: Member, learnerId: string, over: AbortSignal): Promise<void> {
  while (!over.aborted && !(await promoteMember(store.client, learnerId))) await delay(100, never);
}

function answerOf(port: number, more: RequestOptions): Promise<string> {
  const options = { host: '127.0.0.1', port, path: '/members', rejectUnauthorized: false, agent: false };
  return new Promise((resolve) => {
    const asked = get({ ...options, ...more }, (response) => {
      response.resume();
      resolve(`${response.statusCode}`);
    });
    asked.on('error', () => resolve('refused'));
  });
}

test('three members: writes go on, and what the old root has signed opens no port afterwards', async (t) => {
  t.timeout(180_000);
  const over = new AbortController();
  await using stack = new UndoStack();
  const members: Member[] = [];
  for (const id of IDS) members.push(await startMember(id, members, stack, over.signal));
  const [m1] = members;
  if (m1 === undefined) throw new Error('there is no m1');
  const cluster = { id: 'self', clusterId: 'c' } as never;
  const records = IDS.map((id) => ({ id, hostname: id, state: 'member' }) as ManagerRecord);
  await m1.store.commit(
    [
      { table: 'cluster', key: 'self', value: cluster },
      ...records.map((value) => ({ table: 'managers' as const, key: value.id, value })),
    ],
    { signal: over.signal },
  );
  const old = await tlsOfEmbedded(m1.etcd.directory, 'peer');
  const pids = members.map(({ etcd }) => etcd.pid);
  for (const { peerPort } of members) t.is(await answerOf(peerPort, old), '200');
  const rotations = members.map(
    ({ id, etcd, store }) =>
      new EtcdRootRotation({
        ...{ store, etcd, managerId: id, logger },
        alive: () => new Set(IDS),
        leads: () => id === 'm1',
        fetchRoots: async (manager) =>
          (await members.find((one) => one.id === manager.id)?.etcd.roots()) ?? [],
        clock: { now: Date.now },
      }),
  );
  const running = rotations.map((rotation) => rotation.run(over.signal));
  await rotations[0]?.begin(over.signal);
  let [written, longestMs, lastMs] = [0, 0, performance.now()];
  while (members.some(({ store }) => store.get('cluster', 'self')?.etcdRootRotation !== undefined)) {
    const { store } = members[written % 3] ?? m1;
    const value = { id: `${written}` };
    const done = await store
      .commit([{ table: 'names', key: `x${written}`, value }], { signal: over.signal })
      .then(
        () => true,
        () => false,
      );
    if (done)
      [written, longestMs, lastMs] = [
        written + 1,
        Math.max(longestMs, performance.now() - lastMs),
        performance.now(),
      ];
    await delay(20, over.signal);
  }
  t.log(`${written} writes meanwhile; the longest gap ${Math.round(longestMs)} ms`);
  const last = `x${written - 1}`;
  while (members.some(({ store }) => store.get('names', last) === undefined)) await delay(20, over.signal);
  const next = await tlsOfEmbedded(m1.etcd.directory, 'peer');
  for (const { peerPort, etcd, store } of members) {
    t.is(etcd.trusted.length, 1);
    t.is(await answerOf(peerPort, old), 'refused', 'the old one');
    t.is(await answerOf(peerPort, next), '200');
    for (let number = 0; number < written; number += 1)
      t.deepEqual(store.get('names', `x${number}`), { id: `${number}` });
  }
  t.true(members.every(({ etcd }, number) => etcd.pid !== undefined && etcd.pid !== pids[number]));
  over.abort();
  await Promise.all(running);
});

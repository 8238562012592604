import test from 'ava';
import { assignmentsFor } from '../../../manager/dispatcher/assignments.ts';
import { viewOf } from '../../../manager/dispatcher/store-view.ts';
import type { AssignmentSet, TaskAssignment } from '../../../shared/model/index.ts';
import { diffAssignments, EMPTY_ASSIGNMENTS } from '../../../shared/wire/assignment-diff.ts';
import { MemoryStore } from '../../harness/memory-store.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { testVault } from '../../harness/vault.ts';
import { RawSession } from './raw-session.ts';
import { addService, eventually, putTask, rig, startAgent, status, task, type TestAgent } from './rig.ts';

function newest(agent: TestAgent): AssignmentSet {
  return agent.sets.at(-1) ?? EMPTY_ASSIGNMENTS;
}

test('hello brings assignments, and a status comes back into the store', async (t) => {
  const r = await rig(t);
  const agent = await r.agent('a1');
  await eventually('the node is ready', () => r.store.get('nodes', agent.nodeId)?.status === 'ready');
  t.is(r.store.get('nodes', agent.nodeId)?.description?.hostname, 'a1');
  await addService(r, 'web');
  await putTask(r, task('t1', 'web', agent.nodeId));
  await eventually('the task is assigned', () => newest(agent).tasks.has('t1'));
  t.is(newest(agent).tasks.get('t1')?.spec.container.image, 'busybox');
  agent.link.report(status('t1', 'running'));
  await eventually('the status is stored', () => r.store.get('statuses', 't1')?.state === 'running');
});

/** A full set says it, changes do not. */
function withoutStarted(set: AssignmentSet): AssignmentSet {
  const tasks = [...set.tasks].map(([id, { started: _said, ...rest }]): [string, TaskAssignment] => [
    id,
    rest,
  ]);
  return { ...set, tasks: new Map(tasks) };
}

test('after many changes every node holds what it should', async (t) => {
  const r = await rig(t);
  const agents = await Promise.all(['a', 'b', 'c'].map((name) => r.agent(name)));
  await addService(r, 'web', ['net1']);
  for (let i = 0; i < 60; i += 1) {
    const { nodeId } = agents[i % 2] as TestAgent;
    const addresses = [{ network: 'net1', address: `10.0.0.${i + 2}` }];
    await putTask(
      r,
      task(`t${i}`, 'web', nodeId, { addresses, desired: i % 5 === 0 ? 'shutdown' : 'running' }),
    );
    if (i % 3 === 0) {
      const value = status(`t${i}`, i % 2 === 0 ? 'running' : 'complete');
      await r.store.commit([{ table: 'statuses', key: `t${i}`, value }], { signal: r.signal });
    }
  }
  for (const agent of agents) {
    await eventually(`node ${agent.nodeId} holds its set`, () => {
      const view = viewOf(r.store, testVault, silentLogger);
      const expected = assignmentsFor(view, agent.nodeId, new Set());
      const { put, drop } = diffAssignments(withoutStarted(newest(agent)), expected);
      return Object.keys(put).length === 0 && Object.keys(drop).length === 0;
    });
  }
  t.is(newest(agents[2] as TestAgent).endpoints.size, 0, 'the third is on no network');
  t.true(newest(agents[0] as TestAgent).endpoints.size > 20);
});

test('changes carry consecutive numbers, after one full set', async (t) => {
  // This session sends no heartbeats, and on a busy machine two seconds are not long.
  const r = await rig(t, { nodeDownAfterMs: 60_000 });
  const identity = await r.joined('raw');
  await addService(r, 'web');
  const session = await RawSession.open(r.address, identity);
  for (let i = 0; i < 20; i += 1) {
    await putTask(r, task(`t${i}`, 'web', identity.nodeId));
    // On a slow machine this takes longer than a silent session lasts.
    session.send({ type: 'beat' });
    await new Promise((resolve) => setImmediate(resolve));
  }
  await eventually('the last task came', () =>
    session.of('change').some((frame) => frame.put.tasks?.some((row) => row.taskId === 't19')),
  );
  const seqs = [...session.of('full'), ...session.of('change')].map((frame) => frame.seq);
  t.deepEqual(
    seqs,
    seqs.map((_, index) => index + 1),
  );
  t.is(session.of('full').length, 1);
});

test('a node cannot report on another’s task', async (t) => {
  const r = await rig(t);
  const [a, b] = [await r.agent('a'), await r.agent('b')];
  await addService(r, 'web');
  await putTask(r, task('of-a', 'web', a.nodeId));
  await putTask(r, task('of-b', 'web', b.nodeId));
  b.link.report(status('of-a', 'failed'));
  b.link.report(status('unknown', 'failed'));
  b.link.report(status('of-b', 'running'));
  await eventually('its own report is stored', () => r.store.get('statuses', 'of-b') !== undefined);
  b.link.report(status('of-b', 'failed'));
  await eventually(
    'the batch was acknowledged, and the next came',
    () => r.store.get('statuses', 'of-b')?.state === 'failed',
  );
  t.is(r.store.get('statuses', 'of-a'), undefined);
  t.is(r.store.get('statuses', 'unknown'), undefined);
});

test('the newest session of a node wins', async (t) => {
  const r = await rig(t);
  const identity = await r.joined('a');
  await addService(r, 'web');
  await putTask(r, task('t1', 'web', identity.nodeId));
  const first = await RawSession.open(r.address, identity);
  const second = await RawSession.open(r.address, identity);
  await eventually('the first is closed', () => first.closeCode !== undefined);
  t.is(first.closeCode, 4001);
  second.send({ type: 'status', id: 1, statuses: [status('t1', 'running')] });
  await eventually('the second is served', () => second.of('status-ack').length === 1);
  const [welcome] = second.of('welcome');
  await eventually(
    'the record names the second',
    () => r.store.get('nodes', identity.nodeId)?.session === welcome?.sessionId,
  );
  t.not(welcome?.sessionId, first.of('welcome')[0]?.sessionId);
});

test('a session is over once the record names another manager’s', async (t) => {
  const r = await rig(t);
  const identity = await r.joined('a');
  const session = await RawSession.open(r.address, identity);
  const id = session.of('welcome')[0]?.sessionId;
  await eventually('the session is recorded', () => r.store.get('nodes', identity.nodeId)?.session === id);
  const node = r.store.get('nodes', identity.nodeId);
  if (node === undefined) return t.fail();
  await r.store.commit([{ table: 'nodes', key: node.id, value: { ...node, session: 'other.1' } }], {
    signal: r.signal,
  });
  await eventually('the session is closed', () => session.closeCode !== undefined);
  t.is(session.closeCode, 4001);
  t.is(r.store.get('nodes', node.id)?.session, 'other.1', 'the other’s claim stands');
});

test('a frame that is none ends the session, and only this one', async (t) => {
  const r = await rig(t);
  const other = await r.agent('other');
  await eventually('the other is connected', () => other.link.connected);
  const session = await RawSession.open(r.address, await r.joined('a'));
  session.socket.send('{"type":"status","id":1,"statuses":[{"state":"running"}]}');
  await eventually('the session is closed', () => session.closeCode !== undefined);
  t.is(session.closeCode, 4000);
  t.true(other.link.connected);
});

test('a status reported while no manager was there is delivered to the next', async (t) => {
  const store = new MemoryStore();
  const first = await rig(t, { store });
  const identity = await first.joined('a');
  const agent = startAgent({
    address: first.address,
    identity,
    hostname: 'a',
    signal: AbortSignal.timeout(120_000),
  });
  t.teardown(() => agent.stop());
  await addService(first, 'web');
  await putTask(first, task('t1', 'web', identity.nodeId));
  await eventually('the task is assigned', () => newest(agent).tasks.has('t1'));
  const sets = agent.sets.length;
  const { port } = first.dispatcher.address;
  await first.dispatcher.close();
  await eventually('the agent noticed', () => !agent.link.connected);
  agent.link.report(status('t1', 'starting'));
  agent.link.report(status('t1', 'running'));
  await rig(t, { store, port });
  await eventually('the status is stored', () => store.get('statuses', 't1')?.state === 'running');
  t.true(agent.sets.length > sets, 'and a full set came');
});

test('a status that a manager could not write is sent again to the next', async (t) => {
  const store = new MemoryStore();
  const first = await rig(t, { store });
  const identity = await first.joined('a');
  const agent = startAgent({
    address: first.address,
    identity,
    hostname: 'a',
    signal: AbortSignal.timeout(120_000),
  });
  t.teardown(() => agent.stop());
  await addService(first, 'web');
  await putTask(first, task('t1', 'web', identity.nodeId));
  await eventually('the task is assigned', () => newest(agent).tasks.has('t1'));
  await eventually('the node is ready', () => store.get('nodes', identity.nodeId)?.status === 'ready');
  store.unavailable = true;
  agent.link.report(status('t1', 'running'));
  await eventually('the manager tried to write it', () => store.refused > 0);
  const { port } = first.dispatcher.address;
  await first.dispatcher.close();
  store.unavailable = false;
  await rig(t, { store, port });
  await eventually('the status is stored', () => store.get('statuses', 't1')?.state === 'running');
  t.pass();
});

test('a manager that starts does not know who leads traffic to a task, and waits before it stops it', async (t) => {
  const store = new MemoryStore();
  const first = await rig(t, { store });
  const identity = await first.joined('a');
  await addService(first, 'web', ['net1']);
  await first.dispatcher.close();
  const { signal } = new AbortController();
  const addresses = [{ network: 'net1', address: '10.0.0.2' }];
  const stopping = { desired: 'shutdown' as const };
  await store.commit(
    [
      { table: 'tasks', key: 't1', value: task('t1', 'web', identity.nodeId, { ...stopping, addresses }) },
      { table: 'statuses', key: 't1', value: status('t1', 'running') },
      { table: 'tasks', key: 't2', value: task('t2', 'web', identity.nodeId, stopping) },
      { table: 'statuses', key: 't2', value: status('t2', 'running') },
    ],
    { signal },
  );
  const second = await rig(t, { store, withdrawTimeoutMs: 60_000 });
  const session = await RawSession.open(second.address, identity);
  const told = session.of('full')[0]?.set.tasks.map((row) => [row.taskId, row.desired]);
  t.deepEqual(told?.sort(), [
    ['t1', 'running'],
    ['t2', 'shutdown'],
  ]);
});

test('invariant 11: a task is told to stop only when the other nodes have withdrawn it, and its wait is over', async (t) => {
  const r = await rig(t, { withdrawTimeoutMs: 60_000 });
  const withdrawWaitMs = 300;
  const owner = await r.agent('owner');
  const withheld: (() => void)[] = [];
  let withholds = false;
  const other = await r.agent('other', {
    onAssignments: (_set, acknowledge) => {
      if (withholds) withheld.push(acknowledge);
      else acknowledge();
    },
  });
  await addService(r, 'web', ['net1'], { withdrawWaitMs });
  const address = (n: number) => [{ network: 'net1', address: `10.0.0.${n}` }];
  await putTask(r, task('t1', 'web', owner.nodeId, { addresses: address(2) }));
  await putTask(r, task('t2', 'web', other.nodeId, { addresses: address(3) }));
  await eventually(
    'both have their task',
    () => newest(owner).tasks.has('t1') && newest(other).tasks.has('t2'),
  );
  owner.link.report(status('t1', 'running'));
  await eventually(
    'the other leads traffic to it',
    () => newest(other).endpoints.get('net1/t1')?.serving === true,
  );
  withholds = true;
  await putTask(r, task('t1', 'web', owner.nodeId, { addresses: address(2), desired: 'shutdown' }));
  await eventually('both learn that it does not serve any more', () =>
    [owner, other].every((agent) => newest(agent).endpoints.get('net1/t1')?.serving === false),
  );
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.is(newest(owner).tasks.get('t1')?.desired, 'running', 'the other has not confirmed');
  t.true(withheld.length > 0);
  const confirmedAtMs = performance.now();
  for (const acknowledge of withheld) acknowledge();
  await eventually('then it is told', () => newest(owner).tasks.get('t1')?.desired === 'shutdown');
  t.true(performance.now() - confirmedAtMs >= withdrawWaitMs - 1, 'what is open may end meanwhile');
});

test('a node that does not confirm holds a stop up until the deadline, however patient the manager is with nodes', async (t) => {
  const r = await rig(t, { withdrawTimeoutMs: 100, nodeDownAfterMs: 600_000 });
  const owner = await r.agent('owner');
  const other = await r.agent('other', { onAssignments: () => undefined });
  await addService(r, 'web', ['net1']);
  const addresses = [{ network: 'net1', address: '10.0.0.2' }];
  await putTask(r, task('t1', 'web', owner.nodeId, { addresses }));
  await putTask(
    r,
    task('t2', 'web', other.nodeId, { addresses: [{ network: 'net1', address: '10.0.0.3' }] }),
  );
  await eventually('the owner has its task', () => newest(owner).tasks.has('t1'));
  owner.link.report(status('t1', 'running'));
  await eventually(
    'the other is told to lead traffic to it',
    () => newest(other).endpoints.get('net1/t1')?.serving === true,
  );
  await putTask(r, task('t1', 'web', owner.nodeId, { addresses, desired: 'shutdown' }));
  await eventually('the owner is told', () => newest(owner).tasks.get('t1')?.desired === 'shutdown');
  t.pass();
});

test('invariant 10: an idle cluster writes nothing', async (t) => {
  const store = new MemoryStore();
  const r = await rig(t, { store, nodeDownAfterMs: 400 });
  const agents = await Promise.all(['a', 'b', 'c'].map((name) => r.agent(name)));
  await eventually('all are ready', () =>
    agents.every((agent) => store.get('nodes', agent.nodeId)?.status === 'ready'),
  );
  const commits = store.commits;
  // Ten heartbeats each.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  t.is(store.commits, commits);
});

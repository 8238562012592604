import test from 'ava';
import type { Node } from '../../../shared/model/index.ts';
import { MemoryStore } from '../../harness/memory-store.ts';
import { RawSession } from './raw-session.ts';
import { eventually, rig, startAgent } from './rig.ts';

test('a node that falls silent is down, and ready again when it comes back', async (t) => {
  const r = await rig(t, { nodeDownAfterMs: 400 });
  const identity = await r.joined('a');
  const node = () => r.store.get('nodes', identity.nodeId);
  // Opened, and never a heartbeat: what a stopped process or a cut cable looks like.
  const session = await RawSession.open(r.address, identity);
  await eventually('it is ready', () => node()?.status === 'ready');
  await eventually('it is down', () => node()?.status === 'down');
  t.is(node()?.statusMessage, 'heartbeat failure');
  t.false(r.dispatcher.gateway.connected(identity.nodeId));
  await eventually('its session is closed', () => session.closeCode !== undefined);
  startAgent({ address: r.address, identity, hostname: 'a', signal: r.signal });
  await eventually('it is ready again', () => node()?.status === 'ready');
  t.is(node()?.statusMessage, undefined);
});

test('a node whose agent ended is down after the same time', async (t) => {
  const r = await rig(t, { nodeDownAfterMs: 400 });
  const agent = await r.agent('a');
  const node = () => r.store.get('nodes', agent.nodeId);
  await eventually('it is ready', () => node()?.status === 'ready');
  await agent.stop();
  await eventually('the session is gone', () => !r.dispatcher.gateway.connected(agent.nodeId));
  t.is(node()?.status, 'ready', 'at first it may be a restart');
  await eventually('it is down', () => node()?.status === 'down');
  t.is(node()?.statusMessage, 'the node disconnected');
});

test('a node that is awaited is not down without a session, until its time is over', async (t) => {
  const r = await rig(t, { nodeDownAfterMs: 300 });
  const agent = await r.agent('a');
  const node = () => r.store.get('nodes', agent.nodeId);
  await eventually('it is ready', () => node()?.status === 'ready');
  const awaitedUntilMs = Date.now() + 2_000;
  const write = {
    table: 'nodes',
    key: agent.nodeId,
    value: { ...(node() as Node), awaitedUntilMs },
  } as const;
  await r.store.commit([write], { signal: r.signal });
  await agent.stop();
  await eventually('it is down', () => node()?.status === 'down');
  t.true(Date.now() >= awaitedUntilMs, 'not before its time was over');
});

test('an agent that restarts at once was never down', async (t) => {
  const r = await rig(t, { nodeDownAfterMs: 5000 });
  const identity = await r.joined('a');
  const start = () => startAgent({ address: r.address, identity, hostname: 'a', signal: r.signal });
  const seen = new Set<string | undefined>();
  const first = start();
  await eventually('it is ready', () => r.store.get('nodes', identity.nodeId)?.status === 'ready');
  r.store.onChange((changes) => {
    for (const change of changes) if (change.table === 'nodes') seen.add(change.after?.status);
  });
  await first.stop();
  const second = start();
  await eventually('the second is connected', () => second.link.connected);
  await eventually('its session is recorded', () => seen.size > 0);
  t.deepEqual([...seen], ['ready']);
});

test('after a manager’s restart nodes are unknown until they are heard, and down if they never are', async (t) => {
  const store = new MemoryStore();
  const first = await rig(t, { store, nodeDownAfterMs: 400 });
  const [back, gone] = [await first.joined('back'), await first.joined('gone')];
  const status = (id: string) => store.get('nodes', id)?.status;
  const agents = [back, gone].map((identity) =>
    startAgent({ address: first.address, identity, hostname: 'x', signal: AbortSignal.timeout(120_000) }),
  );
  t.teardown(() => Promise.all(agents.map((agent) => agent.stop())));
  await eventually(
    'both are ready',
    () => status(back.nodeId) === 'ready' && status(gone.nodeId) === 'ready',
  );
  await first.dispatcher.close();
  await agents[1]?.stop();
  const seen: string[] = [];
  store.onChange((changes) => {
    for (const change of changes) {
      if (change.table === 'nodes')
        seen.push(`${change.key === back.nodeId ? 'back' : 'gone'} ${change.after?.status}`);
    }
  });
  await rig(t, { store, port: first.dispatcher.address.port });
  await eventually('one is back', () => status(back.nodeId) === 'ready' && seen.includes('back ready'));
  await eventually('the other is down', () => status(gone.nodeId) === 'down');
  t.deepEqual(
    seen.filter((line) => line.startsWith('gone')),
    ['gone unknown', 'gone down'],
  );
  t.false(seen.includes('back down'));
});

test('a node of another manager is not judged here', async (t) => {
  const store = new MemoryStore();
  const first = await rig(t, { store, nodeDownAfterMs: 100 });
  const { nodeId } = await first.joined('a');
  await first.dispatcher.close();
  const node = store.get('nodes', nodeId);
  if (node === undefined) return t.fail();
  const value = { ...node, status: 'ready' as const, session: 'another.1' };
  await store.commit([{ table: 'nodes', key: nodeId, value }], { signal: AbortSignal.timeout(10_000) });
  await rig(t, { store });
  await new Promise((resolve) => setTimeout(resolve, 1000));
  t.is(store.get('nodes', nodeId)?.status, 'ready');
});

test('a changed silence holds at once, and no node is down because of the change', async (t) => {
  const r = await rig(t, { nodeDownAfterMs: 60_000 });
  const agent = await r.agent('a');
  const silent = await r.joined('b');
  const status = (id: string) => r.store.get('nodes', id)?.status;
  await eventually('it is ready', () => status(agent.nodeId) === 'ready');
  await RawSession.open(r.address, silent);
  await eventually('the other is ready', () => status(silent.nodeId) === 'ready');
  const seen = new Set<string | undefined>();
  r.store.onChange((changes) => {
    for (const change of changes)
      if (change.table === 'nodes' && change.key === agent.nodeId) seen.add(change.after?.status);
  });
  const cluster = r.store.get('cluster', 'self');
  if (cluster === undefined) throw new Error('there is no cluster');
  const value = { ...cluster, nodeDownAfterMs: 500 };
  await r.store.commit([{ table: 'cluster', key: 'self', value }], { signal: r.signal });
  // one that never beats, however it is welcomed
  await eventually('the silent one is down', () => status(silent.nodeId) === 'down');
  t.is(status(agent.nodeId), 'ready');
  t.false(seen.has('down'));
  await agent.stop();
  await eventually('and so is one that left', () => status(agent.nodeId) === 'down');
});

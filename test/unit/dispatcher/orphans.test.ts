import test from 'ava';
import { FailureDetector } from '../../../manager/dispatcher/failure-detector.ts';
import { managerOf } from '../../../manager/dispatcher/node-records.ts';
import { Orphans } from '../../../manager/dispatcher/orphans.ts';
import type { Node } from '../../../shared/model/index.ts';

const DOWN_AFTER_MS = 2000;
const TICK_MS = 250;

function node(id: string, session: string, status: Node['status'] = 'ready'): Node {
  const spec = { role: 'worker', availability: 'active', labels: {} } as const;
  return { id, spec, status, statusAtMs: 1, createdAtMs: 1, updatedAtMs: 1, index: 1, session };
}

/** Nodes n1 of the manager that runs this, n2 of m2; who is dead can be changed. */
function scene() {
  const nodes = new Map([
    ['n1', node('n1', 'm1.s')],
    ['n2', node('n2', 'm2.s')],
  ]);
  const dead = new Set<string>();
  const here = new Set(['n1']);
  const detector = new FailureDetector({ downAfterMs: DOWN_AFTER_MS, tickMs: TICK_MS, nowMs: 0 });
  const orphans = new Orphans({
    nodes: () => nodes.values(),
    isOrphan: (one) => dead.has(managerOf(one) ?? ''),
    detector,
    isHere: (id) => here.has(id),
  });
  /** Looks and ticks; resolves with who was called down by then. */
  const until = (fromMs: number, toMs: number): string[] => {
    const down: string[] = [];
    for (let nowMs = fromMs; nowMs <= toMs; nowMs += TICK_MS) {
      orphans.look(nowMs);
      if (here.has('n1')) detector.heard('n1', nowMs);
      down.push(...detector.tick(nowMs).map(({ nodeId }) => nodeId));
    }
    return down;
  };
  return { nodes, dead, here, orphans, until };
}

test('nodes of another manager are its own business while it lives', (t) => {
  t.deepEqual(scene().until(0, 60_000), []);
});

test('when it is gone, its node has the time that a new manager would give, then it is down', (t) => {
  const s = scene();
  s.dead.add('m2');
  t.deepEqual(s.until(0, 6000), []);
  t.true(s.orphans.has('n2'));
  t.deepEqual(s.until(6250, 7000), ['n2']);
});

test('a node that comes to this manager, or whose manager comes back, is not called down', (t) => {
  const came = scene();
  came.dead.add('m2');
  came.until(0, 3000);
  came.nodes.set('n2', node('n2', 'm3.s'));
  t.deepEqual(came.until(3250, 60_000), []);
  const back = scene();
  back.dead.add('m2');
  back.until(0, 3000);
  back.dead.delete('m2');
  t.deepEqual(back.until(3250, 60_000), []);
  t.false(back.orphans.has('n2'));
});

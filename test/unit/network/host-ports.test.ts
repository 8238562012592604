/** Ports of mode host without a number: each task finds its own, the same each time. */
import test from 'ava';
import fc from 'fast-check';
import { hostPortsOf, sharedPort } from '../../../agent/network/host-ports.ts';
import type { PublishedPort, TaskAssignment } from '../../../shared/model/index.ts';
import { assignmentsOf } from '../../cluster/network-model.ts';
import { SELF, worlds } from './worlds.ts';

const port = fc.record({
  protocol: fc.constantFrom('tcp' as const, 'udp' as const),
  targetPort: fc.integer({ min: 1, max: 65_535 }),
  publishedPort: fc.constantFrom(0, 0, 0, 80, 40_000),
  mode: fc.constantFrom('host' as const, 'host' as const, 'ingress' as const),
});

function taskWith(taskId: string, ports: readonly PublishedPort[]): TaskAssignment {
  const set = fc
    .sample(worlds, { seed: 1, numRuns: 100 })
    .map((world) => assignmentsOf(world, SELF))
    .find(({ tasks }) => tasks.size > 0);
  const [task] = set?.tasks.values() ?? [];
  if (task === undefined) throw new Error('no world has a task');
  return { ...task, taskId, spec: { ...task.spec, ports } };
}

test('numbers are given where none was, in the range, none twice, and the same each time', (t) => {
  const model = taskWith('x', []);
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.array(port, { maxLength: 20 }), (taskId, ports) => {
      const task = { ...model, taskId, spec: { ...model.spec, ports } };
      const found = hostPortsOf(task);
      t.deepEqual(hostPortsOf({ ...task }), found);
      const asked = ports.filter(({ mode }) => mode === 'host');
      t.is(found.length, asked.length);
      const chosen = found.filter((_, index) => asked[index]?.publishedPort === 0);
      for (const [index, one] of found.entries()) {
        const { publishedPort = 0, ...rest } = asked[index] ?? {};
        t.like(one, rest);
        if (publishedPort !== 0) t.is(one.publishedPort, publishedPort);
      }
      for (const one of chosen) t.true(one.publishedPort >= 32_768 && one.publishedPort <= 60_999);
      const names = found.map((one) => `${one.publishedPort}/${one.protocol}`);
      for (const one of chosen)
        t.is(names.filter((name) => name === `${one.publishedPort}/${one.protocol}`).length, 1);
    }),
  );
});

test('tasks beside one another mostly differ, and who would not is told', (t) => {
  const ports = [{ protocol: 'tcp', targetPort: 80, publishedPort: 0, mode: 'host' }] as const;
  const numbers = Array.from(
    { length: 100 },
    (_, i) => hostPortsOf(taskWith(`task${i}`, ports))[0]?.publishedPort,
  );
  t.true(new Set(numbers).size > 95);
  const task = taskWith('one', ports);
  const [own] = hostPortsOf(task);
  if (own === undefined) return t.fail();
  t.is(sharedPort(task, [task], []), undefined);
  t.is(sharedPort(task, [taskWith('other', [own])], []), `${own.publishedPort}/tcp`);
  t.is(sharedPort(task, [taskWith('other', [{ ...own, protocol: 'udp' }])], []), undefined);
  t.is(sharedPort(task, [], [{ ports: [own] }]), `${own.publishedPort}/tcp`);
  t.is(
    sharedPort(taskWith('one', [own]), [taskWith('other', [own])], []),
    undefined,
    'the scheduler sees to it',
  );
});

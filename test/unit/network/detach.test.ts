import test from 'ava';
import fc from 'fast-check';
import { desiredState } from '../../../agent/network/desired.ts';
import { detachPlan, leftBy } from '../../../agent/network/detach.ts';
import { observeFastPaths } from '../../../agent/network/fast-path.ts';
import { fingerprintOf, keyOf, type Scope } from '../../../agent/network/kernel-object.ts';
import type { Self } from '../../../agent/network/local.ts';
import { portName, sandboxName } from '../../../agent/network/names.ts';
import type { AssignmentSet } from '../../../shared/model/index.ts';
import { listsToSet, setToLists } from '../../../shared/wire/assignment-diff.ts';
import { assignmentsOf } from '../../cluster/network-model.ts';
import { KernelModel } from './kernel-model.ts';
import { SELF, selfWith, worlds } from './worlds.ts';

const prints = (scope: Scope): string[] =>
  [...scope].map(([key, object]) => `${key} ${fingerprintOf(object)}`).toSorted();

test('what is taken away with one container leaves what would be computed without it', (t) => {
  let short = 0;
  fc.assert(
    fc.property(worlds, (world) => {
      const set = listsToSet(setToLists(assignmentsOf(world, SELF)));
      const running = [...set.tasks.values()].filter(({ desired }) => desired === 'running');
      const self = selfWith(running);
      const before = desiredState(set, self);
      for (const task of running) {
        const others = new Map([...self.attached].filter(([id]) => id !== task.taskId));
        const without: Self = { ...self, attached: others, ended: new Set([task.taskId]) };
        const held = new Map([...before.sandboxes.values()].map(({ vni, objects }) => [vni, objects]));
        const plan = detachPlan(task, set, without, held);
        if (plan === undefined) continue;
        short += 1;
        const after = desiredState(set, without);
        t.deepEqual(prints(after.host), prints(before.host));
        t.is(after.sandboxes.size, before.sandboxes.size);
        for (const { vni, objects } of after.sandboxes.values()) {
          const kernel = new KernelModel(held.get(vni) ?? new Map());
          const netns = `${self.netnsDir}/${sandboxName(self.prefix, vni)}`;
          for (const batch of plan.batches)
            if (batch.netns === netns) batch.ops.forEach((op) => kernel.run(op));
          t.deepEqual(prints(kernel.objects), prints(objects));
          const remembered = new Map(held.get(vni));
          for (const key of plan.removed.get(vni) ?? []) remembered.delete(key);
          t.deepEqual(prints(remembered), prints(objects));
        }
      }
    }),
    { numRuns: 400 },
  );
  t.true(short > 5, `the short way was taken ${short} times`);
});

test('what a container leaves that ended by itself is known, and nothing of one that is to run', (t) => {
  let found = 0;
  fc.assert(
    fc.property(worlds, (world) => {
      const set = listsToSet(setToLists(assignmentsOf(world, SELF)));
      const running = [...set.tasks.values()].filter(({ desired }) => desired === 'running');
      const self = selfWith(running);
      t.is(leftBy(running, set, self).size, 0);
      for (const task of running) {
        const without: AssignmentSet = {
          ...set,
          tasks: new Map([...set.tasks].filter(([id]) => id !== task.taskId)),
        };
        const left = leftBy([task], without, self);
        for (const { network, address } of task.addresses) {
          const vni = set.networks.get(network)?.vni;
          const elements = ['here', 'translated'].map((name) => ({ set: name, key: address }));
          for (const object of observeFastPaths({ chains: [], elements }))
            t.true(left.has(`${vni} ${keyOf(object)}`), keyOf(object));
          t.true(left.has(`${vni} element shoal sources ${portName(task.taskId)} . ${address}`));
          t.true(left.has(`${vni} element shoal hairpin ${address} . ${address}`));
          found += 1;
        }
      }
    }),
    { numRuns: 100 },
  );
  t.true(found > 5, `${found} addresses`);
});

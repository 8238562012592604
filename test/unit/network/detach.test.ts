import test from 'ava';
import fc from 'fast-check';
import { desiredState } from '../../../agent/network/desired.ts';
import { detachPlan } from '../../../agent/network/detach.ts';
import { fingerprintOf, type Scope } from '../../../agent/network/kernel-object.ts';
import type { Self } from '../../../agent/network/local.ts';
import { sandboxName } from '../../../agent/network/names.ts';
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

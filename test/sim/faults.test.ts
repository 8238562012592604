/** Proof that the simulation can fail: faults are planted, and it has to find each. */
import test from 'ava';
import type { StepExecutor } from '../../agent/worker/runner.ts';
import { derivedStore } from '../../manager/store/derived-store.ts';
import type { Store, TableName, Tables } from '../../manager/store/store.ts';
import type { Task } from '../../shared/model/index.ts';
import type { Faults } from './faults.ts';
import { simulate } from './simulate.ts';

/** Worlds in which a fault has to show. */
const WORLDS = 90;

/** The store with other tasks in it than there are. */
function withTasks(store: Store, change: (task: Task) => Task | undefined): Store {
  const all = <T extends TableName>(table: T): ReadonlyMap<string, Tables[T]> => {
    if (table !== 'tasks') return store.all(table);
    const tasks = [...store.all('tasks')].flatMap(([id, task]): [string, Task][] => {
      const changed = change(task);
      return changed === undefined ? [] : [[id, changed]];
    });
    return new Map(tasks) as unknown as ReadonlyMap<string, Tables[T]>;
  };
  return derivedStore(store, { all });
}

function stepsOf(executor: StepExecutor): StepExecutor {
  return {
    prepare: (task, interrupt) => executor.prepare(task, interrupt),
    start: (task, progress, interrupt) => executor.start(task, progress, interrupt),
    watch: (task, progress, interrupt) => executor.watch(task, progress, interrupt),
    stop: (taskId, signal) => executor.stop(taskId, signal),
    remove: (taskId) => executor.remove(taskId),
  };
}

const FAULTS: readonly { readonly what: string; readonly faults: Faults; readonly found: RegExp }[] = [
  {
    what: 'a manager that lets observed states go back',
    faults: {
      dispatcherStore: (store) =>
        derivedStore(store, {
          get: (table, key) => (table === 'statuses' ? undefined : store.get(table, key)),
        }),
    },
    found: /went from \w+ to \w+|something was written/,
  },
  {
    what: 'a leader that ignores its fence',
    faults: {
      leaderStore: (store) =>
        derivedStore(store, {
          commit: (writes, { fence: _ignored, ...options }) => store.commit(writes, options),
        }),
    },
    found: /and does not lead/,
  },
  {
    what: 'a leader that does not wait for what was written before',
    faults: {
      leaderStore: (store) =>
        derivedStore(store, {
          commit: async (writes, options) =>
            writes[0]?.key === 'leader' ? store.revision : store.commit(writes, options),
        }),
    },
    found: /was given to|wanted tasks|has run/,
  },
  {
    what: 'a plan that does not see the tasks that are leaving',
    faults: {
      leaderStore: (store) => withTasks(store, (task) => (task.desired === 'shutdown' ? undefined : task)),
    },
    found: /was given to|in history|over-reserved|has run|does not stop|would be written/,
  },
  {
    what: 'a plan that does not know which addresses are taken',
    // Of single containers as well, it would connect them anew for ever.
    faults: {
      leaderStore: (store) =>
        withTasks(store, (task) => (task.run === undefined ? { ...task, addresses: [] } : task)),
    },
    found: /was given to/,
  },
  {
    what: 'a leader that does not notice what becomes of services',
    faults: {
      leaderStore: (store) =>
        derivedStore(store, {
          onChange: (listener) =>
            store.onChange((changes) => listener(changes.filter(({ table }) => table !== 'services'))),
        }),
    },
    found: /would be written|still being removed|does not end/,
  },
  {
    what: 'a leader that does not notice what becomes of tasks',
    faults: {
      leaderStore: (store) =>
        derivedStore(store, {
          onChange: (listener) =>
            store.onChange((changes) => listener(changes.filter(({ table }) => table !== 'statuses'))),
        }),
    },
    found: /would be written|does not run|is \w+, desired/,
  },
  {
    what: 'a leader that forgets nodes that come and go',
    faults: {
      leaderStore: (store) =>
        derivedStore(store, {
          onChange: (listener) =>
            store.onChange((changes) => listener(changes.filter(({ table }) => table !== 'nodes'))),
        }),
    },
    found: /would be written|does not run|is missing on|zombie|stays on drained|is \w+, desired|does not end/,
  },
  {
    what: 'agents that do not say what tasks use',
    faults: { noUsage: true },
    found: /tasks of web for a load of/,
  },
  {
    what: 'history that is not cleared away',
    faults: {
      leaderStore: (store) =>
        derivedStore(store, {
          commit: (writes, options) =>
            store.commit(
              writes.filter(({ table, value }) => value !== null || !['tasks', 'statuses'].includes(table)),
              options,
            ),
        }),
    },
    found: /would be written|in history|still being removed|without its|is kept/,
  },
  {
    what: 'a dispatcher that does not wait until traffic is led away',
    faults: { withdrawTimeoutMs: 0 },
    found: /got its signal while \w+ led traffic to/,
  },
  {
    what: 'agents that send no heartbeats',
    faults: { noBeats: true },
    found: /was called down/,
  },
  {
    what: 'an agent that says that it stopped a container, and did not',
    faults: {
      executor: (executor) => ({
        ...stepsOf(executor),
        stop: async () => ({ state: 'shutdown', message: 'shutdown' }),
        remove: async () => undefined,
      }),
    },
    found: /zombie|has run .* since|keeps the container/,
  },
  {
    what: 'an agent that runs a task again when its container has ended',
    faults: {
      executor: (executor) => ({
        ...stepsOf(executor),
        watch: async (task, progress, interrupt) => {
          const end = await executor.watch(task, progress, interrupt);
          await executor.remove(task.taskId);
          return end.state === 'failed' ? executor.start(task, progress, interrupt) : end;
        },
      }),
    },
    found: /was run a second time/,
  },
];

for (const { what, faults, found } of FAULTS) {
  test.serial(`the simulation finds ${what}`, async (t) => {
    for (let seed = 1; seed <= WORLDS; seed += 1) {
      const failure: unknown = await simulate(String(seed), { rounds: 1, faults }).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (failure === undefined) continue;
      const { message } = failure as Error;
      t.regex(message.split('\n').find((line) => line.startsWith(`seed ${seed}, round`)) ?? message, found);
      t.true(message.includes(`npm run sim -- --seed ${seed}`), 'it says how to see it again');
      return;
    }
    t.fail(`not found in ${WORLDS} worlds`);
  });
}

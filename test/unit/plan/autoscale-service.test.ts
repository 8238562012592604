import test from 'ava';
import type { Autoscale } from '../../../shared/model/index.ts';
import type { SpecChanges, TestCluster } from './_cluster.ts';
import { cluster } from './_cluster.ts';

const CPU: Autoscale = { min: 2, max: 8, cpuPercent: 50, coolDownMs: 60_000 };

/** A service whose tasks each use what `load` says, of one processor. */
class Scaled {
  readonly swarm: TestCluster;
  /** All that is asked of the service, in percent of one processor; shared by the tasks that run. */
  load = 0;
  /** Tasks of which nothing is heard. */
  silent = new Set<string>();
  measures = true;

  constructor(changes: SpecChanges = {}) {
    this.swarm = cluster().nodes(3);
    this.swarm.usage = {
      samples: (nodeId, taskId) => {
        const task = this.swarm.store.get('tasks', taskId);
        if (!this.measures || this.silent.has(taskId) || task?.nodeId !== nodeId) return [];
        const share = this.load / Math.max(1, this.swarm.running('web').length);
        return [{ atMs: this.swarm.now, nanoCpus: share * 1e7, memoryBytes: 0 }];
      },
    };
    this.swarm.service('web', { replicas: 2, autoscale: CPU, ...changes }).settle();
  }

  after(ms: number, load?: number): number {
    if (load !== undefined) this.load = load;
    this.swarm.elapse(ms);
    return this.swarm.running('web').length;
  }
}

test('more load: more tasks, in steps; the number is the service’s, not a revision’s', (t) => {
  const web = new Scaled();
  t.is(web.after(60_000, 100), 2);
  t.is(web.after(5_000, 350), 6, 'four more at most');
  t.is(web.after(9_000), 6, 'what was started has to show');
  t.is(web.after(5_000), 7);
  t.is(web.after(600_000), 7);
  const service = web.swarm.get('web');
  t.is(service.revision, 1);
  t.is(service.scaled?.replicas, 7);
  t.regex(service.scaled?.reason ?? '', /^mean cpu use was \d+ %, the target is 50 %$/);
});

test('less load: fewer, the normal way, after the cool-down', (t) => {
  const web = new Scaled({ update: { order: 'stop-first' } });
  t.is(web.after(30_000, 300), 6);
  t.is(web.after(50_000, 100), 6);
  t.is(web.after(15_000), 2);
  t.is(web.swarm.tasks('web').length, 2, 'the others have stopped and are gone');
  t.is(web.after(600_000, 0), 2, 'the least that is allowed');
});

test('a short dip is sat out: the most of the cool-down counts', (t) => {
  const web = new Scaled();
  web.after(120_000, 300);
  for (let i = 0; i < 10; i += 1) {
    t.is(web.after(30_000, 100), 6);
    t.is(web.after(10_000, 300), 6);
  }
});

test('nothing is heard: nothing changes, for however long; and then the cool-down begins anew', (t) => {
  const web = new Scaled();
  web.after(120_000, 300);
  web.measures = false;
  t.is(web.after(600_000, 0), 6);
  web.measures = true;
  t.is(web.after(50_000), 6);
  t.is(web.after(15_000), 2);
});

test('half of the tasks are silent: they are not thought idle when it comes to stopping some', (t) => {
  const web = new Scaled();
  web.after(120_000, 300);
  for (const { id } of web.swarm.running('web').slice(0, 3)) web.silent.add(id);
  t.is(web.after(120_000, 0), 3);
});

test('another leader knows the number, and waits before it takes any away', (t) => {
  const web = new Scaled();
  web.after(300_000, 300);
  web.swarm.recommended.clear();
  t.is(web.after(50_000, 0), 6);
  t.is(web.after(15_000), 2);
});

test('during an update tasks are added but not taken away; the update and a rollback keep the number', (t) => {
  const web = new Scaled();
  web.after(120_000, 300);
  const slow = { parallelism: 1, delayNs: 60_000_000_000, order: 'start-first' as const };
  web.swarm.service('web', { image: 'img:2', update: slow });
  t.is(web.after(200_000, 0), 6);
  t.is(web.swarm.get('web').updateStatus?.state, 'updating');
  t.true(web.after(5_000, 400) >= 8);
  web.after(1_200_000, 300);
  t.is(web.swarm.get('web').updateStatus?.state, 'completed');
  const before = web.swarm.running('web').length;
  web.swarm.hangs = ({ revision }) =>
    web.swarm.store.get('revisions', `web.${revision}`)?.spec.container.image === 'bad';
  web.swarm.service('web', { image: 'bad', update: { failureAction: 'rollback' }, updateDeadlineMs: 10_000 });
  t.is(web.after(300_000), before);
  t.is(web.swarm.get('web').updateStatus?.state, 'rollback-completed');
  t.is(web.swarm.get('web').scaled?.replicas, before);
});

test('rolled back to a spec that asks for no scaling: that spec’s number, and no other any more', (t) => {
  const web = new Scaled();
  const plain: SpecChanges = { image: 'img:0', replicas: 3 };
  const swarm = cluster().nodes(2).service('web', plain).settle();
  swarm.usage = web.swarm.usage;
  swarm.hangs = ({ revision }) => revision === 2;
  swarm.service('web', {
    image: 'bad',
    autoscale: CPU,
    update: { failureAction: 'rollback' },
    updateDeadlineMs: 10_000,
  });
  swarm.put('services', 'web', {
    ...swarm.get('web'),
    scaled: { replicas: 5, atMs: 1, reason: 'set by a user' },
  });
  swarm.settle();
  t.is(swarm.wanted('web').length, 5);
  swarm.elapse(60_000);
  t.is(swarm.get('web').updateStatus?.state, 'rollback-completed');
  t.is(swarm.get('web').scaled, undefined);
  t.is(swarm.running('web').length, 3);
});

test('other bounds hold at once', (t) => {
  const web = new Scaled();
  web.after(120_000, 300);
  web.swarm.service('web', { autoscale: { ...CPU, max: 4 } }).settle();
  t.is(web.swarm.running('web').length, 4);
  web.swarm.service('web', { autoscale: { ...CPU, min: 7 } }).settle();
  t.is(web.swarm.running('web').length, 7);
});

test('without it nothing is looked at and nothing wakes up', (t) => {
  const swarm = cluster().nodes(2);
  swarm.usage = {
    samples: () => {
      throw new Error('nobody asked for it');
    },
  };
  swarm.service('web', { replicas: 3 }).settle();
  t.is(swarm.last?.timers.size, 0);
  t.is(swarm.last?.recommended.size, 0);
  t.is(swarm.last?.wakeAt, undefined);
});

test('an idle service that scales writes nothing', (t) => {
  const web = new Scaled();
  web.after(120_000, 100);
  const { revision } = web.swarm.store;
  web.after(600_000);
  t.is(web.swarm.store.revision, revision);
});

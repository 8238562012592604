import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { readUsage } from '../../../agent/container/usage.ts';
import { createContainer, killContainer, startContainer } from '../../../agent/native/container.ts';
import { UsageReports } from '../../../agent/worker/usage-reports.ts';
import type { AssignmentSet, TaskAssignment, TaskUsage } from '../../../shared/model/index.ts';
import { EMPTY_ASSIGNMENTS } from '../../../shared/wire/assignment-diff.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { serviceSpec } from '../session/rig.ts';
import { DEADLINE_MS, Fixture } from './fixture.ts';

const fixture = new Fixture('usage');
test.after.always(() => fixture.close());

function assigned(...tasks: Partial<TaskAssignment>[]): AssignmentSet {
  const rows = tasks.map((task): TaskAssignment => {
    const own = { taskId: 't1', serviceId: 's', serviceName: 's', slot: 1, nodeId: 'n', revision: 1 };
    return { ...own, desired: 'running', spec: serviceSpec('s'), addresses: [], measured: true, ...task };
  });
  return { ...EMPTY_ASSIGNMENTS, tasks: new Map(rows.map((row) => [row.taskId, row])) };
}

async function running(...args: string[]): Promise<string> {
  const request = fixture.request(args);
  await createContainer(request);
  await startContainer(request.runDir);
  return request.runDir;
}

/** One that takes no time: `runDirs` says which tasks run, and where. */
function reportsOf(runDirs: ReadonlyMap<string, string>, sent: (readonly TaskUsage[])[] = []): UsageReports {
  return new UsageReports({
    runDirOf: (taskId) => runDirs.get(taskId),
    read: readUsage,
    send: (tasks) => sent.push(tasks),
    steadyMs: () => performance.now(),
    logger: silentLogger,
    everyMs: 50,
  });
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  while (!condition()) {
    deadline.throwIfAborted();
    await delay(5);
  }
}

test('real containers: one that computes and one that sleeps; one that is gone is left out', async (t) => {
  const busy = await running('sh', '-c', 'while :; do :; done');
  const idle = await running('sleep', '1000');
  const runDirs = new Map([
    ['busy', busy],
    ['idle', idle],
    ['gone', join(fixture.runRoot, 'none')],
  ]);
  const sent: (readonly TaskUsage[])[] = [];
  const reports = reportsOf(runDirs, sent);
  t.teardown(() => reports.close());
  reports.take(assigned({ taskId: 'busy' }, { taskId: 'idle' }, { taskId: 'gone' }, { taskId: 'unknown' }));
  await until(() => sent.length >= 5);
  const [first = []] = sent;
  t.deepEqual(first.map(({ taskId }) => taskId).sort(), ['busy', 'idle']);
  // Others use these processors too: the sleeper is the measure.
  const mean = (taskId: string): number => {
    const found = sent.flat().filter((task) => task.taskId === taskId);
    return found.reduce((sum, { nanoCpus }) => sum + nanoCpus, 0) / found.length;
  };
  t.true(mean('busy') > 10_000_000, `${mean('busy')}`);
  t.true(mean('idle') < mean('busy') / 5, `${mean('idle')} of ${mean('busy')}`);
  for (const { memoryBytes } of sent.flat()) t.true(memoryBytes > 0 && memoryBytes < 64 * 2 ** 20);
  await Promise.all([busy, idle].map((runDir) => killContainer(runDir, 9)));
});

test('no timer runs while nothing is to be measured, and none for tasks that shall not run', async (t) => {
  const reads: string[] = [];
  const sent: unknown[] = [];
  const reports = new UsageReports({
    runDirOf: (taskId) => taskId,
    read: async (runDir) => {
      reads.push(runDir);
      return { cpuNs: 0, memoryBytes: 1 };
    },
    send: (tasks) => sent.push(tasks),
    steadyMs: () => performance.now(),
    logger: silentLogger,
    everyMs: 1,
  });
  const { measured: _no, ...plain } = [...assigned({ taskId: 'plain' }).tasks.values()][0] as TaskAssignment;
  reports.take({ ...EMPTY_ASSIGNMENTS, tasks: new Map([['plain', plain]]) });
  reports.take(assigned({ taskId: 'leaving', desired: 'shutdown' }));
  await delay(30);
  t.deepEqual(reads, []);
  reports.take(assigned({ taskId: 'a' }, { taskId: 'leaving', desired: 'remove' }));
  await until(() => sent.length >= 2);
  t.deepEqual([...new Set(reads)], ['a']);
  reports.take(EMPTY_ASSIGNMENTS);
  await delay(10);
  const before = sent.length;
  await delay(30);
  t.is(sent.length, before);
});

test('the first readings of a task are no report: how it starts says nothing', async (t) => {
  let atMs = 0;
  let cpuNs = 0;
  const reports = new UsageReports({
    runDirOf: (taskId) => taskId,
    read: async () => ({ cpuNs, memoryBytes: 10 }),
    send: () => undefined,
    steadyMs: () => atMs,
    logger: silentLogger,
    everyMs: DEADLINE_MS,
  });
  t.teardown(() => reports.close());
  reports.take(assigned({ taskId: 'a' }));
  const measure = (usedNs: number): Promise<readonly TaskUsage[]> => {
    atMs += 5_000;
    cpuNs += usedNs;
    return reports.measure();
  };
  t.deepEqual(await measure(9e9), []);
  t.deepEqual(await measure(9e9), []);
  t.deepEqual(await measure(2.5e9), [{ taskId: 'a', nanoCpus: 500_000_000, memoryBytes: 10 }]);
  cpuNs = 0;
  t.deepEqual(await measure(0), [{ taskId: 'a', nanoCpus: 0, memoryBytes: 10 }], 'a counter that went back');
});

test('cgroup2: memory without the cache that nobody looked at', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-usage-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const group = join(directory, 'group');
  await mkdir(group);
  await writeFile(join(directory, 'cgroups'), `unified ${group}\n`);
  await writeFile(join(group, 'cpu.stat'), 'usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n');
  await writeFile(join(group, 'memory.current'), '5000\n');
  await writeFile(join(group, 'memory.stat'), 'anon 3000\ninactive_file 1500\n');
  t.deepEqual(await readUsage(directory), { cpuNs: 1_500_000, memoryBytes: 3500 });
  await rm(join(group, 'memory.current'));
  t.is(await readUsage(directory), undefined);
});

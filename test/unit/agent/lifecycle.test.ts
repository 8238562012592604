/** Commands in a container after its start and before its stop: when, how long, and what becomes of one that fails. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { afterStart, beforeStop } from '../../../agent/worker/lifecycle.ts';
import type { Containers } from '../../../agent/container/containers.ts';
import type { ContainerRecord } from '../../../agent/container/record.ts';
import type { ExecResult } from '../../../agent/native/container.ts';
import { isAbort } from '../../../shared/lib/abort.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const HOOKS = [{ command: ['one'] }, { command: ['two'], workingDir: '/w', env: ['A=b'] }];
const never = new AbortController().signal;

type Run = (command: string, timeoutMs: number) => Promise<Partial<ExecResult>>;

/** Containers of which one runs; what is run in it is written down. */
async function rig(t: ExecutionContext, run: Run = async () => ({}), status = 'running') {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-lifecycle-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const said: string[] = [];
  const exec: Containers['exec'] = async (_runDir, process, { timeoutMs }) => {
    said.push(`${process.args.join(' ')} ${process.cwd} ${process.env?.join() ?? ''}`);
    return { exitCode: 0, timedOut: false, output: '', ...(await run(process.args[0] ?? '', timeoutMs)) };
  };
  const containers = {
    ...{ exec, directory: () => directory, runDirectory: () => directory },
    state: async () => ({ status, pid: 1 }),
    paused: async () => status === 'paused',
  } as unknown as Containers;
  return { containers, said };
}

const record = {
  ...{ id: 'c', taskId: 't', uid: 0, gid: 0, cwd: '/', env: ['P=q'], stopGraceMs: 5000 },
  ...{ postStart: HOOKS, preStop: HOOKS },
} as unknown as ContainerRecord;

test('after a start all run in their order, once, whichever agent looks again', async (t) => {
  const { containers, said } = await rig(t);
  t.is(await afterStart(containers, record, never), undefined);
  t.deepEqual(said, ['one / P=q', 'two /w P=q,A=b']);
  t.is(await afterStart(containers, record, never), undefined);
  t.is(said.length, 2);
});

test('one that fails is told with its words, the rest does not run, and another agent begins anew', async (t) => {
  const { containers, said } = await rig(t, async () => ({ exitCode: 3, output: ' no such table\n' }));
  const wrong = 'post_start "one": exit code 3: no such table';
  t.is(await afterStart(containers, record, never), wrong);
  t.is(await afterStart(containers, record, never), wrong);
  t.is(said.length, 2);
});

test('a task that is to stop does not wait for it', async (t) => {
  const { containers } = await rig(t, () => new Promise(() => undefined));
  const stop = new AbortController();
  const start = afterStart(containers, record, stop.signal);
  stop.abort();
  t.true(await start.catch(isAbort));
});

test('before a stop they take of its grace period, and a little is left', async (t) => {
  const limits: number[] = [];
  const { containers, said } = await rig(t, async (_, timeoutMs) => {
    limits.push(timeoutMs);
    await new Promise((resolve) => setTimeout(resolve, 20));
    return { timedOut: true };
  });
  const left = await beforeStop(containers, record, silentLogger);
  t.is(said.length, 2);
  t.true((limits[0] ?? 0) <= 5000 && (limits[1] ?? 0) < (limits[0] ?? 0));
  t.true(left.stopGraceMs < 5000 && left.stopGraceMs >= 2000);
  const brief = await beforeStop(containers, { ...record, stopGraceMs: 1 }, silentLogger);
  t.is(brief.stopGraceMs, 1);
  t.is(said.length, 3, 'for the second there was no time left');
});

test('in a container that is paused, or has ended, none runs', async (t) => {
  for (const status of ['paused', 'stopped']) {
    const { containers, said } = await rig(t, undefined, status);
    t.is(await beforeStop(containers, record, silentLogger), record);
    t.deepEqual(said, []);
  }
});

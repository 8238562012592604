/** Health checks in a real container, and what is kept of them. Needs root. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { commandProcess } from '../../../agent/container/exec-process.ts';
import { readHealth, writeHealth } from '../../../agent/container/health-file.ts';
import { type HealthState, initialHealth } from '../../../agent/container/health-state.ts';
import { probeArgs, watchHealth } from '../../../agent/container/health.ts';
import type { ContainerRecord } from '../../../agent/container/record.ts';
import { createContainer, execInContainer, startContainer } from '../../../agent/native/container.ts';
import { DEADLINE_MS, Fixture } from '../native/fixture.ts';

const fixture = new Fixture('health');
test.after.always(() => fixture.close());

const check = { intervalNs: 1e6, timeoutNs: 2e8, startPeriodNs: 0, startIntervalNs: 0, retries: 2 };

/** The states after so many probes. */
async function probed(command: readonly string[], count: number): Promise<HealthState[]> {
  const request = fixture.request(['sleep', '1000']);
  await createContainer(request);
  await startContainer(request.runDir);
  const record = { uid: 0, gid: 0, env: ['PATH=/bin'], cwd: '/' } as unknown as ContainerRecord;
  const process = commandProcess(record, probeArgs({ ...check, test: command }) ?? []);
  const states: HealthState[] = [];
  const enough = new AbortController();
  const signal = AbortSignal.any([enough.signal, AbortSignal.timeout(DEADLINE_MS)]);
  const hear = (state: HealthState): void => {
    states.push(state);
    if (states.length === count) enough.abort();
  };
  const run: Parameters<typeof watchHealth>[3] = (...args) => execInContainer(request.runDir, ...args);
  await watchHealth({ ...check, test: command }, process, initialHealth(Date.now()), run, hear, signal).catch(
    () => undefined,
  );
  return states;
}

const ends = (states: readonly HealthState[]) =>
  states.map(({ health, failures }) => `${health} ${failures}`);

test('a check that fails, is too slow, or can not be run makes unhealthy; its words are kept', async (t) => {
  const failing = await probed(['CMD-SHELL', 'echo because; exit 3'], 3);
  t.deepEqual(ends(failing), ['starting 1', 'unhealthy 2', 'unhealthy 3']);
  t.like(failing[2]?.log, { length: 3, 2: { exitCode: 3, output: 'because\n' } });
  const slow = await probed(['CMD', 'sleep', '100'], 2);
  t.deepEqual(ends(slow), ['starting 1', 'unhealthy 2']);
  t.like(slow[1]?.log.at(-1), { exitCode: -1, output: 'health check exceeded its timeout of 200 ms' });
  const missing = await probed(['CMD', '/nosuch'], 2);
  t.deepEqual(ends(missing), ['starting 1', 'unhealthy 2']);
  t.regex(missing[1]?.log.at(-1)?.output ?? '', /could not be run: .*exec/);
});

test('one success heals; CMD runs a program, CMD-SHELL a line, NONE nothing', async (t) => {
  const healing = await probed(['CMD-SHELL', 'n=$(cat /n); echo $n. > /n; test "$n" = ..'], 4);
  t.deepEqual(ends(healing), ['starting 1', 'unhealthy 2', 'healthy 0', 'healthy 1']);
  const [literal] = await probed(['CMD', 'echo', '$HOME'], 1);
  t.is(literal?.log[0]?.output, '$HOME\n');
  t.is(probeArgs({ ...check, test: ['NONE'] }), undefined);
});

test('what was found is taken up for the same run, and for no other', async (t) => {
  const directory = join(fixture.directory, 'kept');
  await mkdir(directory);
  t.deepEqual(await readHealth(directory, 5), initialHealth(5));
  const probe = { startMs: 6, endMs: 7, exitCode: 0, output: 'well\n' };
  const state: HealthState = { health: 'healthy', failures: 0, startedAtMs: 5, log: [probe] };
  await writeHealth(directory, state);
  t.deepEqual(await readHealth(directory, 5), state);
  t.deepEqual(await readHealth(directory, 8), initialHealth(8));
  await writeFile(join(directory, 'health.json'), '{"health":"fine"');
  t.deepEqual(await readHealth(directory, 5), initialHealth(5));
});

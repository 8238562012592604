/** Containers that are started as they are made, and monitors that are there before. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import {
  type CreateRequest,
  createContainer,
  deleteContainer,
  type MadeContainer,
  NativeError,
  readState,
  startContainer,
} from '../../../agent/native/container.ts';
import { makeReadyMonitor, withStartWord } from '../../../agent/native/start-word.ts';
import { DEADLINE_MS, Fixture } from './fixture.ts';

const fixture = new Fixture('word');
test.after.always(() => fixture.close());

const never = new Promise<void>(() => undefined);

function made(request: CreateRequest, ready: Promise<unknown>, may: boolean): Promise<MadeContainer> {
  return withStartWord(
    ready,
    () => may,
    (startWord) => createContainer({ ...request, ...(startWord === undefined ? {} : { startWord }) }),
  );
}

test.serial(
  'its command runs when the word is said in time, and its start is not to be asked for',
  async (t) => {
    const request = fixture.request(['sleep', '1000']);
    const { pid, startedAtMs } = await made(request, Promise.resolve(), true);
    const state = await readState(request.runDir);
    t.is(state.status, 'running');
    t.is(state.pid, pid);
    t.is(state.startedAtMs, startedAtMs);
    t.is(readFileSync(`/proc/${pid}/cmdline`, 'utf8'), 'sleep\x001000\x00');
    t.is(
      (await t.throwsAsync(startContainer(request.runDir), { instanceOf: NativeError }))?.code,
      'EALREADY',
    );
  },
);

for (const [name, ready, may] of [
  ['that is not said', never, true],
  ['that may not be said', Promise.resolve(), false],
  ['that is not to be expected any more', Promise.reject(new Error('not wired')), true],
] as const) {
  test.serial(`with a word ${name} it waits for its start`, async (t) => {
    const request = fixture.request(['sleep', '1000']);
    t.is((await made(request, ready, may)).startedAtMs, undefined);
    t.is((await readState(request.runDir)).status, 'created');
    await startContainer(request.runDir);
    t.is((await readState(request.runDir)).status, 'running');
  });
}

test.serial('a command that can not be run fails what makes the container, and leaves nothing', async (t) => {
  for (const [command, code] of [
    ['no-such-command', 'ENOENT'],
    ['/dev/null', 'EACCES'],
  ] as const) {
    const request = fixture.request([command]);
    const error = await t.throwsAsync(made(request, Promise.resolve(), true), { instanceOf: NativeError });
    t.is(error?.step, 'exec');
    t.is(error?.code, code);
    t.false(existsSync(request.runDir));
    t.deepEqual(fixture.cgroupDirectories(`/${request.id}`), []);
  }
});

test.serial('files that can not be written fail it when its monitor is at work already', async (t) => {
  const request = fixture.request(['sleep', '1000']);
  const files = [{ path: join(fixture.directory, 'none', 'file'), mode: 0o600, text: '' }];
  const error = await t.throwsAsync(createContainer({ ...request, batch: { directories: [], files } }), {
    instanceOf: NativeError,
  });
  t.is(error?.step, 'files: open');
  t.false(existsSync(request.runDir));
  t.deepEqual(fixture.cgroupDirectories(`/${request.id}`), []);
});

test.serial('a container takes a monitor that is ready, and the next one its own', async (t) => {
  for (let wanted = 1; wanted > 0; ) wanted = await makeReadyMonitor();
  t.is(await makeReadyMonitor(), 0, 'no more are kept');
  const modes: string[] = [];
  for (let i = 0; i < 5; i += 1) {
    const request = fixture.request(['sleep', '1000']);
    await createContainer(request);
    await startContainer(request.runDir);
    const { monitorPid } = await readState(request.runDir);
    modes.push(readFileSync(`/proc/${monitorPid}/cmdline`, 'utf8').split('\0')[1] ?? '');
    await deleteContainer(request.runDir);
  }
  t.deepEqual(modes, ['ready', 'ready', 'ready', 'ready', 'create']);
});

/** Those in the namespace of another process, which is like no other's. */
function processesLike(pid: number): number[] {
  const name = readlinkSync(`/proc/${pid}/ns/uts`);
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((one) => one !== pid && linkOf(one) === name);
}

function linkOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/uts`);
  } catch {
    return undefined;
  }
}

test.serial('they are small, and end with the process that made them, however it ends', async (t) => {
  const victim = spawn('unshare', ['--uts', process.execPath, join(import.meta.dirname, 'ready-victim.js')], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  t.teardown(() => victim.kill('SIGKILL'));
  const [{ wanted }] = (await once(victim, 'message')) as [{ wanted: number }];
  t.is(wanted, 2);
  const monitors = processesLike(victim.pid ?? 0);
  t.is(monitors.length, 2);
  for (const pid of monitors) {
    t.is(readFileSync(`/proc/${pid}/comm`, 'utf8'), 'shoal-monitor\n');
    const kib = Number(/^Pss: +(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]);
    t.true(kib <= 128, `${kib} KiB`);
  }
  const name = linkOf(victim.pid ?? 0);
  victim.kill('SIGKILL');
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  while (monitors.some((pid) => linkOf(pid) === name)) {
    deadline.throwIfAborted();
    await delay(5);
  }
  t.pass();
});

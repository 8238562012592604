import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { DEFAULT_SECCOMP } from '../../../agent/container/seccomp-default.ts';
import { attachOutput } from '../../../agent/native/attach.ts';
import {
  type CreateRequest,
  createContainer,
  deleteContainer,
  execInContainer,
  killContainer,
  MonitorLostError,
  NativeError,
  type OciProcess,
  readState,
  startContainer,
  updateContainer,
  waitContainer,
} from '../../../agent/native/container.ts';
import { DEADLINE_MS, Fixture } from './fixture.ts';

const fixture = new Fixture('lifetime');
test.after.always(() => fixture.close());

const LIMITS = { timeoutMs: 30_000, maxOutputBytes: 4096 };

const command = (...args: string[]): OciProcess => ({
  user: { uid: 0, gid: 0 },
  args,
  env: ['PATH=/bin'],
  cwd: '/',
});

async function running(args: string[] = ['sleep', '1000']): Promise<CreateRequest & { pid: number }> {
  const request = fixture.request(args);
  const { pid } = await createContainer(request);
  await startContainer(request.runDir);
  return { ...request, pid };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  while (!condition()) {
    deadline.throwIfAborted();
    await delay(5);
  }
}

test('hundreds who wait, and hundreds who ask at once, keep nobody from it', async (t) => {
  const { runDir } = await running();
  const leave = new AbortController();
  const left = Array.from({ length: 100 }, () => waitContainer(runDir, leave.signal));
  const stay = Array.from({ length: 100 }, () => waitContainer(runDir, AbortSignal.timeout(DEADLINE_MS)));
  const states = await Promise.all(Array.from({ length: 300 }, () => readState(runDir)));
  t.true(states.every(({ status }) => status === 'running'));
  const attached = await Promise.all(Array.from({ length: 8 }, () => attachOutput(runDir, false)));
  for (const { socket } of attached) socket.destroy();
  leave.abort(new Error('no matter'));
  for (const { status } of await Promise.allSettled(left)) t.is(status, 'rejected');
  await killContainer(runDir, 9);
  for (const { exitCode } of await Promise.all(stay)) t.is(exitCode, 137);
});

test('a filter that lets nothing through, not even the end, is no container that spins and stays', async (t) => {
  const nothing = { defaultAction: 'SCMP_ACT_ERRNO' } as const;
  const request = fixture.request(['true'], ({ linux }) => {
    linux.seccomp = nothing;
  });
  await createContainer(request);
  await startContainer(request.runDir);
  const { exitCode } = await waitContainer(request.runDir, AbortSignal.timeout(DEADLINE_MS));
  t.is(exitCode, 128 + 4, 'SIGILL');
  const { runDir } = await running();
  const { exitCode: ofExec } = await execInContainer(runDir, command('true'), {
    ...LIMITS,
    seccomp: nothing,
  });
  t.is(ofExec, 128 + 4);
  await deleteContainer(runDir);
});

test('a killed monitor takes its container with it, and the state says lost', async (t) => {
  const victim = await running();
  const other = await running();
  const waiting = waitContainer(victim.runDir, AbortSignal.timeout(DEADLINE_MS));
  const rejection = t.throwsAsync(waiting, { instanceOf: MonitorLostError });
  const { monitorPid } = await readState(victim.runDir);
  process.kill(monitorPid, 'SIGKILL');
  await rejection;
  await until(() => !existsSync(`/proc/${victim.pid}`));
  await t.throwsAsync(readState(victim.runDir), { instanceOf: MonitorLostError });
  t.is((await readState(other.runDir)).status, 'running');
  await deleteContainer(victim.runDir);
  await deleteContainer(victim.runDir);
  t.deepEqual(fixture.cgroupDirectories(`/${victim.id}`), []);
});

test('a container outlives the process that made it, and another one adopts it', async (t) => {
  const request = fixture.request(['sh', '-c', 'trap "exit 7" TERM; while :; do sleep 1 & wait; done']);
  const script = `
    const c = await import(${JSON.stringify(new URL('../../../agent/native/container.js', import.meta.url).href)});
    const request = JSON.parse(process.argv[1]);
    await c.createContainer(request);
    await c.startContainer(request.runDir);
    process.kill(process.pid, 'SIGKILL');`;
  const args = ['--input-type=module', '-e', script, JSON.stringify(request)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'], detached: true });
  const [, signal] = await once(child, 'exit');
  t.is(signal, 'SIGKILL');
  t.is((await readState(request.runDir)).status, 'running');
  await killContainer(request.runDir, 15);
  const { state } = await fixture.finish(request);
  t.is(state.exitCode, 7);
});

test('waiting can be given up, and costs the container nothing', async (t) => {
  const request = await running();
  const controller = new AbortController();
  const waiting = waitContainer(request.runDir, controller.signal);
  controller.abort(new Error('enough'));
  await t.throwsAsync(waiting, { message: 'enough' });
  t.is((await readState(request.runDir)).status, 'running');
  await killContainer(request.runDir, 9);
  t.is((await waitContainer(request.runDir, AbortSignal.timeout(DEADLINE_MS))).signal, 9);
});

test('more waiters than the monitor has places for are all answered', async (t) => {
  const request = await running(['sh', '-c', 'sleep 1; exit 3']);
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  const states = await Promise.all(Array.from({ length: 40 }, () => waitContainer(request.runDir, deadline)));
  t.deepEqual([...new Set(states.map((state) => state.exitCode))], [3]);
});

test('a container that was never started is deleted', async (t) => {
  const request = fixture.request(['true']);
  const { pid } = await createContainer(request);
  await deleteContainer(request.runDir);
  t.false(existsSync(`/proc/${pid}`));
  t.false(existsSync(request.runDir));
  t.deepEqual(fixture.cgroupDirectories(`/${request.id}`), []);
});

test('a run directory deeper than a socket address may be', async (t) => {
  const request = fixture.request(['sh', '-c', 'exit 5']);
  const deep = join(fixture.runRoot, 'd'.repeat(120));
  mkdirSync(deep);
  request.runDir = join(deep, request.id);
  await createContainer(request);
  await startContainer(request.runDir);
  t.is((await fixture.finish(request)).state.exitCode, 5);
});

test('an idle monitor costs at most 128 KiB', async (t) => {
  const request = await running();
  const { monitorPid } = await readState(request.runDir);
  const rollup = readFileSync(`/proc/${monitorPid}/smaps_rollup`, 'utf8');
  const pssKiB = Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1]);
  t.log(`Pss ${pssKiB} KiB`);
  t.true(pssKiB > 0 && pssKiB <= 128, rollup);
});

test('limits of a running container change, in any order; what it was made without is refused', async (t) => {
  const MiB = 1024 * 1024;
  const request = await running();
  const read = (name: string): string[] =>
    fixture.cgroupDirectories(`/${request.id}`).flatMap((path) => {
      const file = join(path, name);
      return existsSync(file) ? [readFileSync(file, 'utf8').trim()] : [];
    });
  const memory = async (bytes: number): Promise<string[]> => {
    await updateContainer(request.runDir, { memory: { limit: bytes, swap: bytes } });
    return [...read('memory.limit_in_bytes'), ...read('memory.max')];
  };
  for (const bytes of [64 * MiB, 128 * MiB, 16 * MiB]) t.deepEqual(await memory(bytes), [String(bytes)]);
  await updateContainer(request.runDir, { cpu: { shares: 512 }, pids: { limit: 7 } });
  t.deepEqual(read('pids.max'), ['7']);
  await updateContainer(request.runDir, { pids: { limit: -1 } });
  t.deepEqual(read('pids.max'), ['max']);
  const refused = await t.throwsAsync(updateContainer(request.runDir, { cpu: { cpus: '0' } }));
  t.regex(refused?.message ?? '', /cpuset/);
  await t.throwsAsync(updateContainer(`${request.runDir}x`, {}), { code: 'ENOENT' });
  const { output } = await execInContainer(
    request.runDir,
    command('sh', '-c', 'echo x > /dev/null && echo fine'),
    LIMITS,
  );
  t.is(output, 'fine\n');
});

test('exec: output, exit code, and the namespaces of the container', async (t) => {
  const request = await running();
  const script = 'cat /proc/sys/kernel/hostname; cat /proc/1/comm; echo error >&2; exit 9';
  const result = await execInContainer(request.runDir, command('sh', '-c', script), LIMITS);
  t.deepEqual(result, { exitCode: 9, timedOut: false, output: 'boat\nsleep\nerror\n' });
  const status = await execInContainer(request.runDir, command('cat', '/proc/self/status'), LIMITS);
  t.regex(status.output, /CapEff:\t0000000000000000/);
  t.regex(status.output, /Seccomp:\t0/);
  const short = { ...LIMITS, maxOutputBytes: 3 };
  t.is((await execInContainer(request.runDir, command('echo', 'abcdef'), short)).output, 'abc');
});

test("exec: the filter is the container's own, or the one given", async (t) => {
  const status = command('cat', '/proc/self/status');
  const open = await running();
  const given = await execInContainer(open.runDir, status, { ...LIMITS, seccomp: DEFAULT_SECCOMP });
  t.regex(given.output, /Seccomp:\t2/);
  const filtered = fixture.request(['sleep', '1000'], ({ linux }) => {
    linux.seccomp = DEFAULT_SECCOMP;
  });
  await createContainer(filtered);
  await startContainer(filtered.runDir);
  t.regex((await execInContainer(filtered.runDir, status, LIMITS)).output, /Seccomp:\t2/);
});

test('a log that cannot be written stops nothing, and the loss is counted', async (t) => {
  const request = fixture.request(['sh', '-c', 'dd if=/dev/zero bs=100k count=5 2>/dev/null; exit 6']);
  await symlink('/dev/full', `${request.log?.path}.0`);
  await createContainer(request);
  await startContainer(request.runDir);
  const state = await waitContainer(request.runDir, AbortSignal.timeout(DEADLINE_MS));
  t.is(state.exitCode, 6);
  t.true((state.logDroppedBytes ?? 0) >= 500 * 1024);
});

test('exec: a timeout leaves no process behind', async (t) => {
  const request = await running();
  const script = 'sleep 500 & (sleep 500 &) ; echo begun; sleep 500';
  const result = await execInContainer(request.runDir, command('sh', '-c', script), {
    ...LIMITS,
    timeoutMs: 300,
  });
  t.true(result.timedOut);
  t.is(result.output, 'begun\n');
  await assertAlone(t, request.pid);
  const orphan = await execInContainer(
    request.runDir,
    command('sh', '-c', 'sleep 500 >/dev/null & echo out'),
    LIMITS,
  );
  t.is(orphan.output, 'out\n');
  await assertAlone(t, request.pid);
  const left = fixture.cgroupDirectories(`/${request.id}`).flatMap((path) => readdirSync(path));
  t.deepEqual(
    left.filter((name) => name.startsWith('exec-')),
    [],
  );
});

test('exec: the command ends with the process that asked for it', async (t) => {
  const request = await running();
  const script = `
    const c = await import(${JSON.stringify(new URL('../../../agent/native/container.js', import.meta.url).href)});
    const [runDir, command] = JSON.parse(process.argv[1]);
    await c.execInContainer(runDir, command, { timeoutMs: 0, maxOutputBytes: 100 });`;
  const args = [
    '--input-type=module',
    '-e',
    script,
    JSON.stringify([request.runDir, command('sleep', '500')]),
  ];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const own = cgroupOf(String(request.pid));
  const inside = () =>
    readdirSync('/proc').filter((name) => /^\d+$/.test(name) && !isZombie(name) && cgroupOf(name) === own)
      .length;
  await until(() => inside() === 2);
  child.kill('SIGKILL');
  await assertAlone(t, request.pid);
});

test('exec: what cannot be run is named, a container that does not run too', async (t) => {
  const request = await running();
  const missing = await t.throwsAsync(execInContainer(request.runDir, command('no-such'), LIMITS), {
    instanceOf: NativeError,
  });
  t.is(missing?.code, 'ENOENT');
  t.is(missing?.step, 'exec');
  await killContainer(request.runDir, 9);
  await waitContainer(request.runDir, AbortSignal.timeout(DEADLINE_MS));
  const gone = await t.throwsAsync(execInContainer(request.runDir, command('true'), LIMITS), {
    instanceOf: NativeError,
  });
  t.is(gone?.code, 'ESRCH');
});

/** Only the init is left in the container's cgroups (zombies that it does not reap aside). */
async function assertAlone(t: { pass(): void }, init: number): Promise<void> {
  const own = cgroupOf(String(init));
  await until(() => {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && !isZombie(name));
    return pids.filter((pid) => cgroupOf(pid) === own).length === 1;
  });
  t.pass();
}

/** /proc/PID/cgroup, the directory of an exec taken for its container's. */
function cgroupOf(pid: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'utf8').replace(/\/exec-[0-9a-f]+/g, '');
  } catch {
    return undefined;
  }
}

function isZombie(pid: string): boolean {
  try {
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
}

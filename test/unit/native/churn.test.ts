/** Many containers, one after the other and beside each other: nothing of them is left. SHOAL_CHURN=10000 for more of them. Needs root. */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  createContainer,
  deleteContainer,
  execInContainer,
  killContainer,
  startContainer,
  waitContainer,
} from '../../../agent/native/container.ts';
import { clusterProcesses } from '../../../deploy/local/proc.ts';
import { DEADLINE_MS, Fixture } from './fixture.ts';

const COUNT = Number(process.env['SHOAL_CHURN'] ?? 200);
const AT_ONCE = 8;
const fixture = new Fixture('churn');
test.after.always(() => fixture.close());

/** Of ours: other tests mount things meanwhile. */
const mounts = (): string[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => [fixture.directory, fixture.runRoot].some((path) => line.includes(path)));
const descriptors = (): number => readdirSync('/proc/self/fd').length;

/** Dead children of this process that nobody has waited for. */
function zombies(): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return state === 'Z' && parent === String(process.pid);
    } catch {
      return false;
    }
  });
}

/** Each ends in another way: by itself, killed, never started, removed while it runs, after a command in it. */
async function live(number: number): Promise<void> {
  const request = fixture.request(number % 5 === 0 ? ['true'] : ['sleep', '1000'], ({ linux }) => {
    if (number % 3 !== 0) return;
    const ranges = [{ containerID: 0, hostID: 1_600_000_000 + number * 100, size: 100 }];
    linux.namespaces.push({ type: 'user' });
    Object.assign(linux, { uidMappings: ranges, gidMappings: ranges });
  });
  await createContainer(request);
  if (number % 5 !== 1) await startContainer(request.runDir);
  if (number % 5 === 2) await killContainer(request.runDir, 9);
  if (number % 5 === 3) {
    const process = { user: { uid: 0, gid: 0 }, args: ['/bin/true'], cwd: '/' };
    await execInContainer(request.runDir, process, { timeoutMs: DEADLINE_MS, maxOutputBytes: 100 });
  }
  if (number % 5 === 0 || number % 5 === 2)
    await waitContainer(request.runDir, AbortSignal.timeout(DEADLINE_MS));
  await deleteContainer(request.runDir);
  rmSync(join(fixture.directory, request.id), { recursive: true });
}

test('no process, descriptor, mount, cgroup or directory is left', async (t) => {
  t.timeout(Math.max(120_000, COUNT * 100));
  for (let number = 0; number < AT_ONCE; number += 1) await live(number);
  const before = { descriptors: descriptors(), mounts: mounts() };
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < COUNT) await live(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  // Sockets of the last answers are closed by the event loop.
  for (const end = Date.now() + DEADLINE_MS; descriptors() > before.descriptors && Date.now() < end; )
    await new Promise((resolve) => setTimeout(resolve, 20));
  t.is(descriptors(), before.descriptors);
  t.deepEqual(mounts(), before.mounts);
  t.deepEqual(zombies(), []);
  t.deepEqual(await clusterProcesses(fixture.directory, fixture.runRoot), []);
  t.deepEqual(readdirSync(fixture.runRoot), []);
  for (const directory of fixture.cgroupDirectories(''))
    t.deepEqual(
      readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory()),
      [],
    );
});

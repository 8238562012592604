/** A run that is killed leaves containers; the next one removes them. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { cgroupDirectories } from '../../../deploy/local/cgroups.ts';
import { clusterProcesses } from '../../../deploy/local/proc.ts';
import { removeLeftovers } from '../../harness/leftovers.ts';

interface Left {
  readonly directory: string;
  readonly runRoot: string;
  readonly cgroup: string;
}

test('what a killed run left goes, what a live one has stays', async (t) => {
  const victim = fork(path.join(import.meta.dirname, 'leftovers-victim.js'));
  t.teardown(() => victim.kill('SIGKILL'));
  const [left] = (await once(victim, 'message')) as [Left];
  t.teardown(() => rm(left.directory, { recursive: true, force: true }));
  await removeLeftovers();
  t.true((await readdir(left.runRoot)).length > 0);
  t.is((await clusterProcesses(left.runRoot, left.runRoot)).length, 1, 'its monitor');
  t.true((await cgroupDirectories(left.cgroup)).length > 0);

  const ended = once(victim, 'exit');
  victim.kill('SIGKILL');
  await ended;
  await removeLeftovers();
  await t.throwsAsync(readdir(left.runRoot), { code: 'ENOENT' });
  t.deepEqual(await clusterProcesses(left.runRoot, left.runRoot), []);
  t.deepEqual(await cgroupDirectories(left.cgroup), []);
});

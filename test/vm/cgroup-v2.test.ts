/** The C tests, and containers on a host with every cgroup v2 controller and no v1, in a virtual machine. */
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { checkoutDir } from '../harness/peers.ts';
import { buildInitramfs } from './initramfs.ts';
import { type Output, runMachine } from './machine.ts';
import { parseReport, type Verdict } from './tap.ts';

/** Booting takes seconds, all of it 10 s; a loaded host may be many times slower. */
const DEADLINE_MS = 180_000;

/** Named here, so that one which is not run is missed. */
const C_TESTS = [
  'attach',
  'cgroup',
  'config',
  'control',
  'devices',
  'files',
  'init',
  'layer',
  'log',
  'net',
  'oci',
  'pump',
  'resolve',
  'state',
].map((subject) => `test-${subject}`);
/** Wants a directory on a disk: all of the machine is in memory. */
const NOT_IN_MEMORY = 'test-tmpfs';
const CGROUP_V2_TESTS = [
  'the host is pure v2 with every controller',
  'a parent without controllers gets them',
  'controllers are enabled down to the container',
  'a container lives and ends in its cgroup',
  'limits are written as v2 has them',
  'a weight of block devices is written',
  'no limit is max',
  'a refused limit is named and leaves nothing',
  'a memory limit kills and is recorded',
  'another kill is not taken for one of memory',
  'a pids limit refuses the next process',
  'a cpu quota throttles',
  'devices are denied but the usual ones',
  'limits change and devices stay',
  'removal kills through cgroup kill',
  'a frozen container can be removed',
  'exec counts towards the containers limits',
  'what an exec leaves behind is killed',
];

/** The emulator runs anything anywhere, but the programs in the machine are this host's. */
const emulated = process.arch === 'x64' ? test : test.skip;

const checkout = checkoutDir();
const run = promisify(execFile);
let output: Output;
let verdicts: Map<string, Verdict>;

test.before('boot', async (t) => {
  if (process.arch !== 'x64') return;
  t.timeout(2 * DEADLINE_MS);
  const unpacked = process.env['SHOAL_VM_DIR'] ?? path.join(checkout, '.cache', 'vm');
  await run(path.join(checkout, 'deploy', 'prerequisites.sh'), ['--vm', unpacked]);
  await run('make', ['-s', '-C', path.join(checkout, 'native'), 'vm']);
  const built = path.join(checkout, 'native', 'build');
  const root = path.join(unpacked, 'root');
  const programs = (await readdir(path.join(checkout, 'native', 'test')))
    .filter((name) => /^(test|vm)-.*\.c$/.test(name))
    .map((name) => path.basename(name, '.c'))
    .filter((name) => name !== NOT_IN_MEMORY);
  const initramfs = await buildInitramfs({
    tests: programs.map((name) => path.join(built, 'asan', name)),
    monitor: path.join(built, 'shoal-monitor'),
    containerInit: path.join(built, 'shoal-init'),
    oci: path.join(built, 'shoal-oci'),
    init: path.join(checkout, 'test', 'vm', 'init.sh'),
    kernelRoot: root,
  });
  output = await runMachine({ root, initramfs, memoryMiB: 1024, cpus: 2 }, AbortSignal.timeout(DEADLINE_MS));
  verdicts = parseReport(output.report);
});

for (const name of [...C_TESTS, ...CGROUP_V2_TESTS]) {
  emulated(name, (t) => {
    const verdict = verdicts.get(name);
    t.truthy(
      verdict,
      `it was not run: ${output.failure ?? ''}\n${output.report}\n${output.console.slice(-2000)}`,
    );
    t.true(verdict?.ok, verdict?.said);
  });
}

emulated('the machine ran to its end, and nothing else failed', (t) => {
  t.is(output.failure, undefined);
  t.regex(output.report, /^# end\r?$/m);
  const failed = [...verdicts].filter(([, verdict]) => !verdict.ok).map(([name]) => name);
  t.deepEqual(failed, []);
});

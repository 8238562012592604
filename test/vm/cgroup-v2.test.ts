/**
 * The C tests, containers on a host with every cgroup v2 controller and no v1, the agent's and their disks' limits among
 * them (ext4 and xfs), profiles of AppArmor, in another machine labels of SELinux, encrypted networks on a kernel that has WireGuard and published ports on one that has SCTP, in a virtual machine.
 */
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { fingerprintOf, type KernelObject, type Scope } from '../../agent/network/kernel-object.ts';
import { type NamespaceDump, observeScope } from '../../agent/network/observe.ts';
import { observeVlans } from '../../agent/network/outside-links.ts';
import { isWire } from '../../agent/network/wire.ts';
import { checkoutDir } from '../harness/peers.ts';
import { modulesFrom } from './guest-modules.ts';
import { buildInitramfs } from './initramfs.ts';
import { type Output, runMachine } from './machine.ts';
import { macvlanPlans } from './macvlan-plans.ts';
import { parseReport, type Verdict } from './tap.ts';
import { sctpPlans } from './sctp-plans.ts';
import { type WireGuardPlans, wireGuardPlans } from './wireguard-plans.ts';

/** Booting takes seconds, all of it 20 s; a loaded host may be many times slower. */
const DEADLINE_MS = 300_000;

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
/** One wants a directory on a disk, and all of the machine is in memory; the other asks nothing of the kernel. */
const NOT_THERE: ReadonlySet<string> = new Set(['test-tmpfs', 'test-seccomp']);
const CGROUP_V2_TESTS = [
  'the host is pure v2 with every controller',
  'a parent without controllers gets them',
  'controllers are enabled down to the container',
  'a container lives and ends in its cgroup',
  'limits are written as v2 has them',
  'a weight of block devices is written',
  'limits by name are written',
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
  'a user namespace lives in its cgroup',
  'a profile of apparmor is asked of the kernel',
  'a profile confines a container and an exec',
];

const DISK_TESTS = [
  'what can be limited is told from what can not',
  'a container writes up to its limit and no other is touched',
  'a limit stays and can be changed',
  'files are not taken out of the limit',
  'a removed container leaves no limit',
];

/** The same on another file system. */
const XFS_TESTS = DISK_TESTS.map((name) => `${name}, on xfs`);

/** Of the machine that has SELinux. */
const SELINUX_TESTS = [
  'a container and an exec run with its label',
  'a label keeps it from files that are not its own',
  'what is mounted anew has the label of its files',
  'a file that is the containers own gets its label',
  'a label that the policy does not know is refused',
  'shoal-oci mounts with the label of its config',
];

const AGENT_TESTS = [
  'the agent counts what a container uses on cgroup v2',
  'the agent pauses a container, lets it go on, and stops it',
  'the agent tells a kill for memory from others',
  'a limit of the disk outlives the agent, and ends with the container',
  'a volume holds no more than its size, which ends with it',
  'the agent knows the profiles that are loaded, and confines a container and what runs in it',
];

const WIREGUARD_TESTS = [
  'an encrypted network carries datagrams between two hosts',
  'the wire between them shows WireGuard and no plain text',
  'the largest packet passes whole, and a larger one is refused',
  'what does not come through WireGuard does not enter, nor what a container sends there',
  'without the device nothing leaves in plain text',
  'a device that somebody removed is put back',
  'a key is replaced, and no datagram is lost',
  'IPv6 goes through it: datagrams up to the largest, a megabyte of TCP, nothing in plain text',
];

const SCTP_TESTS = [
  'a published SCTP port answers by a node without the task, and the task sees the client',
  'a VIP leads SCTP to a task on another node',
  'an SCTP port that is not published is refused',
];

const MACVLAN_TESTS = [
  'containers of macvlan are on the LAN, and reach one another',
  'their way out is the gateway of the LAN',
  'their name server is reached, and knows who asks',
  'in the mode private they do not reach one another',
  'the parent of a VLAN is made, and its packets are tagged',
  'a container that lost its interface with the parent gets it back',
  'a parent that is not there is named',
  "the network's end leaves nothing of it on the host",
];

const OCI_TESTS = [
  'shoal-oci has every command on cgroup v2',
  ...['manager', 'bus'].flatMap((whom) =>
    [
      'a container lives in a scope',
      'a scope of another is left alone',
      'a scope ends with its container and the other way round',
      'what can not be created leaves no scope',
    ].map((name) => `${name}, asked of its ${whom}`),
  ),
];

/** The emulator runs anything anywhere, but the programs in the machine are this host's. */
const emulated = process.arch === 'x64' ? test : test.skip;

const checkout = checkoutDir();
const run = promisify(execFile);
let output: Output;
let selinux: Output;
let verdicts: Map<string, Verdict>;
let plans: WireGuardPlans;
const lanPlans = macvlanPlans('plans/macvlan');

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
    .filter((name) => !NOT_THERE.has(name));
  plans = await wireGuardPlans('plans');
  const initramfs = await buildInitramfs({
    tests: programs.map((name) => path.join(built, 'asan', name)),
    monitor: path.join(built, 'shoal-monitor'),
    containerInit: path.join(built, 'shoal-init'),
    oci: path.join(built, 'shoal-oci'),
    library: path.join(built, 'libshoal.so'),
    modules: ['package.json', ...(await modulesFrom(checkout, 'dist/test/vm/agent-guest.js'))],
    checkout,
    texts: new Map([...plans.files, ...sctpPlans('plans'), ...lanPlans.files]),
    init: path.join(checkout, 'test', 'vm', 'init.sh'),
    systemd: path.join(checkout, 'test', 'vm', 'systemd.sh'),
    policies: ['apparmor.conf', 'selinux.conf', 'selinux.sh'].map((name) =>
      path.join(checkout, 'test', 'vm', name),
    ),
    kernelRoot: root,
  });
  const signal = AbortSignal.timeout(DEADLINE_MS);
  [output, selinux] = await Promise.all([
    runMachine({ root, initramfs, memoryMiB: 1536, cpus: 2 }, signal),
    runMachine(
      { root, initramfs, memoryMiB: 768, cpus: 1, kernelOptions: 'security=selinux enforcing=1' },
      signal,
    ),
  ]);
  verdicts = parseReport(`${output.report}\n${selinux.report}`);
});

for (const name of [
  ...C_TESTS,
  ...CGROUP_V2_TESTS,
  ...DISK_TESTS,
  ...XFS_TESTS,
  ...SELINUX_TESTS,
  ...AGENT_TESTS,
  ...WIREGUARD_TESTS,
  ...SCTP_TESTS,
  ...MACVLAN_TESTS,
  ...OCI_TESTS,
]) {
  emulated(name, (t) => {
    const verdict = verdicts.get(name);
    t.truthy(
      verdict,
      [output, selinux]
        .map(
          ({ failure, report, console }) =>
            `it was not run: ${failure ?? ''}\n${report}\n${console.slice(-2000)}`,
        )
        .join('\n---\n'),
    );
    t.true(verdict?.ok, verdict?.said);
  });
}

for (const name of ['a', 'b'] as const) {
  emulated(`encryption on host ${name} is as its agent would have it: it would change nothing`, (t) => {
    const text = new RegExp(`^# dump ${name} (.*?)\r?$`, 'm').exec(output.report)?.[1] ?? '';
    t.not(text, '', output.report);
    const prefix = plans.prefixes[name];
    const isOf = (object: KernelObject): boolean =>
      isWire(object, prefix) && !('table' in object && object.type !== 'route');
    const held = observeScope(JSON.parse(text) as NamespaceDump, undefined, () => true);
    const prints = (scope: Scope): string[] =>
      [...scope]
        .filter(([, one]) => isOf(one))
        .map(([key, one]) => `${key}: ${fingerprintOf(one)}`)
        .toSorted();
    t.deepEqual(prints(held), prints(plans.hosts[name]));
    t.true(prints(held).length > 4);
  });
}

emulated('the VLAN below a network is as its agent would have it: it would change nothing', (t) => {
  const text = /^# dump macvlan (.*?)\r?$/m.exec(output.report)?.[1] ?? '';
  t.not(text, '', output.report);
  const dump = JSON.parse(text) as NamespaceDump;
  const held = observeVlans(dump, lanPlans.prefix);
  const ofDevice = [...lanPlans.host].filter(([, one]) => one.type === 'vlan');
  t.deepEqual(
    [...held].map(([key, one]) => [key, fingerprintOf(one)]),
    ofDevice.map(([key, one]) => [key, fingerprintOf(one)]),
  );
  t.deepEqual([...held.keys()], ['link eth1.50']);
});

emulated('the machines ran to their ends, and nothing else failed', (t) => {
  for (const { failure, report } of [output, selinux]) {
    t.is(failure, undefined);
    t.regex(report, /^# end\r?$/m);
  }
  const failed = [...verdicts].filter(([, verdict]) => !verdict.ok).map(([name]) => name);
  t.deepEqual(failed, []);
});

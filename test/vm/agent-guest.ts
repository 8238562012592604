/**
 * The agent's containers on cgroup v2, and on a disk that can be limited (/limited). Node runs this in the virtual machine; it
 * prints a line of TAP for each test. What the kernel is told has C tests: this is about what the agent sees and keeps.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { Containers } from '../../agent/container/containers.ts';
import type { NewContainer } from '../../agent/container/new-container.ts';
import { commandProcess, heldProcess } from '../../agent/container/exec-process.ts';
import { runtimeSpec } from '../../agent/container/runtime-spec.ts';
import { readSample } from '../../agent/container/stats.ts';
import { diskAbility } from '../../agent/container/writable-layer.ts';
import { readConfinement } from '../../agent/confinement/security-modules.ts';
import { Volumes } from '../../agent/volume/volumes.ts';
import type { ContainerSpec, ResourceAmounts, RuntimeOptions } from '../../shared/model/index.ts';
import { silentLogger } from '../harness/silent-logger.ts';

/** Made by the C tests: busybox and chattr. */
const LAYER = '/tmp/layer';
const STATE = '/limited/agent';
const RUN = '/run/agent';
const MIB = 2 ** 20;
const USER = { uid: 0, gid: 0, additionalGids: [], home: '/' };
const IMAGE = { env: ['PATH=/bin'], entrypoint: [], cmd: [], user: '', workingDir: '/' };
const deadline = AbortSignal.timeout(100_000);

const containers = new Containers(STATE, RUN, silentLogger);

function made(
  script: string,
  limits: ResourceAmounts & { pids?: number },
  runtime: RuntimeOptions = {},
  volume?: string,
): NewContainer {
  const id = randomBytes(32).toString('hex');
  const command = ['sh', '-c', script];
  const spec: ContainerSpec = { image: 'x', labels: {}, command, args: [], env: [], mounts: [], runtime };
  const binds =
    volume === undefined ? [] : [{ source: volume, target: '/data', options: ['bind', 'rprivate'] }];
  const limitedVolume = volume !== undefined;
  const rest = {
    reservations: {},
    hostname: 'h',
    cgroupsPath: `/shoal-vm/agent/${id}`,
    binds,
    limitedVolume,
  };
  const config = runtimeSpec({ spec, user: USER, image: IMAGE, limits, ...rest });
  return {
    record: {
      ...{ id, name: id, taskId: id, serviceId: 's', serviceName: 's', slot: 1, image: 'x', imageId: 'x' },
      ...{
        ...heldProcess(config, command),
        labels: {},
        uid: 0,
        gid: 0,
        createdAtMs: Date.now(),
        networks: [],
      },
      ...{ stopSignal: 15, stopGraceMs: 200 },
      ...(runtime.diskBytes === undefined ? {} : { diskBytes: runtime.diskBytes }),
    },
    config,
    layers: [LAYER],
    log: { kept: true, maxBytes: 0, maxFiles: 1 },
  };
}

async function started(container: NewContainer): Promise<{ id: string; pid: number }> {
  const { id } = container.record;
  const { pid } = await containers.create(container);
  await containers.start(id);
  return { id, pid };
}

const logOf = (id: string): Promise<string> => readFile(`${containers.logPath(id)}.0`, 'utf8');

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(50, undefined, { signal: deadline });
}

const tests: Record<string, () => Promise<void>> = {
  'the agent counts what a container uses on cgroup v2': async () => {
    const limits = { memoryBytes: 64 * MIB, nanoCpus: 2e8, pids: 20 };
    const script =
      'dd if=/dev/zero of=/big bs=64k count=32 oflag=direct && sync; echo written; while :; do :; done';
    const { id, pid } = await started(made(script, limits));
    const sample = () => readSample(containers.runDirectory(id), pid, Date.now());
    await until(async () => (await logOf(id)).includes('written'));
    await until(async () => (await sample()).cpu.throttledPeriods > 2);
    const { cpu, memory, pids, blockIo, pressure } = await sample();
    assert.ok(cpu.totalNs > 0 && cpu.userNs > 0 && cpu.systemNs > cpu.totalNs);
    assert.ok(cpu.periods >= cpu.throttledPeriods && cpu.throttledNs > 0);
    assert.equal(memory.limitBytes, 64 * MIB);
    assert.ok(memory.usageBytes > 0 && memory.usageBytes < 64 * MIB && 'anon' in memory.stats);
    assert.deepEqual(pids, { current: 1, limit: 20 });
    assert.deepEqual(Object.keys(pressure ?? {}).toSorted(), ['cpu', 'io', 'memory']);
    const writes = blockIo.filter(({ op }) => op === 'write').map(({ bytes }) => bytes);
    assert.ok(Math.max(0, ...writes) >= 2 * MIB, JSON.stringify(blockIo));
    await containers.remove(id);
  },
  'the agent pauses a container, lets it go on, and stops it': async () => {
    const { id, pid } = await started(made('trap "" TERM; while :; do :; done', {}));
    const used = async () => (await readSample(containers.runDirectory(id), pid, Date.now())).cpu.totalNs;
    await containers.pause(id, deadline);
    assert.equal(await containers.paused(id), true);
    const before = await used();
    await delay(300);
    assert.equal(await used(), before);
    await containers.unpause(id, deadline);
    await until(async () => (await used()) > before);
    await containers.pause(id, deadline);
    const record = containers.find(id);
    assert.ok(record);
    const exit = await containers.stop(record, deadline);
    assert.deepEqual([exit.exitCode, exit.oomKilled], [137, false]);
    await containers.remove(id);
  },
  'the agent tells a kill for memory from others': async () => {
    const script = 'exec dd if=/dev/zero of=/dev/null bs=64M count=1';
    const { id } = await started(made(script, { memoryBytes: 16 * MIB }));
    const exit = await containers.wait(id, deadline);
    assert.deepEqual([exit.exitCode, exit.oomKilled], [137, true]);
    await containers.remove(id);
  },
  'a limit of the disk outlives the agent, and ends with the container': async () => {
    assert.deepEqual(await diskAbility('/limited'), { limitsDisks: true });
    const container = made(
      'dd if=/dev/zero of=/$(cat /proc/sys/kernel/random/uuid) bs=1M count=3; chattr -p 0 /bin',
      {},
      { diskBytes: 5 * MIB },
    );
    const { id } = await started(container);
    assert.equal((await containers.wait(id, deadline)).exitCode, 1);
    assert.match(await logOf(id), /3\+0 records out/);
    assert.match(await logOf(id), /Operation not permitted/);
    const next = new Containers(STATE, RUN, silentLogger);
    await next.load();
    assert.equal(next.find(id)?.diskBytes, 5 * MIB);
    await next.release(id);
    await next.create({ ...container, record: { ...container.record, taskId: 'again' } });
    await next.start(id);
    await next.wait(id, deadline);
    assert.match(await logOf(id), /uota exceeded/);
    assert.equal(limits(), '1');
    await next.remove(id);
    assert.equal(limits(), '0');
  },
  'a volume holds no more than its size, which ends with it': async () => {
    const volumes = new Volumes(STATE, () => [], silentLogger);
    const { volume } = await volumes.create({ name: 'small', options: { size: '4m' }, labels: {} });
    assert.equal(limits(), '1');
    const script =
      'mkdir /data/d; dd if=/dev/zero of=/data/d/big bs=1M count=6; chattr -p 0 /data/d; df -k /data | tail -n 1; rm /data/d/big; echo again >/data/d/f; cat /data/d/f';
    const { id } = await started(made(script, {}, {}, volume.mountpoint));
    assert.equal((await containers.wait(id, deadline)).exitCode, 0);
    const log = await logOf(id);
    for (const words of [/uota exceeded/, /Operation not permitted/, / 4096 /, /stdout F again/])
      assert.match(log, words);
    await containers.remove(id);
    await volumes.remove('small', false);
    assert.equal(limits(), '0');
  },
  'the agent knows the profiles that are loaded, and confines a container and what runs in it': async () => {
    assert.deepEqual(await readConfinement(), { appArmorProfiles: ['shoal-vm-boxed'] });
    const label = 'cat /proc/self/attr/apparmor/current';
    const container = made(
      `mkdir /denied; ${label}; echo x >/denied/f; exec sleep 1000`,
      {},
      { appArmorProfile: 'shoal-vm-boxed' },
    );
    const { id } = await started(container);
    await until(async () => (await logOf(id)).includes('/denied/f: Permission denied'));
    assert.match(await logOf(id), /stdout F shoal-vm-boxed \(enforce\)/);
    const process = commandProcess(container.record, ['sh', '-c', `${label}; echo x >/denied/f`]);
    const { exitCode, output } = await containers.exec(containers.runDirectory(id), process, {
      timeoutMs: 0,
      maxOutputBytes: 1000,
    });
    assert.equal(exitCode, 1);
    assert.match(output, /^shoal-vm-boxed \(enforce\)\n.*Permission denied/);
    await containers.remove(id);
  },
};

/** How many projects have one. */
function limits(): string {
  return execFileSync('/tests/vm-disk-limit', ['limits'], { encoding: 'utf8' }).trim();
}

await containers.load();
for (const [name, run] of Object.entries(tests)) {
  try {
    await run();
    console.log(`ok - ${name}`);
  } catch (error) {
    console.log(`# ${String(error instanceof Error ? error.stack : error).replaceAll('\n', '\n# ')}`);
    console.log(`not ok - ${name}`);
  }
}
await rm(STATE, { recursive: true, force: true });

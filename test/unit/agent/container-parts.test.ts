import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { ALL_CAPABILITIES, capabilitySet } from '../../../agent/container/capabilities.ts';
import { fillSpec } from '../../../agent/container/fill-spec.ts';
import { afterProbe, initialHealth, nextProbeMs } from '../../../agent/container/health-state.ts';
import { hostsFile, withGateway } from '../../../agent/container/hosts-file.ts';
import { LineJoiner, parseLogLine } from '../../../agent/container/log-line.ts';
import { limitsOf } from '../../../agent/container/runtime-spec.ts';
import { requireProcessors } from '../../../agent/container/processors.ts';
import { parseSignal } from '../../../agent/container/signals.ts';
import { resolveUser } from '../../../agent/container/users.ts';
import { errnoName } from '../../../agent/native/errors.ts';
import { parseRoutes, parseRoutes6 } from '../../../agent/routes.ts';
import { describeError, InvalidError } from '../../../shared/errors/index.ts';
import type { HealthCheck } from '../../../shared/model/index.ts';

const passwd = 'root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/var/www:/bin/false\nbad line\n';
const group = 'root:x:0:\nweb:x:33:\nlogs:x:44:web,other\n';

test('what a task was given comes after the environment of its service', (t) => {
  const spec = { image: 'a', labels: {}, command: [], args: [], env: ['A={{.Node.ID}}'], mounts: [] };
  const context = { Node: { ID: 'n' } } as unknown as Parameters<typeof fillSpec>[1];
  const granted = [{ kind: 'gpu', names: ['{{x', 'b'] }];
  const { env } = fillSpec({ ...spec, env: ['A=b'] }, context, granted);
  t.deepEqual(env, ['A=b', 'DOCKER_RESOURCE_GPU={{x,b']);
});

test('users and groups are found by name or number', (t) => {
  t.deepEqual(resolveUser('', [], passwd, group), { uid: 0, gid: 0, additionalGids: [0], home: '/root' });
  t.deepEqual(resolveUser('web', [], passwd, group), {
    uid: 33,
    gid: 33,
    additionalGids: [33, 44],
    home: '/var/www',
  });
  t.deepEqual(resolveUser('33:logs', [], passwd, group), {
    uid: 33,
    gid: 44,
    additionalGids: [44],
    home: '/var/www',
  });
  t.deepEqual(resolveUser('999:7', ['logs'], passwd, group), {
    uid: 999,
    gid: 7,
    additionalGids: [7, 44],
    home: '/',
  });
});

test('a user or group that is nowhere is an error that names it', (t) => {
  t.throws(() => resolveUser('nobody', [], passwd, group), { message: /user nobody/ });
  t.throws(() => resolveUser('web:none', [], passwd, group), { message: /group none/ });
  for (const user of ['4294967295', '99999999999:1', '1:4294967295'])
    t.throws(() => resolveUser(user, [], passwd, group), { message: /their ids are 0 to 4294967294/ });
});

test('signals by name and number', (t) => {
  t.is(parseSignal('SIGTERM'), 15);
  t.is(parseSignal('quit'), 3);
  t.is(parseSignal('9'), 9);
  t.is(parseSignal('SIGRTMIN+3'), 37);
  for (const bad of ['', '0', '65', 'SIGNOPE', 'RTMAX+1'])
    t.throws(() => parseSignal(bad), { message: /not a signal/ });
});

test('capabilities: default, add, drop, all', (t) => {
  t.is(capabilitySet([], []).length, 14);
  t.true(capabilitySet(['net_admin'], []).includes('CAP_NET_ADMIN'));
  t.false(capabilitySet([], ['CAP_CHOWN']).includes('CAP_CHOWN'));
  t.deepEqual(capabilitySet(['CHOWN'], ['ALL']), ['CAP_CHOWN']);
  t.deepEqual(capabilitySet(['ALL'], []), ALL_CAPABILITIES);
  t.is(capabilitySet(['ALL'], ['SYS_ADMIN']).length, ALL_CAPABILITIES.length - 1);
  t.throws(() => capabilitySet(['EVERYTHING'], []), { message: /unknown capability: "EVERYTHING"/ });
});

test('the least share of a CPU that can be asked for is a quota that the kernel takes', (t) => {
  for (const nanoCpus of [1e6, 5e6, 9_999_999, 1e7, 5e8, 64e9]) {
    const { cpu } = limitsOf({ limits: { nanoCpus }, reservations: {}, options: {} });
    const { quota = 0, period = 0 } = cpu ?? {};
    t.true(quota >= 1000 && period <= 1_000_000, JSON.stringify(cpu));
    t.true(Math.abs(quota / period - nanoCpus / 1e9) <= 1 / period);
  }
});

test('hosts file has the container, its addresses and what was added', (t) => {
  const text = hostsFile('c1', ['10.0.0.5'], ['db:10.9.9.9', 'six:::1', 'eq=1.2.3.4']);
  for (const line of ['127.0.0.1\tlocalhost', '10.0.0.5\tc1', '10.9.9.9\tdb', '::1\tsix', '1.2.3.4\teq']) {
    t.true(text.split('\n').includes(line), line);
  }
  t.deepEqual(withGateway(['a:host-gateway', 'b=host-gateway', 'host-gateway:10.0.0.2'], '10.0.0.1'), [
    'a:10.0.0.1',
    'b=10.0.0.1',
    'host-gateway:10.0.0.2',
  ]);
  t.throws(() => hostsFile('c', [], ['nothing']), { message: /extra host/ });
});

const check: HealthCheck = {
  test: ['CMD', 'true'],
  intervalNs: 10e9,
  timeoutNs: 1e9,
  startPeriodNs: 30e9,
  startIntervalNs: 1e9,
  retries: 2,
};

test('health: failures in the start period do not count, retries do, one success heals', (t) => {
  let state = initialHealth(0);
  const probe = (passed: boolean, endMs: number) => ({
    startMs: endMs,
    endMs,
    exitCode: passed ? 0 : 1,
    output: `at ${endMs}`,
  });
  t.is(nextProbeMs(state, check, 0), 1000);
  state = afterProbe(state, check, probe(false, 10_000));
  t.deepEqual([state.health, state.failures], ['starting', 0]);
  state = afterProbe(state, check, probe(true, 20_000));
  t.is(state.health, 'healthy');
  t.is(nextProbeMs(state, check, 20_000), 10_000);
  state = afterProbe(state, check, probe(false, 40_000));
  t.is(state.health, 'healthy');
  state = afterProbe(state, check, probe(false, 50_000));
  t.is(state.health, 'unhealthy');
  t.deepEqual([state.failures, state.log.length], [2, 4]);
  for (const endMs of [60_000, 70_000]) state = afterProbe(state, check, probe(true, endMs));
  t.deepEqual([state.health, state.failures], ['healthy', 0]);
  const kept = [20_000, 40_000, 50_000, 60_000, 70_000].map((endMs) => `at ${endMs}`);
  t.deepEqual(
    state.log.map(({ output }) => output),
    kept,
  );
});

test('log lines: what is written is what is read, parts are joined a stream at a time', (t) => {
  const at = '2026-01-02T03:04:05.000000006Z';
  const line = parseLogLine(Buffer.from(`${at} stdout F hello world `));
  t.deepEqual(
    [line?.stream, line?.time, line?.partial, line?.text.toString()],
    [1, at, false, 'hello world '],
  );
  for (const torn of ['', 'x', `${at} stdout`, `${at} stdin F x`, `${at} stdout Q x`]) {
    t.is(parseLogLine(Buffer.from(torn)), undefined);
  }
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.constantFrom(1 as const, 2 as const),
          fc.array(fc.string({ minLength: 1 }), { minLength: 1 }),
        ),
      ),
      (messages) => {
        const joiner = new LineJoiner(1 << 20);
        for (const [stream, parts] of messages) {
          const joined = parts.map((text, index) =>
            joiner.push({ stream, time: at, partial: index < parts.length - 1, text: Buffer.from(text) }),
          );
          t.is(joined.at(-1)?.text.toString(), parts.join(''));
          t.true(joined.slice(0, -1).every((one) => one === undefined));
        }
      },
    ),
  );
});

test("the machine's own routes are found, the default route is none of them", (t) => {
  const text = [
    'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
    'eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0',
    'eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0',
    'lan\t0000FF0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0',
    '',
  ].join('\n');
  t.deepEqual(parseRoutes(text), ['192.0.2.0/24', '10.255.0.0/16']);
  const line = (destination: string, bits: string, device: string): string =>
    `${destination.padEnd(32, '0')} ${bits} ${'0'.repeat(32)} 00 ${'0'.repeat(32)} 00000100 00000001 00000000 00000001     ${device}`;
  const ipv6 = [
    line('20010db8000a', '40', 'eth0'),
    line('fe80', '40', 'eth0'),
    line('ff', '08', 'eth0'),
    line('', '00', 'eth0'),
    line('20010db8000a00000000000000000007', '80', 'lo'),
    line('20010db8000a', '40', 'eth1'),
    '',
  ].join('\n');
  t.deepEqual(parseRoutes6(ipv6), ['2001:db8:a::/64']);
  t.deepEqual(parseRoutes6(''), []);
});

test('processors and memory nodes that this machine does not have are named, with those that it has', async (t) => {
  const directory = await mkdtemp(path.join(tmpdir(), 'shoal-processors-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const online = {
    cpuset: { what: 'processors', path: path.join(directory, 'cpu') },
    cpusetMems: { what: 'memory nodes', path: path.join(directory, 'nothing') },
  };
  await writeFile(online.cpuset.path, '0-3,8\n');
  for (const cpuset of ['', '0', '0-3', '1-2,8', '8,3']) await requireProcessors({ cpuset }, online);
  const refused = (cpuset: string) =>
    t.throwsAsync(requireProcessors({ cpuset }, online), { instanceOf: InvalidError });
  t.is(
    (await refused('3-5,8,12'))?.message,
    'cpuset: processors 3-5,12 are not on this node, which has 0-3,8',
  );
  t.regex((await refused('7'))?.message ?? '', /processors 7 are/);
  await t.notThrowsAsync(requireProcessors({ cpusetMems: '7' }, online), 'the kernel says');
  await t.throwsAsync(requireProcessors({ cpusetMems: '4000' }), {
    message: /^cpusetMems: memory nodes 4000 /,
  });
});

test('the text of an error does not say the same twice', (t) => {
  const cause = new Error('no such thing');
  t.is(describeError(new Error('can not do it', { cause })), 'can not do it: no such thing');
  t.is(describeError(new Error('can not do it: no such thing', { cause })), 'can not do it: no such thing');
  t.is(describeError(new Error('no such thing', { cause })), 'no such thing');
});

test('a number of the kernel has its name, whoever of Node and libuv knows it', (t) => {
  const names = [2, 8, 11, 95, 112, 116, 122, 4000, 0, -1].map((errno) => errnoName(errno));
  t.deepEqual(names.slice(0, 7), ['ENOENT', 'ENOEXEC', 'EAGAIN', 'ENOTSUP', 'EHOSTDOWN', 'ESTALE', 'EDQUOT']);
  t.deepEqual(names.slice(7), ['errno 4000', 'errno 0', 'errno -1']);
});

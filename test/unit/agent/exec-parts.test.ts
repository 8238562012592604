import test from 'ava';
import { Execs } from '../../../agent/container/execs.ts';
import { execEnv } from '../../../agent/container/exec-process.ts';
import {
  flatNumbers,
  parseBlockIo,
  parseBlockIoV1,
  parsePressure,
  parseNetDev,
  parseSystemCpuNs,
} from '../../../agent/container/stats-parse.ts';
import { formatProcess, parseProcess, titlesOf } from '../../../agent/container/top-format.ts';
import type { ContainerRecord } from '../../../agent/container/record.ts';
import { parsePsArgs } from '../../../shared/lib/ps-columns.ts';
import type { ExecSpec } from '../../../shared/model/node-methods/index.ts';

const EXEC: ExecSpec = {
  execId: '',
  containerId: 'c',
  args: ['true'],
  env: [],
  user: '',
  workingDir: '',
  tty: false,
  attachStdin: false,
  attachStdout: false,
  attachStderr: false,
};

test('the environment of an exec: terminal type, the container’s, another user’s home, what is asked', (t) => {
  const own = ['PATH=/bin', 'HOME=/root', 'A=1'];
  t.deepEqual(execEnv(own, { env: [], tty: false }, undefined), own);
  t.deepEqual(execEnv(own, { env: ['A=2', 'B=x=y', 'PATH'], tty: true }, { home: '/home/u' }), [
    'TERM=xterm',
    'HOME=/home/u',
    'A=2',
    'B=x=y',
  ]);
  t.deepEqual(execEnv(['TERM=vt100'], { env: [], tty: true }, undefined), ['TERM=vt100']);
});

test('execs that have ended make room for new ones; those that have not are kept', async (t) => {
  const execs = new Execs();
  const spec = (execId: string): ExecSpec => ({ ...EXEC, execId });
  for (let i = 0; i < 4096; i += 1) execs.create(spec(`e${i}`));
  t.throws(() => execs.create(spec('new')), { message: /4096 execs already/ });
  const record = { env: [], cwd: '/', uid: 0, gid: 0 } as unknown as ContainerRecord;
  const gone = { record, pid: 1, runDir: '/nonexistent' };
  for (const id of ['e7', 'e5'])
    await t.throwsAsync(execs.start(id, gone, undefined), { message: /is not running/ });
  execs.create(spec('new'));
  t.throws(() => execs.inspect('e5'), { message: /No such exec/ });
  t.is(execs.inspect('e7').state, 'exited');
  execs.create(spec('newer'));
  t.throws(() => execs.create(spec('newest')), { message: /4096 execs already/ });
});

test('files of the control groups are read, and what is not there is nothing', (t) => {
  t.deepEqual(flatNumbers('usage_usec 12\nuser_usec 5\nodd line here\n'), { usage_usec: 12, user_usec: 5 });
  t.deepEqual(flatNumbers(undefined), {});
  t.deepEqual(parseBlockIo('8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n'), [
    { major: 8, minor: 0, op: 'read', bytes: 10 },
    { major: 8, minor: 0, op: 'write', bytes: 20 },
  ]);
  t.deepEqual(parseBlockIoV1('8:16 Read 10\n8:16 Write 20\n8:16 Sync 5\nTotal 30\n'), [
    { major: 8, minor: 16, op: 'read', bytes: 10 },
    { major: 8, minor: 16, op: 'write', bytes: 20 },
  ]);
  const some = 'some avg10=1.25 avg60=0.50 avg300=0.01 total=12345\n';
  t.deepEqual(parsePressure(`${some}full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n`), {
    some: { avg10: 1.25, avg60: 0.5, avg300: 0.01, totalUs: 12345 },
    full: { avg10: 0, avg60: 0, avg300: 0, totalUs: 0 },
  });
  t.deepEqual(Object.keys(parsePressure(some)), ['some'], 'kernels before 5.13 tell of cpu so');
});

test('the machine’s time counts each tick once: guests’ are the users’', (t) => {
  t.is(parseSystemCpuNs('cpu  1 2 3 4 5 6 7 8 100 100\ncpu0 1 2\n'), 36 * 10_000_000);
});

test('network counters are by interface, without the loopback', (t) => {
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:    1000      10    1    2    0     0          0         0     2000      20    3    4    0     0       0          0
`;
  t.deepEqual(parseNetDev(text), {
    eth0: {
      rxBytes: 1000,
      rxPackets: 10,
      rxErrors: 1,
      rxDropped: 2,
      txBytes: 2000,
      txPackets: 20,
      txErrors: 3,
      txDropped: 4,
    },
  });
});

test('a process as ps shows it, whatever its name', (t) => {
  const stat = `42 (a) (b) S 7 42 42 34817 42 4194304 1 0 0 0 150 50 0 0 20 0 1 0 500000 8192000 256 0`;
  const process = parseProcess(42, stat, 'Name:\ta\nUid:\t0\t33\t33\t33\n', 'sleep\x001000\0');
  const moment = { nowMs: Date.parse('2026-01-02T03:04:05Z'), uptimeSeconds: 5200, memoryBytes: 2 ** 30 };
  t.deepEqual(formatProcess(process, 'ef', moment), [
    '33',
    '42',
    '7',
    '1',
    '03:00',
    'pts/1',
    '00:00:02',
    'sleep 1000',
  ]);
  t.deepEqual(formatProcess(process, 'aux', moment), [
    '33',
    '42',
    '1.0',
    '0.1',
    '8000',
    '1024',
    'pts/1',
    'S',
    '03:00',
    '0:02',
    'sleep 1000',
  ]);
  const named = parsePsArgs('-eo pid,ppid,uid -o comm,args,etime,nlwp --format=ni,rss') ?? [];
  t.deepEqual(titlesOf(named), ['PID', 'PPID', 'UID', 'COMMAND', 'COMMAND', 'ELAPSED', 'NLWP', 'NI', 'RSS']);
  const cells = ['42', '7', '33', 'a) (b', 'sleep 1000', '03:20', '1', '0', '1024'];
  t.deepEqual(formatProcess(process, named, moment), cells);
  const [elapsed] = formatProcess(process, ['etime'], { ...moment, uptimeSeconds: 200_000 });
  t.is(elapsed, '02-06:10:00');
  for (const good of ['-o pid', 'axo pid,comm', '-eopid', '-A -o PID'])
    t.true(Array.isArray(parsePsArgs(good)), good);
  for (const bad of ['-o', '-A', '-o pid,', '-o nothing', 'fax', '-C sh', '-o pid=X'])
    t.is(parsePsArgs(bad), undefined, bad);
  t.is(parseProcess(42, stat, 'Uid:\t0\t0\t0\t0\n', '').command, '[a) (b]');
});

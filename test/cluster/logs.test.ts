/** Logs of a service over several nodes: their order, nodes that go and come back, and clients that do not read. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import anyTest, { type TestFn } from 'ava';
import { timeKey } from '../../manager/api/logs/record.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { QUICK } from '../harness/settled.ts';

const test = anyTest as TestFn<{ swarm: TestCluster }>;

test.before(async (t) => {
  t.context.swarm = await cluster().manager().agents(3).up();
});

test.after.always(async (t) => {
  await t.context.swarm?.[Symbol.asyncDispose]();
});

interface Line {
  readonly stream: number;
  readonly text: string;
}

class LogStream {
  readonly #answer: IncomingMessage;
  #rest: Buffer = Buffer.alloc(0);
  readonly lines: Line[] = [];
  ended = false;

  constructor(answer: IncomingMessage) {
    this.#answer = answer;
    answer.on('error', () => undefined).on('close', () => (this.ended = true));
  }

  /** Without it nothing is read. */
  read(): this {
    this.#answer.on('data', (part: Buffer) => {
      this.#rest = Buffer.concat([this.#rest, part]);
      while (this.#rest.length >= 8 && this.#rest.length >= 8 + this.#rest.readUInt32BE(4)) {
        const end = 8 + this.#rest.readUInt32BE(4);
        this.lines.push({
          stream: this.#rest[0] ?? 0,
          text: this.#rest.subarray(8, end).toString().trimEnd(),
        });
        this.#rest = this.#rest.subarray(end);
      }
    });
    return this;
  }

  leave(): void {
    this.#answer.destroy();
  }
}

function open(swarm: TestCluster, service: string, query: string): Promise<LogStream> {
  const target = `/services/${service}/logs?stdout=1&stderr=1&${query}`;
  return new Promise((resolve, reject) => {
    request({ socketPath: swarm.layout.socket, path: target, agent: false }, (answer) =>
      resolve(new LogStream(answer)),
    )
      .on('error', reject)
      .end();
  });
}

function script(text: string): Pick<Parameters<TestCluster['deploy']>[1] & object, 'more' | 'args'> {
  return { more: [...QUICK, '--entrypoint', '/bin/sh'], args: ['-c', text] };
}

/** Log files that the process has open. */
async function openLogs(pid: number | undefined): Promise<number> {
  const directory = `/proc/${pid}/fd`;
  const targets = await Promise.all(
    (await readdir(directory)).map((fd) => readlink(`${directory}/${fd}`).catch(() => '')),
  );
  return targets.filter((target) => /\/containers\/[0-9a-f]{64}\/log\.\d+$/.test(target)).length;
}

async function residentKb(pid: number | undefined): Promise<number> {
  return Number(/^VmRSS:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

test.serial('lines of all tasks come in the order in which they were said', async (t) => {
  const { swarm } = t.context;
  const say =
    'i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; sleep 0.0$((RANDOM % 5)); done; exec sleep 1000';
  await swarm.deploy('talk', { replicas: 3, ...script(say) });
  await swarm.eventually((s) => s.running('talk').nodes.length === 3);
  const finished = async (): Promise<LogStream> => {
    const stream = (await open(swarm, 'talk', 'timestamps=1')).read();
    await swarm.eventually(() => stream.ended);
    return stream;
  };
  await swarm.eventually(async () => (await finished()).lines.length === 180);
  const { lines } = await finished();
  const keys = lines.map(({ text }) => timeKey(Buffer.from(text)));
  t.deepEqual(keys, keys.toSorted());
  await swarm.docker('service', 'rm', 'talk');
});

test.serial(
  'a node that is cut off says so on stderr; when it is back, its lines follow, each once',
  async (t) => {
    const { swarm } = t.context;
    const say = 'i=0; while :; do i=$((i+1)); echo "$(hostname) $i"; sleep 0.1; done';
    await swarm.deploy('count', {
      replicas: 2,
      ...script(say),
      more: [
        ...QUICK,
        '--entrypoint',
        '/bin/sh',
        '--constraint',
        'node.hostname!=a1',
        '--hostname',
        '{{.Node.Hostname}}',
      ],
    });
    await swarm.eventually((s) => s.running('count').nodes.length === 2);
    const stream = (await open(swarm, 'count', 'follow=1&details=1')).read();
    const said = (): string[][] =>
      stream.lines.flatMap(({ text }) => {
        const match = /task\.id=(\w+) (a\d) (\d+)$/.exec(text);
        return match === null ? [] : [match.slice(1)];
      });
    const of = (host: string): number[] =>
      said().flatMap(([, name, i]) => (name === host ? [Number(i)] : []));
    await swarm.eventually(() => of('a2').length > 5 && of('a3').length > 5);
    await swarm.node('a3').partition();
    await swarm.eventually(() =>
      stream.lines.some(({ stream: fd, text }) => fd === 2 && /on node a3 are incomplete/.test(text)),
    );
    const [before, seen] = [of('a3').length, of('a2').length];
    await swarm.eventually(() => of('a2').length > seen + 5);
    t.is(of('a3').length, before);
    await swarm.node('a3').heal();
    await swarm.eventually(() => of('a3').length > before + 5, { within: 60_000 });
    stream.leave();
    // nothing of a task is missing, and nothing comes twice
    for (const task of new Set(said().map(([id]) => id))) {
      const numbers = said().flatMap(([id, , i]) => (id === task ? [Number(i)] : []));
      t.deepEqual(
        numbers,
        Array.from(numbers, (_, i) => i + 1),
        task,
      );
    }
    await swarm.docker('service', 'rm', 'count');
    await swarm.eventually((s) => s.tasks('count').count === 0);
  },
);

test.serial('clients that do not read cost little; when they leave, nothing stays open', async (t) => {
  const { swarm } = t.context;
  const line = 'x'.repeat(200);
  const size = 15_000_000;
  const say = `yes ${line} | head -c ${size}; echo done >&2; exec sleep 1000`;
  await swarm.deploy('flood', { replicas: 3, ...script(say) });
  await swarm.eventually((s) => s.running('flood').nodes.length === 3);
  await swarm.eventually(
    async () => {
      // What was still in the pipe of stdout may come after what was said on stderr later.
      const stream = (await open(swarm, 'flood', 'tail=500')).read();
      await swarm.eventually(() => stream.ended);
      return stream.lines.filter(({ text }) => text === 'done').length === 3;
    },
    { within: 240_000 },
  );
  const pids = [swarm.manager.pid(), ...swarm.nodes.map((node) => node.pid)];
  const before = await Promise.all(pids.map(residentKb));
  const streams = await Promise.all(Array.from({ length: 4 }, () => open(swarm, 'flood', 'follow=1')));
  await swarm.eventually(async () =>
    (await Promise.all(swarm.nodes.map(({ pid }) => openLogs(pid)))).every((count) => count >= 4),
  );
  // long enough to read all of it several times over, were nothing in the way
  const after = await steady(() => Promise.all(pids.map(residentKb)));
  for (const [i, kb] of after.entries()) {
    const grownMb = (kb - (before[i] ?? 0)) / 1024;
    t.true(
      grownMb < 100,
      `process ${pids[i]} has grown by ${grownMb.toFixed(0)} MB for 4 x ${(size * 3) / 1e6} MB of logs`,
    );
  }
  for (const stream of streams) stream.leave();
  await swarm.eventually(async () =>
    (await Promise.all(swarm.nodes.map(({ pid }) => openLogs(pid)))).every((count) => count === 0),
  );
  await swarm.docker('service', 'rm', 'flood');
});

/** What is measured once it has been the same for a while, within 5 %. */
async function steady(measure: () => Promise<number[]>): Promise<number[]> {
  let last = await measure();
  for (let same = 0; same < 4; ) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const now = await measure();
    same = now.every((value, i) => value < (last[i] ?? 0) * 1.05) ? same + 1 : 0;
    last = now;
  }
  return last;
}

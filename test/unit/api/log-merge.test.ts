/** Logs of many tasks in the order of time, and what a client that does not read costs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { setMaxListeners } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import test from 'ava';
import fc from 'fast-check';
import { keyMs, splitAfter, timeKey, wholeRecords } from '../../../manager/api/logs/record.ts';
import { TimeMerge } from '../../../manager/api/logs/time-merge.ts';
import { MinHeap } from '../../../shared/lib/min-heap.ts';
import type { StreamChunk } from '../../../shared/model/node-methods/index.ts';
import type { Service } from '../../../shared/model/index.ts';
import { ApiFixture, type Json, runningTask } from './fixture.ts';
import { framesOf } from './samples.ts';

const signal = new AbortController().signal;

interface Item {
  readonly key: string;
  readonly lane: number;
}

async function* laneOf(keys: readonly string[], lane: number, gapMs = 0): AsyncGenerator<Item> {
  for (const key of keys) {
    if (gapMs > 0) await sleep(gapMs);
    yield { key, lane };
  }
}

async function all(merge: TimeMerge<Item>): Promise<Item[]> {
  const found: Item[] = [];
  for await (const item of merge.run(signal)) found.push(item);
  return found;
}

test('runs of records are cut where records of others come between', async (t) => {
  const run = fc.array(fc.integer({ min: 0, max: 99 }), { minLength: 1, maxLength: 6 });
  const lanes = fc.array(fc.array(run, { maxLength: 5 }), { maxLength: 5 });
  const text = (keys: readonly string[], lane: number): Buffer =>
    Buffer.from(keys.map((key) => `2026-01-01T00:00:00.${key}Z lane ${lane}\n`).join(''));
  const runOf = (data: Buffer) => ({ key: timeKey(data), data });
  const cut = (one: { data: Buffer }, key: string) => {
    const [first, rest] = splitAfter(one.data, key);
    return rest.length === 0 ? undefined : ([runOf(first), runOf(rest)] as const);
  };
  await fc.assert(
    fc.asyncProperty(lanes, async (times) => {
      const merge = new TimeMerge<{ key: string; data: Buffer }>(undefined, cut);
      const given = times.map((runs, lane) => {
        const sorted = runs
          .flat()
          .toSorted((a, b) => a - b)
          .map((time) => String(time).padStart(2, '0'));
        const cuts = runs.map((one) => text(sorted.splice(0, one.length), lane));
        merge.add(
          (async function* () {
            for (const data of cuts) yield runOf(data);
          })(),
        );
        return Buffer.concat(cuts).toString();
      });
      merge.seal();
      const found: string[] = [];
      for await (const { data } of merge.run(signal)) found.push(...data.toString().split('\n').slice(0, -1));
      t.deepEqual(
        found.map((line) => timeKey(Buffer.from(line))),
        found.map((line) => timeKey(Buffer.from(line))).toSorted(),
      );
      given.forEach((whole, lane) =>
        t.is(
          found
            .filter((line) => line.endsWith(`lane ${lane}`))
            .map((line) => `${line}\n`)
            .join(''),
          whole,
        ),
      );
    }),
  );
});

test('the heap gives what is in it in order', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (numbers) => {
      const heap = new MinHeap<number>((a, b) => a < b);
      for (const number of numbers) heap.push(number);
      const taken = numbers.map(() => heap.pop());
      t.deepEqual(
        taken,
        numbers.toSorted((a, b) => a - b),
      );
      t.is(heap.pop(), undefined);
    }),
  );
});

test('whatever the streams, all their records come once, in the order of time', async (t) => {
  const lanes = fc.array(fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 20 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(lanes, async (times) => {
      const keys = times.map((lane) =>
        lane.toSorted((a, b) => a - b).map((time) => String(time).padStart(3, '0')),
      );
      const merge = new TimeMerge<Item>(undefined);
      keys.forEach((lane, i) => merge.add(laneOf(lane, i)));
      merge.seal();
      const found = await all(merge);
      t.deepEqual(
        found.map(({ key }) => key),
        keys.flat().toSorted(),
      );
      // and each stream's own order is kept
      keys.forEach((lane, i) =>
        t.deepEqual(
          found.filter((item) => item.lane === i).map(({ key }) => key),
          lane,
        ),
      );
    }),
  );
});

test('a stream without records does not hold up the others for longer than the patience', async (t) => {
  const merge = new TimeMerge<Item>({ firstMs: 20, nextMs: 20 });
  const silent = new AbortController();
  async function* never(): AsyncGenerator<Item> {
    await new Promise<void>((resolve) => silent.signal.addEventListener('abort', () => resolve()));
    yield { key: '999', lane: 9 };
  }
  merge.add(never());
  const many = Array.from({ length: 2000 }, (_, i) => String(i).padStart(6, '0'));
  merge.add(laneOf(many, 1));
  const found: string[] = [];
  for await (const { key } of merge.run(signal)) {
    found.push(key);
    if (found.length === many.length) silent.abort();
    if (found.length > many.length) break;
  }
  t.deepEqual(found, [...many, '999']);
});

test('streams that fall silent at the same time are waited for at the same time', async (t) => {
  const merge = new TimeMerge<Item>({ firstMs: 300, nextMs: 300 });
  const silent = new AbortController();
  async function* once(lane: number): AsyncGenerator<Item> {
    yield { key: String(lane).padStart(3, '0'), lane };
    await new Promise<void>((resolve) => silent.signal.addEventListener('abort', () => resolve()));
  }
  const count = 40;
  setMaxListeners(0, silent.signal);
  for (let lane = count; lane > 0; lane -= 1) merge.add(once(lane));
  const keys: string[] = [];
  const began = performance.now();
  for await (const { key } of merge.run(signal)) if (keys.push(key) === count) break;
  silent.abort();
  // one after the other it would be twelve seconds
  t.true(performance.now() - began < 6000);
  t.deepEqual(keys, keys.toSorted());
});

test('no source is asked for more than two records ahead', async (t) => {
  const asked = [0, 0, 0];
  async function* counted(lane: number): AsyncGenerator<Item> {
    for (let i = 0; ; i += 1) {
      asked[lane] = i + 1;
      yield { key: String(i).padStart(9, '0'), lane };
    }
  }
  const merge = new TimeMerge<Item>(undefined);
  for (const lane of [0, 1, 2]) merge.add(counted(lane));
  let taken = 0;
  for await (const _ of merge.run(signal)) {
    taken += 1;
    const ahead = asked.reduce((sum, count) => sum + count, 0) - taken;
    t.true(ahead <= 6, `${ahead} ahead`);
    if (taken === 300) break;
    await sleep(0);
  }
});

test('times sort as they are, with few and many digits', (t) => {
  const times = [
    '2026-01-01T00:00:00Z',
    '2026-01-01T00:00:00.5Z',
    '2026-01-01T00:00:00.500000001Z',
    '2026-01-01T00:00:01Z',
  ];
  const keys = times.map((time) => timeKey(Buffer.from(`${time} text\n`)));
  t.deepEqual(keys.toSorted(), keys);
  t.is(new Set(keys).size, 4);
  t.is(keyMs(keys[1] ?? ''), Date.parse('2026-01-01T00:00:00.5Z'));
  t.is(timeKey(Buffer.from('no time\n')), '');
});

test('a long line that came in pieces is one record', async (t) => {
  const text = `2026-01-01T00:00:00Z ${'x'.repeat(150_000)}\n`;
  async function* pieces(): AsyncGenerator<StreamChunk> {
    for (let at = 0; at < text.length; at += 65_536)
      yield { stream: 1, data: Buffer.from(text.slice(at, at + 65_536)) };
    yield { stream: 2, data: Buffer.from('2026-01-01T00:00:01Z short\n') };
  }
  const found: StreamChunk[] = [];
  for await (const record of wholeRecords(pieces())) found.push(record);
  t.deepEqual(
    found.map(({ stream, data }) => [stream, data.length]),
    [
      [1, text.length],
      [2, 27],
    ],
  );
});

async function serviceWithTasks(api: ApiFixture, count: number): Promise<Json[]> {
  api.obeys = false;
  const body = { Name: 'web', TaskTemplate: { ContainerSpec: { Image: 'nginx' } } };
  const { json } = await api.send('POST', '/services/create', body);
  const service = api.store.get('services', json.ID) as Service;
  for (let slot = 1; slot <= count; slot += 1)
    await api.write(runningTask(service, slot, `nodea${(slot % 2) + 1}`));
  return api.get('/tasks');
}

function say(api: ApiFixture, task: Json, records: readonly (readonly [number, string])[]): void {
  const chunks = records.map(([second, text]): StreamChunk => {
    const time = new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
    return { stream: 1, data: Buffer.from(`${time} ${text}\n`) };
  });
  api.nodes.get(task.NodeID)?.logs.set(task.Status.ContainerStatus.ContainerID, chunks);
}

test('lines of tasks on several nodes come in the order of time', async (t) => {
  await using api = await ApiFixture.up();
  const tasks = await serviceWithTasks(api, 3);
  say(
    api,
    tasks[0],
    [1, 5, 6].map((second) => [second, `a${second}`] as const),
  );
  say(
    api,
    tasks[1],
    [2, 4, 9].map((second) => [second, `b${second}`] as const),
  );
  say(
    api,
    tasks[2],
    [3, 7, 8].map((second) => [second, `c${second}`] as const),
  );
  const { body } = await api.send('GET', '/services/web/logs?stdout=1&stderr=1');
  t.deepEqual(
    framesOf(body).map(({ text }) => text.trim()),
    ['a1', 'a1', 'b2', 'c3', 'b4', 'a5', 'a6', 'c7', 'c8', 'b9'].slice(1),
  );
  const { body: tail } = await api.send('GET', '/services/web/logs?stdout=1&tail=1');
  t.deepEqual(
    framesOf(tail).map(({ text }) => text.trim()),
    ['a6', 'c8', 'b9'],
  );
});

test('the logs of many tasks are no reason for a warning', async (t) => {
  await using api = await ApiFixture.up();
  const tasks = await serviceWithTasks(api, 30);
  for (const [i, task] of tasks.entries()) say(api, task, [[i, `line ${i}`]]);
  const warnings: string[] = [];
  const note = (warning: Error): void => void warnings.push(warning.name);
  process.on('warning', note);
  const { body } = await api.send(
    'GET',
    `/services/web/logs?stdout=1&follow=1&until=${Date.now() / 1000 + 1.5}`,
  );
  process.off('warning', note);
  t.is(framesOf(body).length, 30);
  t.deepEqual(warnings, []);
});

test('a node that goes away ends its part with a line; when it is back, the rest follows', async (t) => {
  await using api = await ApiFixture.up();
  const [one, two] = await serviceWithTasks(api, 2);
  say(api, one, [[1, 'first']]);
  say(api, two, [[2, 'second']]);
  const parts: Buffer[] = [];
  const req = request(
    { socketPath: api.socket, path: '/services/web/logs?stdout=1&stderr=1&follow=1' },
    (res) => res.on('data', (part: Buffer) => parts.push(part)),
  );
  req.on('error', () => undefined).end();
  const texts = (): string[] =>
    framesOf(Buffer.concat(parts)).map(({ stream, text }) => `${stream} ${text.trim()}`);
  const until = async (what: string, holds: () => boolean): Promise<void> => {
    for (const deadline = Date.now() + 20_000; !holds(); await sleep(5))
      if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}: ${texts().join(', ')}`);
  };
  await until('both lines', () => texts().length === 2);
  t.deepEqual(texts(), ['1 first', '1 second']);
  const node = api.nodes.get(one.NodeID);
  if (node === undefined) throw new Error('there is no such node');
  node.breakStreams(new Error('the session with the node ended'));
  await until('the apology', () => texts().length === 3);
  t.regex(
    texts()[2] ?? '',
    /^2 shoal: logs of task \w+ on node a\d are incomplete: the session with the node ended$/,
  );
  say(api, one, [
    [1, 'first'],
    [3, 'third'],
  ]);
  const record = api.store.get('nodes', one.NodeID) as Json;
  await api.write([{ table: 'nodes', key: one.NodeID, value: { ...record, updatedAtMs: 2 } }]);
  await until('the rest', () => texts().length === 4);
  t.is(texts()[3], '1 third', 'what was shown is not shown again');
  req.destroy();
  await until('all streams are left', () =>
    [...api.nodes.values()].every(({ streams }) => streams.size === 0),
  );
});

test('followed logs end at the time that until names', async (t) => {
  await using api = await ApiFixture.up();
  const [one] = await serviceWithTasks(api, 1);
  say(api, one, [[1, 'first']]);
  const until = (Date.now() + 700) / 1000;
  const { body } = await api.send('GET', `/services/web/logs?stdout=1&follow=1&until=${until}`);
  t.deepEqual(
    framesOf(body).map(({ text }) => text.trim()),
    ['first'],
  );
});

test('a client that does not read stops the nodes; one that leaves frees everything', async (t) => {
  await using api = await ApiFixture.up();
  const tasks = await serviceWithTasks(api, 4);
  const text = 'x'.repeat(1000);
  for (const task of tasks)
    say(
      api,
      task,
      Array.from({ length: 20_000 }, (_, i) => [i, text] as const),
    );
  const listeners = api.store.listenerCount;
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const req = request(
      { socketPath: api.socket, path: '/services/web/logs?stdout=1&follow=1', agent: false },
      (res) => {
        res.pause();
        resolve(res);
      },
    );
    req.on('error', reject).end();
  });
  const given = (): number => [...api.nodes.values()].reduce((sum, node) => sum + node.given, 0);
  // it goes on until the socket is full, and no further
  let before = -1;
  while (given() !== before) {
    before = given();
    await sleep(300);
  }
  t.true(before > 0 && before < 10_000, `${before} of 80000 records were taken from the nodes`);
  t.is(api.store.listenerCount, listeners + 1);
  answer.destroy();
  for (const deadline = Date.now() + 20_000; ; await sleep(5)) {
    const open = [...api.nodes.values()].reduce((sum, node) => sum + node.streams.size, 0);
    if (open === 0 && api.store.listenerCount === listeners) break;
    if (Date.now() > deadline)
      throw new Error(`${open} streams, ${api.store.listenerCount} listeners are left`);
  }
  t.pass();
});

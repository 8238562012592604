import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { readLog, replayLog } from '../../../agent/container/log-reader.ts';

const all = { follow: false, stdout: true, stderr: true };
const never = new AbortController().signal;

function stamp(second: number): string {
  return `2026-01-01T00:${String(Math.floor(second / 60) % 60).padStart(2, '0')}:${String(second % 60).padStart(2, '0')}.000000000Z`;
}

async function collect(
  path: string,
  params: Parameters<typeof readLog>[1],
  ended = never,
): Promise<string[]> {
  const texts: string[] = [];
  for await (const chunk of readLog(path, params, ended, never)) texts.push(...textsOf(chunk.data));
  return texts;
}

/** Of whole records. */
function textsOf(records: Buffer): string[] {
  const lines = records.toString().split('\n');
  if (lines.pop() !== '') throw new Error('a chunk ends within a record');
  return lines.map((line) => line.slice(line.indexOf(' ') + 1));
}

test('a tail of n lines is the last n, whatever their lengths', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-test-log-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const path = join(directory, 'log');
  const line = fc.oneof(
    fc.string({ maxLength: 30 }),
    fc.integer({ min: 1, max: 70_000 }).map((n) => 'x'.repeat(n)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 30 }), fc.nat(35), async (raw, tail) => {
      const texts = raw.map((text) => text.replaceAll('\n', '.'));
      await writeFile(`${path}.0`, texts.map((text, index) => `${stamp(index)} stdout F ${text}\n`).join(''));
      t.deepEqual(await collect(path, { ...all, tail }), tail === 0 ? [] : texts.slice(-tail));
    }),
    { numRuns: 60 },
  );
});

test('since, until and the streams choose lines', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-test-log-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const path = join(directory, 'log');
  const lines = [0, 1, 2, 3, 4, 5].map(
    (n) => `${stamp(n)} ${n % 2 === 0 ? 'stdout' : 'stderr'} F line ${n}\n`,
  );
  await writeFile(`${path}.0`, lines.join(''));
  t.deepEqual(await collect(path, { ...all, stderr: false }), ['line 0', 'line 2', 'line 4']);
  const span = { ...all, sinceMs: Date.parse(stamp(2)), untilMs: Date.parse(stamp(4)) };
  t.deepEqual(await collect(path, span), ['line 2', 'line 3', 'line 4']);
  t.deepEqual(await collect(path, { ...all, stdout: false, tail: 2 }), ['line 3', 'line 5']);
});

test('follow sees what is written later, joins parts, and ends with the container', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-test-log-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const path = join(directory, 'log');
  await writeFile(`${path}.0`, `${stamp(0)} stdout F first\n`);
  const ended = new AbortController();
  const texts: string[] = [];
  const steps = [
    async () => appendFile(`${path}.0`, `${stamp(1)} stdout P sec`),
    async () => appendFile(`${path}.0`, `ond, \n${stamp(1)} stdout F whole\n`),
    async () => {
      await appendFile(`${path}.0`, `${stamp(2)} stderr F last\n`);
      ended.abort();
    },
  ];
  const advance = async (): Promise<void> => {
    if (texts.length === 1) {
      await steps[0]?.();
      await steps[1]?.();
    }
    if (texts.length === 2) await steps[2]?.();
  };
  for await (const chunk of readLog(path, { ...all, follow: true }, ended.signal, never)) {
    texts.push(...textsOf(chunk.data));
    await advance();
  }
  t.deepEqual(texts, ['first', 'second, whole', 'last']);
});

/** The lines as a monitor may have left them: in files that begin where `cuts` says, some of the oldest removed. */
async function writeFiles(path: string, lines: readonly string[], cuts: readonly number[]): Promise<number> {
  const starts = [0, ...cuts.map((cut) => cut % (lines.length + 1)).toSorted((a, b) => a - b)];
  for (const [number, start] of starts.entries())
    await writeFile(`${path}.${number}`, lines.slice(start, starts[number + 1]).join(''));
  return starts.length;
}

test('a log of many files is one: whole, its tail, and up to a place in it', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-test-log-'));
  t.teardown(() => rm(directory, { recursive: true }));
  let run = 0;
  const shape = {
    count: fc.nat(40),
    parts: fc.array(fc.nat(40), { maxLength: 4 }),
    cuts: fc.array(fc.nat(), { maxLength: 6 }),
    gone: fc.nat(4),
    tail: fc.nat(45),
  };
  await fc.assert(
    fc.asyncProperty(fc.record(shape), async ({ count, parts, cuts, gone, tail }) => {
      const path = join(directory, `${(run += 1)}-log`);
      const raw = Array.from({ length: count }, (_, n) => {
        const tag = parts.includes(n) && n < count - 1 ? 'P' : 'F';
        return `${stamp(n)} stdout ${tag} ${n};\n`;
      });
      const files = await writeFiles(path, raw, cuts);
      await writeFile(`${path}.old`, 'none of the log');
      for (let number = 0; number < Math.min(gone, files - 1); number += 1) await rm(`${path}.${number}`);
      const left = await Promise.all(
        Array.from({ length: files }, async (_, number) =>
          readFile(`${path}.${number}`, 'utf8').catch(() => ''),
        ),
      );
      const said = (from: readonly string[]): string =>
        from
          .join('')
          .replaceAll(/^.{31}stdout ([PF]) (.*)\n/gm, (_, tag, text) => text + (tag === 'F' ? '\n' : ''));
      const texts = said(left).split('\n').slice(0, -1);
      t.deepEqual(await collect(path, all), texts);
      t.deepEqual(await collect(path, { ...all, tail }), tail === 0 ? [] : texts.slice(-tail));
      t.deepEqual(await collect(path, { ...all, follow: true }, AbortSignal.abort()), texts);
      const number = files - 1;
      t.is(await replay(path, { number, bytes: left[number]?.length ?? 0 }), said(left));
      t.is(await replay(path, { number, bytes: 0 }), said(left.slice(0, -1)));
    }),
    { numRuns: 40 },
  );
});

async function replay(path: string, end: Parameters<typeof replayLog>[1]): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const { data } of replayLog(path, end, all, never)) chunks.push(Buffer.from(data));
  return Buffer.concat(chunks).toString();
}

test('a line whose parts are in two files is one also where a tail begins', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-test-log-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const path = join(directory, 'log');
  await writeFile(`${path}.0`, `${stamp(0)} stdout F before\n${stamp(1)} stdout P one \n`);
  await writeFile(`${path}.1`, `${stamp(2)} stdout F line\n${stamp(3)} stdout F last\n`);
  t.deepEqual(await collect(path, { ...all, tail: 2 }), ['one line', 'last']);
  t.deepEqual(await collect(path, { ...all, tail: 1 }), ['last']);
  t.deepEqual(await collect(path, { ...all, tail: 0 }), []);
});

test('the file of a monitor of version 0.1.0 comes before those with numbers', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-test-log-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const path = join(directory, 'log');
  await writeFile(path, `${stamp(0)} stdout F old\n${stamp(1)} stdout F older monitor\n`);
  await writeFile(`${path}.0`, `${stamp(2)} stdout F new\n`);
  t.deepEqual(await collect(path, all), ['old', 'older monitor', 'new']);
  t.deepEqual(await collect(path, { ...all, tail: 2 }), ['older monitor', 'new']);
  t.is(await replay(path, { number: -1, bytes: stamp(0).length + 14 }), 'old\n');
});

test('a log that does not exist is empty', async (t) => {
  t.deepEqual(await collect('/nonexistent/log', all), []);
});

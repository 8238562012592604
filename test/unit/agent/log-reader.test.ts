import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { readLog } from '../../../agent/container/log-reader.ts';

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
      await writeFile(path, texts.map((text, index) => `${stamp(index)} stdout F ${text}\n`).join(''));
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
  await writeFile(path, lines.join(''));
  t.deepEqual(await collect(path, { ...all, stderr: false }), ['line 0', 'line 2', 'line 4']);
  const span = { ...all, sinceMs: Date.parse(stamp(2)), untilMs: Date.parse(stamp(4)) };
  t.deepEqual(await collect(path, span), ['line 2', 'line 3', 'line 4']);
  t.deepEqual(await collect(path, { ...all, stdout: false, tail: 2 }), ['line 3', 'line 5']);
});

test('follow sees what is written later, joins parts, and ends with the container', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-test-log-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const path = join(directory, 'log');
  await writeFile(path, `${stamp(0)} stdout F first\n`);
  const ended = new AbortController();
  const texts: string[] = [];
  const steps = [
    async () => appendFile(path, `${stamp(1)} stdout P sec`),
    async () => appendFile(path, `ond, \n${stamp(1)} stdout F whole\n`),
    async () => {
      await appendFile(path, `${stamp(2)} stderr F last\n`);
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

test('a log that does not exist is empty', async (t) => {
  t.deepEqual(await collect('/nonexistent/log', all), []);
});

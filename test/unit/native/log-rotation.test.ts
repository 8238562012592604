/** A container's log in files of a limited size, as its real monitor writes them, read while they come and go. */
import { readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import test from 'ava';
import { readLog as readAgentLog, replayLog } from '../../../agent/container/log-reader.ts';
import { attachOutput } from '../../../agent/native/attach.ts';
import {
  createContainer,
  deleteContainer,
  readState,
  startContainer,
  waitContainer,
} from '../../../agent/native/container.ts';
import { DEADLINE_MS, Fixture, readLog } from './fixture.ts';

const LINES = 6000;
const MAX_BYTES = 16 * 1024;
const COUNTING = ['sh', '-c', `i=0; while [ $i -lt ${LINES} ]; do echo "line $i"; i=$((i+1)); done`];
/** With pauses, in which somebody attaches. */
const PAUSING = [
  'sh',
  '-c',
  COUNTING[2]?.replace('done', '[ $((i % 200)) -ne 0 ] || sleep 0.05; done') ?? '',
];
const all = { follow: true, stdout: true, stderr: true };

const fixture = new Fixture('rotation');
test.after.always(() => fixture.close());

function request(maxFiles: number, args = COUNTING) {
  const made = fixture.request(args);
  const path = join(dirname(made.log?.path ?? ''), 'log');
  return { ...made, log: { path, maxBytes: MAX_BYTES, maxFiles } };
}

function numbersOf(path: string): number[] {
  const names = readdirSync(dirname(path)).filter((name) => name.startsWith(`${basename(path)}.`));
  return names.map((name) => Number(name.slice(name.lastIndexOf('.') + 1))).toSorted((a, b) => a - b);
}

const numbered = (first: number, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `line ${first + index}`);

test('files are as large and as many as they may be, and hold the last lines; a new run goes on with the newest', async (t) => {
  const made = request(3);
  await createContainer(made);
  await startContainer(made.runDir);
  await waitContainer(made.runDir, AbortSignal.timeout(DEADLINE_MS));
  await deleteContainer(made.runDir);
  const numbers = numbersOf(made.log.path);
  t.is(numbers.length, 3);
  t.true((numbers[0] ?? 0) > 3);
  for (const number of numbers) t.true(statSync(`${made.log.path}.${number}`).size <= MAX_BYTES);
  const texts = numbers.flatMap((number) => readLog(`${made.log.path}.${number}`).map(({ text }) => text));
  t.deepEqual(texts, numbered(LINES - texts.length, texts.length));

  const again = { ...request(3, ['echo', 'again']), log: made.log };
  await createContainer(again);
  await startContainer(again.runDir);
  await waitContainer(again.runDir, AbortSignal.timeout(DEADLINE_MS));
  t.deepEqual(numbersOf(made.log.path), numbers);
  t.is(readLog(`${made.log.path}.${numbers.at(-1)}`).at(-1)?.text, 'again');
});

test('who follows a log gets each line once, from file to file', async (t) => {
  const made = request(1000);
  await createContainer(made);
  const ended = new AbortController();
  const waited = waitContainer(made.runDir, AbortSignal.timeout(DEADLINE_MS)).then(() => ended.abort());
  const follow = async (): Promise<string[]> => {
    const texts: string[] = [];
    for await (const { data } of readAgentLog(
      made.log.path,
      all,
      ended.signal,
      AbortSignal.timeout(DEADLINE_MS),
    ))
      texts.push(...data.toString().split('\n').slice(0, -1));
    return texts.map((line) => line.slice(line.indexOf(' ') + 1));
  };
  const followed = Promise.all([follow(), follow()]);
  await startContainer(made.runDir);
  await waited;
  for (const texts of await followed) t.deepEqual(texts, numbered(0, LINES));
  t.true(numbersOf(made.log.path).length > 5);
});

test('who attaches while files change gets what was before from the log and the rest live, each line once', async (t) => {
  const made = request(1000, PAUSING);
  await createContainer(made);
  await startContainer(made.runDir);
  const said: string[] = [];
  for (let attempt = 0; attempt < 5; attempt += 1) {
    if ((await readState(made.runDir)).status === 'stopped') break;
    const { socket, logEnd } = await attachOutput(made.runDir, true);
    let text = '';
    for await (const { data } of replayLog(made.log.path, logEnd, all, AbortSignal.timeout(DEADLINE_MS)))
      text += data.toString();
    const frame = await new Promise<Buffer | undefined>((resolve) => {
      socket.once('data', resolve);
      socket.once('close', () => resolve(undefined));
      // Its last end may have gone while the log was read.
      if (socket.destroyed) resolve(undefined);
    });
    socket.destroy();
    if (frame === undefined) break; // it has ended meanwhile
    said.push(text + frame.subarray(8, 8 + frame.readUInt32BE(4)).toString());
  }
  await waitContainer(made.runDir, AbortSignal.timeout(DEADLINE_MS));
  const whole = `${numbered(0, LINES).join('\n')}\n`;
  t.true(said.length > 0);
  for (const text of said) t.true(whole.startsWith(text), text.slice(-200));
});

test('without a log nothing is written, and the output is there for who is attached', async (t) => {
  const { log, ...made } = request(3, ['sh', '-c', 'echo out; echo err >&2']);
  await createContainer(made);
  const { socket, logEnd } = await attachOutput(made.runDir, false);
  await startContainer(made.runDir);
  let size = 0;
  for await (const data of socket) size += (data as Buffer).length;
  t.is(size, 2 * (8 + 4));
  t.is(logEnd.bytes, 0);
  const state = await waitContainer(made.runDir, AbortSignal.timeout(DEADLINE_MS));
  t.deepEqual([state.exitCode, state.logDroppedBytes ?? 0], [0, 0]);
  t.deepEqual(numbersOf(log.path), []);
});

/** The daemons' log when it can not be written: they go on, and say later how much is missing. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { LogOutput } from '../../../deploy/cli/log-output.ts';

const directory = mkdtempSync(join(tmpdir(), 'shoal-log-output-'));
test.after.always(() => rmSync(directory, { recursive: true }));

interface Line {
  readonly msg?: string;
  readonly lost?: number;
  readonly reason?: string;
}

/** A log file on a disk that is full when `room` is 0, and cuts a line off when it is less than the line. */
function disk(name: string) {
  const file = openSync(join(directory, name), 'w');
  const full = openSync('/dev/full', 'w');
  const state = { room: Number.POSITIVE_INFINITY };
  const output = new LogOutput(file, (fd, data) => {
    const written = writeSync(state.room > 0 ? fd : full, data.subarray(0, state.room));
    state.room -= written;
    return written;
  });
  const end = (): string[] => {
    for (const fd of [file, full]) closeSync(fd);
    return readFileSync(join(directory, name), 'utf8').trimEnd().split('\n');
  };
  return { state, output, end };
}

test('lines that a full disk does not take are lost and counted, and none is mixed with another', (t) => {
  const { state, output, end } = disk('full');
  output.write('{"msg":"first"}\n');
  state.room = 5;
  for (const msg of ['cut', 'lost', 'lost too']) output.write(`{"msg":"${msg}"}\n`);
  state.room = Number.POSITIVE_INFINITY;
  for (const msg of ['again', 'last']) output.write(`{"msg":"${msg}"}\n`);
  const [first, cut, ...rest] = end();
  t.deepEqual([first, cut], ['{"msg":"first"}', '{"msg']);
  const lines = rest.map((line) => JSON.parse(line) as Line);
  t.like(lines[0], { lost: 3, reason: 'ENOSPC' });
  t.deepEqual(lines.slice(1), [{ msg: 'again' }, { msg: 'last' }]);
});

test('a reader that is slow is waited for once, and not with each line', (t) => {
  let calls = 0;
  const output = new LogOutput(1, () => {
    calls += 1;
    throw Object.assign(new Error('slow'), { code: 'EAGAIN' });
  });
  output.write('one\n');
  const first = calls;
  t.true(first > 1);
  for (let i = 0; i < 100; i += 1) output.write('more\n');
  t.is(calls, first + 100);
});

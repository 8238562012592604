/** Log lines on their way: from a file's blocks to records, and from records to a client's frames. */
import test from 'ava';
import fc from 'fast-check';
import { RecordMaker } from '../../../agent/container/log-records.ts';
import { frameRecords, RecordJoiner } from '../../../manager/api/logs/records.ts';

const TIME = '2026-01-01T00:00:00.000000000Z';

interface Line {
  readonly stream: 1 | 2;
  readonly text: string;
}

const text = fc.oneof(
  fc.string({ maxLength: 20 }).map((value) => value.replaceAll('\n', '.')),
  fc.integer({ min: 100, max: 300 }).map((length) => 'x'.repeat(length)),
);
const line = fc.record({ stream: fc.constantFrom(1 as const, 2 as const), text });

/** Each text in parts, as the monitor writes a line that is long. */
function raw({ stream, text }: Line, partBytes: number): string {
  const parts: string[] = [];
  for (let at = 0; at === 0 || at < text.length; at += partBytes) parts.push(text.slice(at, at + partBytes));
  const name = stream === 1 ? 'stdout' : 'stderr';
  return parts.map((part, i) => `${TIME} ${name} ${i < parts.length - 1 ? 'P' : 'F'} ${part}\n`).join('');
}

/** The records of chunks, in order. */
function recordsOf(chunks: Iterable<{ stream: 0 | 1 | 2; data: Buffer }>): Line[] {
  return [...chunks].flatMap(({ stream, data }) => {
    const lines = data.toString().split('\n');
    if (lines.pop() !== '') throw new Error('a chunk ends within a record');
    return lines.map((one) => ({ stream: stream as 1 | 2, text: one.slice(TIME.length + 1) }));
  });
}

test('lines of both streams, whole and in parts, keep their order whatever blocks they come in', (t) => {
  fc.assert(
    fc.property(fc.array(line), fc.integer({ min: 1, max: 200 }), fc.nat(5), (lines, part, perBlock) => {
      const maker = new RecordMaker({ stdout: true, stderr: true });
      const found: Line[] = [];
      const all = lines
        .map((one) => raw(one, part))
        .join('')
        .split('\n')
        .slice(0, -1);
      while (all.length > 0) {
        const block = all
          .splice(0, perBlock + 1)
          .map((one) => `${one}\n`)
          .join('');
        found.push(...recordsOf(maker.chunks(Buffer.from(block))));
      }
      t.deepEqual(found, lines);
    }),
  );
});

test('what is no line of a log is passed over, and only the streams and times that were asked for are given', (t) => {
  const lines = [
    'torn',
    '',
    `${TIME} stdout F a`,
    `${TIME} stdin F b`,
    `${TIME} stderr F c`,
    `${TIME} stdout`,
  ];
  const block = (): Buffer => Buffer.from(lines.map((one) => `${one}\n`).join(''));
  const texts = (maker: RecordMaker): string[] => recordsOf(maker.chunks(block())).map((one) => one.text);
  t.deepEqual(texts(new RecordMaker({ stdout: true, stderr: true })), ['a', 'c']);
  t.deepEqual(texts(new RecordMaker({ stdout: false, stderr: true })), ['c']);
  const atMs = Date.parse(TIME);
  t.deepEqual(texts(new RecordMaker({ stdout: true, stderr: true, sinceMs: atMs + 1 })), []);
  const past = new RecordMaker({ stdout: true, stderr: true, untilMs: atMs - 1 });
  t.deepEqual([texts(past), past.past], [[], true]);
});

test('records become frames with times and details as asked for', (t) => {
  const bare = (records: string, timestamps: boolean, details: string): string =>
    frameRecords(1, Buffer.from(records), {
      timestamps,
      details: Buffer.from(details),
      framed: false,
    }).toString();
  t.is(bare(`${TIME} a b\n${TIME} \n`, false, ''), 'a b\n\n');
  t.is(bare(`${TIME} a b\n${TIME} c\n`, true, ''), `${TIME} a b\n${TIME} c\n`);
  t.is(
    bare(`${TIME} a\n2026-01-01T00:00:00Z b\nnone\n`, true, 'k=v '),
    `${TIME} k=v a\n2026-01-01T00:00:00Z k=v b\nk=v none\n`,
  );
  const texts = fc.array(text, { minLength: 1 });
  fc.assert(
    fc.property(texts, fc.boolean(), fc.constantFrom('', 'k=v '), (lines, timestamps, details) => {
      const records = Buffer.from(lines.map((one) => `${TIME} ${one}\n`).join(''));
      const out = frameRecords(2, records, { timestamps, details: Buffer.from(details), framed: true });
      const found: string[] = [];
      for (let at = 0; at < out.length; at += 8 + out.readUInt32BE(at + 4)) {
        t.is(out.readUInt32BE(at), 0x02000000);
        found.push(out.toString('utf8', at + 8, at + 8 + out.readUInt32BE(at + 4)));
      }
      t.deepEqual(
        found,
        lines.map((one) => `${timestamps ? `${TIME} ` : ''}${details}${one}\n`),
      );
    }),
  );
});

test('records that were split on their way are whole again', (t) => {
  fc.assert(
    fc.property(fc.array(text, { minLength: 1 }), fc.integer({ min: 1, max: 90 }), (lines, pieceBytes) => {
      const all = Buffer.from(lines.map((one) => `${TIME} ${one}\n`).join(''));
      const joiner = new RecordJoiner();
      const parts: Buffer[] = [];
      for (let at = 0; at < all.length; at += pieceBytes) {
        const whole = joiner.push(all.subarray(at, at + pieceBytes));
        t.true(whole.length === 0 || whole.at(-1) === 0x0a);
        parts.push(whole);
      }
      t.deepEqual(Buffer.concat(parts), all);
    }),
  );
});

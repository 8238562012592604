import test from 'ava';
import fc from 'fast-check';
import { InvalidError } from '../../../shared/errors/index.ts';
import {
  decodeStreamData,
  encodeStreamData,
  parseAgentFrame,
  parseManagerFrame,
} from '../../../shared/wire/frames.ts';
import { serviceSpecSchema } from '../../../shared/wire/service-schema.ts';
import { description, serviceSpec, status } from './rig.ts';

test('frames of both sides survive the wire', (t) => {
  const hello = { type: 'hello', protocol: 1, nodeId: 'n1', description: description('a1') };
  t.deepEqual(parseAgentFrame(JSON.stringify(hello)), hello as never);
  const report = { type: 'status', id: 3, statuses: [status('t1', 'failed', { error: 'exit 1' })] };
  t.deepEqual(parseAgentFrame(JSON.stringify(report)), report as never);
  const usage = { type: 'usage', tasks: [{ taskId: 't1', nanoCpus: 5, memoryBytes: 6 }] };
  t.deepEqual(parseAgentFrame(JSON.stringify(usage)), usage as never);
  const change = { type: 'change', seq: 2, put: {}, drop: { tasks: ['t1'] } };
  t.deepEqual(parseManagerFrame(JSON.stringify(change)), change as never);
});

test('a spec survives the wire, and a key that nobody knows is refused by name', (t) => {
  const autoscale = { min: 1, max: 5, memoryPercent: 80, coolDownMs: 60_000 };
  const spec = { ...serviceSpec('web', ['net1']), autoscale };
  t.deepEqual(serviceSpecSchema.parse(JSON.parse(JSON.stringify(spec))), spec);
  const unknown = serviceSpecSchema.safeParse({ ...spec, gpus: 2 });
  t.false(unknown.success);
  t.regex(unknown.error?.message ?? '', /gpus/);
});

test('what is no frame is refused, with the field that is wrong', (t) => {
  const wrong = [
    ['', /not JSON/],
    ['{', /not JSON/],
    ['null', /not valid/],
    ['{"type":"nonsense"}', /type/],
    ['{"type":"ack"}', /seq/],
    ['{"type":"ack","seq":-1}', /seq/],
    ['{"type":"hello","protocol":2,"nodeId":"n1"}', /protocol/],
    ['{"type":"status","id":1,"statuses":[{"taskId":"t1"}]}', /statuses\.0\.state/],
  ] as const;
  for (const [text, message] of wrong) {
    t.throws(() => parseAgentFrame(text), { instanceOf: InvalidError, message }, text);
  }
});

test('any text is a frame or an InvalidError, nothing else', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      t.throws(() => parseAgentFrame(text), { instanceOf: InvalidError });
      t.throws(() => parseManagerFrame(text), { instanceOf: InvalidError });
    }),
  );
});

test('stream data keep their id, kind and bytes', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 0xffffffff }),
      fc.constantFrom(0 as const, 1 as const, 2 as const),
      fc.uint8Array(),
      (id, kind, bytes) => {
        const data = Buffer.from(bytes);
        t.deepEqual(decodeStreamData(encodeStreamData(id, kind, data)), { id, kind, data });
      },
    ),
  );
  t.throws(() => decodeStreamData(Buffer.from([0, 0, 0, 1])), { instanceOf: InvalidError });
  t.throws(() => decodeStreamData(Buffer.from([0, 0, 0, 1, 9])), { instanceOf: InvalidError });
});

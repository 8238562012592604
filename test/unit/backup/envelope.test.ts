/** A backup that is not whole, or not as it was written, does not open. */
import { randomBytes } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { open, seal } from '../../../manager/backup/envelope.ts';

const PASSPHRASE = 'correct horse battery';

async function* from(...parts: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* parts;
}

async function all(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

for (const passphrase of [undefined, PASSPHRASE]) {
  const kind = passphrase === undefined ? 'plain' : 'encrypted';

  test(`${kind}: what was written comes back, whatever its size`, async (t) => {
    const edges =
      passphrase === undefined ? [1, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1] : [1024 * 1024];
    for (const size of [0, ...edges, 3_000_000]) {
      const content = randomBytes(size);
      const file = await all(
        seal(from(content.subarray(0, size >> 1), content.subarray(size >> 1)), passphrase),
      );
      t.true((await all(open(from(file), passphrase))).equals(content), `${size} bytes`);
      t.true((await all(open(from(file.subarray(0, 7), file.subarray(7)), passphrase))).equals(content));
    }
  });
}

test('plain: any flipped bit is refused', async (t) => {
  const file = await all(seal(from(randomBytes(300)), undefined));
  for (let bit = 0; bit < file.length * 8; bit += 1) {
    const changed = Buffer.from(file);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    await t.throwsAsync(all(open(from(changed), undefined)), { name: 'InvalidError' }, `bit ${bit}`);
  }
});

test('encrypted: flipped bits are refused, in header, text and tag', async (t) => {
  const file = await all(seal(from(randomBytes(100)), PASSPHRASE));
  // Each costs a key derivation where the header is whole.
  for (const byte of [0, 40, 130, file.length - 90, file.length - 1]) {
    const changed = Buffer.from(file);
    changed[byte] = (changed[byte] ?? 0) ^ 4;
    await t.throwsAsync(all(open(from(changed), PASSPHRASE)), { name: 'InvalidError' }, `byte ${byte}`);
  }
});

test('plain: cut off anywhere it is refused, and with something behind its end', async (t) => {
  const file = await all(seal(from(randomBytes(2_500_000)), undefined));
  await fc.assert(
    fc.asyncProperty(fc.nat(file.length - 1), async (length) => {
      await t.throwsAsync(all(open(from(file.subarray(0, length)), undefined)), { name: 'InvalidError' });
    }),
    { numRuns: 50 },
  );
  await t.throwsAsync(all(open(from(file, Buffer.of(0)), undefined)), { message: /follows its end/ });
});

test('encrypted: chunks can not be dropped, swapped or cut off', async (t) => {
  const file = await all(seal(from(Buffer.alloc(2_500_000, 7)), PASSPHRASE));
  const framed = 4 + 1024 * 1024 + 16;
  const head = file.length - (4 + 2_500_000 - 2 * 1024 * 1024 + 16) - 2 * framed;
  const [h, one, two, rest] = [
    file.subarray(0, head),
    file.subarray(head, head + framed),
    file.subarray(head + framed, head + 2 * framed),
    file.subarray(head + 2 * framed),
  ];
  t.is((await all(open(from(h, one, two, rest), PASSPHRASE))).length, 2_500_000);
  const wrong = [
    [h, one, rest],
    [h, two, one, rest],
    [h, one, two],
    [h, rest],
    [h, one, two, rest, rest],
  ];
  for (const parts of wrong) {
    await t.throwsAsync(all(open(from(...parts), PASSPHRASE)), { name: 'InvalidError' });
  }
});

test('encrypted: it opens with its passphrase alone, and shows nothing without', async (t) => {
  const content = Buffer.from('the text of a secret, again and again: '.repeat(50));
  const file = await all(seal(from(content), PASSPHRASE));
  t.false(file.includes('the text of a secret'));
  await t.throwsAsync(all(open(from(file), 'correct horse batterz')), { message: /passphrase is wrong/ });
  await t.throwsAsync(all(open(from(file), undefined)), {
    message: /is encrypted: say with --passphrase-file/,
  });
  t.false((await all(seal(from(content), PASSPHRASE))).equals(file), 'another salt each time');
});

test('what is no backup is called that', async (t) => {
  await t.throwsAsync(all(open(from(Buffer.alloc(100)), undefined)), { message: /is no backup/ });
  await t.throwsAsync(all(open(from(), undefined)), { message: /cut off/ });
});

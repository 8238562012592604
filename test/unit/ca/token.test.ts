import test from 'ava';
import fc from 'fast-check';
import { InvalidError } from '../../../shared/errors/index.ts';
import { newId } from '../../../shared/lib/ids.ts';
import { formatJoinToken, parseJoinToken } from '../../../shared/wire/join-token.ts';

const digest = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString('hex'));

test('what was formatted parses to the same, at any digest', (t) => {
  fc.assert(
    fc.property(digest, (caDigest) => {
      const token = { caDigest, secret: newId() };
      t.deepEqual(parseJoinToken(` ${formatJoinToken(token)}\n`), token);
    }),
  );
  for (const edge of ['0'.repeat(64), 'f'.repeat(64), `${'0'.repeat(63)}1`]) {
    t.is(parseJoinToken(formatJoinToken({ caDigest: edge, secret: newId() })).caDigest, edge);
  }
});

test('anything else is refused with what a token looks like', (t) => {
  const good = formatJoinToken({ caDigest: 'ab'.repeat(32), secret: newId() });
  const tooLarge = `SHOAL-1-${'z'.repeat(50)}-${newId()}`;
  for (const bad of ['', 'x', good.slice(1), good.slice(0, -1), `${good}a`, good.toUpperCase(), tooLarge]) {
    t.throws(() => parseJoinToken(bad), { instanceOf: InvalidError, message: /malformed.*SHOAL-1-/ }, bad);
  }
});

test('no text makes it fail in another way', (t) => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      t.throws(() => parseJoinToken(text), { instanceOf: InvalidError });
    }),
  );
});

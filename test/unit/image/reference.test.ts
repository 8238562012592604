import test from 'ava';
import fc from 'fast-check';
import { canonicalName, familiarName, parseReference } from '../../../agent/image/reference.ts';
import { InvalidError } from '../../../shared/errors/index.ts';

const HEX = 'a'.repeat(64);

for (const [text, canonical, familiar] of [
  ['nginx', 'docker.io/library/nginx:latest', 'nginx:latest'],
  ['nginx:1.25', 'docker.io/library/nginx:1.25', 'nginx:1.25'],
  ['user/app', 'docker.io/user/app:latest', 'user/app:latest'],
  ['docker.io/nginx', 'docker.io/library/nginx:latest', 'nginx:latest'],
  ['index.docker.io/library/nginx', 'docker.io/library/nginx:latest', 'nginx:latest'],
  ['localhost/a', 'localhost/a:latest', 'localhost/a:latest'],
  ['host:5000/a/b', 'host:5000/a/b:latest', 'host:5000/a/b:latest'],
  ['ghcr.io/a/b_c:v1.0-x', 'ghcr.io/a/b_c:v1.0-x', 'ghcr.io/a/b_c:v1.0-x'],
  ['[::1]:5000/a:1', '[::1]:5000/a:1', '[::1]:5000/a:1'],
  [`nginx@sha256:${HEX}`, `docker.io/library/nginx@sha256:${HEX}`, `nginx@sha256:${HEX}`],
  [`host:5000/a/b:2@sha256:${HEX}`, `host:5000/a/b:2@sha256:${HEX}`, `host:5000/a/b:2@sha256:${HEX}`],
] as const) {
  test(`parses ${text.slice(0, 40)}`, (t) => {
    t.is(canonicalName(parseReference(text)), canonical);
    t.is(familiarName(parseReference(text)), familiar);
  });
}

for (const [text, why] of [
  ['', /it is empty/],
  ['Nginx', /lower case \("Nginx"\)/],
  ['nginx:', /the tag "" may hold/],
  ['nginx:.x', /the tag "\.x"/],
  ['a//b', /a part of the name is empty/],
  ['/a', /a part of the name is empty/],
  ['a/', /a part of the name is empty/],
  ['-a', /"-a" may hold/],
  ['a b', /"a b" may hold/],
  ['a@sha256:12', /the digest "sha256:12"/],
  ['a@md5:12', /the digest "md5:12"/],
  ['ho st:1/a', /not the name of a registry/],
  [HEX, /are an image id, not a name/],
  [`a/${'b'.repeat(300)}`, /more than 255/],
  ['../etc', /may hold|registry/],
] as const) {
  test(`refuses "${text.slice(0, 20)}" and says why: ${why.source}`, (t) => {
    t.throws(() => parseReference(text), { instanceOf: InvalidError, message: why });
  });
}

const component = fc.stringMatching(/^[a-z0-9]{1,8}(?:[._-][a-z0-9]{1,4})?$/);
const host = fc.stringMatching(/^[a-z]{1,8}\.[a-z]{2,3}(?::[1-9][0-9]{0,3})?$/);
const reference = fc.record({
  registry: fc.option(host, { nil: undefined }),
  path: fc.array(component, { minLength: 1, maxLength: 3 }),
  tag: fc.option(fc.stringMatching(/^\w[\w.-]{0,20}$/), { nil: undefined }),
  digest: fc.option(fc.stringMatching(/^[a-f0-9]{64}$/), { nil: undefined }),
});

test('what is printed, in full or as people write it, parses to the same reference', (t) => {
  fc.assert(
    fc.property(reference, ({ registry, path, tag, digest }) => {
      // without a registry, a first component with a dot would be one
      const parts =
        registry === undefined ? path.map((part) => part.replaceAll('.', '_')) : [registry, ...path];
      const text = `${parts.join('/')}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@sha256:${digest}`}`;
      const parsed = parseReference(text);
      t.deepEqual(parseReference(canonicalName(parsed)), parsed);
      t.deepEqual(parseReference(familiarName(parsed)), parsed);
      t.is(parsed.registry, registry ?? 'docker.io');
      t.is(parsed.tag, tag ?? (digest === undefined ? 'latest' : undefined));
    }),
  );
});

test('any text is either parsed to a canonical reference or refused as invalid', (t) => {
  fc.assert(
    fc.property(fc.string({ maxLength: 40, unit: fc.constantFrom(...'aA0.:/@-_ []sha256') }), (text) => {
      try {
        const parsed = parseReference(text);
        t.deepEqual(parseReference(canonicalName(parsed)), parsed);
      } catch (error) {
        t.true(error instanceof InvalidError);
      }
    }),
    { numRuns: 2_000 },
  );
});

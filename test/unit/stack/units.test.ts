import test from 'ava';
import fc from 'fast-check';
import { convertStack } from '../../../manager/stack/index.ts';
import { interpolate } from '../../../manager/stack/interpolate.ts';
import { shellSplit } from '../../../manager/stack/shell-split.ts';
import { parseBytes } from '../../../shared/lib/bytes.ts';
import { formatDuration, parseCpus, parseDuration } from '../../../manager/stack/units.ts';

test('durations', (t) => {
  t.is(parseDuration('1m30s'), 90e9);
  t.is(parseDuration('1.5h'), 5400e9);
  t.is(parseDuration('10µs'), 10_000);
  t.is(parseDuration('0'), 0);
  for (const bad of ['', '5', '-1s', '1 s', '1x', '1s2', 's', '1e3s', '99999999999h'])
    t.is(parseDuration(bad), undefined, bad);
});

test('a duration that is printed is read back as the same', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 50 }), (ns) => {
      t.is(parseDuration(formatDuration(ns)), ns);
    }),
  );
});

test('sizes', (t) => {
  t.is(parseBytes('1024'), 1024);
  t.is(parseBytes('64m'), 64 * 2 ** 20);
  t.is(parseBytes('1.5GiB'), 1.5 * 2 ** 30);
  t.is(parseBytes('2 kb'), 2048);
  t.is(parseBytes('7b'), 7);
  for (const bad of ['', 'm', '-1', '1x', '1mm', '0x10', '1e3']) t.is(parseBytes(bad), undefined, bad);
});

test('CPUs', (t) => {
  t.is(parseCpus('0.5'), 5e8);
  t.is(parseCpus('2'), 2e9);
  t.is(parseCpus('.25'), 2.5e8);
  for (const bad of ['', '.', '-1', '1,5', '1e2', 'two']) t.is(parseCpus(bad), undefined, bad);
});

test('interpolation: every operator', (t) => {
  const variables = { SET: 'v', EMPTY: '', __proto__x: 'p' };
  const fill = (text: string): string => interpolate(text, variables).text;
  t.is(fill('$SET-${SET}'), 'v-v');
  t.is(fill('${EMPTY:-d}${EMPTY-d}${GONE:-d}${GONE-d}'), 'ddd');
  t.is(fill('${SET:+r}${EMPTY:+r}${EMPTY+r}${GONE+r}'), 'rr');
  t.is(fill('${GONE:-a${SET}b${GONE:-c}}'), 'avbc');
  t.is(fill('$$SET $${SET}'), '$SET ${SET}');
  t.deepEqual(interpolate('${GONE:?is needed}', variables).errors, [
    'required variable GONE is not set: is needed',
  ]);
  t.deepEqual(interpolate('${EMPTY?no}', variables).errors, []);
  t.deepEqual(interpolate('$GONE', variables).warnings, ['the variable GONE is not set: it counts as empty']);
  t.deepEqual(interpolate('${SET:-$GONE}', variables).warnings, []);
  t.is(interpolate('${constructor}', variables).text, '');
  for (const bad of ['${', '${A', '${1}', '$ ', 'a$', '${A!b}'])
    t.is(interpolate(bad, {}).errors.length, 1, bad);
});

test('words that are quoted are split back into the same words', (t) => {
  const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;
  fc.assert(
    fc.property(fc.array(fc.string()), (words) => {
      t.deepEqual(shellSplit(words.map(quote).join(' ')), words);
    }),
  );
});

/** Things that a compose file could hold in a wrong place. */
const scalar = fc.oneof(
  fc.constantFrom(
    '80:80',
    '/a:/b',
    '1s',
    '64m',
    'nginx',
    '${A:-b}',
    '$',
    '<<',
    'a=b',
    '*x',
    'host',
    '[',
    '5',
    '-1',
  ),
  fc.string({ maxLength: 12 }),
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
);
const keys = fc.constantFrom(
  ...[
    'services',
    'networks',
    'volumes',
    'web',
    'default',
    'image',
    'ports',
    'environment',
    'deploy',
    'resources',
  ],
  ...[
    'limits',
    'cpus',
    'memory',
    'restart',
    'restart_policy',
    'healthcheck',
    'test',
    'ulimits',
    'tmpfs',
    'logging',
  ],
  ...[
    'extra_hosts',
    'external',
    'ipam',
    'config',
    'target',
    'type',
    'source',
    'mode',
    'placement',
    'preferences',
  ],
  ...[
    'update_config',
    'command',
    'entrypoint',
    'build',
    'labels',
    'aliases',
    'x-a',
    '__proto__',
    'constructor',
  ],
);
const { tree } = fc.letrec((tie) => ({
  tree: fc.oneof(
    { maxDepth: 6 },
    scalar,
    fc.array(tie('tree'), { maxLength: 3 }),
    fc.array(fc.tuple(keys, tie('tree')), { maxLength: 5 }).map((entries) => Object.fromEntries(entries)),
  ),
}));

test('whatever the file holds, problems are returned and nothing is thrown', (t) => {
  fc.assert(
    fc.property(tree, fc.boolean(), (value, inside) => {
      const file = inside ? { services: { web: value }, networks: value, volumes: value } : value;
      const { problems, services } = convertStack({
        stack: 's',
        compose: JSON.stringify(file),
        variables: {},
      });
      t.true(problems.some((problem) => problem.severity === 'error') || services.length > 0);
      for (const problem of problems)
        t.true(problem.line >= 1 && problem.column >= 1 && problem.message !== '');
    }),
    { numRuns: 1000 },
  );
});

test('whatever the text is, problems are returned and nothing is thrown', (t) => {
  const piece = fc.constantFrom(
    'services:',
    '\n',
    '  ',
    '- ',
    'a: ',
    '&x ',
    '*x',
    '<<: ',
    '{',
    '}',
    '[',
    ']',
    '"',
    "'",
    '|',
    '#',
    '!!',
    '? ',
    ',',
    '\t',
    '---\n',
    '$',
    '%',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(piece, { maxLength: 40 }).map((all) => all.join('')),
      ),
      (compose) => {
        const { problems, services } = convertStack({ stack: 's', compose, variables: {} });
        t.true(problems.some((problem) => problem.severity === 'error') || services.length > 0);
      },
    ),
    { numRuns: 1000 },
  );
});

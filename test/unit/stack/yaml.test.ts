/** What is YAML of a compose file, before it is a compose file. */
import test from 'ava';
import { convertStack } from '../../../manager/stack/index.ts';

function convert(compose: string) {
  return convertStack({ stack: 's', compose, variables: {} });
}

function errorsOf(compose: string): string[] {
  return convert(compose).problems.flatMap(({ severity, line, column, key, message }) =>
    severity === 'error' ? [`${line}:${column} ${key}: ${message}`] : [],
  );
}

test('anchors, aliases and merge keys', (t) => {
  const { services, problems } = convert(`
x-base: &base
  image: nginx
  environment: &env {A: "1"}
services:
  one:
    <<: *base
    image: redis
  two:
    <<: [*base]
    environment:
      <<: *env
      B: "2"
`);
  t.deepEqual(problems, []);
  t.deepEqual(
    services.map(({ spec }) => [spec.container.image, spec.container.env]),
    [
      ['redis:latest', ['A=1']],
      ['nginx:latest', ['B=2', 'A=1']],
    ],
  );
});

test('aliases that unfold without end, or into too much, are refused', (t) => {
  const bomb = ['services: {a: {image: x}}', 'x0: &a0 [1,1,1,1,1,1,1,1,1,1]'];
  for (let i = 1; i <= 9; i += 1)
    bomb.push(
      `x${i}: &a${i} [${Array(10)
        .fill(`*a${i - 1}`)
        .join(',')}]`,
    );
  t.regex(errorsOf(bomb.join('\n')).join(), /too large/);
  t.regex(errorsOf('services: &a\n  b: *a\n').join(), /nested deeper|too large/);
  t.regex(errorsOf(`services: ${'['.repeat(500)}${']'.repeat(500)}`).join(), /nested deeper/);
  t.regex(errorsOf('['.repeat(300_000)).join(), /nested deeper/);
  t.regex(errorsOf(' '.repeat(1024 * 1024 + 1)).join(), /larger than/);
});

test('malformed YAML: line and column', (t) => {
  t.regex(errorsOf('services:\n  web:\n\timage: x\n')[0] ?? '', /^3:1 : YAML: .*[Tt]ab/);
  t.regex(errorsOf('a: 1\na: 2\n').join('|'), /\|2:1 a: YAML: the key is given twice/);
  t.regex(errorsOf('')[0] ?? '', /the file is empty/);
  t.regex(errorsOf('just text')[0] ?? '', /a mapping with services is expected/);
  t.regex(errorsOf('services:\n')[0] ?? '', /there are no services/);
  t.regex(errorsOf('services: {a: {image: x}}\n---\nb: 1\n').join(), /one YAML document/);
});

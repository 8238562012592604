import test from 'ava';
import { convertStack, type StackConversion } from '../../../manager/stack/index.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

function convert(service: string, top: string): StackConversion {
  return convertStack({
    stack: 'shop',
    compose: `services:\n  web:\n    image: a\n    ${service}\n${top}`,
    variables: { NAME: 'x' },
    contents: { files: { './x.txt': base64('from x') }, environment: { TOKEN: base64('from env') } },
  });
}

const errorsOf = ({ problems }: StackConversion): string[] =>
  problems.map(({ line, key, message }) => `${line} ${key}: ${message}`);

test('every way to give contents, and both ways to name them', (t) => {
  const { services, files, problems } = convert(
    'secrets: [a, { source: ext, target: /run/e, uid: 33, gid: "44", mode: 0400 }]\n    configs: [{ source: c, mode: "0o755" }]',
    `
secrets:
  a: { file: "./\${NAME}.txt", labels: [l=1] }
  b: { environment: TOKEN, name: other }
  ext: { external: true }
  old: { external: { name: older } }
configs:
  c: { content: "in \${NAME}", template_driver: golang }
`,
  );
  t.deepEqual(problems, []);
  const stack = { 'com.docker.stack.namespace': 'shop' };
  t.deepEqual(
    files.map(({ kind, name, spec, data }) => [kind, name, spec?.labels, spec?.templating, data]),
    [
      ['secret', 'shop_a', { l: '1', ...stack }, undefined, base64('from x')],
      ['secret', 'other', stack, undefined, base64('from env')],
      ['secret', 'ext', undefined, undefined, undefined],
      ['secret', 'older', undefined, undefined, undefined],
      ['config', 'shop_c', stack, 'golang', base64('in x')],
    ],
  );
  const container = services[0]?.spec.container;
  t.deepEqual(container?.secrets, [
    { id: '', name: 'shop_a', target: { name: 'a', uid: '0', gid: '0', mode: 0o444 } },
    { id: '', name: 'ext', target: { name: '/run/e', uid: '33', gid: '44', mode: 0o400 } },
  ]);
  t.deepEqual(container?.configs, [
    { id: '', name: 'shop_c', target: { name: 'c', uid: '0', gid: '0', mode: 0o755 } },
  ]);
});

test('contents that were not sent are absent, and where they come from is told', (t) => {
  const { files } = convert('tty: true', 'secrets: { a: { file: ./none }, b: { environment: NONE } }');
  t.deepEqual(
    files.map(({ data, source }) => [data, source]),
    [
      [undefined, { kind: 'file', name: './none', key: 'secrets.a' }],
      [undefined, { kind: 'environment', name: 'NONE', key: 'secrets.b' }],
    ],
  );
});

test('what is wrong is named with its line', (t) => {
  const cases: readonly (readonly [service: string, top: string, error: RegExp])[] = [
    [
      'secrets: [nope]',
      '',
      /^4 services\.web\.secrets\[0\]: secret 'nope' is not declared under the file's secrets/,
    ],
    ['configs: [{ target: x }]', '', /configs\[0\]: source is missing/],
    ['secrets: [{ source: a, mode: 888 }]', 'secrets: { a: { external: true } }', /'888': octal permissions/],
    ['secrets: [{ source: a, what: 1 }]', 'secrets: { a: { external: true } }', /what: unknown key/],
    ['tty: true', 'secrets: { a: {} }', /^5 secrets\.a: one of file, environment or external is expected/m],
    ['tty: true', 'configs: { a: { file: x, content: y } }', /expected, not file, content/],
    ['tty: true', 'secrets: { a: { content: x } }', /a secret is not written into the file/],
    ['tty: true', 'secrets: { a: { external: true, file: x } }', /external goes with none of: file/],
    ['tty: true', 'secrets: { a: { file: x, driver: vault } }', /driver: not supported/],
    [
      'tty: true',
      'configs: { a: { file: x, template_driver: jinja } }',
      /'jinja' is not supported: golang is/,
    ],
  ];
  for (const [service, top, error] of cases) t.regex(errorsOf(convert(service, top)).join('\n'), error, top);
});

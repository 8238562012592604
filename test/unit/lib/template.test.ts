import test from 'ava';
import fc from 'fast-check';
import { taskContext, Template, templateProblem } from '../../../shared/lib/template.ts';

const context = taskContext(
  { id: 't1', serviceId: 's1', slot: 3, nodeId: 'n1' },
  { name: 'web', labels: { b: '2', a: '1', 'x.y': 'dotted' } },
  { hostname: 'host1', os: 'linux', arch: 'x86_64' },
);
const functions = {
  secret: (name: string) => `<secret ${name}>`,
  config: (name: string) => `<config ${name}>`,
  env: (name: string) => `<env ${name}>`,
};

const cases: readonly (readonly [template: string, text: string])[] = [
  ['plain', 'plain'],
  ['{{.Node.ID}}/{{ .Node.Hostname }}', 'n1/host1'],
  ['{{.Node.Platform.OS}}-{{.Node.Platform.Architecture}}', 'linux-x86_64'],
  ['{{.Service.ID}} {{.Service.Name}}', 's1 web'],
  ['{{.Task.ID}} {{.Task.Name}} {{.Task.Slot}}', 't1 web.3.t1 3'],
  ['{{.Service.Labels}}', 'map[a:1 b:2 x.y:dotted]'],
  ['{{.Service.Labels.a}}{{.Service.Labels.none}}{{.Service.Labels.constructor}}', '1'],
  ['{{index .Service.Labels "x.y"}}', 'dotted'],
  ['{{secret "a"}} {{config `b`}} {{env "C\\"D"}}', '<secret a> <config b> <env C"D>'],
  ['a  {{- .Task.Slot -}}  b', 'a3b'],
  ['a{{/* }} nothing */}}b', 'ab'],
  ['{{secret "}}"}}', '<secret }}>'],
  ['a } }} {b', 'a } }} {b'],
];
for (const [template, text] of cases) {
  test(`${template} gives ${text}`, (t) => {
    t.is(new Template(template, true).fill(context, functions), text);
  });
}

test('the task of a global service has its node for a slot', (t) => {
  const global = taskContext(
    { id: 't', serviceId: 's', slot: 0, nodeId: 'n9' },
    { name: 'w', labels: {} },
    {
      hostname: 'h',
      os: 'linux',
      arch: 'x',
    },
  );
  t.is(new Template('{{.Task.Slot}} {{.Task.Name}}', false).fill(global), 'n9 w.n9.t');
});

test('what is not supported is named', (t) => {
  const refused: readonly (readonly [text: string, contents: boolean, message: RegExp])[] = [
    ['{{.Node.Nothing}}', true, /\{\{\.Node\.Nothing\}\} is not supported/],
    ['{{if .Task.Slot}}x{{end}}', true, /\{\{if \.Task\.Slot\}\} is not supported/],
    ['{{ printf "%s" .Node.ID }}', true, /printf/],
    ['{{secret x}}', true, /secret x/],
    ['{{secret "a"}}', false, /secret works in templated secrets and configs only/],
    ['{{.Node.ID', true, /not closed/],
    ['{{secret "a}}', true, /not closed/],
    ['{{}}', true, /\{\{\}\} is not supported/],
    ['{{constructor}}', true, /constructor/],
  ];
  for (const [text, contents, message] of refused)
    t.regex(templateProblem(text, contents) ?? '', message, text);
  t.is(templateProblem('{{.Node.ID}}', false), undefined);
});

test('text without actions stays as it is; filling in ends for any text, and quickly', (t) => {
  t.notThrows(() => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const plain = text.replaceAll('{{', '{');
        return new Template(plain, true).fill(context, functions) === plain;
      }),
    );
    const pieces = fc.array(
      fc.constantFrom('{{', '}}', '"', '`', '/*', '*/', '-', ' ', '\\', '.Node.ID', 'secret', 'x'),
    );
    fc.assert(
      fc.property(pieces, (parts) => {
        const text = parts.join('');
        const problem = templateProblem(text, true);
        return problem !== undefined || typeof new Template(text, true).fill(context, functions) === 'string';
      }),
    );
  });
  t.regex(templateProblem(`{{${'" '.repeat(400_000)}`, true) ?? '', /not closed/);
});

test('what an action gives is not read as a template again', (t) => {
  const nested = { ...functions, secret: () => '{{.Node.ID}}' };
  t.is(new Template('{{secret "a"}}', true).fill(context, nested), '{{.Node.ID}}');
});

/** Compose files that are made to exhaust the manager: refused, each within a deadline that is generous. */
import test from 'ava';
import { convertStack, type StackInput } from '../../../manager/stack/index.ts';

const MIB = 1024 * 1024;
const DEADLINE_MS = 30_000;

function refused(input: Partial<StackInput> & { readonly compose: string }): string {
  const before = Date.now();
  const { problems } = convertStack({ stack: 's', variables: {}, ...input });
  const took = Date.now() - before;
  if (took > DEADLINE_MS) throw new Error(`it took ${took} ms`);
  return problems
    .filter(({ severity }) => severity === 'error')
    .map(({ message }) => message)
    .slice(0, 5)
    .join('\n');
}

const service = (lines: string): string => `services: {a: {image: x, ${lines}}}`;

/** As much of one text as a file may have. */
const filled = (text: string, length = MIB - 200): string => text.repeat(Math.floor(length / text.length));

const FILES: Record<string, [compose: string, message: RegExp]> = {
  '10 MB': [`services: {a: {image: "${'x'.repeat(10 * MIB)}"}}`, /too large|larger than/],
  'a billion laughs': [
    ['services: {a: {image: x}}', 'x0: &a0 [1,1,1,1,1,1,1,1,1,1]']
      .concat(
        Array.from({ length: 9 }, (_, i) => `x${i + 1}: &a${i + 1} [${Array(10).fill(`*a${i}`).join()}]`),
      )
      .join('\n'),
    /too large/,
  ],
  'one long text, by 40,000 aliases': [
    `x-a: &a "${filled('$$', MIB / 2)}"\nx-b: [${filled('*a,', MIB / 8)}1]\nservices: {a: {image: x}}`,
    /more than 4194304 characters/,
  ],
  brackets: [`services: ${filled('[')}`, /nested deeper/],
  'braces in brackets': [`services: ${filled('[{a: ')}`, /nested deeper/],
  'sequences on one line': [`services: ${filled('- ', 50_000)}`, /YAML|nested deeper/],
  'sequences on a line of their own': [filled('- ', 50_000), /YAML|nested deeper/],
  'question marks': [filled('? ', 50_000), /YAML|nested deeper/],
  steps: [Array.from({ length: 1400 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'), /nested deeper/],
  'one key, over and over': [filled('a: 1\n'), /too large/],
  'many keys': [Array.from({ length: 55_000 }, (_, i) => `k${i}: 1`).join('\n'), /too large/],
  anchors: [filled('- &a a\n'), /too large/],
  'nested variables': [service(`user: "${filled('${A:-', 8000)}"`), /invalid interpolation/],
  'an open brace before many variables': [service(`user: "\${A:-${filled('x$B')}"`), /closing brace/],
  'many variables': [service(`user: "${filled('$A')}"`), /^$/],
  'a variable, over and over': [service(`user: "${filled('$BIG')}"`), /longer than 1048576 characters/],
  digits: [service(`deploy: {update_config: {max_failure_ratio: "${filled('1')}x"}}`), /ratio/],
  'a duration': [service(`stop_grace_period: "${filled('1h')}x"`), /duration/],
  'a size': [service(`mem_limit: "${filled('1')}x"`), /size/],
  'colons in an image': [service(`user: x}, b: {image: "${filled(':')}/"`), /^$/],
  'port ranges': [service(`ports: [${filled('"1-65535",', MIB / 8)}]`), /more than 20000 ports/],
  'a word of a command': [service(`command: "${filled("'' ")}'"`), /not closed/],
};

for (const [name, [compose, message]] of Object.entries(FILES)) {
  test(`refused quickly: ${name}`, (t) => {
    t.regex(refused({ compose, variables: { BIG: 'b'.repeat(MIB / 2) } }), message);
  });
}

const ENV_FILES: Record<string, [text: string, message: RegExp]> = {
  'many lines': [filled('A=$B\n'), /^$/],
  'many names': [
    Array.from({ length: 60_000 }, (_, i) => `A${i}=\${A${i - 1}}x`).join('\n'),
    /more than|longer than/,
  ],
  'quotation marks that are not closed': [filled('A="x\n'), /quotation/],
  'quotation marks that follow': [filled('A="x"y\n'), /quotation/],
  'white space': [`A=b${' '.repeat(MIB - 200)}c`, /^$/],
  'a long name': [`${'a'.repeat(MIB - 200)}'`, /NAME=VALUE/],
};

for (const [name, [text, message]] of Object.entries(ENV_FILES)) {
  test(`an env_file, read quickly: ${name}`, (t) => {
    t.regex(refused({ compose: service('env_file: big.env'), files: { 'big.env': text } }), message);
  });
}

test('an env_file of many services counts for each of them', (t) => {
  const services = Array.from({ length: 900 }, (_, i) => `  s${i}: {image: x, env_file: big.env}`).join('\n');
  const files = { 'big.env': filled('A=$B\n', MIB / 2) };
  t.regex(refused({ compose: `services:\n${services}`, files }), /more than 4194304 characters together/);
});

test('thousands of services', (t) => {
  const services = Array.from({ length: 10_000 }, (_, i) => `  s${i}: {image: x}`).join('\n');
  t.regex(refused({ compose: `services:\n${services}` }), /at most 1000 services/);
});

test('what is said is bounded too', (t) => {
  const compose = `services:\n${Array.from({ length: 900 }, (_, i) => `  s${i}: {image: x, colour: red}`).join('\n')}`;
  const { problems } = convertStack({ stack: 's', variables: {}, compose });
  t.is(problems.length, 501);
  t.is(problems.at(-1)?.message, 'there are more errors than these 500');
});

test('long chains of services, and long ways around', (t) => {
  const chain = (last: string): string =>
    `services:\n${Array.from({ length: 999 }, (_, i) => `  s${i}: {image: x, depends_on: [s${i + 1}]}`).join('\n')}\n  s999: {image: x${last}}`;
  t.is(refused({ compose: chain('') }), '');
  t.regex(refused({ compose: chain(', depends_on: [s0]') }), /s0 -> s1 -> .* -> \.\.\. -> s0/);
});

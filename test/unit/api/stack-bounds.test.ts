/** PUT /stacks/{name} with files that are made to exhaust the manager: answered quickly, and others are served. */
import test from 'ava';
import { ApiFixture } from './fixture.ts';

const MIB = 1024 * 1024;
/** Generous: the machine may be busy. */
const DEADLINE_MS = 30_000;

const BODIES: Record<string, string> = {
  '10 MB of text': `services: {a: {image: "${'x'.repeat(10 * MIB)}"}}`,
  '10 MB of keys': Array.from({ length: 800_000 }, (_, i) => `key${i}: 1`).join('\n'),
  'aliases of aliases': ['services: {a: {image: x}}', 'x0: &a0 [1,1,1,1,1,1,1,1,1,1]']
    .concat(Array.from({ length: 9 }, (_, i) => `x${i + 1}: &a${i + 1} [${Array(10).fill(`*a${i}`).join()}]`))
    .join('\n'),
  'a million brackets': '['.repeat(MIB - 1),
  'deep sequences': '- '.repeat(25_000),
  'a stack of itself': 'services: &a\n  b: *a\n',
};

for (const [name, body] of Object.entries(BODIES)) {
  test(`refused with 400, in time: ${name}`, async (t) => {
    await using api = await ApiFixture.up();
    const before = Date.now();
    const answer = await api.send('PUT', '/stacks/s', body, { 'content-type': 'application/yaml' });
    t.is(answer.status, 400);
    t.regex(answer.json.message, /too large|larger than|bytes of JSON|nested deeper|mapping|YAML/);
    t.true(answer.body.length < 64 * 1024, `${answer.body.length} bytes of answer`);
    t.true(Date.now() - before < DEADLINE_MS);
    t.is((await api.send('GET', '/_ping')).status, 200);
    t.deepEqual(await api.get('/services'), []);
  });
}

test('a body beyond the limit is not read', async (t) => {
  await using api = await ApiFixture.up();
  const body = 'x'.repeat(33 * MIB);
  const answer = await api.send('PUT', '/stacks/s', body, { 'content-type': 'application/yaml' });
  t.is(answer.status, 400);
  t.regex(answer.json.message, /larger than \d+ bytes/);
});

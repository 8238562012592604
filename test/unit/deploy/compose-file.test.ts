import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { namedVariables, readProject } from '../../../deploy/cli/compose-file.ts';

test('only variables that the file names are sent', (t) => {
  const text = 'image: "a:${TAG}"\nb: $PLAIN ${WITH:-default} ${LOST}\n';
  const known = { TAG: '1', PLAIN: '2', WITH: '3', SECRET: 'x' };
  t.deepEqual(namedVariables(text, known), { TAG: '1', PLAIN: '2', WITH: '3' });
});

test('variables come from .env beside the file', async (t) => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-compose-'));
  t.teardown(() => rm(directory, { recursive: true }));
  await writeFile(path.join(directory, '.env'), 'SHOAL_TEST_TAG="1.2"\n# comment\n');
  const file = path.join(directory, 'compose.yaml');
  await writeFile(file, 'services: { a: { image: "x:${SHOAL_TEST_TAG}" } }\n');
  t.deepEqual((await readProject([file])).source.variables, { SHOAL_TEST_TAG: '1.2' });
});

test('all that the files refer to is sent along, found from the directory of the first', async (t) => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-compose-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const write = async (name: string, text: string): Promise<string> => {
    const file = path.join(directory, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, text);
    return file;
  };
  const first = await write(
    'compose.yaml',
    'include: [more/compose.yaml]\nservices:\n  a:\n    image: x\n    env_file: [a.env, {path: lost.env, required: false}]\n',
  );
  const second = await write(
    'over/prod.yaml',
    'services:\n  a: {extends: {file: base/b.yaml, service: b}}\n',
  );
  await write('a.env', 'A=${SHOAL_TEST_A:-none}\n');
  await write('base/b.yaml', 'services: {b: {image: y, env_file: "${SHOAL_TEST_NAME:-b}.env"}}\n');
  await write('base/b.env', 'B=1\n');
  await write('more/compose.yaml', 'services: {c: {image: z, env_file: c.env}}\n');
  await write('more/c.env', 'C=1\n');
  process.env['SHOAL_TEST_A'] = 'a';
  t.teardown(() => delete process.env['SHOAL_TEST_A']);
  const { source, title } = await readProject([first, second], { profiles: ['p'] });
  t.deepEqual(
    Object.entries(source.files)
      .map(([name, text]) => `${name} ${text === null ? 'none' : 'read'}`)
      .toSorted(),
    [
      'a.env read',
      'base/b.env read',
      'base/b.yaml read',
      'lost.env none',
      'more/.env none',
      'more/c.env read',
      'more/compose.yaml read',
    ],
  );
  t.deepEqual(source.variables, { SHOAL_TEST_A: 'a' });
  t.deepEqual(source.profiles, ['p']);
  t.is(title('over/prod.yaml'), second);
  t.is(title('more/c.env'), path.join(directory, 'more/c.env'));
  await t.throwsAsync(readProject([path.join(directory, 'none.yaml')]), {
    message: /none\.yaml can not be read/,
  });
});

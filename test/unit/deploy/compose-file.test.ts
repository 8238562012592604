import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { namedVariables, readComposeFile } from '../../../deploy/cli/compose-file.ts';

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
  t.deepEqual((await readComposeFile(file)).variables, { SHOAL_TEST_TAG: '1.2' });
});

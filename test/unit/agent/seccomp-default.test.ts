import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { DEFAULT_SECCOMP } from '../../../agent/container/seccomp-default.ts';
import { PROJECT_ROOT } from '../../../deploy/local/project.ts';

test('the default seccomp profile is the one that the C tests shorten', (t) => {
  const text = readFileSync(path.join(PROJECT_ROOT, 'native/test/seccomp-default.json'), 'utf8');
  t.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(DEFAULT_SECCOMP)));
});

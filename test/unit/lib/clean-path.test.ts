import { posix } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { cleanPath } from '../../../shared/lib/clean-path.ts';

test('an absolute path is as the system would read it, another one is left alone', (t) => {
  const paths = fc.array(fc.constantFrom('/', '.', '..', 'a', 'b.', '...', ' '), { maxLength: 12 });
  fc.assert(
    fc.property(paths, (parts) => {
      const path = parts.join('');
      t.is(cleanPath(path), path.startsWith('/') ? posix.resolve(path) : path);
      t.is(cleanPath(`/${path}`), posix.resolve(`/${path}`));
    }),
  );
});

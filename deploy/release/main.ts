/** `npm run release [-- DIR]`: makes a release in DIR (default: release/) from this project, which is built by then. */
import path from 'node:path';
import { describeError, InvalidError } from '../../shared/errors/index.ts';
import { run } from '../local/command.ts';
import { PROJECT_ROOT } from '../local/project.ts';
import { makeRelease } from './release.ts';

const signal = new AbortController().signal;

/** SOURCE_DATE_EPOCH if it is set (see reproducible-builds.org), else the time of the last commit. */
async function epoch(): Promise<number> {
  const given = process.env['SOURCE_DATE_EPOCH'];
  const text = given ?? (await run('git', ['-C', PROJECT_ROOT, 'log', '-1', '--format=%ct'], signal));
  if (!/^\d{1,12}\s*$/.test(text))
    throw new InvalidError(`SOURCE_DATE_EPOCH is '${text}': whole seconds are wanted`);
  return Number(text);
}

const [outDir = path.join(PROJECT_ROOT, 'release')] = process.argv.slice(2);
try {
  const release = await makeRelease({ root: PROJECT_ROOT, outDir, epochSeconds: await epoch() }, signal);
  for (const file of [release.tarball, release.deb, release.checksums]) {
    process.stdout.write(`${file ?? 'no Debian package: dpkg-deb is not installed'}\n`);
  }
} catch (error) {
  process.stderr.write(`release: ${describeError(error)}\n`);
  process.exitCode = 1;
}

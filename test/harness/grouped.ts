/**
 * `node dist/test/harness/grouped.js` makes what run.sh has ava run, below dist/grouped: a file that stands for each of the test files, and
 * one for each of the directories of small unit tests. ava starts a process a file, and most of what a small one costs is that start
 * and the loading of the product. In a group the tests run one after the other, and their titles are those that they have when
 * their file runs by itself.
 */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { build, type Plugin } from 'esbuild';
import { BANNER, NOT_BUNDLED } from '../../deploy/release/bundle.ts';
import { PROJECT_ROOT } from '../../deploy/local/project.ts';

const TESTS = path.join(PROJECT_ROOT, 'dist/test');
const GROUPED = path.join(PROJECT_ROOT, 'dist/grouped');
const SUFFIX = '.test.js';

/** Directories whose tests start no process of their own, mount nothing and share no state. */
const TOGETHER = new Set(
  'agent api ca chaos dispatcher image leader lib network plan session stack vault'
    .split(' ')
    .map((directory) => `unit/${directory}`),
);

/** As long as all others of its directory. */
const ALONE = new Set(['unit/api/bad-input.test.js']);

/** What is of the whole process, or of the place of the file: such a file keeps a process of its own. */
const OF_THE_PROCESS = /\btest\.(serial\.)?(before|after)|import\.meta|process\.(env|on|once|chdir|exit)\b/;

/** A file that only loads the real one. `file` is below dist/test. */
async function standIn(file: string): Promise<void> {
  const to = path.join(GROUPED, file);
  await mkdir(path.dirname(to), { recursive: true });
  await writeFile(to, `import ${JSON.stringify(path.join(TESTS, file))};\n`);
}

async function group(directory: string, files: readonly string[]): Promise<void> {
  await build({
    stdin: {
      contents: files.map((file) => `import './${file}';\n`).join(''),
      resolveDir: path.join(TESTS, directory),
    },
    outfile: path.join(GROUPED, `${directory}${SUFFIX}`),
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    external: [...NOT_BUNDLED, 'dockerode'],
    keepNames: true,
    sourcemap: true,
    sourcesContent: false,
    banner: { js: BANNER },
    plugins: [testsByFile],
    logLevel: 'warning',
  });
}

/** A test file that asks for ava gets one that names it. */
const testsByFile: Plugin = {
  name: 'tests by file',
  setup(bundling) {
    bundling.onResolve({ filter: /^ava$/ }, ({ importer }) =>
      importer.endsWith(SUFFIX)
        ? { path: path.basename(importer, SUFFIX), namespace: 'named' }
        : { path: 'ava', external: true },
    );
    bundling.onLoad({ filter: /.*/, namespace: 'named' }, ({ path: file }) => ({
      contents: `import { namedTests } from './named-tests.js';\nexport default namedTests(${JSON.stringify(file)});\n`,
      resolveDir: import.meta.dirname,
    }));
  },
};

/** Those of one directory below dist/test. */
async function directory(name: string): Promise<void> {
  const entries = await readdir(path.join(TESTS, name), { withFileTypes: true });
  const together: string[] = [];
  for (const entry of entries) {
    const file = path.join(name, entry.name);
    if (entry.isDirectory()) await directory(file);
    else if (!file.endsWith(SUFFIX)) continue;
    else if (await mayShare(file)) together.push(entry.name);
    else await standIn(file);
  }
  if (together.length > 0) await group(name, together.toSorted());
}

async function mayShare(file: string): Promise<boolean> {
  if (!TOGETHER.has(path.dirname(file)) || ALONE.has(file)) return false;
  return !OF_THE_PROCESS.test(await readFile(path.join(TESTS, file), 'utf8'));
}

await rm(GROUPED, { recursive: true, force: true });
await directory('');

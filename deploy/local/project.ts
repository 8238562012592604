/** Where this installation's files are: the same from source and from dist/. */
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The directory that holds package.json. */
export const PROJECT_ROOT = findRoot(path.dirname(fileURLToPath(import.meta.url)));

function findRoot(directory: string): string {
  if (existsSync(path.join(directory, 'package.json'))) return directory;
  const parent = path.dirname(directory);
  if (parent === directory) throw new Error('package.json was not found above deploy/');
  return findRoot(parent);
}

/**
 * The `shoal` command: in a checkout the bundle, if it was made of what is compiled now (which `npm run build` does); a release has
 * it in the place of what is compiled.
 */
export const CLI_PATH = isFresh('dist/bundle/deploy/cli/main.js')
  ? path.join(PROJECT_ROOT, 'dist/bundle/deploy/cli/main.js')
  : path.join(PROJECT_ROOT, 'dist/deploy/cli/main.js');

function isFresh(bundle: string): boolean {
  const [made, compiled] = [bundle, 'dist/.tsbuildinfo'].map((file) =>
    statSync(path.join(PROJECT_ROOT, file), { throwIfNoEntry: false }),
  );
  return made !== undefined && compiled !== undefined && made.mtimeMs >= compiled.mtimeMs;
}

/** deploy/prerequisites.sh, for messages and for the launcher. */
export const PREREQUISITES = path.join(PROJECT_ROOT, 'deploy/prerequisites.sh');

export const EXAMPLE_STACK = path.join(PROJECT_ROOT, 'deploy/stacks/example.yaml');

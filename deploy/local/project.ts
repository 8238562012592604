/** Where this installation's files are: the same from source and from dist/. */
import { existsSync } from 'node:fs';
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

/** The `shoal` command, compiled. */
export const CLI_PATH = path.join(PROJECT_ROOT, 'dist/deploy/cli/main.js');

/** deploy/prerequisites.sh, for messages and for the launcher. */
export const PREREQUISITES = path.join(PROJECT_ROOT, 'deploy/prerequisites.sh');

export const EXAMPLE_STACK = path.join(PROJECT_ROOT, 'deploy/stacks/example.yaml');

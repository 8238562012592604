/** A release that says it is another one: a copy of what is compiled, with its version, or its stored data, changed. */
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { PROJECT_ROOT } from '../../deploy/local/project.ts';
import { VERSION } from '../../shared/lib/version.ts';

export interface Doctored {
  readonly version: string;
  /** Source of one more migration. */
  readonly migration?: string;
}

/** Of the minor release before this one. */
export function versionBefore(): string {
  const [major = 0, minor = 0] = VERSION.split('.').map(Number);
  if (minor === 0) throw new Error(`there is no minor release before ${VERSION}`);
  return `${major}.${minor - 1}.9`;
}

/** Resolves with the path of its `shoal` command. */
export async function doctoredRelease(directory: string, { version, migration }: Doctored): Promise<string> {
  await mkdir(directory, { recursive: true });
  for (const part of ['agent', 'deploy', 'manager', 'shared'])
    await cp(path.join(PROJECT_ROOT, 'dist', part), path.join(directory, 'dist', part), { recursive: true });
  for (const shared of ['native', 'node_modules'])
    await symlink(path.join(PROJECT_ROOT, shared), path.join(directory, shared));
  await cp(path.join(PROJECT_ROOT, 'package.json'), path.join(directory, 'package.json'));
  if (version !== VERSION)
    await edit(path.join(directory, 'dist/shared/lib/version.js'), `'${VERSION}'`, `'${version}'`);
  if (migration !== undefined)
    await edit(
      path.join(directory, 'dist/manager/store/migrations.js'),
      /(export const MIGRATIONS = \[.*)\]/s,
      `$1, ${migration}]`,
    );
  return path.join(directory, 'dist/deploy/cli/main.js');
}

async function edit(file: string, what: string | RegExp, by: string): Promise<void> {
  const before = await readFile(file, 'utf8');
  const after = before.replace(what, by);
  if (after === before) throw new Error(`${String(what)} is not in ${file}`);
  await writeFile(file, after);
}

/** Which npm packages a node needs, from package-lock.json: what is there already is copied, npm is not asked. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { InvalidError, NotFoundError } from '../../shared/errors/index.ts';

/** The parts used of npm's lock file, version 3: keys are paths such as node_modules/a/node_modules/b. */
export const lockSchema = z.object({
  lockfileVersion: z.literal(3),
  packages: z.record(
    z.string(),
    z.object({
      version: z.string().optional(),
      dev: z.boolean().optional(),
      optional: z.boolean().optional(),
      devOptional: z.boolean().optional(),
      link: z.boolean().optional(),
    }),
  ),
});
export type Lock = z.infer<typeof lockSchema>;

export interface LockedPackage {
  /** From the project's root: node_modules/... */
  readonly directory: string;
  readonly version: string;
  /** May be absent: another platform's. */
  readonly optional: boolean;
}

/** All that is not for development only, sorted by path. */
export function productionPackages(lock: Lock): LockedPackage[] {
  return Object.entries(lock.packages)
    .filter(([directory, entry]) => directory !== '' && entry.dev !== true && entry.devOptional !== true)
    .map(([directory, entry]) => {
      if (entry.link === true || entry.version === undefined) {
        throw new InvalidError(`${directory} in package-lock.json is a link: a release can not hold it`);
      }
      return { directory, version: entry.version, optional: entry.optional === true };
    })
    .toSorted((a, b) => (a.directory < b.directory ? -1 : 1));
}

/**
 * Those that are installed below `root`. Throws NotFoundError when one is missing, InvalidError when another version
 * than the locked one is there.
 */
export async function installedPackages(root: string): Promise<LockedPackage[]> {
  const lock = lockSchema.parse(JSON.parse(await readFile(path.join(root, 'package-lock.json'), 'utf8')));
  const found: LockedPackage[] = [];
  for (const wanted of productionPackages(lock)) {
    const version = await installedVersion(path.join(root, wanted.directory));
    if (version === undefined && wanted.optional) continue;
    if (version === undefined) throw new NotFoundError(`${wanted.directory} is not installed: run npm ci`);
    if (version !== wanted.version) {
      throw new InvalidError(
        `${wanted.directory} is version ${version}, package-lock.json says ${wanted.version}: run npm ci`,
      );
    }
    found.push(wanted);
  }
  return found;
}

async function installedVersion(directory: string): Promise<string | undefined> {
  const text = await readFile(path.join(directory, 'package.json'), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : z.object({ version: z.string() }).parse(JSON.parse(text)).version;
}

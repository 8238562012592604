/** A built module with all that it imports: files of the checkout, and packages whole. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';

/** Paths from the checkout's root. */
export async function modulesFrom(checkout: string, entry: string): Promise<string[]> {
  const files = new Set<string>();
  const packages = new Set<string>();
  const pending = [path.join(checkout, entry)];
  for (let file = pending.pop(); file !== undefined; file = pending.pop()) {
    if (files.has(file)) continue;
    files.add(file);
    for (const name of importsOf(await readFile(file, 'utf8'))) {
      if (name.startsWith('.')) pending.push(path.resolve(path.dirname(file), name));
      else if (!name.startsWith('node:')) packages.add(packageOf(name));
    }
  }
  // Its binaries are packages of their own, which nothing imports by a plain name.
  if (packages.has('koffi')) packages.add(`@koromix/koffi-linux-${process.arch}`);
  const parts = await Promise.all([...packages].map((name) => filesOf(checkout, name)));
  return [...[...files].map((file) => path.relative(checkout, file)), ...parts.flat()];
}

function importsOf(text: string): string[] {
  return [...text.matchAll(/^(?:import|export)\b(?:[^'";]*\bfrom)? *['"]([^'"]+)['"]/gm)].flatMap(
    ([, name]) => name ?? [],
  );
}

const packageOf = (name: string): string => name.split('/', name.startsWith('@') ? 2 : 1).join('/');

async function filesOf(checkout: string, name: string): Promise<string[]> {
  const top = path.join('node_modules', name);
  const found = await readdir(path.join(checkout, top), { recursive: true, withFileTypes: true });
  return found
    .filter((file) => file.isFile() && /\.(?:c?js|json|node)$/.test(file.name))
    .map((file) => path.relative(checkout, path.join(file.parentPath, file.name)));
}

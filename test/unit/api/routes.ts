/** What the API really has: the routes of its router, and the query parameters that its sources read. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Express } from 'express';
import { PROJECT_ROOT } from '../../../deploy/local/project.ts';
import type { Operation } from '../../../manager/api/openapi/operation.ts';

export interface Route {
  readonly method: string;
  readonly path: string;
}

interface Layer {
  readonly route?: { readonly path: string; readonly methods: Readonly<Record<string, boolean>> };
  readonly handle: { readonly stack?: readonly Layer[] };
}

/** All routes, also those of routers within routers. */
export function routesOf(app: Express): Route[] {
  const { stack } = (app as unknown as { router: { stack: readonly Layer[] } }).router;
  return stack.flatMap(routesOfLayer);
}

function routesOfLayer(layer: Layer): Route[] {
  if (layer.route === undefined) return (layer.handle.stack ?? []).flatMap(routesOfLayer);
  const { path, methods } = layer.route;
  return Object.keys(methods).map((method) => ({ method, path }));
}

const READS =
  /\bquery(?:Texts?|Flag|Dimension)\(\s*req,\s*'([^']+)'|\b(queryVersion|queryFilters)\(\s*req\b|\b(queryNode)\(\s*ctx\b/g;
const NAMES: Readonly<Record<string, string>> = {
  queryVersion: 'version',
  queryFilters: 'filters',
  queryNode: 'node',
};

/** `file: name` of those that no operation describes. */
export async function undocumentedParameters(operations: readonly Operation[]): Promise<string[]> {
  const known = new Set(operations.flatMap(({ query }) => Object.keys(query ?? {})));
  const root = path.join(PROJECT_ROOT, 'manager/api');
  const found: string[] = [];
  let reads = 0;
  for (const file of await readdir(root, { recursive: true })) {
    if (!file.endsWith('.ts')) continue;
    for (const match of (await readFile(path.join(root, file), 'utf8')).matchAll(READS)) {
      const name = match[1] ?? NAMES[match[2] ?? match[3] ?? ''] ?? '';
      reads += 1;
      if (!known.has(name)) found.push(`${file}: ${name}`);
    }
  }
  if (reads < 30) throw new Error(`only ${reads} reads of parameters were found: the pattern is out of date`);
  return found;
}

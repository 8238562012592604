/** `environment` and `env_file` of a service; `label_file`, which is read the same way. */
import { readEnvFile } from './env-file.ts';
import type { ProjectFiles } from './files.ts';
import type { Variables } from './interpolate.ts';
import { labels, pairs, Section } from './section.ts';
import type { Value } from './value.ts';

interface Context {
  readonly variables: Variables;
  readonly files: ProjectFiles;
}

/** Files in their order, then `environment`: what comes later wins. */
export function readEnvironment(service: Section, context: Context): string[] {
  const lines = new Map<string, string>();
  for (const [name, value] of fromFiles(service, 'env_file', context)) lines.set(name, `${name}=${value}`);
  for (const [name, { text, value }] of pairs(service, 'environment')) {
    const { variables } = context;
    const given = text ?? (Object.hasOwn(variables, name) ? variables[name] : undefined);
    if (given === undefined) {
      service.problems.warning(
        value,
        value.key,
        `${name} has no value here and is not among the variables: it is not set`,
      );
    }
    lines.set(name, given === undefined ? name : `${name}=${given}`);
  }
  let chars = 0;
  for (const line of lines.values()) chars += line.length;
  const at = service.map.entries.get('env_file')?.at ?? service.map;
  return context.files.charge(chars, at, at.key) ? [...lines.values()] : [];
}

export function readLabels(service: Section, context: Context): Record<string, string> {
  return { ...Object.fromEntries(fromFiles(service, 'label_file', context)), ...labels(service, 'labels') };
}

function fromFiles(service: Section, name: 'env_file' | 'label_file', context: Context): Map<string, string> {
  const value = service.take(name);
  const items = value === undefined ? [] : value.kind === 'list' ? value.items : [value];
  return new Map(items.flatMap((item) => [...oneFile(service, item, context)]));
}

/** A path, or `{path, required, format}`. */
function oneFile(service: Section, item: Value, { variables, files }: Context): Map<string, string> {
  const long = item.kind === 'map' ? new Section(item, service.problems) : undefined;
  const path = long === undefined ? service.textOf(item) : long.text('path');
  const required = long?.flag('required') ?? true;
  const format = long?.oneOf('format', ['raw']);
  long?.end();
  if (long !== undefined && !long.has('path')) service.problems.error(item, item.key, 'path is missing');
  const text = path === undefined ? undefined : files.read(path, required, item, item.key);
  if (path === undefined || text === undefined) return new Map();
  return readEnvFile({ path, text, raw: format === 'raw' }, variables, service.problems);
}

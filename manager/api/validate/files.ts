/** What secrets and configs, and references to them, must hold beyond their shape. Pure. */
import {
  type ContainerSpec,
  FILE_LIMIT_BYTES,
  type FileReference,
  type StoredFileKind,
  type StoredFileSpec,
  targetPath,
} from '../../../shared/model/index.ts';
import { templateProblem } from '../../../shared/lib/template.ts';
import type { SpecProblem } from './service-spec.ts';

// Swarm's rule (swarmkit manager/controlapi/common.go, validateConfigOrSecretAnnotations).
const NAME = /^[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?$/;
const NAME_MAX = 64;
const MODE_MAX = 0o7777;
const ID_MAX = 2 ** 32 - 2;

/** What is wrong; undefined when it may be stored. The data is never part of the text. */
export function fileProblem(kind: StoredFileKind, spec: StoredFileSpec, data: Buffer): string | undefined {
  const { name, templating } = spec;
  if (name === '') return `meta: name must be provided`;
  if (name.length > NAME_MAX || !NAME.test(name)) {
    return `invalid name, only ${NAME_MAX} [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]`;
  }
  const limit = FILE_LIMIT_BYTES[kind];
  if (data.length === 0 || data.length >= limit) {
    return `${kind} data must be larger than 0 and less than ${limit} bytes (it has ${data.length})`;
  }
  const problem = templating === undefined ? undefined : templateProblem(data.toString('utf8'), true);
  return problem === undefined ? undefined : `${kind} ${name}: ${problem}`;
}

/** Of a container: targets, owners, modes, and that no two files are in one place. */
export function checkFiles(container: ContainerSpec): SpecProblem[] {
  const problems: SpecProblem[] = [];
  const targets = new Map<string, string>();
  for (const mount of container.mounts) targets.set(mount.target, `the mount at ${mount.target}`);
  for (const kind of ['secret', 'config'] as const) {
    const field = `${kind}s`;
    for (const reference of container[`${kind}s`] ?? []) {
      const path = targetPath(kind, reference.target.name);
      const other = targets.get(path);
      if (other !== undefined) {
        const message = `${kind} references '${reference.name}' and '${other}' have a conflicting target: '${reference.target.name}'`;
        problems.push({ field, message });
      }
      targets.set(path, reference.name);
      problems.push(...checkTarget(reference, path).map((message) => ({ field, message })));
    }
  }
  return problems;
}

function checkTarget({ name, target }: FileReference, path: string): string[] {
  const problems: string[] = [];
  const parts = path.split('/').slice(1);
  if (parts.some((part) => part === '' || part === '.' || part === '..') || target.name.includes('\0')) {
    problems.push(`${name}: the target '${target.name}' is no plain path of a file`);
  }
  for (const [what, id] of [
    ['UID', target.uid],
    ['GID', target.gid],
  ] as const) {
    if (!/^\d{1,10}$/.test(id) || Number(id) > ID_MAX)
      problems.push(`${name}: ${what} '${id}': a number is expected`);
  }
  if (!Number.isInteger(target.mode) || target.mode < 0 || target.mode > MODE_MAX) {
    problems.push(`${name}: mode ${target.mode}: permissions from 0 to 07777 are expected`);
  }
  return problems;
}

/** Secrets and configs of stacks: brought to what the file says, cleared away with it. */
import { InvalidError, NotFoundError } from '../../../shared/errors/index.ts';
import { STACK_LABEL, type StoredFile, type StoredFileKind } from '../../../shared/model/index.ts';
import type { Problem, StackFile } from '../../stack/index.ts';
import type { Store } from '../../store/store.ts';
import type { ApiContext } from '../context.ts';
import { fileProblem } from '../validate/files.ts';
import { sameJson } from '../../plan/reconcile/dirty.ts';
import { FILE_KINDS, fileNamed, openFile, putVersion, removeFile, tableOf, usersOf } from './files.ts';
import { type Finding, finding } from './stack-error.ts';
import type { Touched } from './stacks.ts';

type Found = Omit<Problem, 'severity'>;

/** What is wrong with one in this cluster. Nothing of its contents is in the messages. */
export function checkFile(store: Store, stack: string, file: StackFile): Found[] {
  const { kind, name, spec, data, source } = file;
  const report = (message: string): Found[] => [{ message, key: `${kind}s.${file.key}`, ...file.at }];
  const existing = fileNamed(store, kind, name);
  if (spec === undefined) {
    if (existing !== undefined) return [];
    return report(`the external ${kind} ${name} does not exist: docker ${kind} create ${name} FILE`);
  }
  if (existing !== undefined && existing.spec.labels[STACK_LABEL] !== stack) {
    return report(`a ${kind} ${name} exists already and is not part of this stack (external: true uses it)`);
  }
  if (data === undefined) {
    if (existing !== undefined || source === undefined) return [];
    const what = source.kind === 'file' ? `of ${source.name}` : `of the variable ${source.name}`;
    return report(`the contents ${what} were not sent along: shoal deploy does so (docs/secrets.md)`);
  }
  const problem = fileProblem(kind, spec, Buffer.from(data, 'base64'));
  return problem === undefined ? [] : report(problem);
}

/** Creates it, or makes its next version when the contents differ. */
export async function ensureFile(
  ctx: ApiContext,
  file: StackFile,
  warnings: Finding[],
  signal: AbortSignal,
): Promise<Touched[]> {
  const { kind, key, name, spec, data } = file;
  if (spec === undefined) return [];
  if (data !== undefined) {
    const put = await putVersion(ctx, kind, { spec, data: Buffer.from(data, 'base64') }, signal);
    return [{ ...put, name }];
  }
  const existing = fileNamed(ctx.store, kind, name);
  const message = `the contents were not sent along: ${kind} ${name} stays as it is`;
  warnings.push(finding({ message, key: `${kind}s.${key}`, ...file.at }));
  return existing === undefined ? [] : [{ id: existing.id, name, action: 'unchanged' }];
}

/** Contents that were not sent along are as they were. */
export function fileDiffers(ctx: ApiContext, existing: StoredFile, { kind, spec, data }: StackFile): boolean {
  if (data === undefined) return false;
  return (
    !sameJson(existing.spec.labels, spec?.labels) ||
    existing.spec.templating !== spec?.templating ||
    !openFile(ctx, kind, existing).equals(Buffer.from(data, 'base64'))
  );
}

export function stackFiles(store: Store, kind: StoredFileKind, stack: string): StoredFile[] {
  return [...store.all(tableOf(kind)).values()].filter((file) => file.spec.labels[STACK_LABEL] === stack);
}

/** Older versions that no service uses, and that no rollback would bring back. */
export async function removeOldVersions(ctx: ApiContext, stack: string, signal: AbortSignal): Promise<void> {
  for (const kind of FILE_KINDS) {
    for (const file of stackFiles(ctx.store, kind, stack)) {
      if (file.replaced !== true || usersOf(ctx.store, kind, file.id, true).length > 0) continue;
      await removeFile(ctx, kind, file, signal).catch(ignoreInUse);
    }
  }
}

/** Those of the stack that are not among `kept`; one that is in use stays, with a warning. */
export async function removeFiles(
  ctx: ApiContext,
  stack: string,
  kind: StoredFileKind,
  kept: ReadonlySet<string>,
  warnings: Finding[],
  signal: AbortSignal,
): Promise<Touched[]> {
  const removed: Touched[] = [];
  for (const file of stackFiles(ctx.store, kind, stack)) {
    const { id, spec } = file;
    if (kept.has(spec.name) || (file.replaced === true && kept.size > 0)) continue;
    try {
      await removeFile(ctx, kind, file, signal);
      removed.push({ id, name: spec.name, action: 'removed' });
    } catch (error) {
      if (error instanceof NotFoundError) continue;
      if (!(error instanceof InvalidError)) throw error;
      const message = error.message.replace(/^rpc error: code = \w+ desc = /, '');
      warnings.push({ message: `${message}: it stays`, line: 1, column: 1, key: `${kind}s` });
    }
  }
  return removed;
}

function ignoreInUse(error: unknown): void {
  if (!(error instanceof InvalidError)) throw error;
}

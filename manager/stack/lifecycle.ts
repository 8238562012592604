/** `post_start` and `pre_stop` of a service: commands in its containers. */
import type { LifecycleHook } from '../../shared/model/index.ts';
import { defined, pairs, Section } from './section.ts';
import { shellSplit } from './shell-split.ts';
import type { Value } from './value.ts';

export function readLifecycle(
  service: Section,
  name: 'post_start' | 'pre_stop',
): readonly LifecycleHook[] | undefined {
  const items = service.list(name)?.items ?? [];
  const hooks = items.flatMap((item) => readHook(service, item) ?? []);
  return hooks.length === 0 ? undefined : hooks;
}

function readHook(service: Section, item: Value): LifecycleHook | undefined {
  if (item.kind !== 'map') {
    service.expected(item, 'a mapping with a command');
    return undefined;
  }
  const hook = new Section(item, service.problems);
  const command = readCommand(hook);
  const user = hook.text('user');
  const workingDir = hook.text('working_dir');
  const env = [...pairs(hook, 'environment')].map(([key, { text, value }]) => {
    if (text === undefined) hook.problems.error(value, value.key, `${key}: a value is expected`);
    return `${key}=${text ?? ''}`;
  });
  const privileged = hook.flag('privileged') === true ? true : undefined;
  hook.end();
  if (command.length === 0) hook.problems.error(item, item.key, 'command is missing');
  return defined({
    command,
    user,
    workingDir,
    env: env.length === 0 ? undefined : env,
    privileged,
  }) as LifecycleHook;
}

/** A text is split as a shell would; a list is taken as it is. */
function readCommand(hook: Section): string[] {
  const value = hook.take('command');
  if (value === undefined) return [];
  if (value.kind === 'list') return value.items.flatMap((item) => hook.textOf(item) ?? []);
  const line = hook.textOf(value) ?? '';
  const words = shellSplit(line);
  if (words === undefined) hook.problems.error(value, value.key, `'${line}': a quotation mark is not closed`);
  return words ?? [];
}

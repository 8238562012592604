/** HostConfig.PostStart and PreStop of a service: Shoal's own, for what compose files ask. */
import { z } from 'zod';
import type { LifecycleHook } from '../../../shared/model/index.ts';
import { defined, given, zFlag, zText, zTexts } from './common.ts';

export const zLifecycle = z
  .array(
    z.object({
      Command: z.array(z.string()),
      User: zText,
      WorkingDir: zText,
      Env: zTexts,
      Privileged: zFlag,
    }),
  )
  .nullish();

export function decodeLifecycle(raw: z.output<typeof zLifecycle>): LifecycleHook[] | undefined {
  return given(raw)?.map(
    (hook) =>
      defined({
        command: hook.Command,
        user: given(hook.User),
        workingDir: given(hook.WorkingDir),
        env: given(hook.Env),
        privileged: hook.Privileged === true ? true : undefined,
      }) as LifecycleHook,
  );
}

export function encodeLifecycle(hooks: readonly LifecycleHook[] | undefined): object[] | undefined {
  return hooks?.map(({ command, user, workingDir, env, privileged }) =>
    defined({ Command: command, User: user, WorkingDir: workingDir, Env: env, Privileged: privileged }),
  );
}

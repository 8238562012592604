/** Which security modules this machine's kernel has on, and what a container gets of them. */
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError, InvalidError } from '../../shared/errors/index.ts';
import { confinementOf, confinementProblem } from '../../shared/lib/confinement.ts';
import { tellChanges } from '../../shared/lib/tell-changes.ts';
import type { ContainerSpec, Logger, NodeConfinement } from '../../shared/model/index.ts';
import { MAX_PROFILE_NAME, MAX_PROFILES } from '../../shared/wire/node-schema.ts';
import { type Labels, labelsFor, parseContexts } from './labels.ts';

const LOOK_MS = 5_000;

/** Where the kernel and the administrator say it; `root` is / but for tests. */
function places(root: string) {
  return {
    appArmorEnabled: join(root, 'sys/module/apparmor/parameters/enabled'),
    profiles: join(root, 'sys/kernel/security/apparmor/profiles'),
    selinuxEnforce: join(root, 'sys/fs/selinux/enforce'),
    selinux: join(root, 'etc/selinux'),
  };
}

/** Undefined: none of them is on. */
export async function readConfinement(root = '/'): Promise<NodeConfinement | undefined> {
  const { appArmorEnabled, profiles, selinuxEnforce } = places(root);
  const appArmor = (await textOf(appArmorEnabled)).startsWith('Y');
  const selinux = await access(selinuxEnforce).then(
    () => true,
    () => false,
  );
  if (!appArmor && !selinux) return undefined;
  return {
    ...(appArmor ? { appArmorProfiles: profilesOf(await textOf(profiles)) } : {}),
    ...(selinux ? { selinux: true as const } : {}),
  };
}

/** securityfs's apparmor/profiles: a line `name (mode)` each. Sorted; names that managers would not believe are left out. */
function profilesOf(text: string): string[] {
  const names = text.split('\n').flatMap((line) => /^(.+) \([a-z]+\)$/.exec(line)?.[1] ?? []);
  const good = names.filter((name) => name.length <= MAX_PROFILE_NAME && !/\p{Cc}/u.test(name));
  return [...new Set(good)].toSorted().slice(0, MAX_PROFILES);
}

const textOf = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');

/** `tell` is called at once, and whenever it is another, until the signal aborts. */
export async function watchConfinement(
  logger: Logger,
  tell: (confinement: NodeConfinement | undefined) => void,
  signal: AbortSignal,
  { root = '/', everyMs = LOOK_MS } = {},
): Promise<void> {
  await tellChanges(
    () => readConfinement(root),
    tell,
    (error) => logger.warn({ reason: describeError(error) }, 'the security modules can not be asked'),
    signal,
    everyMs,
  );
}

/** Throws InvalidError that names what this node lacks for what the container asks for. */
export async function checkConfinement(spec: ContainerSpec, root = '/'): Promise<void> {
  const asked = confinementOf(spec);
  if (Object.keys(asked).length === 0) return;
  const problem = confinementProblem(asked, await readConfinement(root));
  if (problem !== undefined) throw new InvalidError(`this node can not confine the container: ${problem}`);
}

/** Undefined: it has the label of the agent's programs. Throws InvalidError as labelsFor() does. */
export async function selinuxLabels(
  { selinux }: ContainerSpec,
  id: string,
  root = '/',
): Promise<Labels | undefined> {
  if (selinux === undefined) return undefined;
  const directory = places(root).selinux;
  const policy = /^[ \t]*SELINUXTYPE[ \t]*=[ \t]*([\w.-]+)/m.exec(
    await textOf(join(directory, 'config')),
  )?.[1];
  const contexts = policy === undefined ? '' : await textOf(join(directory, policy, 'contexts/lxc_contexts'));
  return labelsFor(selinux, parseContexts(contexts), id);
}

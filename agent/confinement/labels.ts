/**
 * PURE. The SELinux labels of a container: what its process runs as, and what its files have. As Docker's
 * (https://pkg.go.dev/github.com/opencontainers/selinux/go-selinux/label#InitLabels): the policy's own for containers, with
 * two categories that hardly another container has, and over them what is asked for.
 */
import { createHash } from 'node:crypto';
import { InvalidError } from '../../shared/errors/index.ts';
import type { SelinuxLabel } from '../../shared/model/index.ts';

export interface Labels {
  readonly selinuxLabel: string;
  readonly mountLabel: string;
}

/** The policy's for containers: `user:role:type[:level]` each. */
export interface ContainerContexts {
  readonly process: string;
  readonly file: string;
}

const CATEGORIES = 1024;

/** lxc_contexts of a policy: lines such as `process = "system_u:system_r:container_t:s0"`. Undefined: one is missing. */
export function parseContexts(text: string): ContainerContexts | undefined {
  const valueOf = (key: string): string | undefined =>
    new RegExp(`^[ \\t]*${key}[ \\t]*=[ \\t]*"?([^"\\s]+)"?[ \\t]*$`, 'm').exec(text)?.[1];
  const [process, file] = [valueOf('process'), valueOf('file')];
  return process === undefined || file === undefined ? undefined : { process, file };
}

/** Throws InvalidError when the policy says nothing of containers and not all is asked for. */
export function labelsFor(asked: SelinuxLabel, contexts: ContainerContexts | undefined, id: string): Labels {
  const process = partsOf(contexts?.process);
  const file = partsOf(contexts?.file);
  const level = asked.level ?? (process.level === undefined ? undefined : `s0:${categoriesOf(id)}`);
  const own = { user: asked.user ?? process.user, level };
  return {
    selinuxLabel: join({ ...process, ...asked, ...own }),
    // Neither a role nor the type of a process is one of a file.
    mountLabel: join({ ...file, ...own, user: asked.user ?? file.user }),
  };
}

type Parts = { readonly [K in keyof SelinuxLabel]: SelinuxLabel[K] | undefined };

function partsOf(context: string | undefined): Parts {
  const [user, role, type, ...level] = context?.split(':') ?? [];
  return { user, role, type, level: level.length === 0 ? undefined : level.join(':') };
}

function join({ user, role, type, level }: Parts): string {
  if (user === undefined || role === undefined || type === undefined) {
    throw new InvalidError(
      "SELinux: this node's policy has no labels for containers (contexts/lxc_contexts, of the package container-selinux)",
    );
  }
  return [user, role, type, ...(level === undefined ? [] : [level])].join(':');
}

/** The same for a container whenever it is started, so that it finds its own files. */
function categoriesOf(id: string): string {
  const digest = createHash('sha256').update(id).digest();
  const first = digest.readUInt16BE(0) % CATEGORIES;
  const second = (first + 1 + (digest.readUInt16BE(2) % (CATEGORIES - 1))) % CATEGORIES;
  return `c${Math.min(first, second)},c${Math.max(first, second)}`;
}

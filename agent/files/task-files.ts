/**
 * Secrets and configs of this node's containers: written to a directory in memory (never to a disk, invariant 9), bound
 * read-only into the container, removed when it has ended.
 */
import { chmod, chown, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidError, UnavailableError } from '../../shared/errors/index.ts';
import { Template, type TemplateContext, type TemplateFunctions } from '../../shared/lib/template.ts';
import {
  type AssignmentSet,
  type ContainerSpec,
  type FileAssignment,
  type FileReference,
  type StoredFileKind,
  targetPath,
} from '../../shared/model/index.ts';
import type { BindMount } from '../container/runtime-spec.ts';

type Contents = Pick<AssignmentSet, 'secrets' | 'configs'>;

const NO_CONTENTS: Contents = { secrets: new Map(), configs: new Map() };

interface Use {
  readonly kind: StoredFileKind;
  readonly reference: FileReference;
}

export class TaskFiles {
  /** Undefined: nothing here is in memory, so that no secret may be taken. */
  readonly #directory: string | undefined;
  #contents: Contents = NO_CONTENTS;

  /** `directory` must be on a tmpfs. */
  constructor(directory: string | undefined) {
    this.#directory = directory;
  }

  /** The newest that a manager sent. */
  take(set: Contents): void {
    this.#contents = { secrets: set.secrets, configs: set.configs };
  }

  /** Where the container's files will be, and where it sees them. Throws UnavailableError when there is no place. */
  mounts(containerId: string, spec: ContainerSpec): BindMount[] {
    return usesOf(spec).map(({ kind, reference }, i) => ({
      source: join(this.#placeFor(containerId), String(i)),
      target: targetPath(kind, reference.target.name),
      options: ['bind', 'ro', 'rprivate'],
    }));
  }

  /**
   * Writes the container's files, with owners and modes, templates filled in. Rejects with InvalidError or
   * UnavailableError that name the file when one is missing or a template fails; then nothing is left of it.
   */
  async write(
    containerId: string,
    spec: ContainerSpec,
    context: TemplateContext,
    env: readonly string[],
  ): Promise<void> {
    const uses = usesOf(spec);
    if (uses.length === 0) return;
    const directory = this.#placeFor(containerId);
    const functions = this.#functions(spec, env);
    const texts = uses.map((use) => this.#fill(use, context, functions));
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      for (const [i, text] of texts.entries()) await writeOne(join(directory, String(i)), uses[i], text);
    } catch (error) {
      await this.remove(containerId);
      throw error;
    }
  }

  /** Of a container that has ended. Idempotent. */
  async remove(containerId: string): Promise<void> {
    if (this.#directory !== undefined) {
      await rm(join(this.#directory, containerId), { recursive: true, force: true });
    }
  }

  /** Removes what containers left that ended while no agent ran. `living`: ids of those that have not. */
  async sweep(living: readonly string[]): Promise<void> {
    if (this.#directory === undefined) return;
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const kept = new Set(living);
    for (const id of await readdir(this.#directory)) if (!kept.has(id)) await this.remove(id);
  }

  #placeFor(containerId: string): string {
    if (this.#directory !== undefined) return join(this.#directory, containerId);
    throw new UnavailableError(
      'this node can not keep secrets and configs in memory (no tmpfs could be mounted in its run directory)',
    );
  }

  #fill({ kind, reference }: Use, context: TemplateContext, functions: TemplateFunctions): Buffer {
    const file = this.#assigned(kind, reference);
    const data = Buffer.from(file.data, 'base64');
    if (file.templating === undefined) return data;
    try {
      return Buffer.from(new Template(data.toString('utf8'), true).fill(context, functions));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw new InvalidError(`${kind} ${reference.name}: ${error.message}`, { cause: error });
    }
  }

  #assigned(kind: StoredFileKind, { id, name }: FileReference): FileAssignment {
    const file = this.#contents[`${kind}s`].get(id);
    if (file !== undefined) return file;
    throw new UnavailableError(`${kind} ${name} (${id}) is not known to the cluster any more`);
  }

  /** By target, as Swarm's templates name them; what they give is not a template again. */
  #functions(spec: ContainerSpec, env: readonly string[]): TemplateFunctions {
    const get = (kind: StoredFileKind) => {
      return (target: string): string => {
        const reference = (spec[`${kind}s`] ?? []).find((one) => one.target.name === target);
        if (reference === undefined)
          throw new TypeError(`the service has no ${kind} with the target "${target}"`);
        return Buffer.from(this.#assigned(kind, reference).data, 'base64').toString('utf8');
      };
    };
    const variables = new Map(
      env.map((line) => [line.split('=', 1)[0] ?? '', line.slice(line.indexOf('=') + 1)]),
    );
    return {
      secret: get('secret'),
      config: get('config'),
      env: (name) => {
        const value = variables.get(name);
        if (value === undefined) throw new TypeError(`the container has no environment variable "${name}"`);
        return value;
      },
    };
  }
}

function usesOf({ secrets = [], configs = [] }: ContainerSpec): Use[] {
  return [
    ...secrets.map((reference) => ({ kind: 'secret' as const, reference })),
    ...configs.map((reference) => ({ kind: 'config' as const, reference })),
  ];
}

async function writeOne(path: string, use: Use | undefined, text: Buffer): Promise<void> {
  if (use === undefined) return;
  const { uid, gid, mode } = use.reference.target;
  await writeFile(path, text, { mode: 0o600 });
  await chown(path, Number(uid), Number(gid));
  // After chown, which takes the set-id bits away.
  await chmod(path, mode);
}

/** The network plugins that this node can use now: found, asked what they are, and asked again when they come back. */
import { describeError, UnavailableError } from '../../../shared/errors/index.ts';
import type { Logger } from '../../../shared/model/options.ts';
import { implementsNetworks, requireLocal } from './answers.ts';
import { callPlugin } from './client.ts';
import { findPlugins, type FoundPlugin, PLUGIN_DIRECTORIES } from './finder.ts';

interface Known extends FoundPlugin {
  /** Undefined while it has not answered yet. */
  usable?: boolean;
  problem?: string;
}

export class PluginDirectory {
  readonly #directories: readonly string[];
  readonly #timeoutMs: number;
  readonly #logger: Logger;
  #known = new Map<string, Known>();

  constructor(logger: Logger, timeoutMs: number, directories: readonly string[] = PLUGIN_DIRECTORIES) {
    this.#logger = logger;
    this.#timeoutMs = timeoutMs;
    this.#directories = directories;
  }

  /** Names of those that network driver calls can be sent to. */
  get usable(): string[] {
    return [...this.#known].filter(([, { usable }]) => usable === true).map(([name]) => name);
  }

  /** Looks for them. Resolves when each has said what it is, or its time is up; they are asked side by side. */
  async look(): Promise<void> {
    const found = await findPlugins(this.#directories);
    const next = new Map<string, Known>();
    for (const [name, one] of found) {
      const known = this.#known.get(name);
      next.set(name, known?.version === one.version ? known : one);
    }
    this.#known = next;
    const open = [...next].filter(([, { usable, problem }]) => usable === undefined || problem !== undefined);
    await Promise.all(open.map(([name, one]) => this.#activate(name, one)));
  }

  /** Rejects with UnavailableError when there is none of that name, or it does not answer. */
  call(name: string, method: string, params: object): Promise<unknown> {
    const known = this.#known.get(name);
    if (known === undefined)
      return Promise.reject(new UnavailableError(`there is no network plugin ${name} on this node`));
    return callPlugin(known.address, method, params, this.#timeoutMs);
  }

  async #activate(name: string, known: Known): Promise<void> {
    try {
      const ask = (method: string): Promise<unknown> =>
        callPlugin(known.address, method, {}, this.#timeoutMs);
      known.usable = implementsNetworks(await ask('Plugin.Activate'));
      if (known.usable) requireLocal(await ask('NetworkDriver.GetCapabilities'));
      delete known.problem;
    } catch (error) {
      known.usable = false;
      const problem = describeError(error);
      // Asked again with each look; said once.
      if (known.problem !== problem) this.#logger.warn({ plugin: name, problem }, 'a plugin can not be used');
      known.problem = problem;
    }
  }
}

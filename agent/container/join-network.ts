/** PURE. Containers that join a network namespace that is theirs alone, in place of making it. */
import type { NewContainer } from './new-container.ts';

/** One with ids of its own has to own its namespaces, too, to be root in them. */
export function canJoinNetwork({ config, remapped }: Pick<NewContainer, 'config' | 'remapped'>): boolean {
  const own = config.linux.namespaces.find(({ type }) => type === 'network');
  return remapped !== true && own !== undefined && own.path === undefined;
}

export function joiningNetwork(container: NewContainer, path: string): NewContainer {
  const { config } = container;
  const namespaces = config.linux.namespaces.map((one) => (one.type === 'network' ? { ...one, path } : one));
  return { ...container, config: { ...config, linux: { ...config.linux, namespaces } } };
}

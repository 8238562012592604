import { join } from 'node:path';
import type { AgentOptions } from '../../../shared/model/options.ts';
import { dumpNamespace, hasMacvlan } from '../../native/network.ts';
import type { NamespaceDump } from '../observe.ts';
import { Plugins } from './plugins.ts';

/** What this node has for networks that are not Shoal's own: its kernel's, and plugins with what an earlier agent asked them for. */
export async function openOutside(
  { stateDir, logger }: Pick<AgentOptions, 'stateDir' | 'logger'>,
  nodeId: string,
  onChange: () => void,
): Promise<{ macvlan: boolean; plugins: Plugins }> {
  const macvlan = await hasMacvlan();
  const plugins = await Plugins.open({
    ...{ nodeId, logger: logger.child({ part: 'plugins' }), path: join(stateDir, 'network-plugins.json') },
    dumpHost: async () => (await dumpNamespace(null, [])) as NamespaceDump,
    onChange,
  });
  return { macvlan, plugins };
}

/** One node's network driver in a process of its own, inside the namespace that plays the host. Ruled by messages. */
import { join } from 'node:path';
import { dumpNamespace } from '../../agent/native/network.ts';
import { NetworkDriver } from '../../agent/network/driver.ts';
import type { NamespaceDump } from '../../agent/network/observe.ts';
import { Plugins } from '../../agent/network/plugin/plugins.ts';
import type { AssignmentSet, NetworkReport } from '../../shared/model/index.ts';
import { stderrLogger } from './network-logger.ts';

export type Command =
  | { readonly verb: 'apply'; readonly set: AssignmentSet }
  | { readonly verb: 'attach'; readonly taskId: string; readonly netns: string }
  | { readonly verb: 'detach'; readonly taskId: string }
  | { readonly verb: 'resolv-conf'; readonly taskId: string }
  | { readonly verb: 'report' }
  | { readonly verb: 'remove-all' }
  | { readonly verb: 'close' };

export interface Reply {
  readonly id: number;
  readonly value?: string;
  readonly error?: string;
  readonly tookMs: number;
}

const [
  clusterName = '',
  nodeId = '',
  vxlanPort = '',
  repairMs = '',
  resolver = '',
  lingerMs = '0',
  pluginDir = '',
] = process.argv.slice(2);
/** Network namespaces of the containers that run. */
const running = new Map<string, string>();
let report: NetworkReport | undefined;
const plugins = pluginDir === '' ? undefined : await openPlugins(pluginDir);
const driver: NetworkDriver = new NetworkDriver({
  ...(plugins === undefined ? {} : { plugins }),
  clusterName,
  nodeId,
  vxlanPort: Number(vxlanPort),
  repairMs: Number(repairMs),
  lingerMs: Number(lingerMs),
  hostResolvers: resolver === '' ? [] : [resolver],
  logger: stderrLogger(nodeId),
  live: { netnsOf: (taskId) => Promise.resolve(running.get(taskId)), rewired: () => Promise.resolve() },
  onReport: (news) => {
    report = news;
  },
});
const signal = new AbortController().signal;

function openPlugins(dir: string): Promise<Plugins> {
  return Plugins.open({
    nodeId,
    path: join(dir, 'asked.json'),
    logger: stderrLogger(nodeId),
    directories: [dir],
    timeoutMs: 2_000,
    dumpHost: async () => (await dumpNamespace(null, [])) as NamespaceDump,
    onChange: () => driver.changed(),
  });
}

async function obey(command: Command): Promise<string | undefined> {
  switch (command.verb) {
    case 'apply':
      await driver.apply(command.set, signal);
      return undefined;
    case 'attach':
      await driver.attach(command.taskId, command.netns, signal);
      running.set(command.taskId, command.netns);
      return undefined;
    case 'detach':
      await driver.detach(command.taskId);
      running.delete(command.taskId);
      return undefined;
    case 'resolv-conf':
      return driver.resolvConfFor(command.taskId);
    case 'report':
      return JSON.stringify(report);
    case 'remove-all':
      await driver.close();
      await NetworkDriver.removeAll(clusterName);
      return undefined;
    case 'close':
      await driver.close();
      return undefined;
  }
}

process.on('message', (message) => {
  const { id, command } = message as { id: number; command: Command };
  const startedAt = performance.now();
  const reply = (rest: Partial<Reply>): void => {
    process.send?.({ id, tookMs: performance.now() - startedAt, ...rest });
  };
  obey(command).then(
    (value) => reply(value === undefined ? {} : { value }),
    (error: unknown) => reply({ error: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));

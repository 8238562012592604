/** One node's network driver in a process of its own, inside the namespace that plays the host. Ruled by messages. */
import { NetworkDriver } from '../../agent/network/driver.ts';
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

const [clusterName = '', nodeId = '', vxlanPort = '', repairMs = '', resolver = '', lingerMs = '0'] =
  process.argv.slice(2);
let report: NetworkReport | undefined;
const driver = new NetworkDriver({
  clusterName,
  nodeId,
  vxlanPort: Number(vxlanPort),
  repairMs: Number(repairMs),
  lingerMs: Number(lingerMs),
  hostResolvers: resolver === '' ? [] : [resolver],
  logger: stderrLogger(nodeId),
  onReport: (news) => {
    report = news;
  },
});
const signal = new AbortController().signal;

async function obey(command: Command): Promise<string | undefined> {
  switch (command.verb) {
    case 'apply':
      await driver.apply(command.set, signal);
      return undefined;
    case 'attach':
      await driver.attach(command.taskId, command.netns, signal);
      return undefined;
    case 'detach':
      await driver.detach(command.taskId);
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

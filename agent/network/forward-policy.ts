/** Docker and some firewalls drop what a host forwards; published ports then seem dead from outside. */
import type { Logger } from '../../shared/model/options.ts';
import { listNft } from '../native/network.ts';

interface BaseChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}

/** Chains that drop forwarded IPv4 traffic by policy. */
export function droppingChains(dump: unknown): BaseChain[] {
  const { nftables } = dump as { nftables: readonly { chain?: BaseChain }[] };
  return nftables
    .flatMap(({ chain }) => chain ?? [])
    .filter(
      ({ hook, policy, family }) =>
        hook === 'forward' && policy === 'drop' && (family === 'ip' || family === 'inet'),
    );
}

export async function warnOfForwardDrop(logger: Logger): Promise<void> {
  for (const { family, table, name } of droppingChains(await listNft(null, 'list chains'))) {
    logger.warn(
      { chain: `${family} ${table} ${name}` },
      'the firewall of this host drops forwarded traffic: published ports and the way out of containers may not work. ' +
        'Allow it, for example: iptables -I FORWARD -i su+ -j ACCEPT; iptables -I FORWARD -o su+ -j ACCEPT',
    );
  }
}

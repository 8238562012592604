import { readFileSync } from 'node:fs';
import type { ContainerSpec } from '../../shared/model/index.ts';

interface ResolvConf {
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
}

/** The parts of resolv.conf(5) that matter here. The last of several search lines counts. */
export function parseResolvConf(text: string): ResolvConf {
  const lines = text.split('\n').map((line) => line.trim().split(/\s+/));
  const of = (...keywords: string[]): string[][] =>
    lines.filter(([word]) => keywords.includes(word ?? '')).map(([, ...rest]) => rest);
  return {
    nameservers: of('nameserver').flatMap(([address]) => address ?? []),
    search: (of('search', 'domain').at(-1) ?? []).filter((domain) => domain !== '.'),
  };
}

function readHost(): ResolvConf {
  try {
    return parseResolvConf(readFileSync('/etc/resolv.conf', 'utf8'));
  } catch {
    return { nameservers: [], search: [] };
  }
}

/** The host's name servers; empty when it has none. */
export function readHostResolvers(): readonly string[] {
  return readHost().nameservers;
}

/** The node's own text for a container with the node's network, unless the spec names servers of its own. */
export function resolvConfOfNode(dns: ContainerSpec['dns']): string {
  if (dns !== undefined) return resolvConf(undefined, dns);
  try {
    return readFileSync('/etc/resolv.conf', 'utf8');
  } catch {
    return '';
  }
}

/**
 * The text of a container's /etc/resolv.conf. Its name server is the gateway of a network, which asks those of the spec
 * or the host for what it does not know. Without a network the host's own are named.
 */
export function resolvConf(gateway: string | undefined, dns: ContainerSpec['dns']): string {
  const host = readHost();
  const configured = dns?.nameservers ?? [];
  const outside = configured.length > 0 ? configured : host.nameservers;
  const nameservers = gateway === undefined ? outside : [gateway];
  const search = dns !== undefined && dns.search.length > 0 ? dns.search : host.search;
  const options = ['ndots:0', ...(dns?.options ?? []).filter((option) => !option.startsWith('ndots:'))];
  const ndots = (dns?.options ?? []).find((option) => option.startsWith('ndots:'));
  return [
    ...nameservers.map((address) => `nameserver ${address}`),
    ...(search.length === 0 ? [] : [`search ${search.join(' ')}`]),
    `options ${[ndots ?? options[0], ...options.slice(1)].join(' ')}`,
    '',
  ].join('\n');
}

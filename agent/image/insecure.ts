import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { cidrContains, parseAddress, parseCidr } from '../../shared/lib/cidr.ts';
import { InvalidError } from '../../shared/errors/index.ts';

type Rule = (host: string, addresses: readonly string[]) => boolean;

/** Decides which registries may be asked without TLS, as Docker does: loopback, and what the operator lists. */
export class InsecureRegistries {
  readonly #rules: readonly Rule[];
  readonly #hasCidr: boolean;

  /** `listed`: hosts (`reg:5000`), or subnets (`10.0.0.0/8`). Throws InvalidError for what is neither. */
  constructor(listed: readonly string[]) {
    this.#rules = [...listed, '127.0.0.0/8'].map(ruleOf);
    this.#hasCidr = listed.some((entry) => entry.includes('/'));
  }

  /** `registry` is host or host:port. */
  async includes(registry: string): Promise<boolean> {
    const host = hostOf(registry);
    if (host === 'localhost' || host === '::1') return true;
    const addresses = isIP(host) !== 0 ? [host] : this.#hasCidr ? await addressesOf(host) : [];
    return this.#rules.some((matches) => matches(registry, addresses));
  }
}

function ruleOf(entry: string): Rule {
  if (!entry.includes('/')) return (registry) => registry === entry || hostOf(registry) === entry;
  try {
    const cidr = parseCidr(entry);
    return (_registry, addresses) =>
      addresses.some((address) => isIP(address) === 4 && cidrContains(cidr, parseAddress(address)));
  } catch (cause) {
    throw new InvalidError(`insecure registry "${entry}" is neither host[:port] nor an IPv4 subnet`, {
      cause,
    });
  }
}

function hostOf(registry: string): string {
  return new URL(`http://${registry}`).hostname.replace(/^\[|\]$/g, '');
}

async function addressesOf(host: string): Promise<string[]> {
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch {
    return []; // the request itself will say that the name is unknown
  }
}

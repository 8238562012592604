import type { NamespaceDump } from '../../agent/network/observe.ts';

/** What a namespace holds in which there is nothing, as it is read back. */
export const EMPTY_DUMP: NamespaceDump = {
  links: [],
  addresses: [],
  routes: [],
  rules: [],
  neighbours: [],
  fdb: [],
  rates: [],
  sysctls: {},
};

/**
 * Networks: what a change of one endpoint costs a node that knows very many, and how traffic over the overlay and through
 * its addresses compares. Hosts are namespaces. Needs root.
 */
import { benchChanges } from './network/changes.ts';
import { benchTraffic } from './network/traffic.ts';

await benchChanges();
await benchTraffic();

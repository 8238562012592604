/**
 * Networks: what a change of one endpoint costs a node that knows very many, what a container's interfaces cost, and how
 * traffic over the overlay and through its addresses compares. Hosts are namespaces. Needs root.
 */
import { benchChanges } from './network/changes.ts';
import { benchTraffic } from './network/traffic.ts';
import { benchWiring } from './network/wiring.ts';

await benchChanges();
await benchWiring();
await benchTraffic();

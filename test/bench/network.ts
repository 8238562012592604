/**
 * Networks: what a change of one endpoint costs a node that knows very many, what a container's interfaces cost, how
 * traffic over the overlay and through its addresses compares, and how soon names follow the manager's state. Hosts are
 * namespaces. Needs root.
 */
import { benchChanges } from './network/changes.ts';
import { benchDiscovery } from './network/discovery.ts';
import { benchTraffic } from './network/traffic.ts';
import { benchWiring } from './network/wiring.ts';

await benchChanges();
await benchWiring();
await benchTraffic();
await benchDiscovery();

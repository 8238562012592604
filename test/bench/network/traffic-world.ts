/** Two nodes, a client on the first, a server on the second; and very many other services. */
import { formatAddress, parseAddress } from '../../../shared/lib/cidr.ts';
import { network, type World } from '../../cluster/network-model.ts';

const N1 = 'n1aaaaaaaaaaaaaaaaaaaaaaa';
const N2 = 'n2bbbbbbbbbbbbbbbbbbbbbbb';
const MANY = 10_000;

export const PORTS = { pump: 7000, direct: 7001, mesh: 8080, proxy: 8081, rule: 8082 } as const;

const running = { slot: 1, serving: true, desired: 'running' as const };
export const CLIENT = {
  ...running,
  taskId: 'clientxxxxxxxxxxxxxxxxxxx',
  service: 'client',
  node: N1,
  addresses: { front: '10.5.0.11', ingress: '10.0.0.11' },
};
export const SERVER = {
  ...running,
  taskId: 'serverxxxxxxxxxxxxxxxxxxx',
  service: 'server',
  node: N2,
  addresses: { front: '10.5.0.12' },
};

/** The published port leads to the client's own container: it is on the node that is asked, as with the peers. */
export function trafficWorld(): World {
  const service = { aliases: [], meshPorts: [], hostPorts: [] };
  const port = { protocol: 'tcp' as const, publishedPort: PORTS.mesh, targetPort: PORTS.pump };
  return {
    peers: [N1, N2].map((nodeId, i) => ({
      nodeId,
      hostname: `h${i + 1}`,
      index: i + 1,
      address: `10.99.0.${i + 1}`,
    })),
    networks: [
      network('front', 0x1001, '10.5.0', { subnet: '10.5.0.0/16' }),
      network('ingress', 0x1000, '10.0.0', { ingress: true }),
    ],
    services: [
      { ...service, name: 'client', networks: ['front', 'ingress'], vips: {}, meshPorts: [port] },
      { ...service, name: 'server', networks: ['front'], vips: { front: '10.5.0.200' } },
    ],
    tasks: [CLIENT, SERVER],
  };
}

/** Each with a VIP and a task on the second node, of which only the address is there. */
export function manyServices(world: World): void {
  for (let i = 0; i < MANY; i += 1) {
    const name = `s${i}`;
    const at = (base: string): string => formatAddress(parseAddress(base) + i);
    const service = { name, aliases: [], meshPorts: [], hostPorts: [], networks: ['front'] };
    world.services.push({ ...service, vips: { front: at('10.5.64.0') } });
    const taskId = `${name}${'y'.repeat(25)}`.slice(0, 25);
    world.tasks.push({ ...running, taskId, service: name, node: N2, addresses: { front: at('10.5.128.0') } });
  }
}

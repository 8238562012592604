/** The world of the network tests: three hosts, three networks, and what is on them. */
import { NetworkLab } from './network-lab.ts';
import { network, type World } from './network-model.ts';

export const N1 = 'n1aaaaaaaaaaaaaaaaaaaaaaa';
export const N2 = 'n2bbbbbbbbbbbbbbbbbbbbbbb';
export const N3 = 'n3ccccccccccccccccccccccc';

/** The first two with two subnets each, and IPv6. */
export function networks(): World['networks'] {
  return [
    network('front', 0x1001, '10.5.0', {
      moreSubnets: [{ subnet: '10.15.0.0/24', gateway: '10.15.0.1' }],
      subnet6: 'fd00:5::/64',
    }),
    network('back', 0x1002, '10.6.0', {
      gateway: '10.6.0.254',
      internal: true,
      mtu: 1400,
      moreSubnets: [{ subnet: '10.16.0.0/24', gateway: '10.16.0.1' }],
      subnet6: 'fd00:6::/112',
    }),
    network('ingress', 0x1000, '10.0.0', { ingress: true, subnet6: 'fd00:10::/64' }),
  ];
}

/** One port on several addresses. */
const SEVERAL = ['127.0.0.1', '::1', '2001:db8:99::2', '10.99.0.3'].map(
  (hostIp) => ({ protocol: 'tcp', publishedPort: 8087, targetPort: 80, hostIp }) as const,
);

const HOST_PORTS = [
  { protocol: 'tcp', publishedPort: 9090, targetPort: 80, mode: 'host' },
  { protocol: 'udp', publishedPort: 9053, targetPort: 53, mode: 'host' },
] as const;

function world(): World {
  const peer = (nodeId: string, index: number) => ({
    nodeId,
    hostname: `h${index}`,
    index,
    address: `10.99.0.${index}`,
    ipv6: true as const,
  });
  const task = (
    taskId: string,
    service: string,
    node: string,
    slot: number,
    addresses: Record<string, string>,
  ) => ({
    taskId: `${taskId}xxxxxxxxxxxxxxxxxxxxxxx`,
    service,
    node,
    slot,
    addresses,
    serving: true,
    desired: 'running' as const,
  });
  const service = { aliases: [], meshPorts: [], hostPorts: [] };
  return {
    peers: [peer(N1, 1), peer(N2, 2), peer(N3, 3)],
    networks: networks(),
    services: [
      {
        ...service,
        name: 'st_web',
        aliases: ['web'],
        networks: ['front', 'ingress'],
        vips: { front: '10.5.0.200', ingress: '10.0.0.200' },
        meshPorts: [
          { protocol: 'tcp', publishedPort: 8080, targetPort: 80 },
          { protocol: 'udp', publishedPort: 5353, targetPort: 53 },
          { protocol: 'tcp', publishedPort: 8081, targetPort: 80, hostIp: '127.0.0.1' },
          { protocol: 'tcp', publishedPort: 8082, targetPort: 80, hostIp: '10.99.0.2' },
          { protocol: 'tcp', publishedPort: 8083, targetPort: 80, hostIp: '2001:db8:99::2' },
          { protocol: 'tcp', publishedPort: 8084, targetPort: 80, hostIp: '::' },
          { protocol: 'tcp', publishedPort: 8086, targetPort: 80, hostIp: '::1' },
          { protocol: 'tcp', publishedPort: 8085, targetPort: 80, hostIp: '0.0.0.0' },
          ...SEVERAL,
        ],
        hostPorts: HOST_PORTS,
      },
      {
        ...service,
        name: 'app',
        networks: ['front', 'back'],
        vips: { front: '10.5.0.201', back: '10.6.0.201' },
      },
      { ...service, name: 'db', networks: ['back'], vips: { back: '10.6.0.202' } },
      { ...service, name: 'idle', networks: ['front'], vips: { front: '10.5.0.203' } },
      { ...service, name: 'rr', networks: ['front'], vips: {} },
      { ...service, name: 'far', networks: ['front', 'back'], vips: {} },
    ],
    tasks: [
      task('w1', 'st_web', N1, 1, { front: '10.5.0.11', ingress: '10.0.0.11' }),
      task('w2', 'st_web', N2, 2, { front: '10.5.0.12', ingress: '10.0.0.12' }),
      task('a1', 'app', N1, 1, { front: '10.5.0.21', back: '10.6.0.21' }),
      task('d2', 'db', N2, 1, { back: '10.6.0.31' }),
      task('r1', 'rr', N1, 1, { front: '10.5.0.41' }),
      task('r2', 'rr', N2, 2, { front: '10.5.0.42' }),
      task('f1', 'far', N2, 1, { front: '10.15.0.7' }),
      task('f2', 'far', N3, 2, { back: '10.16.0.5' }),
    ],
  };
}

export const id = (name: string): string => `${name}xxxxxxxxxxxxxxxxxxxxxxx`;

/** Each test has a lab of its own; the names tell them apart. */
export async function lab(cluster: string, atFirst = networks()): Promise<NetworkLab> {
  const made = await NetworkLab.up({ ...world(), networks: atFirst }, cluster);
  await made.applyAll();
  await made.startAll();
  for (const task of made.world.tasks) await made.serve(task.taskId);
  return made;
}

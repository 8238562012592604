import test from 'ava';
import { convertStack } from '../../../manager/stack/index.ts';

function convert(compose: string) {
  return convertStack({ stack: 's', compose, variables: {} });
}

function errorsOf(compose: string): string[] {
  return convert(compose)
    .problems.filter(({ severity }) => severity === 'error')
    .map(({ key, message }) => `${key}: ${message}`);
}

test('addresses of networks and services: read, and refused where they stand', (t) => {
  const file = (pool: string, attachment: string): string =>
    `services:\n  a:\n    image: x\n    networks:\n      n: {${attachment}}\nnetworks:\n  n: {ipam: {config: [{${pool}}]}}`;
  const good = convert(
    file(
      'subnet: 10.9.0.0/24, ip_range: 10.9.0.128/25, aux_addresses: {r: 10.9.0.5}',
      'ipv4_address: 10.9.0.7, gw_priority: -1',
    ),
  );
  t.deepEqual(good.problems, []);
  t.like(good.networks[0]?.spec, { addressRange: '10.9.0.128/25', reservedAddresses: { r: '10.9.0.5' } });
  t.deepEqual(good.services[0]?.spec.networks, [
    { network: 's_n', aliases: ['a'], address: '10.9.0.7', wayOutPriority: -1 },
  ]);
  const pool = 'subnet: 10.9.0.0/24';
  for (const [config, attachment, error] of [
    [`${pool}, ip_range: 10.8.0.0/25`, '', 'networks.n.ipam.config[0].ip_range: range 10.8.0.0/25 is not in'],
    [
      `${pool}, gateway: 10.9.1.1`,
      '',
      'networks.n.ipam.config[0].gateway: gateway 10.9.1.1 is not in subnet',
    ],
    [
      `${pool}, aux_addresses: {r: 10.9.0.0}`,
      '',
      'aux_addresses: auxiliary address r: 10.9.0.0 is the first',
    ],
    ['subnet: 169.254.1.0/24', '', 'networks.n.ipam.config[0].subnet: subnet 169.254.1.0/24 can not be used'],
    [
      pool,
      'ipv4_address: 10.8.0.7',
      'services.a.networks.n.ipv4_address: 10.8.0.7: it is not in 10.9.0.0/24',
    ],
    [pool, 'ipv4_address: 10.9.0.7/24', 'ipv4_address: 10.9.0.7/24: an IPv4 address such as'],
    ['', 'ipv4_address: 10.9.0.7', "ipv4_address: 10.9.0.7: network 'n' needs a subnet of its own"],
    [pool, 'gw_priority: high', 'services.a.networks.n.gw_priority: a whole number'],
  ] as const) {
    const errors = errorsOf(file(config, attachment));
    t.is(errors.length, 1, `${config} ${attachment}: ${errors.join('; ')}`);
    t.true(errors[0]?.includes(error), errors[0]);
  }
});

test('a network with several subnets', (t) => {
  const networks = (config: string): string =>
    `services: {a: {image: x, networks: [n]}}\nnetworks: {n: {ipam: {config: [${config}]}}}`;
  const { networks: made, problems } = convert(
    networks('{subnet: 10.9.0.0/24, gateway: 10.9.0.1}, {subnet: 10.8.0.0/24}'),
  );
  t.deepEqual(problems, []);
  const spec = made.find(({ key }) => key === 'n')?.spec;
  t.deepEqual([spec?.subnet, spec?.gateway], ['10.9.0.0/24', '10.9.0.1']);
  t.deepEqual(spec?.moreSubnets, [{ subnet: '10.8.0.0/24' }]);
  t.regex(errorsOf(networks('{subnet: 10.9.0.0/24}, {}')).join(), /each of several needs a subnet/);
});

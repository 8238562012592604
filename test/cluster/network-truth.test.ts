/** The kernel is as it should be: while agents come and go, and whatever others do to it. */
import { spawn } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import type { NetworkReport } from '../../shared/model/index.ts';
import { withoutSeen } from './network-datagrams.ts';
import { lanAddress6, type NetworkLab, until } from './network-lab.ts';
import { network, type WorldTask } from './network-model.ts';
import { id, lab, N1, N2, N3 } from './network-world.ts';

test.serial(
  'an agent that is killed and comes back disturbs no connection and changes nothing',
  async (t) => {
    const net = await lab('t4');
    t.teardown(() => net.down());
    const client = spawn('nsenter', [
      `--net=/run/netns/${net.ns('out')}`,
      'busybox',
      'nc',
      '10.99.0.1',
      '8080',
    ]);
    t.teardown(() => client.kill('SIGKILL'));
    let heard = '';
    client.stdout.on('data', (data: Buffer) => {
      heard += data.toString();
    });
    await until('greeting', async () => heard.includes('saw 203.0.113.9'));
    for (const node of [N1, N2]) await net.lose(node, 100);
    const before = await kernelText(net);
    const bulk = transfer(net);
    t.teardown(() => bulk.stop());
    for (const node of [N1, N2]) {
      await net.killDriver(node);
      client.stdin.write(`without ${node}\n`);
      await until('echo without an agent', async () => heard.includes(`without ${node}`));
      net.startDriver(node);
      await net.apply(node);
      client.stdin.write(`again ${node}\n`);
      await until('echo with the agent back', async () => heard.includes(`again ${node}`));
    }
    await bulk.allCameBack();
    t.deepEqual(await kernelText(net), before);
    await net.attach(id('w1'));
    t.deepEqual(await kernelText(net), before, 'to attach again changes nothing');
    await away(net, t);
  },
);

/** A node that missed all of an hour: other tasks, other addresses, a service without one, another network. */
async function away(net: NetworkLab, t: ExecutionContext): Promise<void> {
  await net.killDriver(N2);
  const { tasks, services } = net.world;
  const change = (name: string, more: Partial<WorldTask>): void => {
    const at = tasks.findIndex((task) => task.taskId === id(name));
    const old = tasks[at];
    if (old !== undefined) tasks[at] = { ...old, ...more };
  };
  change('w1', { serving: false });
  change('r1', { addresses: { front: '10.5.0.49' } });
  services.push({ name: 'late', aliases: [], meshPorts: [], hostPorts: [], networks: ['late'], vips: {} });
  net.world.networks = [...net.world.networks, network('late', 0x1003, '10.7.0')];
  const task = { service: 'late', serving: true, desired: 'running' } as const;
  for (const [name, node, address] of [
    ['l1', N1, '10.7.0.11'],
    ['l2', N2, '10.7.0.12'],
  ] as const)
    tasks.push({ ...task, taskId: id(name), node, slot: 1, addresses: { late: address } });
  for (let i = 0; i < 200; i += 1) {
    const addresses = { front: `10.5.0.${50 + (i % 150)}` };
    tasks.push({ ...task, taskId: id(`x${i}`), service: 'rr', node: N3, slot: 9, addresses });
  }
  await net.apply(N1);
  net.startDriver(N2);
  const { tookMs } = await net.apply(N2);
  t.log(`right again in ${tookMs.toFixed(0)} ms`);
  for (const name of ['l1', 'l2']) await net.startContainer(id(name));
  // One packet of a hundred is lost on purpose.
  const ping = await net.inTask(id('l2'), ['busybox', 'ping', '-c2', '-W3', '10.7.0.11']);
  t.is(ping.code, 0, ping.stdout);
  t.is(await net.get({ task: id('r2') }, 'http://10.5.0.41/'), 'curl failed with 7', 'nobody has it now');
  for (let i = 0; i < 6; i += 1) t.regex(await net.get({ task: id('r2') }, 'http://10.5.0.200/'), /^w2/);
  const sandbox = `shoal-${net.cluster}-${N2.slice(0, 8)}-1001`;
  const routes = (await net.inHost(sandbox, ['ip', 'route'])).stdout;
  t.regex(routes, /^10\.5\.0\.199 via 10\.99\.0\.3 /m);
  t.regex(routes, /^10\.5\.0\.49 via 10\.99\.0\.1 /m);
}

/** Bytes without a pause from outside to a published port, which sends them back. */
function transfer(net: NetworkLab): { stop(): void; allCameBack(): Promise<void> } {
  const nc = spawn('nsenter', [`--net=/run/netns/${net.ns('out')}`, 'busybox', 'nc', '10.99.0.1', '8080']);
  let [greeting, sent, back] = ['', 0, 0];
  nc.stdout.on('data', (data: Buffer) => {
    if (sent > 0) back += data.length;
    else greeting += data.toString();
  });
  const feed = setInterval(() => {
    if (!greeting.endsWith('saw 203.0.113.9\n') || nc.stdin.writableNeedDrain) return;
    nc.stdin.write(Buffer.alloc(65_536, '.'));
    sent += 65_536;
  }, 2);
  return {
    stop: () => {
      clearInterval(feed);
      nc.kill('SIGKILL');
    },
    allCameBack: async () => {
      clearInterval(feed);
      await until('bytes have come back', async () => sent > 1_000_000 && back === sent);
    },
  };
}

/** Without what a device that is made anew has of its own, and the routes that the kernel made with its addresses. */
function unnumbered(lines: readonly string[]): string[] {
  const kept = lines.filter((line) => !/^169\.254\.\S+\/30 .* proto kernel /.test(line));
  return kept.map((line) => line.replaceAll(/^\d+: |@\w+|link\/ether \S+/g, '')).sort();
}

/** Waits until the kernel has what it had; else says what differs. */
async function isAgain(net: NetworkLab, before: readonly string[], t: ExecutionContext): Promise<void> {
  let other: readonly string[] = [];
  await until('all is as before', async () => {
    other = difference(unnumbered(before), unnumbered(await kernelText(net)));
    return other.length === 0;
  }).catch((error: unknown) => {
    t.log(other);
    throw error;
  });
}

/** Lines that one has more often than the other, with how often. */
function difference(before: readonly string[], after: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const line of after) counts.set(line, (counts.get(line) ?? 0) + 1);
  for (const line of before) counts.set(line, (counts.get(line) ?? 0) - 1);
  return [...counts].filter(([, count]) => count !== 0).map(([line, count]) => `${count}: ${line}`);
}

/** By path: npx puts a package's own nft before the system's. */
const NFT = '/usr/sbin/nft';

/** Settings by which a device of a sandbox, or of an uplink, lets packets pass or not. */
const DEVICE_SYSCTLS =
  '^net.(ipv4.conf.(c|su|up0|vx0)[^.]*.(forwarding|rp_filter|proxy_arp|route_localnet)|ipv6.conf.(c|up0|vx0)[^.]*.disable_ipv6)$';

/** All that drivers made on both hosts, as text; counters and times left out. */
async function kernelText(net: NetworkLab): Promise<string[]> {
  const commands = [
    'ip -d link',
    'ip -4 addr',
    'ip -4 route show table all',
    'ip rule',
    'ip -6 rule',
    'ip -6 addr show scope global',
    'ip -6 route show table all proto 183',
    'sysctl net.ipv6.conf.all.forwarding',
    `sysctl -a -r ${DEVICE_SYSCTLS}`,
    'ip neigh show nud permanent',
    `${NFT} list ruleset`,
  ];
  const places = [
    net.hostNs(N1),
    net.hostNs(N2),
    ...[N1, N2].map((node) => `shoal-${net.cluster}-${node.slice(0, 8)}-1000`),
  ];
  const texts = await Promise.all(
    places.flatMap((place) => commands.map((command) => net.inHost(place, command.split(' ')))),
  );
  return texts.flatMap(({ stdout, stderr }) => withoutSeen(`${stdout}${stderr}`).split('\n')).sort();
}

/** What is done to the kernel, by the kind of repair that it calls for. `limited` is a container's device with a rate. */
function rounds(
  net: NetworkLab,
  sandbox: string,
  uplink: string,
  limited: string,
): readonly Record<string, readonly [ns: string, damage: string][]>[] {
  const host = net.hostNs(N1);
  return [
    {
      route: [
        [sandbox, 'ip route del 10.5.0.12/32'],
        [host, 'ip -6 route del fd00:10::/64'],
      ],
      neighbour: [[sandbox, 'ip neigh del 10.99.0.2 dev vx0']],
      fdb: [[sandbox, 'bridge fdb del 02:00:00:00:00:02 dev vx0 dst 10.99.0.2']],
      rate: [[sandbox, `tc qdisc del dev ${limited} root`]],
      sysctl: [
        [sandbox, 'sysctl -q -w net.ipv4.ip_forward=0'],
        [host, 'sysctl -q -w net.ipv6.conf.all.forwarding=0'],
      ],
      address: ['10.5.0.1/32', 'fd00:5::1/128'].map((own) => [sandbox, `ip addr del ${own} dev lo`]),
      rule: ['ip', 'ip -6'].map((ip) => [
        `shoal-${net.cluster}-${N1.slice(0, 8)}-1000`,
        `${ip} rule del prio 2000`,
      ]),
      nftables: [
        [sandbox, `${NFT} flush ruleset`],
        [host, `${NFT} flush ruleset`],
      ],
    },
    {
      link: [
        [sandbox, 'ip link del vx0'],
        [host, `ip link del ${uplink}`],
      ],
    },
    {
      // with the kernel's own, by which others lead
      route: [
        [sandbox, 'ip route flush table main'],
        [host, `ip route flush dev ${uplink}`],
      ],
    },
    { link: [[host, `ip link set ${uplink} name strayed`]] },
    {
      link: ['vx0', 'up0'].flatMap((dev): [string, string][] => [
        [sandbox, `ip link set ${dev} down`],
        [sandbox, `ip link set ${dev} name strayed-${dev}`],
      ]),
    },
    {
      sysctl: [
        [host, `sysctl -q -w net.ipv4.conf.${uplink}.forwarding=0`],
        ...[limited, 'vx0', 'up0'].flatMap((dev): [string, string][] => [
          [sandbox, `sysctl -q -w net.ipv4.conf.${dev}.forwarding=0 net.ipv4.conf.${dev}.rp_filter=1`],
          // its IPv6 addresses and routes go with that
          [sandbox, `sysctl -q -w net.ipv6.conf.${dev}.disable_ipv6=1`],
        ]),
        [sandbox, `sysctl -q -w net.ipv4.conf.${limited}.proxy_arp=0`],
      ],
    },
  ];
}

test.serial('invariant 7: damage is repaired, and removal leaves nothing', async (t) => {
  const net = await lab('t6');
  t.teardown(() => net.down());
  const sandbox = `shoal-${net.cluster}-${N1.slice(0, 8)}-1001`;
  const before = await kernelText(net);
  for (const damage of [
    'ip route del 10.5.0.12/32',
    'ip -6 route del fd00:5::c/128',
    // its IPv6 addresses and routes go with that
    'ip link set vx0 down',
    `${NFT} flush map ip6 shoal vip_choices`,
    `${NFT} flush chain ip shoal to_backend`,
    `${NFT} flush map ip shoal vip_choices`,
    `${NFT} flush map ip shoal backends`,
    // what an earlier version made: a map from VIPs to chains
    `${NFT} add map ip shoal vips { type ipv4_addr : verdict ; }`,
    `${NFT} add element ip shoal vips { 10.5.0.200 : goto pick_2 }`,
  ]) {
    t.is((await net.inHost(sandbox, damage.split(' '))).code, 0, damage);
  }
  for (const family of ['ip', 'ip6']) {
    const table = `shoal-${net.cluster}-${N1.slice(0, 8)}`;
    t.is((await net.inHost(net.hostNs(N1), [NFT, 'delete', 'table', family, table])).code, 0);
  }
  await net.killDriver(N1);
  net.startDriver(N1);
  await net.apply(N1);
  t.regex(await net.get({ task: id('w1') }, 'http://10.5.0.200/'), /^w[12]/);
  for (const to of ['[fd00:5::c8]', '[fd00:5::c]'])
    t.regex(await net.get({ task: id('a1') }, `http://${to}/`), /^w[12]x+ saw fd00:5::15/);
  t.regex(await net.get({ ns: net.ns('out') }, 'http://10.99.0.1:8080/'), /^w[12]/);
  t.deepEqual(await kernelText(net), before);

  // And by the clock alone: each kind, told apart and counted.
  await net.killDriver(N1);
  net.startDriver(N1, '', 0, 200);
  await net.apply(N1);
  const report = async (): Promise<NetworkReport> =>
    JSON.parse((await net.send(N1, { verb: 'report' })).value ?? '{}') as NetworkReport;
  t.deepEqual((await report()).repairs, {});
  const host = net.hostNs(N1);
  const uplink = /su[0-9a-f]+1001/.exec((await net.inHost(host, ['ip', '-o', 'link'])).stdout)?.[0];
  const limited = /dev (\S+) root/.exec(
    (await net.inHost(sandbox, ['tc', 'qdisc', 'show'])).stdout.replaceAll(/^qdisc (?!tbf).*\n/gm, ''),
  )?.[1];
  for (const round of rounds(net, sandbox, `${uplink}`, `${limited}`)) {
    const counted = (await report()).repairs;
    for (const [ns, damage] of Object.values(round).flat())
      t.is((await net.inHost(ns, damage.split(' '))).code, 0, damage);
    await isAgain(net, before, t);
    await until('each kind is counted', async () => {
      const { repairs } = await report();
      return Object.keys(round).every((kind) => (repairs[kind] ?? 0) > (counted[kind] ?? 0));
    });
  }
  const { stdout: queues } = await net.inHost(sandbox, ['tc', 'qdisc', 'show', 'dev', limited ?? '']);
  t.regex(queues, /^qdisc tbf .* rate 10Gbit /);
  for (const to of ['10.5.0.42', '[fd00:5::2a]'])
    t.regex(await net.get({ task: id('w1') }, `http://${to}/`), /^r2/);
  const published = `http://[${lanAddress6(1)}]:8080/`;
  t.regex(await net.get({ ns: net.ns('out') }, published), /^w[12]x+ saw 2001:db8:9::9$/);

  // What a container leaves behind that ends by itself is nobody's doing.
  const counted = (await report()).repairs;
  const held = async (): Promise<boolean> =>
    (await net.inHost(sandbox, [NFT, 'list', 'ruleset'])).stdout.includes('10.5.0.41');
  t.true(await held());
  net.world.tasks.splice(
    net.world.tasks.findIndex((task) => task.taskId === id('r1')),
    1,
  );
  await net.apply(N1);
  // As its end does; the lab's own sockets keep the namespace.
  await net.inTask(id('r1'), ['ip', 'link', 'del', 'eth0']);
  await until('nothing is left of it', async () => !(await held()));
  t.deepEqual((await report()).repairs, counted);

  // The last task of a network takes its sandbox along.
  net.world.tasks.splice(
    net.world.tasks.findIndex((task) => task.taskId === id('d2')),
    1,
  );
  await net.send(N2, { verb: 'detach', taskId: id('d2') });
  await net.apply(N2);
  const spaces = (await net.inHost(net.hostNs(N2), ['ip', 'netns', 'list'])).stdout;
  t.notRegex(spaces, new RegExp(`shoal-${net.cluster}-${N2.slice(0, 8)}-1002`));

  for (const node of [N1, N2, N3]) await net.send(node, { verb: 'remove-all' });
  for (const node of [N1, N2, N3]) {
    const links = (await net.inHost(net.hostNs(node), ['ip', '-o', 'link'])).stdout;
    t.notRegex(links, /: su/);
    t.is((await net.inHost(net.hostNs(node), [NFT, 'list', 'tables'])).stdout, '');
    t.notRegex((await net.inHost(net.hostNs(node), ['ip', 'route'])).stdout, /10\.0\.0\./);
    t.is((await net.inHost(net.hostNs(node), ['ip', '-6', 'route', 'show', 'proto', '183'])).stdout, '');
  }
  t.deepEqual(await net.down(), [], 'no sandbox was left');
});

test.serial(
  'a sandbox lingers after its last task, serves the next, and goes in time or with the driver',
  async (t) => {
    const net = await lab('t8');
    t.teardown(() => net.down());
    const [last] = net.world.tasks.filter((task) => task.taskId === id('d2'));
    if (last === undefined) return t.fail('d2 is there');
    const isThere = async (): Promise<boolean> => {
      const spaces = (await net.inHost(net.hostNs(N2), ['ip', 'netns', 'list'])).stdout;
      return spaces.includes(`shoal-${net.cluster}-${N2.slice(0, 8)}-1002`);
    };
    const restart = async (lingerMs: number): Promise<void> => {
      await net.killDriver(N2);
      net.startDriver(N2, '', lingerMs);
      await net.apply(N2);
    };
    const leave = async (): Promise<void> => {
      net.world.tasks.splice(net.world.tasks.indexOf(last), 1);
      await net.send(N2, { verb: 'detach', taskId: last.taskId });
      await net.apply(N2);
    };
    await restart(3_600_000);
    await leave();
    t.true(await isThere());

    net.world.tasks.push(last);
    await net.applyAll();
    await net.attach(last.taskId);
    const ping = await net.inTask(id('a1'), ['busybox', 'ping', '-c1', '-W3', '10.6.0.31']);
    t.is(ping.code, 0, ping.stdout);

    await leave();
    t.true(await isThere());
    await net.send(N2, { verb: 'close' });
    t.false(await isThere(), 'a driver that closes leaves nothing that only lingers');

    net.world.tasks.push(last);
    await restart(1);
    await net.attach(last.taskId);
    t.true(await isThere());
    await leave();
    await until('the sandbox is gone', async () => !(await isThere()));
  },
);

test.serial('how long attaching takes', async (t) => {
  const net = await lab('t7');
  t.teardown(() => net.down());
  const times: number[] = [];
  const applies: number[] = [];
  for (let i = 0; i < 30; i += 1) {
    const taskId = id(`m${i}`);
    net.world.tasks.push({
      taskId,
      service: 'rr',
      node: N1,
      slot: 10 + i,
      addresses: { front: `10.5.0.${100 + i}` },
      serving: false,
      desired: 'running',
    });
    applies.push((await net.apply(N1)).tookMs);
    times.push((await net.startContainer(taskId)).tookMs);
    t.is((await net.inTask(taskId, ['busybox', 'ping', '-c1', '-W3', '10.5.0.41'])).code, 0);
  }
  for (const [what, list] of Object.entries({ attach: times, apply: applies })) {
    list.sort((a, b) => a - b);
    t.log(`${what} p50 ${list[15]?.toFixed(2)} ms, p90 ${list[27]?.toFixed(2)} ms`);
  }
});

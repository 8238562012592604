/** The measured side of changes.ts: a driver with 10,000 services of 10 tasks each on one network, one of them here. */
import { execFile } from 'node:child_process';
import dgram from 'node:dgram';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { listNft, makeNamespace, openSocket } from '../../../agent/native/network.ts';
import { NetworkDriver } from '../../../agent/network/driver.ts';
import { formatAddress, parseAddress } from '../../../shared/lib/cidr.ts';
import { applyDiff, listsToSet } from '../../../shared/wire/assignment-diff.ts';
import type { AssignmentSet, EndpointAssignment, ServiceAssignment } from '../../../shared/model/index.ts';
import { assignmentsOf, network } from '../../cluster/network-model.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { quantile, report } from '../report.ts';
import { storm } from './storm.ts';

const SERVICES = Number(process.env['SHOAL_BENCH_SERVICES'] ?? 10_000);
const TASKS_A_SERVICE = 10;
const ROUNDS = 100;
const WARM_UP = 10;
const PEER_ROUNDS = 20;
const STORM = 1000;
const ME = 'benchnode0aaaaaaaaaaaaaaa';
const OTHERS = Array.from({ length: 50 }, (_, i) => `benchnode${i + 1}bbbbbbbbbbbbbbbb`);
const MINE = 'mine0xxxxxxxxxxxxxxxxxxxx';
const CLUSTER = `benchnet${process.pid}`;

const run = promisify(execFile);
const never = new AbortController().signal;
const vipOf = (service: number): string => formatAddress(parseAddress('10.8.0.2') + service);
const addressOf = (task: number): string => formatAddress(parseAddress('10.9.0.2') + task);

function endpoint(service: number, slot: number, serving: boolean): EndpointAssignment {
  const number = service * TASKS_A_SERVICE + slot;
  return {
    networkId: 'front',
    taskId: `task${number}`,
    nodeId: OTHERS[number % OTHERS.length] ?? ME,
    serviceId: `id-s${service}`,
    serviceName: `s${service}`,
    slot,
    address: addressOf(number),
    aliases: [],
    serving,
  };
}

function service(number: number): ServiceAssignment {
  return {
    networkId: 'front',
    serviceId: `id-s${number}`,
    name: `s${number}`,
    aliases: [],
    vip: vipOf(number),
    ports: [],
  };
}

/** One task is this node's, so that the network has its sandbox here. */
function world(): AssignmentSet {
  const task = { taskId: MINE, service: 'mine', node: ME, slot: 1 };
  const own = assignmentsOf(
    {
      peers: [ME, ...OTHERS].map((nodeId, i) => ({
        nodeId,
        hostname: `h${i}`,
        index: i + 1,
        address: `10.99.0.${i + 1}`,
      })),
      networks: [network('front', 0x1001, '10.8.0', { subnet: '10.8.0.0/14', gateway: '10.8.0.1' })],
      services: [{ name: 'mine', aliases: [], vips: {}, networks: ['front'], meshPorts: [], hostPorts: [] }],
      tasks: [{ ...task, addresses: { front: '10.11.255.250' }, serving: true, desired: 'running' }],
    },
    ME,
  );
  const services = Array.from({ length: SERVICES }, (_, i) => i);
  const slots = Array.from({ length: TASKS_A_SERVICE }, (_, i) => i);
  return listsToSet({
    tasks: [...own.tasks.values()],
    networks: [...own.networks.values()],
    peers: [...own.peers.values()],
    services: [...own.services.values(), ...services.map(service)],
    endpoints: [
      ...own.endpoints.values(),
      ...services.flatMap((number) => slots.map((slot) => endpoint(number, slot, true))),
    ],
    secrets: [],
    configs: [],
  });
}

async function timed(work: () => Promise<void>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

function say(bench: string, ms: number, peerMs?: number): void {
  report(`network: ${bench}, ${SERVICES} services of ${TASKS_A_SERVICE}`, ms, peerMs, 'ms');
}

/** The peer: nft itself, which takes one backend of a service that no round touches out of the map and puts it back. */
async function byNft(netns: string, service: number): Promise<void> {
  const first = Array.from({ length: TASKS_A_SERVICE }, (_, i) =>
    addressOf(service * TASKS_A_SERVICE + i),
  ).toSorted()[0];
  const slot = `${vipOf(service)} . 0`;
  const child = run('nsenter', [`--net=${netns}`, 'nft', '-f', '-']);
  child.child.stdin?.end(
    `delete element ip shoal backends { ${slot} }\nadd element ip shoal backends { ${slot} : ${first} }\n`,
  );
  await child;
}

/** Has the container send a datagram to each of these services' VIPs; the backends that these went to, by service. */
async function ledTo(
  container: string,
  netns: string,
  numbers: readonly number[],
): Promise<EndpointAssignment[]> {
  const socket = dgram.createSocket('udp4');
  socket.bind({ fd: await openSocket(container, 'datagram', '0.0.0.0', 0) });
  const first = parseAddress(addressOf(0));
  for (let left = numbers; left.length > 0; ) {
    for (const number of left) socket.send('x', 53, vipOf(number));
    await setImmediate();
    const { nftables } = (await listNft(netns, 'list set ip shoal udp_seen')) as {
      nftables: readonly { set?: { elem?: readonly string[] } }[];
    };
    const tasks = nftables.flatMap(({ set }) => set?.elem ?? []).map((one) => parseAddress(one) - first);
    const seen = new Map(tasks.map((task) => [Math.floor(task / TASKS_A_SERVICE), task % TASKS_A_SERVICE]));
    left = numbers.filter((number) => !seen.has(number));
    if (left.length === 0) {
      socket.close();
      return numbers.map((number) => endpoint(number, seen.get(number) ?? 0, false));
    }
  }
  return [];
}

/** The service that changes in this round. */
const touchedIn = (round: number): number => (round * 7919) % (SERVICES - 1);

/** Endpoints that stop and start to serve, and tasks that come and go. */
async function changes(
  driver: NetworkDriver,
  first: AssignmentSet,
  netns: string,
  container: string,
): Promise<void> {
  let set = first;
  const flips: number[] = [];
  const comings: number[] = [];
  const apply = async (next: () => AssignmentSet): Promise<number> =>
    timed(async () => {
      set = next();
      await driver.apply(set, never);
    });
  // A question for a name: like any sandbox in use this one has a connection, and those of backends that stop are looked for.
  await storm(0, async () => undefined, netns, '10.8.0.1', 's1');
  for (let i = 0; i < ROUNDS + WARM_UP; i += 1) {
    const number = touchedIn(i);
    const more = { ...endpoint(number, 3, true), taskId: `more${i}`, address: addressOf(200_000 + i) };
    const flip = await apply(() =>
      applyDiff(set, { put: { endpoints: [endpoint(number, 3, false)] }, drop: {} }),
    );
    const come = await apply(() => applyDiff(set, { put: { endpoints: [more] }, drop: {} }));
    if (i < WARM_UP) continue;
    flips.push(flip);
    comings.push(come);
  }
  // Of the others, for those have a backend that is not one of their ten.
  const touched = new Set(Array.from({ length: ROUNDS + WARM_UP }, (_, i) => touchedIn(i)));
  const numbers = Array.from({ length: SERVICES - 1 }, (_, number) => number)
    .filter((number) => !touched.has(number))
    .slice(0, ROUNDS);
  const used: number[] = [];
  for (const stopped of await ledTo(container, netns, numbers))
    used.push(await apply(() => applyDiff(set, { put: { endpoints: [stopped] }, drop: {} })));
  // Not in turns: after each call of nft the kernel has work left, which the next change would wait for.
  const peers: number[] = [];
  for (let i = 0; i < PEER_ROUNDS; i += 1) peers.push(await timed(() => byNft(netns, SERVICES - 1)));
  say('an endpoint stops serving, against nft -f', quantile(flips, 0.5), quantile(peers, 0.5));
  say('an endpoint stops serving, p99', quantile(flips, 0.99));
  say('an endpoint that UDP flows lead to stops serving', quantile(used, 0.5));
  say('an endpoint comes', quantile(comings, 0.5));
  const burst = await storm(
    STORM,
    async (number) => {
      set = applyDiff(set, { put: { endpoints: [endpoint((number * 31) % SERVICES, 5, false)] }, drop: {} });
      await driver.apply(set, never);
    },
    netns,
    '10.8.0.1',
    's1',
  );
  say(`${STORM} endpoints stop serving at once, all of it`, burst.tookMs);
  say(`${STORM} endpoints stop serving at once, longest answer to a name meanwhile`, burst.answerMs);
}

const netnsDir = await mkdtemp(join(tmpdir(), 'shoal-bench-netns-'));
await run('ip', ['addr', 'add', '10.99.0.1/32', 'dev', 'lo']);
await run('ip', ['link', 'set', 'lo', 'up']);
const options = { clusterName: CLUSTER, nodeId: ME, logger: silentLogger, netnsDir, hostResolvers: [] };
try {
  const driver = new NetworkDriver({ ...options, repairMs: 0 });
  const set = world();
  say('all of it made', await timed(() => driver.apply(set, never)));
  const [sandbox = ''] = await readdir(netnsDir);
  const container = `/proc/${process.pid}/fd/${await makeNamespace()}`;
  await driver.attach(MINE, container, never);
  await changes(driver, set, join(netnsDir, sandbox), container);
  await driver.close();
  const next = new NetworkDriver({ ...options, repairMs: 0 });
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  say('a restarted agent finds all as it should be', await timed(() => next.apply(set, never)));
  delays.disable();
  say('a restarted agent finds all as it should be, longest turn of its loop', delays.max / 1e6);
  await next.close();
} finally {
  await NetworkDriver.removeAll(CLUSTER, netnsDir);
  await run('umount', ['-l', netnsDir]).catch(() => undefined);
  await rm(netnsDir, { recursive: true, force: true });
}

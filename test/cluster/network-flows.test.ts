/** UDP flows move on when their backend stops serving, whatever became of the agent and its rules meanwhile. */
import test from 'ava';
import { converse, fromOutside, fromTask, webAnswers } from './network-datagrams.ts';
import { lanAddress6 } from './network-lab.ts';
import { id, lab, N1, N2, N3 } from './network-world.ts';

/** Who w2 is on the host, and in the sandbox; and what says that a set has all. */
const FAMILIES = [
  { family: 'ip', all: '0.0.0.0', backends: ['10.0.0.12', '10.5.0.12'] },
  { family: 'ip6', all: '::', backends: ['fd00:10::c', 'fd00:5::c'] },
] as const;
/** By path: npx puts a package's own nft before the system's. */
const NFT = '/usr/sbin/nft';

test.serial(
  'UDP flows leave who stops serving: also while no agent runs, after a restart, and with rules made anew',
  async (t) => {
    const net = await lab('u1');
    t.teardown(() => net.down());
    const leaving = net.world.tasks.find((task) => task.taskId === id('w2'));
    if (leaving === undefined) return t.fail('w2 is there');
    await webAnswers(net, t);
    const sandbox = `shoal-${net.cluster}-${N1.slice(0, 8)}-1001`;
    const places = [net.hostNs(N1), sandbox];
    /** What the set has on the host and in the sandbox. */
    const seen = (family: string): Promise<string[][]> =>
      Promise.all(
        places.map(async (ns) => {
          const { stdout } = await net.inHost(ns, [NFT, '-j', 'list', 'sets']);
          const elements = JSON.parse(stdout) as {
            nftables: { set?: { name: string; family: string; elem?: string[] } }[];
          };
          return elements.nftables.flatMap(({ set }) =>
            set?.name === 'udp_seen' && set.family === family ? (set.elem ?? []) : [],
          );
        }),
      );
    const serve = async (serving: boolean, nodes: readonly string[]): Promise<void> => {
      leaving.serving = serving;
      await Promise.all(nodes.map((node) => net.apply(node)));
    };
    const restart = async (): Promise<void> => {
      await net.killDriver(N1);
      net.startDriver(N1);
      await net.apply(N1);
    };
    /** Clients are led to w2, by the mesh and by a VIP; what happens then has it stop serving, and all are answered by w1. */
    const moves = async (how: string, happens: () => Promise<void>): Promise<void> => {
      await serve(true, [N1, N2, N3]);
      const ways = [
        ...['10.99.0.1', lanAddress6(1)].map((host) => fromOutside(net, host)),
        ...['10.5.0.200', 'fd00:5::c8'].map((vip) => fromTask(net, 'a1', vip)),
      ];
      const clients = await Promise.all(ways.map((way) => converse('w2', way)));
      await happens();
      for (const [i, client] of clients.entries()) {
        t.is(await client.say(how), `w1 heard ${how}`, ways[i]?.to);
        client.close();
      }
    };

    await moves('seen', () => serve(false, [N1, N2, N3]));
    await moves('left', async () => {
      await net.killDriver(N1);
      await serve(false, [N2, N3]);
      net.startDriver(N1);
      await net.apply(N1);
    });
    await moves('restarted', async () => {
      await restart();
      await serve(false, [N1, N2, N3]);
    });
    await moves('anew', async () => {
      for (const ns of places) await net.inHost(ns, [NFT, 'flush', 'ruleset']);
      await restart();
      for (const { family } of FAMILIES) t.deepEqual(await seen(family), [[], []]);
      await serve(false, [N1, N2, N3]);
      for (const { family, all } of FAMILIES)
        for (const found of await seen(family))
          t.true(found.includes(all), 'what there was has been looked for');
    });
    const noted = async (): Promise<boolean[]> => {
      const found = await Promise.all(FAMILIES.map(({ family }) => seen(family)));
      return FAMILIES.flatMap(({ backends }, i) =>
        backends.map((one, at) => found[i]?.[at]?.includes(one) === true),
      );
    };
    await moves('again', async () => {
      t.deepEqual(await noted(), [true, true, true, true]);
      await serve(false, [N1, N2, N3]);
      t.deepEqual(await noted(), [false, false, false, false]);
    });
  },
);

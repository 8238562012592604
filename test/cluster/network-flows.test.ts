/** UDP flows move on when their backend stops serving, whatever became of the agent and its rules meanwhile. */
import test from 'ava';
import { converse, fromOutside, fromTask, webAnswers } from './network-datagrams.ts';
import { id, lab, N1, N2, N3 } from './network-world.ts';

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
    const seen = (): Promise<string[]> =>
      Promise.all(
        places.map(async (ns) => {
          const { stdout } = await net.inHost(ns, [NFT, '-j', 'list', 'sets']);
          const elements = JSON.parse(stdout) as {
            nftables: { set?: { name: string; family: string; elem?: string[] } }[];
          };
          return elements.nftables
            .flatMap(({ set }) => (set?.name === 'udp_seen' && set.family === 'ip' ? (set.elem ?? []) : []))
            .toSorted()
            .join();
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
    /** Two clients are led to w2; what happens then has it stop serving, and both are answered by w1. */
    const moves = async (how: string, happens: () => Promise<void>): Promise<void> => {
      await serve(true, [N1, N2, N3]);
      const clients = [
        await converse('w2', fromOutside(net, '10.99.0.1')),
        await converse('w2', fromTask(net, 'a1', '10.5.0.200')),
      ];
      await happens();
      for (const client of clients) {
        t.is(await client.say(how), `w1 heard ${how}`);
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
      t.deepEqual(await seen(), ['', '']);
      await serve(false, [N1, N2, N3]);
      for (const found of await seen()) t.regex(found, /^0\.0\.0\.0/, 'what there was has been looked for');
    });
    await moves('again', async () => {
      for (const [at, backend] of ['10.0.0.12', '10.5.0.12'].entries())
        t.true((await seen())[at]?.split(',').includes(backend));
      await serve(false, [N1, N2, N3]);
      for (const [at, backend] of ['10.0.0.12', '10.5.0.12'].entries())
        t.false((await seen())[at]?.split(',').includes(backend));
    });
  },
);

/** docker stats: a node is asked no faster than the client reads, and no more once it has left. */
import { type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import type { ContainerSample, NetworkCounters } from '../../../shared/model/node-methods/index.ts';
import { ApiFixture, type FakeNode } from './fixture.ts';
import { containerInfo } from './samples.ts';

const ID = 'a'.repeat(64);

function sample(interfaces: number): ContainerSample {
  const none: NetworkCounters = {
    rxBytes: 0,
    rxPackets: 0,
    rxErrors: 0,
    rxDropped: 0,
    txBytes: 0,
    txPackets: 0,
    txErrors: 0,
    txDropped: 0,
  };
  const cpu = { totalNs: 1, userNs: 1, kernelNs: 0, systemNs: 10, onlineCpus: 1 };
  return {
    atMs: Date.now(),
    cpu: { ...cpu, periods: 0, throttledPeriods: 0, throttledNs: 0 },
    memory: { usageBytes: 4096, limitBytes: 8192, stats: {} },
    pids: { current: 1 },
    blockIo: [],
    networks: Object.fromEntries(Array.from({ length: interfaces }, (_, i) => [`eth${i}`, none])),
  };
}

async function running(interfaces: number): Promise<{ api: ApiFixture; node: FakeNode }> {
  const api = await ApiFixture.up();
  const node = api.nodes.get('nodea1');
  if (node === undefined) throw new Error('there is no node');
  node.containers.push(containerInfo({ id: ID }));
  node.sample = sample(interfaces);
  return { api, node };
}

function open(api: ApiFixture): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const path = `/containers/${ID}/stats?stream=1`;
    request({ socketPath: api.socket, path, agent: false }, (answer) => {
      answer.on('error', () => undefined).pause();
      resolve(answer);
    })
      .on('error', reject)
      .end();
  });
}

/** How often the node was asked, once that has been the same for longer than the time between two samples. */
async function settled(node: FakeNode): Promise<number> {
  for (let before = -1; before !== node.sampled; await sleep(2500)) before = node.sampled;
  return node.sampled;
}

test('a client that leaves is sampled for no more', async (t) => {
  const { api, node } = await running(1);
  await using _ = api;
  const answer = await open(api);
  answer.resume();
  for (const deadline = Date.now() + 20_000; node.sampled < 2; await sleep(10))
    if (Date.now() > deadline) throw new Error('no second sample');
  answer.destroy();
  const asked = await settled(node);
  t.true(asked >= 2 && asked <= 4, `${asked} samples`);
});

test('a client that does not read stops the sampling', async (t) => {
  // each of them is larger than what a socket holds
  const { api, node } = await running(20_000);
  await using _ = api;
  const answer = await open(api);
  const asked = await settled(node);
  t.true(asked >= 1 && asked <= 3, `${asked} samples`);
  // and it goes on when the client does
  answer.resume();
  for (const deadline = Date.now() + 20_000; node.sampled === asked; await sleep(10))
    if (Date.now() > deadline) throw new Error('the sampling does not go on');
  answer.destroy();
});

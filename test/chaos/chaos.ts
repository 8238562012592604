/** One run: a cluster under load, in trouble for so long, and then looked at. */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { delay } from '../../shared/lib/abort.ts';
import { prng } from '../../shared/lib/prng.ts';
import { Capture } from './capture.ts';
import {
  checkDelivered,
  checkDesired,
  checkDisks,
  checkEnds,
  checkLedger,
  checkPublished,
} from './checks.ts';
import { begin, chooseFaults, type Fault } from './faults.ts';
import { Ledger } from './ledger.ts';
import { LoadClient, serviceBody } from './load.ts';
import { makeWorld, type World } from './world.ts';

const CLIENTS = 4;
const PORT = 8080;
const PAUSE_MS = 3_000;

export interface ChaosOptions {
  readonly seed: string;
  readonly minutes: number;
  readonly print: (line: string) => void;
}

export interface ChaosReport {
  readonly seed: string;
  readonly minutes: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly writes: Ledger['counts'];
  readonly capturedBytes: number;
  /** Not searched: the kernel could not hand them over. */
  readonly droppedPackets: number;
  /** Until all was as it should be after the last fault had ended. */
  readonly calmAfterMs: number;
  readonly findings: readonly string[];
}

export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  await using world = await makeWorld();
  const { swarm } = world;
  const needle = `chaos-secret-${randomBytes(12).toString('hex')}`;
  const control = `chaos-control-${randomBytes(12).toString('hex')}`;
  const needles = [needle, ...base64Of(needle), 'BEGIN PRIVATE KEY', 'BEGIN EC PRIVATE KEY'];
  const texts = [control, ...needles].map((text) => Buffer.from(text));
  const capture = await Capture.start(swarm.layout.bridge, texts);
  const ledger = new Ledger();
  const faults: Record<string, number> = {};
  try {
    await fixedServices(world, needle);
    await trouble(world, options, ledger, needle, faults);
    const calmFromMs = performance.now();
    const findings = [...(await checkDesired(world)), ...(await checkLedger(world, ledger))];
    const calmAfterMs = Math.round(performance.now() - calmFromMs);
    findings.push(
      ...(await checkDelivered(world, 'chaosvault', `${needle}-vault`)),
      ...(await checkPublished(world, PORT)),
      ...(await checkDisks(world, control, [needle, ...base64Of(needle)])),
      ...(await checkEnds(world)),
      ...(await heardInTheClear(world, capture, control, needles)),
    );
    if (findings.length > 0) options.print(await swarm.logTails(40));
    const droppedPackets = await capture.stop();
    const { seed, minutes } = options;
    const writes = ledger.counts;
    return {
      seed,
      minutes,
      faults,
      writes,
      capturedBytes: capture.bytes,
      droppedPackets,
      calmAfterMs,
      findings,
    };
  } finally {
    await capture.stop();
  }
}

/** As base64 has it, wherever in a longer text it begins. */
function base64Of(text: string): string[] {
  return [0, 1, 2].map((shift) => {
    const encoded = Buffer.from(`${'x'.repeat(shift)}${text}`).toString('base64');
    // The first and last characters depend on what is beside them.
    return encoded.slice(shift === 0 ? 0 : 4, -4);
  });
}

const createdSchema = z.object({ ID: z.string() });

/** What is looked at in the end, and is not changed: a web server on all nodes, and who has a secret. */
async function fixedServices({ swarm }: World, needle: string): Promise<void> {
  const Data = Buffer.from(`${needle}-vault`).toString('base64');
  const answer = await swarm.api('POST', '/secrets/create', { Name: 'vault', Data });
  const SecretID = createdSchema.parse(answer.body).ID;
  const File = { Name: 'chaos-vault', UID: '0', GID: '0', Mode: 0o400 };
  const Secrets = [{ SecretID, SecretName: 'vault', File }];
  const vault = await swarm.api('POST', '/services/create', serviceBody('chaosvault', 3, { Secrets }));
  createdSchema.parse(vault.body);
  await swarm.deploy('web', { replicas: 3, ports: [`${PORT}:80`], more: ['--restart-delay', '100ms'] });
  await swarm.eventually((s) => s.running('web').count === 3 && s.running('chaosvault').count === 3);
}

/** Load and faults until the time is over; resolves when all faults have ended and the clients are done. */
async function trouble(
  world: World,
  { seed, minutes, print }: ChaosOptions,
  ledger: Ledger,
  needle: string,
  faults: Record<string, number>,
): Promise<void> {
  const stop = new AbortController();
  const clients = Array.from({ length: CLIENTS }, (_, number) => {
    const random = prng(`${seed} client ${number}`);
    const all = (): World['managers'][number]['client'][] => world.managers.map(({ client }) => client);
    return new LoadClient(`c${number}`, { clients: all, ledger, random, needle }).run(stop.signal);
  });
  const random = prng(`${seed} faults`);
  const startedMs = performance.now();
  while (performance.now() - startedMs < minutes * 60_000) {
    const chosen = chooseFaults(random);
    const atS = ((performance.now() - startedMs) / 1000).toFixed(1);
    print(`${atS} s: ${chosen.map(inWords).join(', ')}`);
    for (const { kind } of chosen) faults[kind] = (faults[kind] ?? 0) + 1;
    await disturb(world, chosen);
    await delay(random.below(PAUSE_MS), stop.signal);
  }
  stop.abort();
  await Promise.all(clients);
}

function inWords({ kind, target, forMs }: Fault): string {
  return kind === 'kill-monitor' ? kind : `${kind} ${target + 1} for ${forMs} ms`;
}

/** All at the same time. */
async function disturb(world: World, chosen: readonly Fault[]): Promise<void> {
  const never = new AbortController().signal;
  await Promise.all(
    chosen.map(async (fault) => {
      const undo = await begin(fault, world);
      await delay(fault.forMs, never);
      await undo();
    }),
  );
}

/** What is said between two hosts in the clear is found, so what is not found was not said. */
async function heardInTheClear(
  { nodes }: World,
  capture: Capture,
  control: string,
  needles: readonly string[],
): Promise<string[]> {
  const [from, to] = [nodes[0]?.node, nodes[1]?.node];
  if (from === undefined || to === undefined) return ['there are not two nodes'];
  const never = new AbortController().signal;
  const send = `
    const socket = require('node:dgram').createSocket('udp4');
    socket.send(process.argv[1], 9, process.argv[2], () => socket.close());`;
  for (let attempt = 0; attempt < 50 && !capture.found.has(0); attempt += 1) {
    await from.run(process.execPath, '-e', send, control, to.address);
    await delay(100, never);
  }
  if (!capture.found.has(0))
    return ['the capture has not heard what was said in the clear: it proves nothing'];
  return [...capture.found].flatMap((number) =>
    number === 0 ? [] : [`in the clear on the network: ${(needles[number - 1] ?? '').slice(0, 20)}...`],
  );
}

/** `shoal up` and `shoal down`: a whole cluster on this machine. */
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { AppError, InvalidError } from '../../shared/errors/index.ts';
import { checkRoot } from '../local/checks.ts';
import { readMarker, removeCluster } from '../local/cleanup.ts';
import { detach } from '../local/detach.ts';
import { EXAMPLE_PORT } from '../local/example.ts';
import { describeInventory, takeInventory } from '../local/inventory.ts';
import { DEFAULT_NAME, DEFAULT_PORT_BASE, type Layout, makeLayout, MAX_NODES } from '../local/layout.ts';
import { freePortBase } from '../local/ports.ts';
import { lineProgress, type Progress } from '../local/progress.ts';
import { stopOwner } from '../local/owner.ts';
import { nextSteps, up, type UpOptions } from '../local/up.ts';
import { signalOfInterrupts } from './fail.ts';
import { collect, parseCount, parseName, parsePort } from './options.ts';

interface UpFlags {
  nodes: number;
  detach?: boolean;
  name: string;
  portBase?: number;
  stateDir?: string;
  runDir?: string;
  examplePort: number;
  example: boolean;
  insecureRegistry: string[];
}

/** What did not go away. */
class LeftoverError extends AppError {
  override readonly name = 'LeftoverError';
  readonly code = 'internal';
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);

export function addUp(program: Command): void {
  program
    .command('up')
    .description('make a whole cluster on this machine and show that it works; Ctrl-C removes it')
    .option('-n, --nodes <count>', 'nodes; the first is the machine itself', parseCount(1, MAX_NODES), 3)
    .option('-d, --detach', 'return when it answers, and leave it running')
    .option('--name <name>', 'name of the cluster; several can be side by side', parseName, DEFAULT_NAME)
    .option(
      '--port-base <port>',
      `first of four ports: manager, etcd, etcd's peers, VXLAN (default: ${DEFAULT_PORT_BASE}; free ones for another name)`,
      parsePort,
    )
    .option('--state-dir <dir>', 'everything that it keeps (default: /var/lib/shoal, /var/lib/shoal-NAME)')
    .option('--run-dir <dir>', 'socket and pid files (default: /run/shoal, /run/shoal-NAME)')
    .option('--example-port <port>', 'port of the example stack', parsePort, EXAMPLE_PORT)
    .option('--no-example', 'do not deploy the example stack')
    .option('--insecure-registry <host>', 'nodes speak plain HTTP with it (repeatable)', collect, [])
    .action(runUp);
}

async function runUp(flags: UpFlags): Promise<void> {
  const signal = signalOfInterrupts();
  const detached = process.env['SHOAL_DETACHED'] === '1';
  if (flags.detach === true && !detached) return detach(process.argv.slice(1), say, signal);
  const layout = layoutOf(flags, await portBaseOf(flags));
  const progress = lineProgress(detached ? (line) => tellParent(layout, line) : say);
  const options = upOptions(flags, layout, progress);
  const cluster = await up(options, detachedSignal(signal, detached));
  progress.say(nextSteps(options, 'sudo npx shoal'));
  if (detached)
    process.send?.({ kind: 'ready' }); // the parent goes; from here on only signals count
  else say('\nCtrl-C removes it all.');
  if (!signal.aborted) await once(signal, 'abort');
  const left = await progress.step(`removed the cluster '${layout.name}'`, () => cluster.down());
  complain(left);
}

/** A detached cluster that is not up yet goes away with the command that waits for it. */
function detachedSignal(signal: AbortSignal, detached: boolean): AbortSignal {
  if (!detached) return signal;
  const gone = new AbortController();
  process.once('disconnect', () => gone.abort());
  return AbortSignal.any([signal, gone.signal]);
}

/** To the parent while it waits, and to a log for later. */
function tellParent(layout: Layout, line: string): void {
  if (process.connected) process.send?.({ kind: 'say', line });
  try {
    appendFileSync(path.join(layout.logDir, 'up.log'), `${new Date().toISOString()} ${line}\n`);
  } catch {
    // its directory is not made yet, or gone
  }
}

/** The default cluster has fixed ports; others take what is free. */
async function portBaseOf(flags: UpFlags): Promise<number> {
  if (flags.portBase !== undefined) return flags.portBase;
  return flags.name === DEFAULT_NAME ? DEFAULT_PORT_BASE : freePortBase(DEFAULT_PORT_BASE + 10, 4);
}

function upOptions(flags: UpFlags, layout: Layout, progress: Progress): UpOptions {
  return {
    layout,
    nodeCount: flags.nodes,
    examplePort: flags.example ? flags.examplePort : undefined,
    insecureRegistries: flags.insecureRegistry,
    progress,
  };
}

interface PlaceFlags {
  name: string;
  stateDir?: string;
  runDir?: string;
}

function layoutOf(flags: PlaceFlags, portBase: number): Layout {
  return makeLayout({
    name: flags.name,
    portBase,
    ...(flags.stateDir === undefined ? {} : { stateDir: flags.stateDir }),
    ...(flags.runDir === undefined ? {} : { runDir: flags.runDir }),
  });
}

export function addDown(program: Command): void {
  program
    .command('down')
    .description(
      "remove a cluster that 'up' made, with everything of it, even if all its processes were killed",
    )
    .option('--name <name>', 'name of the cluster', parseName, DEFAULT_NAME)
    .option('--state-dir <dir>', 'where it was put, if not in the default place')
    .option('--run-dir <dir>', 'where it was put, if not in the default place')
    .action(runDown);
}

async function runDown(flags: PlaceFlags): Promise<void> {
  const problem = checkRoot();
  if (problem !== undefined) throw new InvalidError(problem);
  const signal = new AbortController().signal; // a removal is not interrupted half way
  const first = layoutOf(flags, DEFAULT_PORT_BASE);
  const marker = await readMarker(first.runDir);
  // the run directory knows where the state is
  const layout =
    marker === undefined
      ? first
      : layoutOf({ ...flags, name: marker.name, stateDir: marker.stateDir }, DEFAULT_PORT_BASE);
  const there = describeInventory(await takeInventory(layout, signal));
  if (there.length === 0) {
    say(`there is no cluster '${layout.name}' on this machine (${layout.stateDir}, ${layout.runDir})`);
    return;
  }
  const progress = lineProgress(say);
  const left = await progress.step(`removed the cluster '${layout.name}'`, async () => {
    await stopOwner(layout);
    return removeCluster(layout, signal);
  });
  complain(left);
}

function complain(left: readonly string[]): void {
  if (left.length === 0) return;
  throw new LeftoverError(
    `these would not go (try 'shoal down' again, or remove them yourself):\n  ${left.join('\n  ')}`,
  );
}

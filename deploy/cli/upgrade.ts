/** `shoal upgrade`: machine by machine, managers first; each is well before the next, else it stops and says where. */
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { access } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import path from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { ConflictError, InvalidError, UnavailableError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import type { ApiClient } from './client.ts';
import { signalOfInterrupts } from './fail.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';
import { parsePeriod } from './options.ts';
import { isDone, type Machine, nextStep, type UpgradeStep, waitsFor } from './upgrade-plan.ts';
import { awaitNode, lostOf, readMachines, runningOn, storedDataProblem } from './upgrade-view.ts';

interface UpgradeFlags extends SocketFlags {
  to?: string;
  run?: string;
  ssh: string;
  hostnames?: boolean;
  within: number;
  dryRun?: boolean;
}

/** How a machine gets the release: a shell command, and what it reads. */
interface Way {
  readonly target: string;
  readonly commandFor: (machine: Machine) => string;
  readonly input?: string;
}

const LOOK_MS = 300;
/** A new leader, and nodes that go to another manager, take a few seconds. */
const SETTLE_MS = 20_000;

/** On the machine: unpacks the tarball that it reads, upgrades, and leaves nothing of it. */
const INSTALL = `set -e; d=$(mktemp -d); trap "rm -rf $d" EXIT; tar -xzf - -C $d --strip-components=1; $d/deploy/install.sh upgrade`;

export function addUpgrade(program: Command): void {
  const command = program
    .command('upgrade')
    .description('upgrade all machines of the cluster one by one; containers go on')
    .argument('[tarball]', 'the release, shoal-VERSION-linux-MACHINE.tar.gz, sent to each machine by ssh')
    .option(
      '--ssh <command>',
      'how to run a command on a machine: its address and the command follow',
      'ssh -o BatchMode=yes',
    )
    .option('--hostnames', 'reach machines by their host names, not by their addresses')
    .option(
      '--run <command>',
      'in place of a tarball: a shell command here that upgrades $SHOAL_UPGRADE_ADDRESS',
    )
    .option('--to <version>', 'with --run: the version that it installs', parseVersion)
    .option('--within <duration>', 'how long a machine may take to be well again', parsePeriod, 300_000)
    .option('--dry-run', 'say what would be done');
  addSocketOptions(command).action(async (tarball: string | undefined, flags: UpgradeFlags) => {
    const way = await wayOf(tarball, flags);
    await upgradeAll(clientOf(flags), way, flags, signalOfInterrupts());
  });
}

function parseVersion(text: string): string {
  if (/^\d+\.\d+\.\d+(?:[-+][\w.+-]+)?$/.test(text)) return text;
  throw new InvalidArgumentError('a version is wanted, e.g. 0.2.0.');
}

async function wayOf(tarball: string | undefined, flags: UpgradeFlags): Promise<Way> {
  if ((tarball === undefined) === (flags.run === undefined))
    throw new InvalidError('either the tarball of a release is wanted, or --run with --to');
  if (tarball === undefined) {
    if (flags.to === undefined) throw new InvalidError('--run wants --to: the version that it installs');
    const { run = '' } = flags;
    return { target: flags.to, commandFor: () => run };
  }
  if (flags.to !== undefined) throw new InvalidError('--to is for --run: a tarball says its version');
  const version = /^shoal-(\d+\.\d+\.\d+(?:[-+][\w.+-]+)?)-linux-\w+\.tar\.gz$/.exec(
    path.basename(tarball),
  )?.[1];
  if (version === undefined)
    throw new InvalidError(`${tarball} is not named like a release: shoal-VERSION-linux-MACHINE.tar.gz`);
  await access(tarball).catch((cause: unknown) => {
    throw new InvalidError(`the release ${tarball} can not be read`, { cause });
  });
  return { target: version, commandFor: (machine) => sshCommand(machine, flags), input: tarball };
}

/** The machine that this runs on needs no ssh. */
function sshCommand({ name, address }: Machine, { ssh, hostnames }: UpgradeFlags): string {
  const own = Object.values(networkInterfaces()).flat();
  if (own.some((one) => one?.address === address)) return INSTALL;
  const destination = hostnames === true ? name.replace(/ \(.*/, '') : address;
  return `${ssh} ${quote(destination)} ${quote(`sudo sh -c ${quote(INSTALL)}`)}`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

async function upgradeAll(api: ApiClient, way: Way, flags: UpgradeFlags, signal: AbortSignal): Promise<void> {
  const { target } = way;
  const first = await readMachines(api, signal);
  const readyBefore = new Set(first.flatMap(({ node }) => (node?.ready === true ? [node.id] : [])));
  if (flags.dryRun === true) return say(dryRun(first, target, readyBefore));
  for (let done = 0; ; done += 1) {
    const { machines, step } = await settledStep(api, target, readyBefore, signal);
    if (step.kind === 'stop' || step.kind === 'wait')
      throw new ConflictError(stopped(step.reason, machines, target));
    if (step.kind === 'done') {
      await untilDataIsForward(api, flags.within, signal);
      const left = step.leftOut.map(({ name }) => name);
      const more = left.length === 0 ? '' : `; not there, and to be upgraded by hand: ${left.join(', ')}`;
      return say(`all have ${target} (${done} upgraded)${more}`);
    }
    try {
      await upgradeOne(api, way, step.machine, flags.within, readyBefore, signal);
    } catch (error) {
      signal.throwIfAborted();
      const reason = error instanceof Error ? error.message : String(error);
      const now = await readMachines(api, signal).catch(() => machines);
      throw new ConflictError(stopped(`${step.machine.name}: ${reason}`, now, target), { cause: error });
    }
  }
}

/** The next step; what may pass is waited for. */
async function settledStep(
  api: ApiClient,
  target: string,
  readyBefore: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<{ readonly machines: readonly Machine[]; readonly step: UpgradeStep }> {
  const end = performance.now() + SETTLE_MS;
  for (;;) {
    const machines = await readMachines(api, signal);
    const step = nextStep({ machines, target, readyBefore });
    if (step.kind !== 'wait' || performance.now() > end) return { machines, step };
    await delay(LOOK_MS, signal);
  }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function stopped(reason: string, machines: readonly Machine[], target: string): string {
  const names = machines.filter((machine) => isDone(machine, target)).map(({ name }) => name);
  return (
    `${reason}. The upgrade has stopped: ${names.length} of ${machines.length} machines have ${target}` +
    `${names.length === 0 ? '' : ` (${names.join(', ')})`}; the same command goes on from here`
  );
}

/** The order as it would be if all went well. */
function dryRun(first: readonly Machine[], target: string, readyBefore: ReadonlySet<string>): string {
  const lines: string[] = [];
  let machines = first;
  for (;;) {
    const step = nextStep({ machines, target, readyBefore });
    if (step.kind === 'stop' || step.kind === 'wait') throw new ConflictError(step.reason);
    if (step.kind === 'done') return lines.join('\n') || `all have ${target}`;
    const { machine } = step;
    const what = [
      machine.manager && `manager ${machine.manager.version}`,
      machine.node && `node ${machine.node.version}`,
    ];
    lines.push(`${machine.name}: ${what.filter((one) => one !== undefined).join(', ')} -> ${target}`);
    machines = machines.map((one) => (one === machine ? upgraded(one, target) : one));
  }
}

function upgraded({ manager, node, ...rest }: Machine, target: string): Machine {
  return {
    ...rest,
    ...(manager === undefined ? {} : { manager: { ...manager, version: target } }),
    ...(node === undefined ? {} : { node: { ...node, version: target } }),
  };
}

async function upgradeOne(
  api: ApiClient,
  way: Way,
  machine: Machine,
  withinMs: number,
  readyBefore: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<void> {
  const { node } = machine;
  say(`${machine.name}: ${machine.manager?.version ?? node?.version} -> ${way.target}`);
  const running = node === undefined ? new Map<string, string>() : await runningOn(api, node.id, signal);
  if (
    node !== undefined &&
    !(await awaitNode(api, node.id, Math.min(3600, Math.ceil(withinMs / 1000)), signal))
  )
    say(`${machine.name}: managers of this release do not wait for a node whose agent takes long to start`);
  await runCommand(way, machine, signal);
  const wasReady = node !== undefined && readyBefore.has(node.id);
  const end = performance.now() + withinMs;
  for (;;) {
    const now = (await readMachines(api, signal)).find(({ address }) => address === machine.address);
    const problem =
      now === undefined ? 'it is not in the cluster any more' : waitsFor(now, way.target, wasReady);
    if (problem === undefined) break;
    if (performance.now() > end)
      throw new UnavailableError(`${problem}, ${Math.round(withinMs / 1000)} s after its upgrade`);
    await delay(LOOK_MS, signal);
  }
  if (node !== undefined) await awaitNode(api, node.id, 0, signal);
  const lost = node === undefined ? [] : await lostOf(api, node.id, running, signal);
  if (lost.length > 0)
    throw new ConflictError(`containers have ended: ${lost.map((id) => id.slice(0, 12)).join(', ')}`);
}

/** What the command says goes to standard error. */
function runCommand(
  { target, commandFor, input }: Way,
  machine: Machine,
  signal: AbortSignal,
): Promise<void> {
  const env = {
    ...process.env,
    SHOAL_UPGRADE_ADDRESS: machine.address,
    SHOAL_UPGRADE_NAME: machine.name,
    SHOAL_UPGRADE_TO: target,
  };
  const child = spawn('sh', ['-c', commandFor(machine)], { env, stdio: ['pipe', 2, 2], signal });
  const source = input === undefined ? undefined : createReadStream(input);
  const { stdin } = child;
  stdin?.on('error', () => undefined); // it ended without reading all: its exit code says why
  if (source === undefined || stdin === null) stdin?.end();
  else source.pipe(stdin);
  return new Promise((resolve, reject) => {
    source?.on('error', reject);
    child.on('error', reject);
    child.on('close', (code, name) => {
      source?.destroy();
      if (code === 0) resolve();
      else
        reject(new UnavailableError(`its upgrade ended with ${code === null ? name : `exit code ${code}`}`));
    });
  });
}

/** It comes forward by itself; whoever went away meanwhile is named. */
async function untilDataIsForward(api: ApiClient, withinMs: number, signal: AbortSignal): Promise<void> {
  const end = performance.now() + withinMs;
  for (;;) {
    const problem = await storedDataProblem(api, signal);
    if (problem === undefined) return;
    if (performance.now() > end)
      throw new UnavailableError(
        `all machines are upgraded, but of the stored data this is said: ${problem}`,
      );
    await delay(LOOK_MS, signal);
  }
}

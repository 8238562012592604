import { setMaxListeners } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import koffi from 'koffi';
import { SharedWork } from '../../shared/lib/shared-work.ts';
import { isFrozen, setFrozen } from './cgroup-files.ts';
import { askMonitor } from './control-socket.ts';
import { errorParameter, NativeError, refusalOf, type NativeFailure } from './errors.ts';
import type { FileBatch } from './file-batch.ts';
import { library, nativeDir } from './library.ts';
import { answered } from './settled.ts';
import type { OciConfig, OciHooks, OciProcess, OciResources, OciSeccomp } from './oci.ts';

export { NativeError } from './errors.ts';
export type * from './oci.ts';

const ESRCH = 3;
const SIGKILL = 9;
/** How long deleteContainer lets a killed container record its exit before it kills the monitor too. */
const DELETE_GRACE_MS = 10_000;

export interface CreateRequest {
  /** Container id, 64 hex digits. */
  id: string;
  /** Tmpfs directory of this one container: socket, state.json, list of cgroups. Made if it is missing. */
  runDir: string;
  /** Default: shoal-monitor beside the library. */
  monitorPath?: string;
  config: OciConfig;
  /** Overlay; lower[0] is the topmost layer; upper and work exist. */
  rootfs: { lower: string[]; upper: string; work: string };
  /** Its output in CRI format; absent: not kept. */
  log?: LogRequest;
  /** Standard input is kept open for who attaches; else it is at its end. With a terminal: it may be typed on. */
  stdin?: boolean;
  /** Standard input ends with the first attached client whose input ends. Not with a terminal. */
  stdinOnce?: boolean;
  /** What is to be there before it. */
  batch?: FileBatch;
  /** Descriptor of a word (withStartWord): if it is said by the time the container is made, its command runs at once. */
  startWord?: number;
}

export interface MadeContainer {
  readonly pid: number;
  /** Since when its command runs; absent: it waits for startContainer. */
  readonly startedAtMs?: number;
}

/** Files PATH.0, PATH.1 and so on; a container goes on with the newest. */
export interface LogRequest {
  path: string;
  /** Of one file; 0: no limit. */
  maxBytes: number;
  maxFiles: number;
}

export interface ContainerState {
  id: string;
  status: 'created' | 'running' | 'stopped';
  pid: number;
  monitorPid: number;
  createdAtMs: number;
  startedAtMs?: number;
  finishedAtMs?: number;
  /** 128 + n after signal n; 127 when the command was not found, 126 when it could not be run. */
  exitCode?: number;
  signal?: number;
  oomKilled?: boolean;
  /** Why the command could not be run. */
  startError?: string;
  /** Output that a full disk swallowed. */
  logDroppedBytes?: number;
}

/** The monitor died and took its container with it; no exit was recorded. */
export class MonitorLostError extends Error {
  override readonly name = 'MonitorLostError';
  constructor(runDir: string) {
    super(`the monitor of ${runDir} is gone without having recorded an exit`);
  }
}

const startTime = koffi.out(koffi.pointer('int64_t'));
const create = library.func('shoal_container_run', 'int', ['str', 'str', startTime, errorParameter]);
const exec = library.func('shoal_container_exec', 'int', ['str', 'str', errorParameter]);
const update = library.func('shoal_container_update', 'int', ['str', 'str', errorParameter]);
const remove = library.func('shoal_container_delete', 'int', ['str', errorParameter]);

/** The last call's number of a native function, run on koffi's threads. Rejects with NativeError. */
function call(func: typeof create, ...args: unknown[]): Promise<number> {
  return answered((...rest) => func.async(...args, ...rest));
}

const profileTexts = new WeakMap<OciSeccomp, string>();

/** Profiles are large and few: each object is turned into text once. */
function profileText(profile: OciSeccomp | undefined): string | null {
  if (profile === undefined) return null;
  const known = profileTexts.get(profile);
  if (known !== undefined) return known;
  const text = JSON.stringify(profile);
  profileTexts.set(profile, text);
  return text;
}

/**
 * Makes a container, ready to run its command: namespaces, cgroups, root file system, monitor. Between this and
 * startContainer the caller may move interfaces into /proc/<pid>/ns/net. Rejects with NativeError and leaves nothing; with
 * a word that was said also for what startContainer rejects.
 */
export async function createContainer(request: CreateRequest): Promise<MadeContainer> {
  const { hooks, ...config } = request.config;
  const { seccomp, ...linux } = config.linux;
  const text = JSON.stringify({
    ...request,
    ...(hooks === undefined ? {} : { hooks: await hooksFor(request, hooks) }),
    monitorPath: request.monitorPath ?? join(nativeDir, 'shoal-monitor'),
    config: { ...config, linux },
  });
  const startedAtMs: [number] = [0];
  const pid = await call(create, text, profileText(seccomp), startedAtMs);
  return startedAtMs[0] === 0 ? { pid } : { pid, startedAtMs: startedAtMs[0] };
}

/** The run directory is the bundle that the state names: hooks read its config.json for where the root is. */
async function hooksFor({ id, runDir, config }: CreateRequest, hooks: OciHooks): Promise<object> {
  const root = { ...config.root, path: join(runDir, 'root') };
  await mkdir(runDir, { recursive: true, mode: 0o700 });
  await writeFile(join(runDir, 'config.json'), JSON.stringify({ ...config, root }), { mode: 0o600 });
  const state = { ociVersion: config.ociVersion, id, status: 'creating', bundle: runDir };
  return { ...hooks, state, program: join(nativeDir, 'shoal-oci') };
}

/** Runs the command. Rejects with NativeError, e.g. code ENOENT, step `exec`, when it can not be run. */
export async function startContainer(runDir: string): Promise<void> {
  expectOk(await askMonitor(runDir, 'start'), 'start');
}

/** Changes the limits that are named. Rejects with NativeError: ENOENT when the container is gone. */
export async function updateContainer(
  runDir: string,
  resources: Pick<OciResources, 'memory' | 'cpu' | 'pids' | 'blockIO'>,
): Promise<void> {
  await call(update, runDir, JSON.stringify(resources));
}

/** Signals the container's init. Rejects with NativeError ESRCH when it is gone. */
export async function killContainer(runDir: string, signal: number): Promise<void> {
  expectOk(await askMonitor(runDir, `kill ${signal}`), 'kill');
}

/** Characters. Rejects with NativeError: ESRCH when the container is gone, ENOTTY when it has no terminal. */
export async function resizeContainer(runDir: string, rows: number, columns: number): Promise<void> {
  expectOk(await askMonitor(runDir, `resize ${rows} ${columns}`), 'resize');
}

function expectOk(answer: string | undefined, step: string): void {
  if (answer !== 'ok') throw refusalOf(answer, step);
}

/**
 * The container's state. Throws MonitorLostError when it has not stopped but nobody listens on its socket, which only
 * the living monitor does (a pid could be another's by now); ENOENT when there is no such container.
 */
export async function readState(runDir: string): Promise<ContainerState> {
  const state = await readStateFile(runDir);
  if (state.status === 'stopped') return state;
  const answer = await askMonitor(runDir, 'state');
  if (answer !== undefined) return JSON.parse(answer) as ContainerState;
  return stoppedOrLost(runDir);
}

/** For when the monitor does not answer: it writes the file before it ends. */
async function stoppedOrLost(runDir: string): Promise<ContainerState> {
  const state = await readStateFile(runDir);
  if (state.status === 'stopped') return state;
  throw new MonitorLostError(runDir);
}

/** What the monitor wrote last, which says nothing of whether it lives. Rejects with ENOENT when there is no such container. */
export async function readStateFile(runDir: string): Promise<ContainerState> {
  // In memory, and short: a change of thread for each of Node's four steps would take ten times as long.
  return JSON.parse(readFileSync(join(runDir, 'state.json'), 'utf8')) as ContainerState;
}

const waits = new SharedWork<string | undefined>();

/**
 * Resolves when the container has stopped. Rejects with MonitorLostError, or the signal's reason. Holds one socket, however
 * many wait: a monitor serves some twenty connections, and who finds none left can not even stop the container.
 */
export async function waitContainer(runDir: string, signal: AbortSignal): Promise<ContainerState> {
  const state = await readStateFile(runDir);
  if (state.status === 'stopped') return state;
  // One signal may serve a whole agent: a listener a container is no leak.
  setMaxListeners(0, signal);
  const answer = await waits.run(runDir, (shared) => askMonitor(runDir, 'wait', shared), signal);
  return answer === undefined ? stoppedOrLost(runDir) : (JSON.parse(answer) as ContainerState);
}

export interface ExecOptions {
  /** 0: no limit. */
  timeoutMs: number;
  /** Output beyond this is read and forgotten. At most 16 MiB. */
  maxOutputBytes: number;
  /** Default: the container's own. */
  seccomp?: OciSeccomp;
  monitorPath?: string;
}

export interface ExecResult {
  exitCode: number;
  timedOut: boolean;
  /** Standard output and error as they came. */
  output: string;
}

/**
 * Runs a command in a running container and waits for it; whatever it started is killed with its end or its timeout.
 * Rejects with NativeError: ESRCH when the container does not run, ENOENT (step `exec`) when there is no such command.
 */
export async function execInContainer(
  runDir: string,
  process: OciProcess,
  options: ExecOptions,
): Promise<ExecResult> {
  const { seccomp, timeoutMs, maxOutputBytes } = options;
  const monitorPath = options.monitorPath ?? join(nativeDir, 'shoal-monitor');
  const text = JSON.stringify({ runDir, monitorPath, process, timeoutMs, maxOutputBytes });
  const answer = await readAll(new Socket({ fd: await call(exec, text, profileText(seccomp)) }));
  return parseExec(answer);
}

async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function parseExec(answer: Buffer): ExecResult {
  const end = answer.indexOf('\n');
  if (end < 0) throw new NativeError(ESRCH, 'exec', 'ended without an answer');
  const head = JSON.parse(answer.toString('utf8', 0, end)) as NativeFailure & ExecResult;
  if (head.code !== 0) throw new NativeError(head.code, head.step, head.detail);
  return { exitCode: head.exitCode, timedOut: head.timedOut, output: answer.toString('utf8', end + 1) };
}

/** Removes all that createContainer made but the log and the layers; kills what is left first. Idempotent. */
export async function deleteContainer(runDir: string): Promise<void> {
  if (!existsSync(runDir)) return;
  await thaw(runDir);
  if ((await askMonitor(runDir, `kill ${SIGKILL}`)) !== undefined) {
    const signal = AbortSignal.timeout(DELETE_GRACE_MS);
    await waitContainer(runDir, signal).catch(() => undefined);
    // The monitor ends right after it has answered; until then it holds the socket.
    while (!signal.aborted && (await askMonitor(runDir, 'state')) !== undefined) await delay(1);
  }
  await call(remove, runDir);
}

/** Under v1 a frozen process does not even die of SIGKILL. */
async function thaw(runDir: string): Promise<void> {
  if (!(await isFrozen(runDir))) return;
  await setFrozen(runDir, false, AbortSignal.timeout(DELETE_GRACE_MS)).catch(() => undefined);
}

/** A command in a running container that people talk to: its streams, its terminal, its end. */
import { Socket } from 'node:net';
import { join } from 'node:path';
import koffi from 'koffi';
import { errorParameter, NativeError } from './errors.ts';
import { library, nativeDir } from './library.ts';
import { settled } from './settled.ts';
import type { OciProcess } from './oci.ts';

const ESRCH = 3;

/** Laid out as struct shoal_session of native/include/shoal-container.h; unnamed, as koffi's names are global. */
const socketsType = koffi.struct({ control_fd: 'int32_t', streams_fd: 'int32_t', stderr_fd: 'int32_t' });

interface Sockets {
  control_fd: number;
  streams_fd: number;
  stderr_fd: number;
}

const open = library.func('shoal_container_session', 'int', [
  'str',
  'str',
  koffi.out(koffi.pointer(socketsType)),
  errorParameter,
]);

export interface SessionRequest {
  readonly process: OciProcess;
  /** With a terminal, standard error is part of standard output. */
  readonly terminal: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** The terminal's first size, in characters. */
  readonly rows?: number;
  readonly columns?: number;
  readonly monitorPath?: string;
}

export interface NativeSession {
  /** In the agent's pid namespace. */
  readonly pid: number;
  /** Standard output; written to, standard input: `end()` is its end. Destroying it leaves the command running. */
  readonly streams: Socket;
  /** Nothing is written to it. */
  readonly stderr: Socket;
  /** The exit code: 128 + n after signal n. Rejects with NativeError when the monitor was killed. */
  readonly exited: Promise<number>;
  /** Characters. Without a terminal, and after the end, it does nothing. */
  readonly resize: (rows: number, columns: number) => void;
}

interface SessionEvent {
  readonly event: 'started' | 'failed' | 'exited';
  readonly pid: number;
  readonly exitCode: number;
  readonly code: number;
  readonly step: string;
  readonly detail: string;
}

/**
 * Starts a command; resolves once it runs. It goes on whatever becomes of the agent. Rejects with NativeError: ESRCH when
 * the container does not run; step `exec`, ENOENT or EACCES, when there is no such command or it can not be run.
 */
export async function openSession(runDir: string, request: SessionRequest): Promise<NativeSession> {
  const monitorPath = request.monitorPath ?? join(nativeDir, 'shoal-monitor');
  const sockets = await callOpen(JSON.stringify({ runDir, ...request, monitorPath }));
  const control = new Socket({ fd: sockets.control_fd });
  const streams = new Socket({ fd: sockets.streams_fd, allowHalfOpen: true });
  const stderr = new Socket({ fd: sockets.stderr_fd });
  // A reset is an end like any other here: the control socket says what became of the command.
  for (const socket of [control, streams, stderr]) socket.on('error', () => undefined);
  const events = eventsOf(control);
  const first = await nextEvent(events);
  if (first?.event !== 'started') {
    for (const socket of [control, streams, stderr]) socket.destroy();
    throw failureOf(first);
  }
  const exited = exitOf(events);
  // Who is not interested in the exit need not look at it.
  exited.catch(() => undefined);
  const resize = (rows: number, columns: number): void => {
    if (control.writable) control.write(`resize ${rows} ${columns}\n`);
  };
  return { pid: first.pid, streams, stderr, exited, resize };
}

async function callOpen(request: string): Promise<Sockets> {
  const sockets = {} as Sockets;
  await settled((...rest) => open.async(request, null, sockets, ...rest));
  return sockets;
}

async function* eventsOf(control: Socket): AsyncGenerator<SessionEvent> {
  let text = '';
  try {
    for await (const chunk of control) {
      text += String(chunk);
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        yield JSON.parse(text.slice(0, end)) as SessionEvent;
        text = text.slice(end + 1);
      }
    }
  } catch (error) {
    // A monitor that was killed: the same as one that ended without a word.
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
  }
}

async function nextEvent(events: AsyncGenerator<SessionEvent>): Promise<SessionEvent | undefined> {
  const { value, done } = await events.next();
  return done === true ? undefined : value;
}

async function exitOf(events: AsyncGenerator<SessionEvent>): Promise<number> {
  const last = await nextEvent(events);
  if (last?.event !== 'exited') throw failureOf(undefined);
  return last.exitCode;
}

function failureOf(event: SessionEvent | undefined): NativeError {
  if (event === undefined) return new NativeError(ESRCH, 'exec', 'its monitor ended without an answer');
  return new NativeError(event.code, event.step, event.detail);
}

/** What a manager may ask of a node about the standard streams of a container's own process. */
import type { Nothing, OfContainer, TerminalSize } from './common.ts';

/** What of a container a client wants. */
export interface AttachParams {
  readonly containerId: string;
  /** The stream's input is written to its standard input. */
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** First what it wrote before. */
  readonly logs: boolean;
  /** What it writes from now on; without it the stream ends after the logs. */
  readonly stream: boolean;
}

export interface AttachMethods {
  /** Conflict when it does not run or has no terminal. */
  'container.resize': { params: OfContainer & TerminalSize; result: Nothing };
}

export interface AttachStreams {
  /**
   * Chunks are output as the container wrote it. One that does not run is waited for, and misses nothing then. Ends with
   * the container's run, or, unless its standard input ends with its first client's (then only the input ends), with the
   * input; an abort leaves the container as it is.
   */
  'container.attach': AttachParams;
}

/** What a manager may ask of a node about further commands in its containers. */
import type { Nothing, TerminalSize } from './common.ts';

/** A command that shall run in a container; nothing runs yet. */
export interface ExecSpec {
  /** 64 hexadecimal digits, chosen by the manager. */
  readonly execId: string;
  readonly containerId: string;
  readonly args: readonly string[];
  /** KEY=value is added to the container's, KEY alone removed from it. */
  readonly env: readonly string[];
  /** As USER of an image; empty: the container's own. */
  readonly user: string;
  /** Absolute; empty: the container's own. */
  readonly workingDir: string;
  readonly tty: boolean;
  readonly attachStdin: boolean;
  readonly attachStdout: boolean;
  readonly attachStderr: boolean;
  /** All capabilities that the agent has, whatever the container's are. */
  readonly privileged?: true;
}

export interface ExecInfo {
  readonly spec: ExecSpec;
  readonly state: 'created' | 'running' | 'exited';
  /** In the node's pid namespace; 0 before it runs. */
  readonly pid: number;
  /** 126: it could not be run; 127: there is no such command; 128 + n after signal n. */
  readonly exitCode?: number;
}

export interface ExecMethods {
  'exec.create': { params: ExecSpec; result: Nothing };
  'exec.inspect': { params: { execId: string }; result: ExecInfo };
  /** Resolves when it has ended; waits for the start of one that does not run yet. */
  'exec.wait': { params: { execId: string }; result: { exitCode: number } };
  /** Kept for its start when it does not run yet. */
  'exec.resize': { params: { execId: string } & TerminalSize; result: Nothing };
  /** Runs it with nobody attached; resolves once it runs. */
  'exec.start': { params: { execId: string; size?: TerminalSize }; result: Nothing };
}

export interface ExecStreams {
  /**
   * Runs it; its input is the command's standard input, the chunks its output. Ends once the command has ended; an abort
   * leaves it running.
   */
  'exec.attach': { readonly execId: string; readonly size?: TerminalSize };
}

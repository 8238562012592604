/** What the methods of several subjects share. */

/** A piece of a stream: 1 stdout, 2 stderr (Docker's numbers; 0 is stdin). */
export interface StreamChunk {
  readonly stream: 0 | 1 | 2;
  readonly data: Buffer;
}

/** Of a terminal, in characters. */
export interface TerminalSize {
  readonly rows: number;
  readonly columns: number;
}

export interface OfContainer {
  readonly containerId: string;
}

export type Nothing = Record<string, never>;

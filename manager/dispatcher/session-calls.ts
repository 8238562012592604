/** Calls and streams of one session, from the manager's side. */
import { InvalidError, UnavailableError } from '../../shared/errors/index.ts';
import type { NodeMethods, NodeStreams, StreamChunk } from '../../shared/model/node-methods/index.ts';
import {
  type AgentFrame,
  decodeStreamData,
  encodeStreamData,
  type ManagerFrame,
  parseValue,
  STREAM_WINDOW_BYTES,
} from '../../shared/wire/frames.ts';
import { methodSchemas } from '../../shared/wire/node-methods/index.ts';
import { InboundStream } from '../../shared/wire/inbound-stream.ts';
import { OutboundStream } from '../../shared/wire/outbound-stream.ts';
import { fromWireError } from '../../shared/wire/wire-error.ts';
import { currentRequestId } from '../request-scope.ts';

type Response = Extract<AgentFrame, { type: 'response' }>;
type End = Extract<AgentFrame, { type: 'end' }>;

type Credit = Extract<AgentFrame, { type: 'credit' }>;
/** What a node says of a call or stream, besides data. */
export type Answer = Response | End | Credit;

interface PendingCall {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

export class SessionCalls {
  readonly #send: (frame: ManagerFrame | Buffer) => void;
  readonly #calls = new Map<number, PendingCall>();
  readonly #streams = new Map<number, InboundStream>();
  readonly #inputs = new Map<number, OutboundStream>();
  /** Calls and streams of other managers: what the node says of them is passed on. */
  readonly #forwarded = new Map<number, (answer: Answer | Buffer) => void>();
  #lastId = 0;
  #closed: Error | undefined;

  constructor(send: (frame: ManagerFrame | Buffer) => void) {
    this.#send = send;
  }

  async call<M extends keyof NodeMethods>(
    method: M,
    params: NodeMethods[M]['params'],
    signal: AbortSignal,
  ): Promise<NodeMethods[M]['result']> {
    signal.throwIfAborted();
    if (this.#closed !== undefined) throw this.#closed;
    const id = this.#nextId();
    const onAbort = (): void => {
      this.#send({ type: 'cancel', id });
      this.#calls.get(id)?.reject(signal.reason);
    };
    try {
      const result = await new Promise<unknown>((resolve, reject) => {
        this.#calls.set(id, { resolve, reject });
        signal.addEventListener('abort', onAbort, { once: true });
        this.#send(requestFrame(id, method, params));
      });
      return parseValue<NodeMethods[M]['result']>(
        methodSchemas[method].result,
        result,
        `the answer to ${method}`,
      );
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#calls.delete(id);
    }
  }

  async *stream<M extends keyof NodeStreams>(
    method: M,
    params: NodeStreams[M],
    input: AsyncIterable<Buffer> | undefined,
    signal: AbortSignal,
    windowBytes: number = STREAM_WINDOW_BYTES,
  ): AsyncGenerator<StreamChunk> {
    signal.throwIfAborted();
    if (this.#closed !== undefined) throw this.#closed;
    const id = this.#nextId();
    const inbound = new InboundStream((bytes) => this.#send({ type: 'credit', id, bytes }), windowBytes);
    const onAbort = (): void => {
      if (!inbound.ended) this.#send({ type: 'cancel', id });
      inbound.end(signal.reason as Error);
    };
    this.#streams.set(id, inbound);
    signal.addEventListener('abort', onAbort, { once: true });
    const window = windowBytes === STREAM_WINDOW_BYTES ? {} : { window: windowBytes };
    this.#send({ ...requestFrame(id, method, params), ...window });
    const over = new AbortController();
    if (input !== undefined) void this.#feed(id, inbound, input, over.signal);
    try {
      for (;;) {
        const chunk = await inbound.next();
        if (chunk === undefined) return;
        yield chunk;
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      over.abort();
      this.#streams.delete(id);
      if (!inbound.ended) this.#send({ type: 'cancel', id });
    }
  }

  /** Sends a stream's input until it ends or the stream does. */
  async #feed(
    id: number,
    inbound: InboundStream,
    input: AsyncIterable<Buffer>,
    over: AbortSignal,
  ): Promise<void> {
    const outbound = new OutboundStream((chunk) => this.#send(encodeStreamData(id, 0, chunk.data)));
    this.#inputs.set(id, outbound);
    try {
      await outbound.pump(asChunks(input), over);
      if (!inbound.ended) this.#send({ type: 'input-end', id });
    } catch (error) {
      if (over.aborted || inbound.ended) return;
      this.#send({ type: 'cancel', id });
      inbound.end(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#inputs.delete(id);
    }
  }

  /** True while anything is under way. */
  get busy(): boolean {
    return this.#calls.size + this.#streams.size + this.#forwarded.size > 0;
  }

  /** A number for a call or stream that is made elsewhere; `take` gets the node's answers until the last one. */
  forward(take: (answer: Answer | Buffer) => void): number {
    if (this.#closed !== undefined) throw this.#closed;
    const id = this.#nextId();
    this.#forwarded.set(id, take);
    return id;
  }

  /** Nobody wants the answers of this one any more. */
  drop(id: number): void {
    this.#forwarded.delete(id);
  }

  onResponse(frame: Response): void {
    if (this.#passOn(frame)) return;
    const call = this.#calls.get(frame.id);
    if (frame.error !== undefined) call?.reject(fromWireError(frame.error));
    else call?.resolve(frame.result);
  }

  /** What comes for a stream that is over is dropped: its cancel is on the way. Throws InvalidError on an overdraft. */
  onData(frame: Buffer): void {
    const { id, kind, data } = decodeStreamData(frame);
    if (id > this.#lastId)
      throw new InvalidError(`the node sent data on stream ${id}, which nobody asked for`);
    const forwarded = this.#forwarded.get(id);
    if (forwarded === undefined) this.#streams.get(id)?.push({ stream: kind, data });
    else forwarded(frame);
  }

  onCredit(id: number, bytes: number): void {
    if (this.#passOn({ type: 'credit', id, bytes })) return;
    this.#inputs.get(id)?.grant(bytes);
  }

  onEnd(frame: End): void {
    if (this.#passOn(frame)) return;
    this.#streams.get(frame.id)?.end(frame.error === undefined ? undefined : fromWireError(frame.error));
  }

  /** The session is over: everything under way fails with UnavailableError. */
  close(): void {
    this.#closed = new UnavailableError('the session with the node ended');
    for (const call of this.#calls.values()) call.reject(this.#closed);
    for (const stream of this.#streams.values()) stream.end(this.#closed);
    this.#forwarded.clear();
  }

  #passOn(answer: Answer): boolean {
    const take = this.#forwarded.get(answer.id);
    if (take === undefined) return false;
    if (answer.type !== 'credit') this.#forwarded.delete(answer.id);
    take(answer);
    return true;
  }

  #nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }
}

/** Names the API request that it is made for, if there is one. */
function requestFrame(id: number, method: string, params: unknown): ManagerFrame {
  const requestId = currentRequestId();
  return { type: 'request', id, method, params, ...(requestId === undefined ? {} : { requestId }) };
}

async function* asChunks(input: AsyncIterable<Buffer>): AsyncGenerator<StreamChunk> {
  for await (const data of input) yield { stream: 0, data };
}

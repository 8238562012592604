/** Answers what a manager asks over one session: calls and streams. */
import type { NodeMethods, NodeStreams } from '../../shared/model/node-methods/index.ts';
import { AppError, describeError, InvalidError, UnsupportedError } from '../../shared/errors/index.ts';
import { isAbort } from '../../shared/lib/abort.ts';
import type { Logger } from '../../shared/model/index.ts';
import {
  type AgentFrame,
  decodeStreamData,
  encodeStreamData,
  type ManagerFrame,
  parseValue,
} from '../../shared/wire/frames.ts';
import { isMethod, isStream, methodSchemas, streamSchemas } from '../../shared/wire/node-methods/index.ts';
import { InboundStream } from '../../shared/wire/inbound-stream.ts';
import { OutboundStream } from '../../shared/wire/outbound-stream.ts';
import { toWireError } from '../../shared/wire/wire-error.ts';
import type { LinkHandlers } from './link.ts';

type Request = Extract<ManagerFrame, { type: 'request' }>;

interface Work {
  readonly abort: AbortController;
  readonly stream?: OutboundStream;
  readonly input?: InboundStream;
}

export class RequestServer {
  readonly #handlers: LinkHandlers;
  readonly #send: (frame: AgentFrame | Buffer) => void;
  readonly #logger: Logger;
  readonly #work = new Map<number, Work>();

  constructor(handlers: LinkHandlers, send: (frame: AgentFrame | Buffer) => void, logger: Logger) {
    this.#handlers = handlers;
    this.#send = send;
    this.#logger = logger;
  }

  onRequest(request: Request): void {
    const { id, method } = request;
    if (this.#work.has(id)) throw new InvalidError(`request ${id} is under way already`);
    const log = this.#answered(request);
    if (isMethod(method)) void this.#serveCall(id, method, request.params, log);
    else if (isStream(method)) void this.#serveStream(id, method, request, log);
    else {
      const error = toWireError(new UnsupportedError(`this node has no method ${method}`));
      // Both shapes: a manager that knows the method waits for one of them.
      this.#send({ type: 'response', id, error });
      this.#send({ type: 'end', id, error });
    }
  }

  onCancel(id: number): void {
    this.#work.get(id)?.abort.abort();
  }

  onCredit(id: number, bytes: number): void {
    this.#work.get(id)?.stream?.grant(bytes);
  }

  /** Input for a stream. What comes after the stream's end is dropped. Throws InvalidError on an overdraft. */
  onData(frame: Buffer): void {
    const { id, kind, data } = decodeStreamData(frame);
    this.#work.get(id)?.input?.push({ stream: kind, data });
  }

  onInputEnd(id: number): void {
    this.#work.get(id)?.input?.end();
  }

  /** The session is over: nobody waits for any of it. */
  close(): void {
    for (const work of this.#work.values()) work.abort.abort();
  }

  /**
   * Writes the one line that this node's log has of a request. Not its parameters: they may hold a command's environment,
   * or a registry's credentials.
   */
  #answered({ method, requestId }: Request): (error?: unknown) => void {
    const startedMs = performance.now();
    return (error) => {
      const elapsedMs = Math.round(performance.now() - startedMs);
      const fields = { ...(requestId === undefined ? {} : { requestId }), method, elapsedMs };
      if (error === undefined) return this.#logger.debug(fields, 'answered a manager');
      const known = error instanceof AppError || isAbort(error);
      const text = { ...fields, error: describeError(error) };
      if (known) this.#logger.debug(text, 'refused a manager');
      else this.#logger.error({ ...text, err: error }, 'failed to answer a manager');
    };
  }

  async #serveCall(
    id: number,
    method: keyof NodeMethods,
    params: unknown,
    log: (error?: unknown) => void,
  ): Promise<void> {
    const abort = new AbortController();
    this.#work.set(id, { abort });
    try {
      const parsed = parseValue<NodeMethods[keyof NodeMethods]['params']>(
        methodSchemas[method].params,
        params,
        `${method}: params`,
      );
      const result = await this.#handlers.call(method, parsed, abort.signal);
      this.#send({ type: 'response', id, result });
      log();
    } catch (error) {
      log(error);
      this.#send({ type: 'response', id, error: toWireError(error) });
    } finally {
      this.#work.delete(id);
    }
  }

  async #serveStream(
    id: number,
    method: keyof NodeStreams,
    { params, window }: Request,
    log: (error?: unknown) => void,
  ): Promise<void> {
    const abort = new AbortController();
    const stream = new OutboundStream(
      (chunk) => this.#send(encodeStreamData(id, chunk.stream, chunk.data)),
      window,
    );
    const input = new InboundStream((bytes) => this.#send({ type: 'credit', id, bytes }));
    const endInput = (): void => input.end(abort.signal.reason as Error);
    abort.signal.addEventListener('abort', endInput, { once: true });
    this.#work.set(id, { abort, stream, input });
    try {
      const parsed = parseValue<NodeStreams[keyof NodeStreams]>(
        streamSchemas[method],
        params,
        `${method}: params`,
      );
      const source = this.#handlers.stream(method, parsed, input.data(), abort.signal);
      await stream.pump(source, abort.signal);
      this.#send({ type: 'end', id });
      log();
    } catch (error) {
      log(error);
      this.#send({ type: 'end', id, error: toWireError(error) });
    } finally {
      this.#work.delete(id);
    }
  }
}

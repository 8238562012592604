/**
 * What tasks use is told to the manager that has their node's session; the one that leads decides by it. So it is passed on, as
 * it comes: a report that gets lost is followed by the next.
 */
import { WebSocket } from 'ws';
import { z } from 'zod';
import { describeError } from '../../shared/errors/index.ts';
import type { Logger, TaskUsage } from '../../shared/model/index.ts';
import { parseValue } from '../../shared/wire/frames.ts';
import { taskUsageSchema } from '../../shared/wire/node-schema.ts';
import { connectManager, type ManagerTls } from './manager-link.ts';

/** A leader that reads so slowly is left alone. */
const MAX_BUFFERED_BYTES = 1024 * 1024;

const reportSchema = z.strictObject({ nodeId: z.string(), tasks: z.array(taskUsageSchema) });

export interface UsageRelayOptions {
  /** host:port of the manager that leads; undefined when that is this one, or nobody. */
  readonly leaderAddress: () => string | undefined;
  readonly tls: () => ManagerTls;
  readonly logger: Logger;
}

export class UsageRelay {
  readonly #options: UsageRelayOptions;
  #link: { readonly address: string; readonly socket: WebSocket; used: boolean } | undefined;

  constructor(options: UsageRelayOptions) {
    this.#options = options;
  }

  /** Sent now or never. */
  send(nodeId: string, tasks: readonly TaskUsage[]): void {
    const address = this.#options.leaderAddress();
    if (this.#link?.address !== address) this.close();
    if (address === undefined) return;
    this.#link ??= this.#connect(address);
    const { socket } = this.#link;
    this.#link.used = true;
    if (socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > MAX_BUFFERED_BYTES) return;
    socket.send(JSON.stringify({ nodeId, tasks }));
  }

  close(): void {
    this.#link?.socket.terminate();
    this.#link = undefined;
  }

  #connect(address: string): { address: string; socket: WebSocket; used: boolean } {
    const socket = connectManager(address, '/usage', this.#options.tls(), () => {
      const { used } = link;
      link.used = false;
      return used;
    });
    const link = { address, socket, used: true };
    socket.on('error', (error) =>
      this.#options.logger.debug({ address, error: error.message }, 'usage not told'),
    );
    socket.on('close', () => {
      if (this.#link === link) this.#link = undefined;
    });
    return link;
  }
}

/** Takes the reports of another manager; `take` gets them as they are. */
export function serveUsage(
  socket: WebSocket,
  take: (nodeId: string, tasks: readonly TaskUsage[]) => void,
  logger: Logger,
): void {
  socket.on('message', (data: Buffer) => {
    try {
      const { nodeId, tasks } = parseValue(
        reportSchema,
        JSON.parse(data.toString('utf8')),
        'a report of usage',
      );
      take(nodeId, tasks);
    } catch (error) {
      logger.warn({ error: describeError(error) }, 'a manager sent no proper report');
      socket.terminate();
    }
  });
}

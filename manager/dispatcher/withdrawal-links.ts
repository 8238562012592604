/**
 * Invariant 11 across managers: a task that is to stop is waited for until the nodes of other managers, too, have confirmed that
 * no traffic of theirs leads there. The manager that has the task's node asks the others; each answers once its own nodes have.
 */
import { WebSocket } from 'ws';
import { z } from 'zod';
import { describeError } from '../../shared/errors/index.ts';
import type { Logger } from '../../shared/model/index.ts';
import { parseValue } from '../../shared/wire/frames.ts';
import { connectManager, type ManagerTls } from './manager-link.ts';

const whole = z.number().int().min(0);
/** Who has seen the store at `revision` and whose nodes lead nothing to these tasks any more says `confirmed`. */
const askSchema = z.strictObject({ seq: whole, revision: whole, taskIds: z.array(z.string()) });
const confirmedSchema = z.strictObject({ confirmed: whole });
type Ask = z.output<typeof askSchema>;

export interface WithdrawalLinksOptions {
  /** The other managers that are alive. */
  readonly peers: () => readonly { readonly id: string; readonly address: string }[];
  readonly tls: () => ManagerTls;
  readonly onConfirmed: (managerId: string, seq: number) => void;
  /** Nobody is there: its nodes are looking for another manager. */
  readonly onLost: (managerId: string) => void;
  readonly logger: Logger;
}

interface Link {
  readonly address: string;
  readonly socket: WebSocket;
  used: boolean;
  /** Until it is open. */
  readonly waiting: string[];
}

export class WithdrawalLinks {
  readonly #options: WithdrawalLinksOptions;
  readonly #links = new Map<string, Link>();
  #seq = 0;

  constructor(options: WithdrawalLinksOptions) {
    this.#options = options;
  }

  /** Asks the other managers; returns who is asked, and with which number it will confirm. */
  ask(taskIds: readonly string[], revision: number): readonly { managerId: string; seq: number }[] {
    this.#seq += 1;
    const seq = this.#seq;
    const text = JSON.stringify({ seq, revision, taskIds } satisfies Record<keyof Ask, unknown>);
    return this.#options.peers().map(({ id, address }) => {
      const link = this.#linkTo(id, address);
      link.used = true;
      if (link.socket.readyState === WebSocket.OPEN) link.socket.send(text);
      else link.waiting.push(text);
      return { managerId: id, seq };
    });
  }

  close(): void {
    for (const { socket } of this.#links.values()) socket.terminate();
  }

  #linkTo(managerId: string, address: string): Link {
    const known = this.#links.get(managerId);
    if (known?.address === address && known.socket.readyState <= WebSocket.OPEN) return known;
    const { tls, logger, onConfirmed, onLost } = this.#options;
    const socket = connectManager(address, '/withdrawals', tls(), () => {
      const { used } = link;
      link.used = false;
      return used;
    });
    const link: Link = { address, socket, used: true, waiting: [] };
    this.#links.set(managerId, link);
    socket.on('open', () => {
      for (const text of link.waiting.splice(0)) socket.send(text);
    });
    socket.on('message', (data: Buffer) => {
      try {
        const { confirmed } = parse(confirmedSchema, data, 'a confirmation');
        onConfirmed(managerId, confirmed);
      } catch (error) {
        logger.warn({ managerId, error: describeError(error) }, 'a manager sent no proper confirmation');
        socket.terminate();
      }
    });
    socket.on('error', (error) => logger.debug({ managerId, error: error.message }, 'withdrawals not told'));
    socket.on('close', () => {
      if (this.#links.get(managerId) === link) this.#links.delete(managerId);
      onLost(managerId);
    });
    return link;
  }
}

function parse<T>(schema: z.ZodType<T>, data: Buffer, what: string): T {
  return parseValue(schema, JSON.parse(data.toString('utf8')), what);
}

export interface WithdrawalAnswersOptions {
  /** The newest revision whose changes were sent to this manager's nodes. */
  readonly sentRevision: () => number;
  /** True while a node of this manager has not confirmed that it leads nothing there. */
  readonly awaited: (taskId: string) => boolean;
  /** Who asks waits no longer. */
  readonly patienceMs: number;
  readonly steadyMs: () => number;
}

/** The other side: what this manager is asked, until it can say yes. */
export class WithdrawalAnswers {
  readonly #options: WithdrawalAnswersOptions;
  #asked: { readonly ask: Ask; readonly reply: () => void; readonly untilMs: number }[] = [];

  constructor(options: WithdrawalAnswersOptions) {
    this.#options = options;
  }

  /** Serves one manager that asks. */
  serve(socket: WebSocket, logger: Logger): void {
    socket.on('message', (data: Buffer) => {
      try {
        const ask = parse(askSchema, data, 'a question about withdrawals');
        const { patienceMs, steadyMs } = this.#options;
        const reply = (): void => socket.send(JSON.stringify({ confirmed: ask.seq }));
        this.#asked.push({ ask, reply, untilMs: steadyMs() + patienceMs });
        this.look();
      } catch (error) {
        logger.warn({ error: describeError(error) }, 'a manager asked nothing proper about withdrawals');
        socket.terminate();
      }
    });
  }

  /** To be called whenever a node has confirmed, or something was sent. */
  look(): void {
    if (this.#asked.length === 0) return;
    const { sentRevision, awaited, steadyMs } = this.#options;
    const [revision, nowMs] = [sentRevision(), steadyMs()];
    this.#asked = this.#asked.filter(({ ask, reply, untilMs }) => {
      if (ask.revision > revision || ask.taskIds.some(awaited)) return nowMs < untilMs;
      reply();
      return false;
    });
  }
}

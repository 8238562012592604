/** The name servers outside, with what they answered lately; the same question by several at one time is asked once. */
import { DnsCache } from './dns-cache.ts';
import { forward, withId } from './dns-forward.ts';

/** Each has a socket: a container that asks and asks must not use up the agent's. */
const MOST_AT_ONCE = 512;

export class DnsUpstream {
  readonly #cache = new DnsCache();
  readonly #asking = new Map<string, Promise<Buffer | undefined>>();
  readonly #ask: typeof forward;

  /** `ask` is how a question is really asked. */
  constructor(ask: typeof forward = forward) {
    this.#ask = ask;
  }

  /** Undefined when no server answers, or too many questions wait for answers. */
  async answer(
    raw: Buffer,
    servers: readonly string[],
    overUdp: boolean,
    signal: AbortSignal,
  ): Promise<Buffer | undefined> {
    // All but the id: names in the same letters, the same flags, the same options.
    const key = `${servers.join()} ${overUdp} ${raw.toString('latin1', 2)}`;
    const id = raw.readUInt16BE(0);
    const kept = this.#cache.get(key, performance.now());
    if (kept !== undefined) return withId(kept, id);
    const asking = this.#asking.get(key) ?? this.#begin(key, raw, servers, overUdp, signal);
    const answer = await asking;
    return answer === undefined ? undefined : withId(answer, id);
  }

  async #begin(
    key: string,
    raw: Buffer,
    servers: readonly string[],
    overUdp: boolean,
    signal: AbortSignal,
  ): Promise<Buffer | undefined> {
    if (this.#asking.size >= MOST_AT_ONCE) return undefined;
    const asking = this.#ask(raw, servers, overUdp, signal);
    this.#asking.set(key, asking);
    try {
      const answer = await asking;
      if (answer !== undefined) this.#cache.put(key, answer, performance.now());
      return answer;
    } finally {
      this.#asking.delete(key);
    }
  }
}

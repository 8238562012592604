/** The name servers outside, with what they answered lately; the same question by several at one time is asked once. */
import { DnsCache } from './dns-cache.ts';
import { forward, PATIENCE, withId } from './dns-forward.ts';

/** Each has a socket: a container that asks and asks must not use up the agent's. */
const MOST_AT_ONCE = 512;
/** And not all of them: what it asks may be answered by nobody, while others on the node wait. */
const MOST_OF_ONE = 96;

export class DnsUpstream {
  readonly #cache = new DnsCache();
  readonly #asking = new Map<string, Promise<Buffer | undefined>>();
  /** How many questions of each asker are on their way. */
  readonly #byAsker = new Map<string, number>();
  readonly #ask: typeof forward;

  /** `ask` is how a question is really asked. */
  constructor(ask: typeof forward = forward) {
    this.#ask = ask;
  }

  /**
   * Undefined when no server answers, or too many questions wait for answers, of all or of this asker. `netnsOf` finds the
   * asker's namespace when these are servers of its own: what they say is nobody else's, whose way to that address leads elsewhere.
   */
  async answer(
    asker: string,
    raw: Buffer,
    servers: readonly string[],
    overUdp: boolean,
    signal: AbortSignal,
    netnsOf?: () => Promise<string | undefined>,
  ): Promise<Buffer | undefined> {
    // All but the id: names in the same letters, the same flags, the same options.
    const whose = netnsOf === undefined ? '' : asker;
    const key = `${whose} ${servers.join()} ${overUdp} ${raw.toString('latin1', 2)}`;
    const id = raw.readUInt16BE(0);
    const kept = this.#cache.get(key, performance.now());
    if (kept !== undefined) return withId(kept, id);
    const ask = async (): Promise<Buffer | undefined> => {
      if (netnsOf === undefined) return this.#ask(raw, servers, overUdp, signal);
      const netns = await netnsOf();
      return netns === undefined
        ? undefined
        : this.#ask(raw, servers, overUdp, signal, { ...PATIENCE, netns });
    };
    const asking = this.#asking.get(key) ?? this.#begin(key, asker, ask);
    const answer = await asking;
    return answer === undefined ? undefined : withId(answer, id);
  }

  async #begin(
    key: string,
    asker: string,
    ask: () => Promise<Buffer | undefined>,
  ): Promise<Buffer | undefined> {
    const own = this.#byAsker.get(asker) ?? 0;
    if (this.#asking.size >= MOST_AT_ONCE || own >= MOST_OF_ONE) return undefined;
    const asking = ask();
    this.#asking.set(key, asking);
    this.#byAsker.set(asker, own + 1);
    try {
      const answer = await asking;
      if (answer !== undefined) this.#cache.put(key, answer, performance.now());
      return answer;
    } finally {
      this.#asking.delete(key);
      const left = (this.#byAsker.get(asker) ?? 1) - 1;
      if (left === 0) this.#byAsker.delete(asker);
      else this.#byAsker.set(asker, left);
    }
  }
}

/** What happened, to be read when an invariant breaks: the last events, or all of them. */
import { createHash } from 'node:crypto';
import type { Logger } from '../../shared/model/options.ts';
import type { Timeline } from './timeline.ts';

const KEPT = 120;

type Detail = object | string | undefined;

export class Trace {
  readonly #time: Timeline;
  readonly #startMs: number;
  readonly #print: ((line: string) => void) | undefined;
  readonly #lines: {
    readonly atMs: number;
    readonly who: string;
    readonly what: string;
    readonly detail: Detail;
  }[] = [];
  readonly #hash = createHash('sha256');

  constructor(time: Timeline, print?: (line: string) => void) {
    this.#time = time;
    this.#startMs = time.now;
    this.#print = print;
  }

  note(who: string, what: string, detail?: Detail): void {
    const line = { atMs: this.#time.now - this.#startMs, who, what, detail };
    this.#hash.update(`${line.atMs} ${who} ${what}\n`);
    this.#lines.push(line);
    if (this.#lines.length > 2 * KEPT) this.#lines.splice(0, KEPT);
    this.#print?.(format(line));
  }

  /** The newest last. */
  last(): string {
    return this.#lines.slice(-KEPT).map(format).join('\n');
  }

  /** The same for the same events at the same times. */
  digest(): string {
    return this.#hash.copy().digest('hex');
  }

  logger(who: string): Logger {
    const log =
      (level: string) =>
      (fields: object, message?: string): void => {
        if (typeof fields === 'string') this.note(who, `${level}${fields}`);
        else this.note(who, `${level}${message ?? ''}`, fields);
      };
    const logger: Logger = {
      debug: () => undefined,
      info: log(''),
      warn: log('warning: '),
      error: log('ERROR: '),
      child: () => logger,
    };
    return logger;
  }
}

function format({
  atMs,
  who,
  what,
  detail,
}: {
  atMs: number;
  who: string;
  what: string;
  detail: Detail;
}): string {
  const time = `${(atMs / 1000).toFixed(3).padStart(11)} s`;
  const more = detail === undefined ? '' : ` ${typeof detail === 'string' ? detail : text(detail)}`;
  return `${time}  ${who.padEnd(10)} ${what}${more}`.slice(0, 400);
}

function text(detail: object): string {
  return JSON.stringify(detail, (_key, value: unknown) => (value instanceof Error ? value.message : value));
}

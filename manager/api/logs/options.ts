import type { Request } from 'express';
import { z } from 'zod';
import { InvalidError } from '../../../shared/errors/index.ts';
import type { LogsParams } from '../../../shared/model/node-methods/index.ts';
import { queryFlag, queryText } from '../http/query.ts';

export interface LogOptions {
  readonly timestamps: boolean;
  readonly details: boolean;
  readonly params: Omit<LogsParams, 'containerId'>;
}

/** Docker takes whatever is no number for "all". */
export const zTail = z
  .string()
  .transform((text) => (/^\d+$/.test(text) ? Math.min(Number(text), Number.MAX_SAFE_INTEGER) : undefined));

/** Seconds since the epoch with a fraction, or RFC 3339 -> milliseconds. */
export const zTimeText = z
  .string()
  .transform((text) => (/^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text)))
  .pipe(z.number());

/** Throws InvalidError, as Docker does, when neither stdout nor stderr is asked for. */
export function logOptions(req: Request): LogOptions {
  const stdout = queryFlag(req, 'stdout');
  const stderr = queryFlag(req, 'stderr');
  if (!stdout && !stderr) throw new InvalidError('Bad parameters: you must choose at least one stream');
  const tail = zTail.optional().parse(queryText(req, 'tail'));
  const sinceMs = parseTime(queryText(req, 'since'), 'since');
  const untilMs = parseTime(queryText(req, 'until'), 'until');
  return {
    timestamps: queryFlag(req, 'timestamps'),
    details: queryFlag(req, 'details'),
    params: {
      follow: queryFlag(req, 'follow'),
      stdout,
      stderr,
      ...(tail === undefined ? {} : { tail }),
      ...(sinceMs === undefined ? {} : { sinceMs }),
      ...(untilMs === undefined ? {} : { untilMs }),
    },
  };
}

/** Seconds since the epoch with a fraction, or RFC 3339; 0 and absent mean no bound. Milliseconds. */
export function parseTime(text: string | undefined, name: string): number | undefined {
  if (text === undefined || text === '' || text === '0') return undefined;
  const ms = zTimeText.safeParse(text);
  if (!ms.success) {
    throw new InvalidError(
      `invalid value for "${name}": '${text}': seconds since the epoch or RFC 3339 is expected`,
    );
  }
  return ms.data === 0 ? undefined : ms.data;
}

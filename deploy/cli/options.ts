/** Parsers of option values: a wrong one is named, with what is allowed. */
import { InvalidArgumentError } from 'commander';
import { InvalidError } from '../../shared/errors/index.ts';
import { parseGenericResources } from '../../shared/lib/generic-resources.ts';
import { type IdRange, parsePool } from '../../shared/lib/id-ranges.ts';
import type { GenericResource } from '../../shared/model/index.ts';

export function parseCount(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isInteger(value) && value >= low && value <= high) return value;
    throw new InvalidArgumentError(`a whole number from ${low} to ${high} is wanted.`);
  };
}

export const parsePort = parseCount(1, 65_535);

const PERIOD_UNITS_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `90s`, `30m`, `6h`, `7d`: in milliseconds; `0` is 0. */
export function parsePeriod(text: string): number {
  const match = /^(\d{1,5})([smhd])$/.exec(text);
  const unit = match?.[2] as keyof typeof PERIOD_UNITS_MS | undefined;
  if (text === '0') return 0;
  const value = Number(match?.[1]) * (unit === undefined ? 0 : PERIOD_UNITS_MS[unit]);
  if (value > 0 && value <= 365 * PERIOD_UNITS_MS.d) return value;
  throw new InvalidArgumentError('a number with s, m, h or d is wanted, at most 365d, or 0.');
}

/** `host:port`, an IPv6 host in brackets. */
export function parseHostPort(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port < 1 || port > 65_535) {
    throw new InvalidArgumentError('HOST:PORT is wanted, e.g. 10.0.0.5:7370.');
  }
  return { host, port };
}

/** `a,b,c`: each a host:port. */
export function parseManagers(text: string): string[] {
  const managers = text.split(',').filter((part) => part !== '');
  for (const manager of managers) parseHostPort(manager);
  if (managers.length === 0) throw new InvalidArgumentError('HOST:PORT[,HOST:PORT] is wanted.');
  return managers;
}

export function collect(text: string, before: readonly string[]): string[] {
  return [...before, text];
}

export function collectLabel(text: string, before: Readonly<Record<string, string>>): Record<string, string> {
  const at = text.indexOf('=');
  if (at <= 0) throw new InvalidArgumentError('KEY=VALUE is wanted.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** All values of --generic-resource together: whether a kind is counted or named shows in all of its values. */
export function readGenericResources(terms: readonly string[]): GenericResource[] {
  try {
    return parseGenericResources(terms);
  } catch (error) {
    if (error instanceof TypeError)
      throw new InvalidError(`--generic-resource: ${error.message}`, { cause: error });
    throw error;
  }
}

export function parseIdPool(text: string): IdRange {
  try {
    return parsePool(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

export function parseName(text: string): string {
  if (!/^[a-z][a-z0-9]{0,11}$/.test(text)) {
    throw new InvalidArgumentError('at most 12 characters, a-z and 0-9, starting with a letter.');
  }
  return text;
}

/** Parsers of option values: a wrong one is named, with what is allowed. */
import { InvalidArgumentError } from 'commander';

export function parseCount(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isInteger(value) && value >= low && value <= high) return value;
    throw new InvalidArgumentError(`a whole number from ${low} to ${high} is wanted.`);
  };
}

export const parsePort = parseCount(1, 65_535);

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

export function parseName(text: string): string {
  if (!/^[a-z][a-z0-9]{0,11}$/.test(text)) {
    throw new InvalidArgumentError('at most 12 characters, a-z and 0-9, starting with a letter.');
  }
  return text;
}

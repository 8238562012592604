/** Names by which other containers look a service up. Pure. */
import type { ServiceSpec } from '../../../shared/model/index.ts';
import type { SpecProblem } from './service-spec.ts';

const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/i;
const MAX = 253;

/** One that no resolver could ask for, or that means something else, would be found nowhere. */
export function checkAliases({ networks }: ServiceSpec): SpecProblem[] {
  const names = networks.flatMap(({ aliases: own, links = [] }) => [
    ...own,
    ...links.map(({ alias }) => alias),
  ]);
  const aliases = new Set(names);
  return [...aliases].flatMap((alias): SpecProblem[] => {
    const message = problemOf(alias);
    return message === undefined ? [] : [{ field: 'networks.aliases', message: `'${alias}': ${message}` }];
  });
}

function problemOf(alias: string): string | undefined {
  if (alias.length > MAX) return `at most ${MAX} characters are expected`;
  if (/^tasks\./i.test(alias)) return "'tasks.' before a service's name lists its tasks";
  if (alias.split('.').every((label) => LABEL.test(label))) return undefined;
  return 'a DNS name is expected: letters, digits, - and _, with dots between parts of at most 63, no - at their ends';
}

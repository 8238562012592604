/** Links of a single container, as `docker run --link NAME[:ALIAS]` has them: names that it alone has for others. */
import { InvalidError } from '../../../shared/errors/index.ts';
import type { NetworkLink } from '../../../shared/model/index.ts';

/** Also "/name:/own/alias", as Docker shows them. Throws InvalidError. */
export function decodeLink(text: string): NetworkLink {
  const [name = '', alias = name, ...more] = text.split(':').map((part) => part.replace(/^.*\//, ''));
  if (name === '' || alias === '' || more.length > 0)
    throw new InvalidError(`bad format for links: '${text}': NAME or NAME:ALIAS is expected`);
  // DNS has no name for the whole id.
  return { name: /^[0-9a-f]{64}$/.test(name) ? name.slice(0, 12) : name, alias };
}

/** Each once. Throws InvalidError. */
export function decodeLinks(texts: readonly string[]): NetworkLink[] {
  const links = new Map(texts.map(decodeLink).map((link) => [`${link.name}:${link.alias}`, link]));
  return [...links.values()];
}

export function encodeLinks(links: readonly NetworkLink[]): string[] | null {
  return links.length === 0 ? null : links.map(({ name, alias }) => `${name}:${alias}`);
}

/** Names for services that were created without one, as Docker's daemon gives them: two words and an underscore. */
import { randomInt } from 'node:crypto';

const QUALITIES = [
  'amber',
  'brave',
  'brisk',
  'calm',
  'clever',
  'coral',
  'deep',
  'eager',
  'fleet',
  'gentle',
  'golden',
  'keen',
  'lively',
  'lucid',
  'mellow',
  'nimble',
  'noble',
  'patient',
  'quick',
  'quiet',
  'rapid',
  'silver',
  'steady',
  'sunny',
  'swift',
  'tidal',
  'tidy',
  'vivid',
  'warm',
  'wise',
];
const FISH = [
  'anchovy',
  'barb',
  'bass',
  'bream',
  'carp',
  'char',
  'cod',
  'dace',
  'eel',
  'flounder',
  'goby',
  'grayling',
  'haddock',
  'halibut',
  'herring',
  'ling',
  'mackerel',
  'minnow',
  'mullet',
  'perch',
  'pike',
  'roach',
  'salmon',
  'sardine',
  'smelt',
  'sole',
  'sprat',
  'tench',
  'trout',
  'tuna',
];

/** `taken` says whether a name is in use; after a few clashes a number makes the name different. */
export function randomName(taken: (name: string) => boolean): string {
  for (let attempt = 0; ; attempt += 1) {
    const words = `${pick(QUALITIES)}_${pick(FISH)}`;
    const name = attempt < 5 ? words : `${words}${randomInt(1_000_000)}`;
    if (!taken(name)) return name;
  }
}

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)] ?? '';
}

/** Regular expressions that clients send. */
import { setFlagsFromString } from 'node:v8';
import { InvalidError } from '../../../shared/errors/index.ts';

// V8's engine without backtracking, as Go's is: no expression of a client holds up the event loop.
setFlagsFromString('--enable-experimental-regexp-engine');

/** Newer than the language: V8's own. */
const IN_LINEAR_TIME: string = 'l';

/** In linear time, whatever the text. Throws InvalidError for what is none, or needs backtracking (look-around, \1). */
export function clientRegExp(source: string): RegExp {
  try {
    return new RegExp(source, IN_LINEAR_TIME);
  } catch (cause) {
    throw new InvalidError(`invalid regular expression '${source}'`, { cause });
  }
}

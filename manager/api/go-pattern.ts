/**
 * A pattern of Go's path.Match (https://pkg.go.dev/path#Match) as a regular expression: `*` and `?` do not match a slash,
 * `[a-z]` and `[^a-z]` are sets, a backslash takes the next character as it is. Throws InvalidError for an open set and for
 * one whose end is before its start.
 */
import { InvalidError } from '../../shared/errors/index.ts';
import { clientRegExp } from './http/regexp.ts';

const TOKEN = /\*|\?|\[(\^?)((?:\\.|[^\]\\])+)\]|\\(.)|([^*?[\\])/gsy;

export function goPattern(pattern: string): RegExp {
  let source = '';
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < pattern.length) {
    const match = TOKEN.exec(pattern);
    if (match === null) throw syntaxError(pattern);
    const [token, not, set, escaped, plain] = match;
    if (token === '*') source += '[^/]*';
    else if (token === '?') source += '[^/]';
    else if (set === undefined) source += quote(escaped ?? plain ?? '');
    else source += `[${not}${set.replace(/[[\]^](?!$)/g, '\\$&')}]`;
  }
  try {
    return clientRegExp(`^${source}$`);
  } catch (cause) {
    throw syntaxError(pattern, cause);
  }
}

function syntaxError(pattern: string, cause?: unknown): InvalidError {
  return new InvalidError(`invalid pattern '${pattern}': syntax error in pattern`, { cause });
}

function quote(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}

/**
 * A pattern of Go's path.Match (https://pkg.go.dev/path#Match) as a regular expression: `*` and `?` do not match a slash,
 * `[a-z]` and `[^a-z]` are sets, a backslash takes the next character as it is. Throws InvalidError for an open set.
 */
import { InvalidError } from '../../shared/errors/index.ts';

const TOKEN = /\*|\?|\[(\^?)((?:\\.|[^\]\\])+)\]|\\(.)|([^*?[\\])/gsy;

export function goPattern(pattern: string): RegExp {
  let source = '';
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < pattern.length) {
    const match = TOKEN.exec(pattern);
    if (match === null) throw new InvalidError(`invalid pattern '${pattern}': syntax error in pattern`);
    const [token, not, set, escaped, plain] = match;
    if (token === '*') source += '[^/]*';
    else if (token === '?') source += '[^/]';
    else if (set === undefined) source += quote(escaped ?? plain ?? '');
    else source += `[${not}${set.replace(/[[\]^](?!$)/g, '\\$&')}]`;
  }
  return new RegExp(`^${source}$`, 's');
}

function quote(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}

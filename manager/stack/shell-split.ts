/** Splits a command line into words as a POSIX shell would, without expansions (Go's shlex, which compose uses). */

/** Undefined when a quotation is not closed or the text ends in a backslash. */
export function shellSplit(line: string): string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  let quote: '"' | "'" | undefined;
  for (let i = 0; i < line.length; i += 1) {
    const char = line.charAt(i);
    if (quote === "'") {
      if (char === "'") quote = undefined;
      else word = (word ?? '') + char;
    } else if (char === '\\') {
      i += 1;
      if (i >= line.length) return undefined;
      const next = line.charAt(i);
      // Within double quotes a backslash escapes only what means something there.
      const keeps = quote === '"' && !['"', '\\', '$', '`', '\n'].includes(next);
      word = (word ?? '') + (keeps ? `\\${next}` : next === '\n' ? '' : next);
    } else if (quote === '"') {
      if (char === '"') quote = undefined;
      else word = (word ?? '') + char;
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= '';
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + char;
    }
  }
  if (quote !== undefined) return undefined;
  if (word !== undefined) words.push(word);
  return words;
}

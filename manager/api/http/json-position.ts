/** Finds where a text stops being JSON (RFC 8259): JSON.parse of Node 20 does not always say. */

const STRING = /"(?:(?=[ -\uffff])[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /true|false|null/y;
const SPACE = /[ \t\n\r]*/y;
const MAX_DEPTH = 200;

class Stop extends Error {}

/** Offset of the first character that can not be part of a JSON text; the length when the text ends too early. */
export function jsonErrorPosition(text: string): number {
  let at = 0;
  const eat = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    at = pattern.lastIndex;
    return true;
  };
  const expect = (ok: boolean): void => {
    if (!ok) throw new Stop();
  };
  const char = (wanted: string): boolean => {
    eat(SPACE);
    if (text[at] !== wanted) return false;
    at += 1;
    return true;
  };
  const items = (close: string, item: () => void): void => {
    if (char(close)) return;
    do item();
    while (char(','));
    expect(char(close));
  };
  const value = (depth: number): void => {
    expect(depth < MAX_DEPTH);
    if (char('{')) return items('}', () => member(depth + 1));
    if (char('[')) return items(']', () => value(depth + 1));
    expect(eat(STRING) || eat(NUMBER) || eat(WORD));
  };
  const member = (depth: number): void => {
    eat(SPACE);
    expect(eat(STRING));
    expect(char(':'));
    value(depth);
  };
  try {
    value(0);
    eat(SPACE);
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
  }
  return at;
}

/** Line and column, from 1, of an offset. */
export function lineAndColumn(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset).split('\n');
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}

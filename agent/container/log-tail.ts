/** Where the last lines of a log begin: looks at its files from the end. */
import type { LogsParams } from '../../shared/model/node-methods/index.ts';
import { logNumbers, openLogFile, type LogFile } from './log-files.ts';
import { parseLogLine } from './log-line.ts';
import { wanted } from './log-records.ts';

const BLOCK = 64 * 1024;
const NEWLINE = 0x0a;

type Choice = Omit<LogsParams, 'containerId'>;

/** The file and the place in it where the last `count` whole, wanted lines begin. Undefined when there is no log. */
export async function openTail(
  path: string,
  count: number,
  choice: Choice,
): Promise<{ readonly file: LogFile; readonly offset: number } | undefined> {
  let left = count;
  let oldest: LogFile | undefined;
  for (const number of (await logNumbers(path)).toReversed()) {
    const file = await openLogFile(path, number);
    // One that has gone meanwhile has taken those before it along.
    if (file === undefined) break;
    await oldest?.handle.close();
    oldest = file;
    try {
      if (count === 0) return { file, offset: (await file.handle.stat()).size };
      // With none left to be found, too: the oldest line's first parts may be at the end of the file before.
      const { found, offset } = await tailOf(file, left, choice);
      if (offset !== undefined) return { file, offset };
      left -= found;
    } catch (error) {
      await file.handle.close();
      throw error;
    }
  }
  return oldest && { file: oldest, offset: 0 };
}

/** How many wanted lines the file has; or with more than `count`, where the last `count` of them begin. */
async function tailOf(
  { handle }: LogFile,
  count: number,
  choice: Choice,
): Promise<{ found: number; offset?: number }> {
  const { size } = await handle.stat();
  let start = size;
  let found = 0;
  let carried: Buffer = Buffer.alloc(0);
  while (start > 0) {
    const length = Math.min(BLOCK, start);
    start -= length;
    const { buffer } = await handle.read(Buffer.allocUnsafe(length), 0, length, start);
    const block = Buffer.concat([buffer, carried]);
    let end = block.lastIndexOf(NEWLINE);
    for (
      let from = block.lastIndexOf(NEWLINE, end - 1);
      end > 0 && from >= 0;
      from = block.lastIndexOf(NEWLINE, end - 1)
    ) {
      if (isWanted(block.subarray(from + 1, end), choice)) {
        found += 1;
        if (found > count) return { found, offset: start + end + 1 };
      }
      end = from;
      if (end === 0) break;
    }
    carried = Buffer.from(block.subarray(0, end + 1));
  }
  // The file's first line has no newline before it.
  if (!isWanted(carried.subarray(0, -1), choice)) return { found };
  return found === count ? { found, offset: carried.length } : { found: found + 1 };
}

function isWanted(raw: Buffer, choice: Choice): boolean {
  const line = parseLogLine(raw);
  return line !== undefined && !line.partial && wanted(line, choice);
}

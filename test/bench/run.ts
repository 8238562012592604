/**
 * `npm run bench [-- GROUP...]`: runs the benchmarks beside this file (a file a group, e.g. `store`), one after the
 * other. Standard output has nothing but their JSON lines, everything else goes to standard error.
 */
import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';

const FOLDER = import.meta.dirname;

function isJson(line: string): boolean {
  if (!line.startsWith('{')) return false;
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

/** Resolves with the exit code. */
async function runGroup(group: string): Promise<number> {
  process.stderr.write(`bench: ${group}\n`);
  const child = spawn(process.execPath, [path.join(FOLDER, `${group}.js`)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? 1)));
  for await (const line of createInterface({ input: child.stdout })) {
    (isJson(line) ? process.stdout : process.stderr).write(`${line}\n`);
  }
  return ended;
}

const known = (await readdir(FOLDER))
  .filter((file) => file.endsWith('.js') && !['run.js', 'report.js'].includes(file))
  .map((file) => file.slice(0, -'.js'.length))
  .toSorted();
const wanted = process.argv.slice(2);
const unknown = wanted.filter((group) => !known.includes(group));
if (unknown.length > 0) {
  process.stderr.write(`no benchmark ${unknown.join(', ')}: there are ${known.join(', ')}\n`);
  process.exit(2);
}
for (const group of wanted.length > 0 ? wanted : known) {
  if ((await runGroup(group)) !== 0) {
    process.stderr.write(`bench: ${group} failed\n`);
    process.exitCode = 1;
  }
}

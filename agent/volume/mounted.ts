import { readFile } from 'node:fs/promises';

/** How often something is mounted at the path, proc_pid_mountinfo(5). */
export async function timesMounted(path: string): Promise<number> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
  return lines.filter((line) => decode(line.split(' ')[4] ?? '') === path).length;
}

/** The kernel writes blanks, tabs, newlines and backslashes as three octal digits. */
function decode(field: string): string {
  return field.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}

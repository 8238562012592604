/** Users and groups by name, from the image's own /etc/passwd and /etc/group (passwd(5), group(5)). */
import { constants } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import { join } from 'node:path';

export interface ResolvedUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  /** From passwd; '/' when the user is not listed there. */
  readonly home: string;
}

/** An image may hold a huge file under these names; nobody's user database is larger. */
const MAX_BYTES = 1 << 20;

/** Reads a file of the image from its topmost layer that has it. Links are not followed: they could lead out. */
export async function readImageFile(layers: readonly string[], path: string): Promise<string> {
  for (const layer of layers) {
    const info = await lstat(join(layer, path)).catch(() => undefined);
    if (info === undefined) continue;
    if (!info.isFile()) return '';
    const file = await open(join(layer, path), constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const buffer = Buffer.alloc(Math.min(info.size, MAX_BYTES));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  }
  return '';
}

/**
 * PURE. `user` is Docker's USER: name|uid[:name|gid]; empty is root. Throws TypeError when a name is in neither file.
 */
export function resolveUser(
  user: string,
  groups: readonly string[],
  passwd: string,
  group: string,
): ResolvedUser {
  const [userPart = '', groupPart] = user.split(':', 2);
  const users = parseLines(passwd);
  const entry = users.find((fields) =>
    userPart === '' ? fields[2] === '0' : fields[0] === userPart || fields[2] === userPart,
  );
  if (entry === undefined && !/^\d*$/.test(userPart)) {
    throw new TypeError(`unable to find user ${userPart}: no matching entries in passwd file`);
  }
  const uid = Number(entry?.[2] ?? (userPart === '' ? 0 : userPart));
  const groupLines = parseLines(group);
  const gid =
    groupPart === undefined || groupPart === '' ? Number(entry?.[3] ?? 0) : groupId(groupPart, groupLines);
  const member = groupPart === undefined || groupPart === '' ? memberships(entry?.[0], groupLines) : [];
  const extra = groups.map((name) => groupId(name, groupLines));
  return { uid, gid, additionalGids: [...new Set([...member, ...extra])], home: entry?.[5] || '/' };
}

function groupId(name: string, lines: readonly string[][]): number {
  const entry = lines.find((fields) => fields[0] === name);
  if (entry !== undefined) return Number(entry[2]);
  if (!/^\d+$/.test(name))
    throw new TypeError(`unable to find group ${name}: no matching entries in group file`);
  return Number(name);
}

function memberships(userName: string | undefined, lines: readonly string[][]): number[] {
  if (userName === undefined) return [];
  return lines
    .filter((fields) => (fields[3] ?? '').split(',').includes(userName))
    .map((fields) => Number(fields[2]));
}

function parseLines(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'))
    .filter((fields) => /^\d+$/.test(fields[2] ?? ''));
}

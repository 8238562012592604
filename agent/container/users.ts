/** Users and groups by name, from the image's own /etc/passwd and /etc/group (passwd(5), group(5)). */

const MAX_ID = 2 ** 32 - 2;

export interface ResolvedUser {
  readonly uid: number;
  readonly gid: number;
  /** The group itself among them: who gives it up, as a program with other groups may, is not to be rid of it. */
  readonly additionalGids: readonly number[];
  /** From passwd; '/' when the user is not listed there. */
  readonly home: string;
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
  for (const id of [uid, gid, ...extra]) checkRange(id);
  return { uid, gid, additionalGids: [...new Set([gid, ...member, ...extra])], home: entry?.[5] || '/' };
}

/** The kernel's -1, which stands for "as it is", and what does not fit in 32 bits are nobody. */
function checkRange(id: number): void {
  if (id > MAX_ID) throw new TypeError(`${id} is no user or group: their ids are 0 to ${MAX_ID}`);
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

/** Users of the API: made, changed, given certificates and tokens, removed. All managers know of it at once. */
import { X509Certificate } from 'node:crypto';
import {
  ConflictError,
  InvalidError,
  NotFoundError,
  UnavailableError,
} from '../../../shared/errors/index.ts';
import { newId } from '../../../shared/lib/ids.ts';
import type { User, UserCredential, UserRole } from '../../../shared/model/index.ts';
import { sha256 } from '../../ca/authority.ts';
import { authorityOf } from '../../ca/cluster.ts';
import { StaleError } from '../../store/store.ts';
import { formatUserToken } from '../access/directory.ts';
import type { ApiContext } from '../context.ts';
import { clusterOf } from './swarm.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$/;
const STACK = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;
const MAX_USERS = 1000;
/** Of each kind, of one user. */
const MAX_CREDENTIALS = 20;
const ATTEMPTS = 5;

export interface UserRights {
  readonly role: UserRole;
  /** Absent: the whole cluster. */
  readonly stacks?: readonly string[] | undefined;
}

/** Throws NotFoundError. */
export function findUser(ctx: ApiContext, name: string): User {
  const user = ctx.store.get('users', name);
  if (user === undefined) throw new NotFoundError(`no such user: ${name}`);
  return user;
}

/** Without a certificate or token it can do nothing yet. Throws ConflictError when the name is taken. */
export async function createUser(
  ctx: ApiContext,
  name: string,
  rights: UserRights,
  signal: AbortSignal,
): Promise<User> {
  const { store, clock } = ctx;
  if (!NAME.test(name))
    throw new InvalidError(`user: '${name}': letters, digits and . _ @ - are allowed, at most 63`);
  requireRights(rights);
  if (store.get('users', name) !== undefined) throw new ConflictError(`there is a user ${name} already`);
  if (store.all('users').size >= MAX_USERS) throw new ConflictError(`there are ${MAX_USERS} users already`);
  const nowMs = clock.now();
  const user: User = {
    name,
    ...rightsOf(rights),
    certificates: [],
    tokens: [],
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
  };
  try {
    await store.commit([{ table: 'users', key: name, value: user, expect: 0 }], { signal });
  } catch (cause) {
    if (cause instanceof StaleError) throw new ConflictError(`there is a user ${name} already`, { cause });
    throw cause;
  }
  return user;
}

/** What it was doing under the rights of before ends. */
export async function changeRights(
  ctx: ApiContext,
  name: string,
  rights: UserRights,
  signal: AbortSignal,
): Promise<User> {
  requireRights(rights);
  const to = (user: User): User => {
    const { stacks: _, ...rest } = user;
    return { ...rest, ...rightsOf(rights) };
  };
  return changeUser(ctx, name, to, signal);
}

export interface Issued {
  readonly user: User;
  readonly certificate: string;
  /** Whom to trust: the roots of the cluster, PEM. */
  readonly ca: string;
}

/** `keep`: what the user had goes on; else all its certificates and tokens end. */
export async function issueCertificate(
  ctx: ApiContext,
  name: string,
  asked: { readonly request: string; readonly lifeMs: number; readonly keep: boolean },
  signal: AbortSignal,
): Promise<Issued> {
  findUser(ctx, name);
  const nowMs = ctx.clock.now();
  const authority = await authorityOf(clusterOf(ctx), ctx.vault);
  const subject = { nodeId: name, role: 'user', lifeMs: asked.lifeMs } as const;
  const certificate = await authority.issue(asked.request, subject, nowMs);
  const parsed = new X509Certificate(certificate);
  const credential: UserCredential = {
    id: newId().slice(0, 12),
    digest: sha256(parsed.raw),
    createdAtMs: nowMs,
    expiresAtMs: Date.parse(parsed.validTo),
  };
  const user = await changeUser(
    ctx,
    name,
    (before) =>
      asked.keep
        ? { ...before, certificates: withOne(before.certificates, credential, nowMs) }
        : { ...before, certificates: [credential], tokens: [] },
    signal,
  );
  return { user, certificate, ca: authority.trustPem };
}

/** The token is not to be seen again. */
export async function issueToken(
  ctx: ApiContext,
  name: string,
  lifeMs: number | undefined,
  signal: AbortSignal,
): Promise<{ credential: UserCredential; token: string; ca: string }> {
  const nowMs = ctx.clock.now();
  const secret = newId();
  const credential: UserCredential = {
    id: newId().slice(0, 12),
    digest: sha256(Buffer.from(secret)),
    createdAtMs: nowMs,
    ...(lifeMs === undefined ? {} : { expiresAtMs: nowMs + lifeMs }),
  };
  await changeUser(
    ctx,
    name,
    (user) => ({ ...user, tokens: withOne(user.tokens, credential, nowMs) }),
    signal,
  );
  const { trustPem } = await authorityOf(clusterOf(ctx), ctx.vault);
  return { credential, token: formatUserToken(secret), ca: trustPem };
}

/** One certificate or token. Throws NotFoundError. */
export async function revokeCredential(
  ctx: ApiContext,
  name: string,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  const others = (all: readonly UserCredential[]): UserCredential[] => all.filter((one) => one.id !== id);
  await changeUser(
    ctx,
    name,
    (user) => {
      const [certificates, tokens] = [others(user.certificates), others(user.tokens)];
      const found = certificates.length + tokens.length < user.certificates.length + user.tokens.length;
      if (!found) throw new NotFoundError(`user ${name} has no certificate or token ${id}`);
      return { ...user, certificates, tokens };
    },
    signal,
  );
}

/** All that proves it ends with it. */
export async function removeUser(ctx: ApiContext, name: string, signal: AbortSignal): Promise<void> {
  findUser(ctx, name);
  await ctx.store.commit([{ table: 'users', key: name, value: null }], { signal });
}

async function changeUser(
  ctx: ApiContext,
  name: string,
  to: (user: User) => User,
  signal: AbortSignal,
): Promise<User> {
  const { store, clock } = ctx;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const expect = store.version('users', name);
    const value = { ...to(findUser(ctx, name)), updatedAtMs: clock.now() };
    try {
      await store.commit([{ table: 'users', key: name, value, expect }], { signal });
      return value;
    } catch (error) {
      if (!(error instanceof StaleError)) throw error;
    }
  }
  throw new UnavailableError(`user ${name} was changed by others again and again: try once more`);
}

function withOne(all: readonly UserCredential[], one: UserCredential, nowMs: number): UserCredential[] {
  const alive = all.filter(({ expiresAtMs }) => expiresAtMs === undefined || nowMs < expiresAtMs);
  if (alive.length >= MAX_CREDENTIALS)
    throw new ConflictError(`the user has ${alive.length} of them already: revoke some (shoal user revoke)`);
  return [...alive, one];
}

function requireRights({ role, stacks }: UserRights): void {
  if (stacks === undefined) return;
  if (role === 'admin')
    throw new InvalidError('user: an admin has all stacks: give no Stacks, or another Role');
  const bad = stacks.find((stack) => !STACK.test(stack));
  if (bad !== undefined) throw new InvalidError(`user: Stacks: '${bad}' is no name of a stack`);
  if (stacks.length === 0 || stacks.length > 100)
    throw new InvalidError(`user: Stacks: ${stacks.length}: 1 to 100 are allowed; leave it out for all`);
}

function rightsOf({ role, stacks }: UserRights): Pick<User, 'role' | 'stacks'> {
  return stacks === undefined ? { role } : { role, stacks: [...new Set(stacks)].sort() };
}

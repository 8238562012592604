/** Who a credential belongs to, by the users of the store: looked up anew for every request. */
import type { Clock } from '../../../shared/lib/clock.ts';
import type { User, UserCredential } from '../../../shared/model/index.ts';
import { sha256 } from '../../ca/authority.ts';
import type { Store } from '../../store/store.ts';
import type { Access } from './routes.ts';

/** What a user's token looks like: SHLUSR-1-SECRET. */
const TOKEN = /^SHLUSR-1-([0-9a-z]{25,64})$/;

export function formatUserToken(secret: string): string {
  return `SHLUSR-1-${secret}`;
}

/** How somebody proved who it is. */
export interface Proof {
  readonly kind: 'certificate' | 'token';
  /** As in UserCredential. */
  readonly digest: string;
}

export interface Principal {
  readonly name: string;
  readonly access: Access;
  readonly proof: Proof;
  readonly credentialId: string;
}

interface Held {
  readonly user: User;
  readonly credential: UserCredential;
}

/** DER of a certificate. */
export function certificateProof(raw: Buffer): Proof {
  return { kind: 'certificate', digest: sha256(raw) };
}

/** Undefined for what is no token of a user. */
export function tokenProof(text: string): Proof | undefined {
  const secret = TOKEN.exec(text)?.[1];
  return secret === undefined ? undefined : { kind: 'token', digest: sha256(Buffer.from(secret)) };
}

export class UserDirectory {
  readonly #store: Store;
  readonly #clock: Clock;
  #held: ReadonlyMap<string, Held> | undefined;
  readonly #undo: () => void;
  readonly #listeners = new Set<() => void>();

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    this.#undo = store.onChange((changes) => {
      if (!changes.some(({ table }) => table === 'users')) return;
      this.#held = undefined;
      for (const listener of this.#listeners) listener();
    });
  }

  /** Undefined: nobody's, or it has ended. Digests are compared by a table: they tell nothing of what they are of. */
  find(proof: Proof): Principal | undefined {
    this.#held ??= index(this.#store);
    const held = this.#held.get(`${proof.kind}/${proof.digest}`);
    if (held === undefined) return undefined;
    const { user, credential } = held;
    const { role, stacks, name } = user;
    if (credential.expiresAtMs !== undefined && this.#clock.now() >= credential.expiresAtMs) return undefined;
    const access = stacks === undefined ? { role } : { role, stacks };
    return { name, access, proof, credentialId: credential.id };
  }

  /** Whenever users have changed. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  close(): void {
    this.#undo();
    this.#listeners.clear();
  }
}

/** One text for what may be done: whoever has the same is served by the same. */
export function accessKey({ role, stacks }: Access): string {
  return JSON.stringify([role, stacks?.toSorted() ?? null]);
}

function index(store: Store): Map<string, Held> {
  const held = new Map<string, Held>();
  for (const user of store.all('users').values()) {
    for (const credential of user.certificates)
      held.set(`certificate/${credential.digest}`, { user, credential });
    for (const credential of user.tokens) held.set(`token/${credential.digest}`, { user, credential });
  }
  return held;
}

/** Who may use the API over TCP: a record a user, with digests of what proves it. */

/** Each may what those before it may. */
export const USER_ROLES = ['viewer', 'operator', 'admin'] as const;
export type UserRole = (typeof USER_ROLES)[number];

/** A certificate or a token. */
export interface UserCredential {
  readonly id: string;
  /** SHA-256, hexadecimal: of the certificate (DER), or of the token's secret. Neither is kept. */
  readonly digest: string;
  readonly createdAtMs: number;
  /** Absent: until it is revoked. */
  readonly expiresAtMs?: number;
}

/** The record at /users/<name>. */
export interface User {
  readonly name: string;
  readonly role: UserRole;
  /** Names of the stacks that alone the user sees and changes. Absent: everything. */
  readonly stacks?: readonly string[];
  readonly certificates: readonly UserCredential[];
  readonly tokens: readonly UserCredential[];
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

export function roleIncludes(role: UserRole, needed: UserRole): boolean {
  return USER_ROLES.indexOf(role) >= USER_ROLES.indexOf(needed);
}

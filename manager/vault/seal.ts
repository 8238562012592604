/** Sealing of secrets and configs for etcd: AES-256-GCM (NIST SP 800-38D), a random nonce each, bound to its record. */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { AppError } from '../../shared/errors/index.ts';
import type { Sealed, StoredFileKind } from '../../shared/model/index.ts';

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Of which kind the record is. */
export type SealedKind = StoredFileKind | 'cluster';

/** What was sealed does not open: another key, or somebody changed it. */
export class SealError extends AppError {
  override readonly name = 'SealError';
  readonly code = 'internal';
}

export interface DataKey {
  /** The start of the key's SHA-256: names it, tells nothing of it. */
  readonly id: string;
  readonly bytes: Buffer;
}

export function newDataKey(): DataKey {
  return dataKeyOf(randomBytes(KEY_BYTES));
}

/** Throws RangeError for what is not 256 bits. */
export function dataKeyOf(bytes: Buffer): DataKey {
  if (bytes.length !== KEY_BYTES)
    throw new RangeError(`a data key has ${KEY_BYTES} bytes, not ${bytes.length}`);
  return {
    id: createHash('sha256').update('shoal data key').update(bytes).digest('hex').slice(0, 16),
    bytes,
  };
}

/** Seals with one key, and opens with those that it has: during a rotation there are several. */
export class Vault {
  /** With what the file of its keys is locked (autolock); undefined: it is not. */
  unlockKey: Buffer | undefined;
  readonly #keys: Map<string, DataKey>;
  #current: DataKey;

  constructor(current: DataKey, others: readonly DataKey[] = []) {
    this.#current = current;
    this.#keys = new Map([current, ...others].map((key) => [key.id, key]));
  }

  /** Of the key that it seals with. */
  get keyId(): string {
    return this.#current.id;
  }

  /** The one that it seals with first. */
  get keys(): readonly DataKey[] {
    return [this.#current, ...[...this.#keys.values()].filter((key) => key !== this.#current)];
  }

  has(keyId: string): boolean {
    return this.#keys.has(keyId);
  }

  add(key: DataKey): void {
    this.#keys.set(key.id, key);
  }

  /** From now on it seals with this one, if it has it. */
  use(keyId: string): void {
    this.#current = this.#keys.get(keyId) ?? this.#current;
  }

  /** Never the one that it seals with. */
  forget(keyId: string): void {
    if (keyId !== this.keyId) this.#keys.delete(keyId);
  }

  /** `id` is the record's: sealed text that is moved to another record does not open there. */
  seal(kind: SealedKind, id: string, data: Buffer): Sealed {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#current.bytes, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(boundTo(kind, id));
    const text = Buffer.concat([cipher.update(data), cipher.final(), cipher.getAuthTag()]);
    return { keyId: this.keyId, nonce: nonce.toString('base64'), text: text.toString('base64') };
  }

  /** Throws SealError. */
  open(kind: SealedKind, id: string, sealed: Sealed): Buffer {
    const key = this.#keys.get(sealed.keyId);
    if (key === undefined) {
      throw new SealError(
        `${kind} ${id} is sealed with data key ${sealed.keyId}, this manager has ${[...this.#keys.keys()].join(', ')}`,
      );
    }
    const text = Buffer.from(sealed.text, 'base64');
    const nonce = Buffer.from(sealed.nonce, 'base64');
    if (text.length < TAG_BYTES || nonce.length !== NONCE_BYTES) {
      throw new SealError(`${kind} ${id} is damaged: it is too short`);
    }
    const decipher = createDecipheriv('aes-256-gcm', key.bytes, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(boundTo(kind, id));
    decipher.setAuthTag(text.subarray(-TAG_BYTES));
    try {
      return Buffer.concat([decipher.update(text.subarray(0, -TAG_BYTES)), decipher.final()]);
    } catch (cause) {
      throw new SealError(`${kind} ${id} does not open: it was changed since it was sealed`, { cause });
    }
  }
}

function boundTo(kind: SealedKind, id: string): Buffer {
  return Buffer.from(`shoal/v1/${kind}/${id}`);
}

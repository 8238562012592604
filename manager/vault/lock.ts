/** The lock of a manager's data keys: their file sealed with an unlock key that somebody gives at each start (autolock). */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { InvalidError } from '../../shared/errors/index.ts';

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const BOUND_TO = Buffer.from('shoal/v1/data-key-file');
const MARK = 'shoal-locked-1';
/** Docker's form. */
const PREFIX = 'SWMKEY-1-';

export function newUnlockKey(): Buffer {
  return randomBytes(KEY_BYTES);
}

export function formatUnlockKey(key: Buffer): string {
  return PREFIX + key.toString('base64').replace(/=+$/, '');
}

/** Throws InvalidError. */
export function parseUnlockKey(text: string): Buffer {
  const trimmed = text.trim();
  const key = Buffer.from(trimmed.slice(PREFIX.length), 'base64');
  if (!trimmed.startsWith(PREFIX) || key.length !== KEY_BYTES)
    throw new InvalidError('invalid key string: an unlock key is SWMKEY-1-...');
  return key;
}

/** The lines of a file, of which a backup may have some locked and some not. */
export function plainLines(fileText: string): string[] {
  const lines = fileText.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '' && !line.startsWith(`${MARK} `));
}

/** All that it holds needs the unlock key. */
export function isLocked(fileText: string): boolean {
  return fileText.trim() !== '' && plainLines(fileText).length === 0;
}

/** One line, for a file. */
export function lock(text: string, key: Buffer): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(BOUND_TO);
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return `${MARK} ${nonce.toString('base64')} ${sealed.toString('base64')}\n`;
}

/** What the file holds. Of several lines (in a backup) those that this key opens. Throws InvalidError when it opens none. */
export function unlock(fileText: string, key: Buffer): string {
  const opened = fileText.split('\n').flatMap((line) => openLine(line, key) ?? []);
  if (opened.length === 0)
    throw new InvalidError('could not unlock the manager: the unlock key is not the right one');
  return opened.join('');
}

function openLine(line: string, key: Buffer): string | undefined {
  const [mark, nonce = '', text = ''] = line.trim().split(' ');
  const sealed = Buffer.from(text, 'base64');
  if (mark !== MARK || sealed.length < TAG_BYTES) return undefined;
  try {
    const iv = Buffer.from(nonce, 'base64');
    const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
    decipher.setAAD(BOUND_TO);
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    return Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()]).toString(
      'utf8',
    );
  } catch {
    return undefined;
  }
}

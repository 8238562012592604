/**
 * What a backup file is on the outside: a line that names it, a header, the content in chunks, and a proof that all of it is
 * there and as it was written.
 *
 *     "shoal-backup 1\n"  u32 length, header (JSON)  { u32 length with the top bit on the last one, chunk } ...
 *
 * Unencrypted, the SHA-256 of everything before ends the file. Encrypted (AES-256-GCM, NIST SP 800-38D), each chunk carries
 * its tag; the nonce counts the chunks, and the header and the mark of the last chunk are authenticated with it: chunks can
 * be neither changed, moved, dropped nor added. The key is scrypt's (RFC 7914) of a passphrase and a salt of this file alone,
 * so that no nonce is used twice with one key.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes, scrypt } from 'node:crypto';
import { z } from 'zod';
import { InvalidError } from '../../shared/errors/index.ts';
import { ByteReader } from './byte-reader.ts';

const MAGIC = Buffer.from('shoal-backup 1\n');
const CHUNK_BYTES = 1024 * 1024;
const HEADER_MAX_BYTES = 4096;
const LAST = 0x8000_0000;
const KEY_BYTES = 32;
const SALT_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SUM_BYTES = 32;
/** 128 * N * r bytes of memory: 128 MiB, and some 0.4 s. */
const SCRYPT = { N: 2 ** 17, r: 8, p: 1 } as const;

const headerSchema = z.strictObject({
  encryption: z
    .strictObject({
      cipher: z.literal('aes-256-gcm'),
      kdf: z.literal('scrypt'),
      // A file must not make its reader take gigabytes: these are what this version writes.
      N: z.literal(SCRYPT.N),
      r: z.literal(SCRYPT.r),
      p: z.literal(SCRYPT.p),
      salt: z.base64(),
    })
    .nullable(),
});
type Header = z.output<typeof headerSchema>;

/** The file's bytes. With a passphrase nothing of the content is readable without it. */
export async function* seal(
  content: AsyncIterable<Buffer>,
  passphrase: string | undefined,
): AsyncGenerator<Buffer> {
  const salt = randomBytes(SALT_BYTES);
  const header: Header = {
    encryption:
      passphrase === undefined
        ? null
        : { cipher: 'aes-256-gcm', kdf: 'scrypt', ...SCRYPT, salt: salt.toString('base64') },
  };
  const head = headBytes(header);
  const key = passphrase === undefined ? undefined : await keyOf(passphrase, salt);
  const sum = createHash('sha256');
  sum.update(head);
  yield head;
  let number = 0;
  for await (const { chunk, last } of chunksOf(content)) {
    const payload = key === undefined ? chunk : encrypt(key, head, number, last, chunk);
    const framed = Buffer.concat([u32(payload.length + (last ? LAST : 0)), payload]);
    sum.update(framed);
    number += 1;
    yield framed;
  }
  if (key === undefined) yield sum.digest();
}

/**
 * The content again, and the check: only when the iteration ends without an error is what was yielded all of it and
 * unchanged. Throws InvalidError for anything else, also for a missing or a wrong passphrase.
 */
export async function* open(
  file: AsyncIterable<Buffer>,
  passphrase: string | undefined,
): AsyncGenerator<Buffer> {
  const reader = new ByteReader(file);
  try {
    const { head, header } = await readHead(reader);
    const key = await keyFor(header, passphrase);
    const sum = createHash('sha256');
    sum.update(head);
    for (let number = 0; ; number += 1) {
      const word = await reader.exactly(4);
      const last = word.readUInt32BE() >= LAST;
      const length = word.readUInt32BE() % LAST;
      if (length > CHUNK_BYTES + TAG_BYTES) throw damaged();
      const payload = await reader.exactly(length);
      sum.update(word).update(payload);
      yield key === undefined ? payload : decrypt(key, head, number, last, payload);
      if (last) break;
    }
    if (key === undefined && !(await reader.exactly(SUM_BYTES)).equals(sum.digest())) throw damaged();
    if (!(await reader.atEnd())) throw new InvalidError('the backup is damaged: something follows its end');
  } finally {
    await reader.close();
  }
}

function headBytes(header: Header): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  return Buffer.concat([MAGIC, u32(json.length), json]);
}

async function readHead(reader: ByteReader): Promise<{ head: Buffer; header: Header }> {
  const magic = await reader.exactly(MAGIC.length);
  if (!magic.equals(MAGIC)) {
    throw new InvalidError(
      "this is no backup of this version's format: it does not begin with 'shoal-backup 1'",
    );
  }
  const size = await reader.exactly(4);
  if (size.readUInt32BE() > HEADER_MAX_BYTES) throw damaged();
  const json = await reader.exactly(size.readUInt32BE());
  try {
    const header = headerSchema.parse(JSON.parse(json.toString('utf8')));
    return { head: Buffer.concat([magic, size, json]), header };
  } catch (cause) {
    throw new InvalidError('the backup is damaged: its header can not be read', { cause });
  }
}

async function keyFor(header: Header, passphrase: string | undefined): Promise<Buffer | undefined> {
  if (header.encryption === null) return undefined;
  if (passphrase === undefined)
    throw new InvalidError('the backup is encrypted: say with --passphrase-file what opens it');
  return keyOf(passphrase, Buffer.from(header.encryption.salt, 'base64'));
}

function keyOf(passphrase: string, salt: Buffer): Promise<Buffer> {
  const options = { ...SCRYPT, maxmem: 256 * SCRYPT.N * SCRYPT.r };
  return new Promise((resolve, reject) => {
    scrypt(passphrase.normalize('NFC'), salt, KEY_BYTES, options, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}

/** Full chunks but for the last one, which may be empty. */
async function* chunksOf(content: AsyncIterable<Buffer>): AsyncGenerator<{ chunk: Buffer; last: boolean }> {
  let held: Buffer[] = [];
  let bytes = 0;
  for await (const part of content) {
    held.push(part);
    bytes += part.length;
    while (bytes > CHUNK_BYTES) {
      const all = Buffer.concat(held);
      yield { chunk: all.subarray(0, CHUNK_BYTES), last: false };
      held = [all.subarray(CHUNK_BYTES)];
      bytes -= CHUNK_BYTES;
    }
  }
  yield { chunk: Buffer.concat(held), last: true };
}

function encrypt(key: Buffer, head: Buffer, number: number, last: boolean, chunk: Buffer): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonceOf(number), { authTagLength: TAG_BYTES });
  cipher.setAAD(boundTo(head, last));
  return Buffer.concat([cipher.update(chunk), cipher.final(), cipher.getAuthTag()]);
}

function decrypt(key: Buffer, head: Buffer, number: number, last: boolean, payload: Buffer): Buffer {
  if (payload.length < TAG_BYTES) throw damaged();
  const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(number), { authTagLength: TAG_BYTES });
  decipher.setAAD(boundTo(head, last));
  decipher.setAuthTag(payload.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(payload.subarray(0, -TAG_BYTES)), decipher.final()]);
  } catch (cause) {
    throw new InvalidError('the backup does not open: the passphrase is wrong, or the file is damaged', {
      cause,
    });
  }
}

function nonceOf(number: number): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce.writeBigUInt64BE(BigInt(number), NONCE_BYTES - 8);
  return nonce;
}

function boundTo(head: Buffer, last: boolean): Buffer {
  return Buffer.concat([head, Buffer.of(last ? 1 : 0)]);
}

function u32(value: number): Buffer {
  const word = Buffer.alloc(4);
  word.writeUInt32BE(value);
  return word;
}

function damaged(): InvalidError {
  return new InvalidError('the backup is damaged: its bytes are not those that were written');
}

/** The sending half of the OCI distribution protocol (distribution-spec 1.1, "Push"). */
import type { Readable } from 'node:stream';
import { InvalidError, UnauthorizedError } from '../../shared/errors/index.ts';
import { sha256Of } from './digest.ts';
import { RegistryUnavailableError } from './errors.ts';
import { readBody } from './http.ts';
import { registryMessage, type RegistrySession, withRetries } from './registry-client.ts';

export interface OutgoingBlob {
  readonly digest: string;
  readonly size: number;
  /** Its bytes, anew at each call. */
  readonly open: () => Readable | Buffer;
}

export async function hasBlob(
  session: RegistrySession,
  digest: string,
  signal: AbortSignal,
): Promise<boolean> {
  const response = await session.request(`blobs/${digest}`, { method: 'HEAD' }, signal);
  response.resume();
  return response.statusCode === 200;
}

/** In one piece; begun anew where the connection breaks. */
export function uploadBlob(
  session: RegistrySession,
  { digest, size, open }: OutgoingBlob,
  signal: AbortSignal,
): Promise<void> {
  return withRetries(async () => {
    const begun = await send(session, 'blobs/uploads/', { method: 'POST', body: '' }, 202, signal);
    if (begun === undefined) throw new RegistryUnavailableError('the registry gave no place to upload to');
    const place = new URL(begun, session.base);
    place.searchParams.set('digest', digest);
    const headers = { 'content-type': 'application/octet-stream', 'content-length': String(size) };
    const content = open();
    const body = Buffer.isBuffer(content) ? content : open;
    await send(
      session,
      place,
      { method: 'PUT', headers, body: body as Buffer | (() => Readable) },
      201,
      signal,
    );
  }, signal);
}

/** A small blob, unless the registry has it. */
export async function uploadBytes(
  session: RegistrySession,
  bytes: Buffer,
  signal: AbortSignal,
): Promise<void> {
  const digest = sha256Of(bytes);
  if (await hasBlob(session, digest, signal)) return;
  await uploadBlob(session, { digest, size: bytes.length, open: () => bytes }, signal);
}

export function putManifest(
  session: RegistrySession,
  tag: string,
  manifest: { readonly bytes: Buffer; readonly mediaType: string },
  signal: AbortSignal,
): Promise<void> {
  const headers = { 'content-type': manifest.mediaType, 'content-length': String(manifest.bytes.length) };
  const options = { method: 'PUT', headers, body: manifest.bytes } as const;
  return withRetries(async () => {
    await send(session, `manifests/${tag}`, options, 201, signal);
  }, signal);
}

/** Returns the Location of an answer with the status; else throws what the answer means. */
async function send(
  session: RegistrySession,
  path: string | URL,
  options: Parameters<RegistrySession['request']>[1],
  expected: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  const response = await session.request(path, options, signal);
  const body = await readBody(response, session.base, signal);
  const status = response.statusCode ?? 0;
  if (status === expected) return response.headers.location;
  const message = registryMessage(body) ?? `the registry answered ${status}`;
  if (status === 401 || status === 403)
    throw new UnauthorizedError(`push access to ${session.name} denied: ${message}`);
  if (status === 408 || status === 429 || status >= 500)
    throw new RegistryUnavailableError(`${session.base.host} can not take ${session.name} now: ${message}`);
  throw new InvalidError(`${session.base.host} refuses ${session.name}: ${message}`);
}

import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { backoffMs } from '../../shared/lib/backoff.ts';
import { delay } from '../../shared/lib/abort.ts';
import { AppError, UnauthorizedError } from '../../shared/errors/index.ts';
import type { ImageMethods } from '../../shared/model/node-methods/index.ts';
import { downloadBlob } from './blob-download.ts';
import { sha256Of } from './digest.ts';
import { ImageInvalidError, ImageNotFoundError, RegistryUnavailableError } from './errors.ts';
import { type HttpOptions, httpFetch, readBody } from './http.ts';
import { InsecureRegistries } from './insecure.ts';
import { parseImageBlob } from './image-config.ts';
import {
  ACCEPTED_MANIFESTS,
  type Descriptor,
  manifestType,
  type ParsedManifest,
  parseManifest,
  selectPlatform,
} from './manifest.ts';
import { canonicalName, familiarName, familiarRepository, type ImageReference } from './reference.ts';
import type { RegistryAuth } from './registry-auth.ts';
import { checkCredentials, registryOf } from './registry-login.ts';
import { basicAuthorization, bearerAuthorization, parseChallenge } from './registry-token.ts';

/** An image as its registry describes it, for this machine's platform. */
export interface RemoteImage {
  /** Of what the reference names: an index, or the manifest itself. */
  readonly digest: string;
  readonly config: Descriptor;
  /** Lowest first. */
  readonly layers: readonly Descriptor[];
}

export type RemoteDescription = ImageMethods['image.describe-remote']['result'];

export interface Endpoint {
  readonly base: URL;
  readonly verifyCertificate: boolean;
}

const ATTEMPTS = 4;
const BACKOFF_BASE_MS = 250;
const BACKOFF_MAX_MS = 4_000;
/** Docker Hub's name is not its address. */
const HUB_HOST = 'registry-1.docker.io';

/** Speaks the OCI distribution protocol (OCI distribution-spec 1.1). Knows which registries are asked without TLS. */
export class RegistryClient {
  readonly #insecure: InsecureRegistries;
  readonly #endpoints = new Map<string, Endpoint>();

  constructor(insecureRegistries: readonly string[]) {
    this.#insecure = new InsecureRegistries(insecureRegistries);
  }

  /** A conversation about one repository; keeps the token that it was given. */
  async open(
    ref: ImageReference,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
  ): Promise<RegistrySession> {
    const known = this.#endpoints.get(ref.registry);
    const endpoint = known ?? (await this.#endpointOf(ref.registry, signal));
    this.#endpoints.set(ref.registry, endpoint);
    return new RegistrySession(ref, endpoint, auth);
  }

  /** What the registry has under the name. Rejects with UnauthorizedError where it does not show it to us. */
  async describe(
    ref: ImageReference,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
  ): Promise<RemoteDescription> {
    try {
      return await (await this.open(ref, auth, signal)).describe(signal);
    } catch (cause) {
      if (cause instanceof ImageNotFoundError && cause.denied) throw new UnauthorizedError(cause.message);
      throw cause;
    }
  }

  /** Whether the registry accepts the credentials. `server`: host[:port] or a URL. Rejects with UnauthorizedError. */
  async login(server: string, auth: RegistryAuth, signal: AbortSignal): Promise<{ identityToken?: string }> {
    const registry = registryOf(server);
    const endpoint = this.#endpoints.get(registry) ?? (await this.#endpointOf(registry, signal));
    await checkCredentials(endpoint, auth, signal);
    return {};
  }

  async #endpointOf(registry: string, signal: AbortSignal): Promise<Endpoint> {
    const host = registry === 'docker.io' ? HUB_HOST : registry;
    const secure = { base: new URL(`https://${host}/v2/`), verifyCertificate: true };
    if (!(await this.#insecure.includes(registry))) return secure;
    const plain = new URL(`http://${host}/v2/`);
    return (await wantsTls(plain, signal))
      ? { ...secure, verifyCertificate: false }
      : { base: plain, verifyCertificate: true };
  }
}

/** Whether the port answers plain HTTP with a complaint (Go's and nginx's servers: 400), or by hanging up. */
async function wantsTls(plain: URL, signal: AbortSignal): Promise<boolean> {
  try {
    const response = await httpFetch(plain, {}, signal);
    response.destroy();
    return response.statusCode === 400;
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    if (code === 'ECONNRESET' || code.startsWith('HPE_')) return true;
    throw error;
  }
}

/** One repository of one registry. */
export class RegistrySession {
  readonly #ref: ImageReference;
  readonly #endpoint: Endpoint;
  readonly #auth: RegistryAuth | undefined;
  #authorization: string | undefined;

  constructor(ref: ImageReference, endpoint: Endpoint, auth: RegistryAuth | undefined) {
    this.#ref = ref;
    this.#endpoint = endpoint;
    this.#auth = auth;
    this.#authorization = auth?.registryToken === undefined ? undefined : `Bearer ${auth.registryToken}`;
  }

  /** The digest that the reference names now, asked once; undefined where the registry does not say. */
  async headDigest(signal: AbortSignal): Promise<string | undefined> {
    const headers = { accept: ACCEPTED_MANIFESTS };
    const response = await this.request(this.#manifestPath(), { headers, method: 'HEAD' }, signal);
    response.resume();
    const digest = response.headers['docker-content-digest'];
    return response.statusCode === 200 && typeof digest === 'string' ? digest : undefined;
  }

  /**
   * The image that the reference names. Rejects with ImageNotFoundError (with the registry's own message),
   * ImageInvalidError, or RegistryUnavailableError after a few attempts.
   */
  async resolve(signal: AbortSignal, platform?: string): Promise<RemoteImage> {
    const top = await this.#manifest(this.#ref.digest ?? this.#ref.tag ?? 'latest', signal);
    if (top.parsed.kind === 'image') return { digest: top.digest, ...top.parsed };
    const { digest } = selectPlatform(top.parsed.index, familiarName(this.#ref), platform);
    const { parsed } = await this.#manifest(digest, signal);
    if (parsed.kind === 'image') return { digest: top.digest, ...parsed };
    throw new ImageInvalidError(`${familiarName(this.#ref)} has an index within an index`);
  }

  /** What the reference names: its descriptor, and the platforms that it is for. Rejects as `resolve` does. */
  async describe(signal: AbortSignal): Promise<RemoteDescription> {
    const which = this.#ref.digest ?? this.#ref.tag ?? 'latest';
    const { digest, sizeBytes, mediaType, parsed } = await this.#manifest(which, signal);
    return { mediaType, digest, sizeBytes, platforms: await this.#platforms(parsed, signal) };
  }

  async #platforms(parsed: ParsedManifest, signal: AbortSignal): Promise<RemoteDescription['platforms']> {
    if (parsed.kind === 'index') {
      return parsed.index.manifests.flatMap(({ platform }) =>
        // build attestations: no image that could run
        platform === undefined || platform.os === 'unknown'
          ? []
          : [
              {
                os: platform.os,
                architecture: platform.architecture,
                ...(platform.variant === undefined ? {} : { variant: platform.variant }),
              },
            ],
      );
    }
    const config = await this.readBlob(parsed.config, signal);
    const { os, architecture, variant } = parseImageBlob(config, familiarName(this.#ref));
    return [{ os, architecture, ...(variant === '' ? {} : { variant }) }];
  }

  /** A small blob, verified: the image's configuration. */
  async readBlob({ digest }: Descriptor, signal: AbortSignal): Promise<Buffer> {
    const body = await withRetries(async () => {
      const response = await this.request(`blobs/${digest}`, {}, signal);
      return this.#body(response, [200], signal);
    }, signal);
    if (sha256Of(body) === digest) return body;
    throw new ImageInvalidError(
      `${this.#host()} sent a damaged blob ${digest} of ${familiarName(this.#ref)}`,
    );
  }

  /** Streams a blob to the new file `path`, verified; resumes where a connection broke. */
  async saveBlob(
    descriptor: Descriptor,
    path: string,
    signal: AbortSignal,
    onBytes?: (received: number) => void,
  ): Promise<void> {
    const range = async (start: number): Promise<IncomingMessage> => {
      const headers: Record<string, string> = start === 0 ? {} : { range: `bytes=${start}-` };
      const response = await this.request(`blobs/${descriptor.digest}`, { headers }, signal);
      if (response.statusCode !== 200 && response.statusCode !== 206) await this.#body(response, [], signal);
      return response;
    };
    const name = `layer ${descriptor.digest} of ${familiarName(this.#ref)}`;
    await downloadBlob({ descriptor, path, name, range, ...(onBytes && { onBytes }) }, signal);
  }

  #manifestPath(): string {
    return `manifests/${this.#ref.digest ?? this.#ref.tag ?? 'latest'}`;
  }

  async #manifest(which: string, signal: AbortSignal) {
    const { body, type } = await withRetries(async () => {
      const headers = { accept: ACCEPTED_MANIFESTS };
      const response = await this.request(`manifests/${which}`, { headers }, signal);
      const type = response.headers['content-type'] ?? '';
      return { body: await this.#body(response, [200], signal), type };
    }, signal);
    const digest = sha256Of(body);
    const name = familiarName(this.#ref);
    if (which.startsWith('sha256:') && digest !== which) {
      throw new ImageInvalidError(`${this.#host()} sent a damaged manifest of ${familiarName(this.#ref)}`);
    }
    const mediaType = manifestType(body, type, name);
    return { digest, sizeBytes: body.length, mediaType, parsed: parseManifest(body, type, name) };
  }

  /** Where the registry is. */
  get base(): URL {
    return this.#endpoint.base;
  }

  /** Of the repository, as people write it. */
  get name(): string {
    return familiarRepository(this.#ref);
  }

  /** One request, below the repository or to where the registry sent us; on the first 401 it gets a token, and asks again. */
  async request(path: string | URL, options: HttpOptions, signal: AbortSignal): Promise<IncomingMessage> {
    const { base, verifyCertificate } = this.#endpoint;
    const url = path instanceof URL ? path : new URL(`${this.#ref.repository}/${path}`, base);
    const send = (): Promise<IncomingMessage> => {
      const isOurs = this.#authorization !== undefined && url.origin === base.origin;
      const authorization = isOurs ? { authorization: this.#authorization ?? '' } : {};
      const headers = { ...options.headers, ...authorization };
      return httpFetch(url, { verifyCertificate, ...options, headers }, signal);
    };
    const refused = this.#authorization;
    const response = await send();
    if (response.statusCode !== 401) return response;
    const authorization = await this.#answer(response.headers['www-authenticate'], signal);
    // Another request beside this one may have had the same answer first: that is worth a second try all the same.
    if (authorization === undefined || authorization === refused) return response;
    response.destroy();
    this.#authorization = authorization;
    return send();
  }

  async #answer(header: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    const challenge = parseChallenge(header);
    if (challenge === undefined) return undefined;
    if (challenge.scheme === 'basic') return basicAuthorization(this.#auth);
    const isPlain = this.#endpoint.base.protocol === 'http:' || !this.#endpoint.verifyCertificate;
    return bearerAuthorization(challenge, this.#auth, isPlain, signal);
  }

  /** The body of an answer with one of the statuses; else throws what the answer means. */
  async #body(response: IncomingMessage, statuses: readonly number[], signal: AbortSignal): Promise<Buffer> {
    const body = await readBody(response, this.#endpoint.base, signal);
    const status = response.statusCode ?? 0;
    if (statuses.includes(status)) return body;
    throw this.#errorOf(status, registryMessage(body) ?? `the registry answered ${status}`);
  }

  #errorOf(status: number, message: string): AppError {
    const name = canonicalName(this.#ref).startsWith('docker.io/')
      ? familiarName(this.#ref)
      : canonicalName(this.#ref);
    if (status === 404) return new ImageNotFoundError(`manifest for ${name} not found: ${message}`);
    if (status === 401 || status === 403) {
      const repository = familiarRepository(this.#ref);
      return new ImageNotFoundError(
        `pull access denied for ${repository}, repository does not exist or may require 'docker login': ${message}`,
        { denied: true },
      );
    }
    if (status === 408 || status === 429 || status >= 500) {
      return new RegistryUnavailableError(`${this.#host()} can not give ${name} now: ${message}`);
    }
    return new ImageInvalidError(`${this.#host()} refuses to give ${name}: ${message}`);
  }

  #host(): string {
    return this.#endpoint.base.host;
  }
}

const errorsSchema = z.object({
  errors: z.array(z.object({ code: z.string(), message: z.string().optional() })).min(1),
});

/** The first error of a registry's body, as Docker prints it: `manifest unknown: manifest unknown`. */
export function registryMessage(body: Buffer): string | undefined {
  try {
    const [first] = errorsSchema.parse(JSON.parse(body.toString('utf8'))).errors;
    const code = first?.code.toLowerCase().replaceAll('_', ' ');
    return first?.message ? `${code}: ${first.message}` : code;
  } catch {
    return undefined;
  }
}

/** Runs `work` again after temporary errors, a few times, with growing pauses. */
export async function withRetries<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      const isWorthIt = error instanceof AppError && error.temporary && attempt + 1 < ATTEMPTS;
      if (!isWorthIt) throw error;
    }
    await delay(backoffMs(attempt, BACKOFF_BASE_MS, BACKOFF_MAX_MS, Math.random()), signal);
  }
}

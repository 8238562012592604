/** Checks credentials as `docker login` does: GET /v2/, and whatever its challenge asks for. */
import { UnauthorizedError } from '../../shared/errors/index.ts';
import { ImageNotFoundError } from './errors.ts';
import { httpFetch, readBody, unreachable } from './http.ts';
import type { RegistryAuth } from './registry-auth.ts';
import type { Endpoint } from './registry-client.ts';
import { basicAuthorization, bearerAuthorization, parseChallenge } from './registry-token.ts';

/** Docker Hub's name in `docker login` is that of its former API. */
const HUB_NAMES = ['', 'index.docker.io', 'docker.io', 'registry-1.docker.io'];

/** The registry that is meant by `https://index.docker.io/v1/`, `http://host:5000` or `host:5000`. */
export function registryOf(server: string): string {
  const host = server.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  return HUB_NAMES.includes(host) ? 'docker.io' : host;
}

/** Rejects with UnauthorizedError where they are refused, with RegistryUnavailableError where nobody answers. */
export async function checkCredentials(
  endpoint: Endpoint,
  auth: RegistryAuth,
  signal: AbortSignal,
): Promise<void> {
  const { base, verifyCertificate } = endpoint;
  const ask = async (headers: Record<string, string>) => {
    const response = await httpFetch(base, { headers, verifyCertificate }, signal);
    await readBody(response, base, signal);
    return response;
  };
  const first = await ask({});
  if (first.statusCode === 200) return;
  const authorization = await answer(endpoint, first.headers['www-authenticate'], auth, signal);
  const { statusCode = 0 } = authorization === undefined ? first : await ask({ authorization });
  if (statusCode === 200) return;
  if (statusCode !== 401 && statusCode !== 403)
    throw unreachable(base, new Error(`it answered ${statusCode}`));
  throw new UnauthorizedError(`Get "${base.href}": unauthorized: authentication required`);
}

async function answer(
  { base, verifyCertificate }: Endpoint,
  header: string | undefined,
  auth: RegistryAuth,
  signal: AbortSignal,
): Promise<string | undefined> {
  const challenge = parseChallenge(header);
  if (challenge === undefined) return undefined;
  if (challenge.scheme === 'basic') return basicAuthorization(auth);
  try {
    const isPlain = base.protocol === 'http:' || !verifyCertificate;
    return await bearerAuthorization(challenge, auth, isPlain, signal);
  } catch (error) {
    if (!(error instanceof ImageNotFoundError)) throw error;
    throw new UnauthorizedError(`Get "${base.href}": unauthorized: ${error.message}`);
  }
}

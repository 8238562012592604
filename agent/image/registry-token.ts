import { z } from 'zod';
import { ImageNotFoundError } from './errors.ts';
import { httpFetch, readBody, unreachable } from './http.ts';
import type { RegistryAuth } from './registry-auth.ts';

/** What a registry asks for in WWW-Authenticate (RFC 9110, section 11.6.1). */
export interface Challenge {
  readonly scheme: 'basic' | 'bearer';
  readonly parameters: ReadonlyMap<string, string>;
}

const tokenSchema = z.object({ token: z.string().optional(), access_token: z.string().optional() });

/** Parses WWW-Authenticate; undefined where it holds no scheme that we know. */
export function parseChallenge(header: string | undefined): Challenge | undefined {
  const scheme = /^\s*(basic|bearer)\b/i.exec(header ?? '')?.[1]?.toLowerCase();
  if (header === undefined || (scheme !== 'basic' && scheme !== 'bearer')) return undefined;
  const parameters = new Map<string, string>();
  for (const [, name, quoted, plain] of header.matchAll(/([a-z_]+)\s*=\s*(?:"([^"]*)"|([^\s",]+))/gi)) {
    if (name !== undefined) parameters.set(name.toLowerCase(), quoted ?? plain ?? '');
  }
  return { scheme, parameters };
}

/** The value of Authorization for Basic, or undefined without a user name. */
export function basicAuthorization(auth: RegistryAuth | undefined): string | undefined {
  if (auth?.username === undefined) return undefined;
  return `Basic ${Buffer.from(`${auth.username}:${auth.password ?? ''}`).toString('base64')}`;
}

/**
 * Gets a token as the registry's token specification says: by GET, with the credentials as Basic or anonymously, or
 * by OAuth2 when the client holds an identity token. Returns the value of Authorization.
 * `mayBePlain`: the registry itself is one that is asked without TLS.
 */
export async function bearerAuthorization(
  challenge: Challenge,
  auth: RegistryAuth | undefined,
  mayBePlain: boolean,
  signal: AbortSignal,
): Promise<string> {
  const url = realmUrl(challenge, mayBePlain || auth === undefined);
  const service = challenge.parameters.get('service') ?? '';
  const scope = challenge.parameters.get('scope') ?? '';
  const response =
    auth?.identityToken === undefined
      ? await getToken(url, service, scope, basicAuthorization(auth), signal)
      : await postToken(url, service, scope, auth.identityToken, signal);
  const body = await readBody(response, url, signal);
  if ((response.statusCode ?? 0) >= 500)
    throw unreachable(url, new Error(`it answered ${response.statusCode}`));
  const parsed = response.statusCode === 200 ? tokenSchema.safeParse(tryJson(body)) : undefined;
  const token = parsed?.data?.token ?? parsed?.data?.access_token;
  if (token !== undefined) return `Bearer ${token}`;
  throw new ImageNotFoundError(
    `${url.host} gave no token (${response.statusCode}): wrong or missing credentials`,
    { denied: true },
  );
}

function realmUrl(challenge: Challenge, mayBePlain: boolean): URL {
  const realm = challenge.parameters.get('realm') ?? '';
  const url = URL.canParse(realm) ? new URL(realm) : undefined;
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && mayBePlain)) return url;
  throw new ImageNotFoundError(
    `the registry sends us to "${realm}" for a token, where credentials must not go`,
  );
}

function getToken(
  url: URL,
  service: string,
  scope: string,
  authorization: string | undefined,
  signal: AbortSignal,
) {
  const target = new URL(url);
  if (service !== '') target.searchParams.set('service', service);
  if (scope !== '') target.searchParams.set('scope', scope);
  return httpFetch(target, { headers: authorization === undefined ? {} : { authorization } }, signal);
}

function postToken(url: URL, service: string, scope: string, refreshToken: string, signal: AbortSignal) {
  const form = {
    grant_type: 'refresh_token',
    refresh_token: refreshToken,
    client_id: 'shoal',
    service,
    scope,
  };
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return httpFetch(url, { method: 'POST', headers, body: new URLSearchParams(form).toString() }, signal);
}

function tryJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}

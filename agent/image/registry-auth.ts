import { z } from 'zod';
import { InvalidError } from '../../shared/errors/index.ts';
import { tryJson } from '../../shared/lib/try-json.ts';

/** Credentials for a registry, as clients send them in X-Registry-Auth. */
export interface RegistryAuth {
  readonly username?: string;
  readonly password?: string;
  /** An OAuth2 refresh token, in place of a password. */
  readonly identityToken?: string;
  /** A bearer token to be sent as it is. */
  readonly registryToken?: string;
}

const authSchema = z.object({
  username: z.string().optional(),
  password: z.string().optional(),
  auth: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
});

/** Parses the header X-Registry-Auth (base64url of JSON); undefined where it holds none. Throws InvalidError. */
export function parseRegistryAuth(header: string | undefined): RegistryAuth | undefined {
  if (header === undefined || header === '') return undefined;
  const text = Buffer.from(header, 'base64url').toString('utf8');
  const parsed = authSchema.safeParse(tryJson(text));
  if (!parsed.success)
    throw new InvalidError('X-Registry-Auth is not base64url of a JSON object with credentials');
  const { username, password, auth, identitytoken, registrytoken } = parsed.data;
  const [authUser, ...authPassword] = auth ? Buffer.from(auth, 'base64').toString('utf8').split(':') : [];
  const result: RegistryAuth = {
    ...withValue('username', username || authUser),
    ...withValue('password', password || authPassword.join(':')),
    ...withValue('identityToken', identitytoken),
    ...withValue('registryToken', registrytoken),
  };
  return Object.keys(result).length === 0 ? undefined : result;
}

function withValue(key: keyof RegistryAuth, value: string | undefined): RegistryAuth {
  return value ? { [key]: value } : {};
}

/**
 * How a machine becomes a node. It fetches the cluster's CA from an address it cannot trust yet, accepts it only when its
 * digest is the one in the token, and then asks that CA, over TLS that it now can verify, to sign a key made here.
 */
import { X509Certificate } from 'node:crypto';
import { ForbiddenError, InvalidError, UnavailableError } from '../../shared/errors/index.ts';
import { tryJson } from '../../shared/lib/try-json.ts';
import type { NodeRole } from '../../shared/model/index.ts';
import { parseValue } from '../../shared/wire/frames.ts';
import { type JoinRequest, joinResponseSchema } from '../../shared/wire/join.ts';
import { parseJoinToken } from '../../shared/wire/join-token.ts';
import { certificateRequest, generateKeys, keysOf, privateKeyPem } from '../../shared/wire/keys.ts';
import { askManagerAt, refusalOf } from '../../shared/wire/manager-exchange.ts';
import { managerIdentityCheck } from '../../shared/wire/manager-tls.ts';
import type { Identity } from './identity.ts';
import { explainRefusal } from './refused-certificate.ts';

export interface JoinOptions {
  /** As a manager prints it. */
  readonly token: string;
  /** host:port of each manager that is known; the first that answers is asked. */
  readonly managers: readonly string[];
  /** Default: what the token grants. */
  readonly role?: NodeRole;
  readonly hostname: string;
  /** A node that was in the cluster and comes back: who it was, and its key (PEM), which proves it. */
  readonly returning?: { readonly nodeId: string; readonly key: string };
  /** To become a manager instead of a node: where others will reach it. */
  readonly manager?: JoinRequest['manager'];
}

/**
 * Throws InvalidError for a malformed token, ForbiddenError when the address belongs to another cluster (or somebody is
 * in between) or the manager refuses the token, UnavailableError when nobody answers.
 */
export async function join(options: JoinOptions, signal: AbortSignal): Promise<Identity> {
  parseJoinToken(options.token);
  let unreachable: unknown = new InvalidError('joining needs the address of a manager (host:port)');
  for (const address of options.managers) {
    try {
      return await joinAt(address, options, signal);
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      unreachable = await explainRefusal(error, address, signal);
    }
  }
  throw unreachable;
}

async function joinAt(address: string, options: JoinOptions, signal: AbortSignal): Promise<Identity> {
  const { token, managers, hostname, role, returning, manager } = options;
  const ca = await fetchAuthority(address, parseJoinToken(token).caDigest, signal);
  const keys = returning === undefined ? await generateKeys() : await keysOf(returning.key);
  const csr = await certificateRequest(keys);
  const body = JSON.stringify({
    ...{ token: token.trim(), csr, role, hostname, manager },
    nodeId: returning?.nodeId,
  });
  const tls = { ca, checkServerIdentity: managerIdentityCheck(undefined) };
  const answer = await askManagerAt(address, { ...tls, method: 'POST', path: '/join' }, body, signal);
  if (answer.status !== 200) throw refusalOf(answer, address);
  const joined = parseValue(joinResponseSchema, tryJson(answer.body), `the answer of ${address}`);
  const key = await privateKeyPem(keys.privateKey);
  return { nodeId: joined.nodeId, ca: joined.ca, cert: joined.certificate, key, managers: [...managers] };
}

/** The only request that trusts nobody: what it brings is compared with the token's digest. */
async function fetchAuthority(address: string, caDigest: string, signal: AbortSignal): Promise<string> {
  const options = { rejectUnauthorized: false, method: 'GET', path: '/ca' };
  const answer = await askManagerAt(address, options, '', signal);
  const certificate = answer.status === 200 ? parseCertificate(answer.body) : undefined;
  if (certificate === undefined) {
    throw new UnavailableError(
      `what answers at ${address} is not a Shoal manager (GET /ca: ${answer.status})`,
    );
  }
  if (certificate.fingerprint256.replaceAll(':', '').toLowerCase() !== caDigest) {
    throw new ForbiddenError(
      `the cluster at ${address} is not the one this token was made for: ` +
        'the address or the token is wrong, or the CA was replaced since then and a new token is needed, or somebody is in between',
    );
  }
  return certificate.toString();
}

function parseCertificate(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

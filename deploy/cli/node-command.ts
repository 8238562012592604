/** The one command that makes a fresh machine a node. Pure. */
import { parseJoinToken } from '../../shared/wire/join-token.ts';

/**
 * A line for a shell. It needs curl and coreutils. Nothing that the manager sends is run before the manager has shown
 * that it is the token's: the CA is fetched from whoever answers, and its SHA-256 compared with the one in the token. The
 * file for curl is then written anew from the very bytes that were compared, so that nothing can hide beside them.
 * `manager` is host:port. Throws InvalidError for a malformed token.
 */
export function nodeCommand(manager: string, token: string): string {
  const { caDigest } = parseJoinToken(token);
  const port = manager.slice(manager.lastIndexOf(':') + 1);
  const steps = [
    'set -eu',
    'd=$(mktemp -d)',
    'trap "rm -rf $d" EXIT',
    `curl -fsSk https://${manager}/ca | sed /^-/d | base64 -d >$d/der`,
    `echo "${caDigest}  $d/der" | sha256sum -c --quiet`,
    '{ echo -----BEGIN CERTIFICATE-----; base64 $d/der; echo -----END CERTIFICATE-----; } >$d/ca',
    `curl -fsS --cacert $d/ca --connect-to localhost:${port}:${manager} https://localhost:${port}/install.sh >$d/install.sh`,
    `SHOAL_JOIN=${token} bash $d/install.sh agent --from ${manager} --ca $d/ca --manager ${manager}`,
  ];
  return `sudo sh -c '${steps.join('; ')}'`;
}

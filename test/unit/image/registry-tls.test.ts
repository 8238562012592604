import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import test from 'ava';
import { sha256Of } from '../../../agent/image/digest.ts';
import { RegistryUnavailableError } from '../../../agent/image/errors.ts';
import { httpFetch } from '../../../agent/image/http.ts';
import { parseReference } from '../../../agent/image/reference.ts';
import { PemConverter, X509CertificateGenerator } from '../../../shared/wire/x509.ts';
import { RegistryClient } from '../../../agent/image/registry-client.ts';

const deadline = () => AbortSignal.timeout(60_000);
const manifest = Buffer.from(
  JSON.stringify({
    mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
    config: { digest: `sha256:${'1'.repeat(64)}`, size: 1 },
    layers: [],
  }),
);

/** A registry that speaks TLS with a certificate that nobody vouches for. */
async function serveTls(): Promise<{ readonly server: Server; readonly port: number } & Disposable> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=registry',
    keys,
    signingAlgorithm: algorithm,
  });
  const pkcs8 = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
  const key = PemConverter.encode(pkcs8, 'PRIVATE KEY');
  const server = createServer({ cert: certificate.toString('pem'), key }, (_request, response) => {
    response.setHeader('docker-content-digest', sha256Of(manifest)).end(manifest);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { server, port: address.port, [Symbol.dispose]: close };
}

test('an insecure registry that speaks TLS is asked by TLS, whatever its certificate', async (t) => {
  using registry = await serveTls();
  const ref = parseReference(`127.0.0.1:${registry.port}/a:1`);
  const session = await new RegistryClient([]).open(ref, undefined, deadline());
  t.is(await session.headDigest(deadline()), sha256Of(manifest));
  t.is((await session.resolve(deadline())).digest, sha256Of(manifest));
});

test('the certificate of any other server is verified', async (t) => {
  using registry = await serveTls();
  const error = await t.throwsAsync(
    httpFetch(new URL(`https://127.0.0.1:${registry.port}/v2/`), {}, deadline()),
    {
      instanceOf: RegistryUnavailableError,
    },
  );
  t.regex(String(error.cause), /certificate/);
});

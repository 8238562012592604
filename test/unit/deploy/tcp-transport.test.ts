/** The command line over TCP: which manager is asked, and what is sent twice. */
import type { RequestListener } from 'node:http';
import anyTest, { type TestFn } from 'ava';
import { listenTls, type TlsApiServer, type TlsFiles } from '../../../manager/api/listen.ts';
import { GuardedPort } from '../../../manager/dispatcher/guarded-port.ts';
import { Refusals } from '../../../manager/dispatcher/refusals.ts';
import { Strangers } from '../../../manager/dispatcher/strangers.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { createRoot, openAuthority } from '../../../manager/ca/authority.ts';
import { ApiClient } from '../../../deploy/cli/client.ts';
import { TcpTransport } from '../../../deploy/cli/tcp-transport.ts';

const test = anyTest as TestFn<{ tls: TlsFiles; ca: string; other: string; servers: TlsApiServer[] }>;
const { signal } = new AbortController();
const BODY = { type: 'application/json', text: '{}' } as const;
/** On which nobody listens (RFC 6335: tcpmux). */
const NOBODY = { host: '127.0.0.1', port: 1 };

test.before(async (t) => {
  const authority = await openAuthority('c', await createRoot('c', Date.now()));
  const subject = { nodeId: 'm1', role: 'manager', hosts: ['127.0.0.1'] } as const;
  const { cert, key, ca } = await authority.issueIdentity(subject, Date.now());
  const other = (await createRoot('d', Date.now())).caCertificatePem;
  t.context = { tls: { cert, key }, ca, other, servers: [] };
});

test.after.always(async (t) => {
  await Promise.all((t.context.servers ?? []).map((server) => server.close()));
});

type Context = { tls: TlsFiles; servers: TlsApiServer[] };

/** A manager, and what it was asked: it answers, or is lost once it has the request. */
async function manager(
  { tls, servers }: Context,
  dies: boolean,
): Promise<{ at: { host: string; port: number }; asked: string[] }> {
  const asked: string[] = [];
  const handler: RequestListener = (req, res) => {
    asked.push(`${req.method} ${req.url} ${req.headers.authorization ?? ''}`.trim());
    if (dies) req.socket.destroy();
    else res.setHeader('Content-Type', 'application/json').end('{"ok":true}');
  };
  const port = new GuardedPort(new Strangers(), new Refusals(silentLogger));
  const server = await listenTls({ host: '127.0.0.1', port: 0 }, handler, tls, port);
  servers.push(server);
  return { at: server.address, asked };
}

test('the next manager is asked when one does not answer, for any request', async (t) => {
  const good = await manager(t.context, false);
  const api = new ApiClient(new TcpTransport([NOBODY, good.at], { ca: t.context.ca, token: 'T' }));
  t.deepEqual(await api.call('POST', '/services/create', BODY, signal), { ok: true });
  t.deepEqual(await api.get('/nodes', signal), { ok: true });
  t.deepEqual(good.asked, ['POST /services/create Bearer T', 'GET /nodes Bearer T']);
});

test('what may have been done is not done again; what can be repeated is, once', async (t) => {
  const [bad, worse, good] = [
    await manager(t.context, true),
    await manager(t.context, true),
    await manager(t.context, false),
  ];
  const api = (...at: { host: string; port: number }[]): ApiClient =>
    new ApiClient(new TcpTransport(at, { ca: t.context.ca }));
  for (const method of ['POST', 'DELETE'])
    await t.throwsAsync(api(bad.at, good.at).call(method, '/x', BODY, signal), {
      message: /may have been done/,
    });
  t.deepEqual(good.asked, []);
  t.deepEqual(await api(bad.at, good.at).get('/x', signal), { ok: true });
  t.deepEqual(await api(bad.at, good.at).call('PUT', '/stacks/x', BODY, signal), { ok: true });
  await t.throwsAsync(api(bad.at, worse.at, good.at).get('/x', signal), { message: /after another one/ });
  const before = bad.asked.length;
  await t.throwsAsync(api(bad.at).get('/x', signal));
  t.is(bad.asked.length, before + 2, 'of one manager, that one is asked again');
});

test('a manager of another CA, or by a name that it does not have, is told apart from one that is away', async (t) => {
  const { asked, at } = await manager(t.context, false);
  const good = await manager(t.context, false);
  const stranger = new ApiClient(new TcpTransport([at, good.at], { ca: t.context.other }));
  await t.throwsAsync(stranger.get('/x', signal), { message: /not of the cluster whose ca.pem/ });
  const named = new ApiClient(new TcpTransport([{ host: 'localhost', port: at.port }], { ca: t.context.ca }));
  await t.throwsAsync(named.get('/x', signal), { message: /--api-name/ });
  t.deepEqual([...asked, ...good.asked], []);
  await t.throwsAsync(new ApiClient(new TcpTransport([NOBODY], { ca: t.context.ca })).get('/x', signal), {
    message: /no manager answers: 127.0.0.1:1: /,
  });
});

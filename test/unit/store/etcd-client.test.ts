import test from 'ava';
import { createEtcdClient, mapEtcdError } from '../../../manager/store/etcd-client.ts';
import { chooseFreePorts } from '../../../manager/store/etcd-process.ts';
import { parseEtcdKey, prefixEnd } from '../../../manager/store/keys.ts';
import { openStore } from '../../../manager/store/open-store.ts';
import { InvalidError, UnavailableError } from '../../../shared/errors/index.ts';
import { startEtcd } from '../../harness/etcd.ts';
import { eventually, put, silent, within } from './helpers.ts';

const never = new AbortController().signal;

test('endpoints and TLS texts that can not be used are refused by name', (t) => {
  const refused = (pattern: RegExp) => ({ instanceOf: InvalidError, message: pattern });
  t.throws(() => createEtcdClient({ endpoints: [] }), refused(/no endpoint/));
  t.throws(
    () => createEtcdClient({ endpoints: ['10.0.0.1:2379'] }),
    refused(/"10.0.0.1:2379": expected http/),
  );
  t.throws(() => createEtcdClient({ endpoints: ['http://a:1', 'https://b:1'] }), refused(/mixed/));
  const endpoints = ['https://a:1'];
  t.throws(
    () => createEtcdClient({ endpoints, tls: { ca: '/nowhere/ca.pem' } }),
    refused(/the CA certificate is not in PEM/),
  );
  t.throws(() => createEtcdClient({ endpoints, tls: { ca: 'text', key: 'text' } }), refused(/together/));
});

test('an etcd that is not there fails fast, as unavailable', async (t) => {
  const ports = await chooseFreePorts();
  const client = createEtcdClient({ endpoints: [`http://127.0.0.1:${ports.client}`] });
  const error = await t.throwsAsync(client.kv.range({ key: Buffer.from('a') }));
  const mapped = mapEtcdError(error, 'read');
  t.true(mapped instanceof UnavailableError);
  t.regex((mapped as Error).message, /etcd can not read just now/);
  client.close();
});

test('of several endpoints, those that do not answer are passed over', async (t) => {
  await using etcd = await startEtcd();
  const [one, two] = [await chooseFreePorts(), await chooseFreePorts()];
  const dead = [one, two].map(({ client }) => `http://127.0.0.1:${client}`);
  await using store = await openStore({
    endpoints: [...dead, ...etcd.endpoints],
    logger: silent,
    signal: never,
  });
  await eventually(t, 'commits get through', () =>
    store.commit([put('t1')], { signal: within() }).then(
      () => true,
      (error: unknown) => !(error instanceof UnavailableError),
    ),
  );
  t.is(store.get('tasks', 't1')?.id, 't1');
});

test('keys name their table and object', (t) => {
  t.deepEqual(parseEtcdKey('/shoal/v1/names/service:web/x'), { table: 'names', key: 'service:web/x' });
  t.is(parseEtcdKey('/shoal/v1/unheard/x'), undefined);
  t.is(parseEtcdKey('/shoal/v1/tasks'), undefined);
  t.is(parseEtcdKey('/shoal/v1-election/x'), undefined);
  t.is(prefixEnd('/shoal/v1/').toString(), '/shoal/v10');
});

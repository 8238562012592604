/** /swarm: settings, join tokens, and what a node that is in a swarm answers. */
import test from 'ava';
import { ApiFixture, type Json } from './fixture.ts';

async function update(api: ApiFixture, change: (spec: Json) => void, query = ''): Promise<Json> {
  const { Version, Spec } = await api.get('/swarm');
  change(Spec);
  const { status, json } = await api.send('POST', `/swarm/update?version=${Version.Index}${query}`, Spec);
  return { status, message: json?.message };
}

test('settings: history, silence of nodes and labels are kept; what was read changes nothing', async (t) => {
  await using api = await ApiFixture.up();
  const before = await api.get('/swarm');
  t.is((await update(api, () => undefined)).status, 200);
  const after = await api.get('/swarm');
  t.deepEqual([after.Spec, after.JoinTokens], [before.Spec, before.JoinTokens]);
  t.true(after.Version.Index > before.Version.Index);

  const changed = await update(api, (spec) => {
    spec.Labels = { team: 'red' };
    spec.Orchestration.TaskHistoryRetentionLimit = 2;
    spec.Dispatcher.HeartbeatPeriod = 7e9;
    spec.CAConfig.NodeCertExpiry = 200 * 86_400e9;
  });
  t.is(changed.status, 200);
  t.like(api.store.get('cluster', 'self'), {
    labels: { team: 'red' },
    taskHistoryLimit: 2,
    nodeDownAfterMs: 7000,
    certificateLifeMs: 200 * 86_400e3,
  });
  const { Spec } = await api.get('/swarm');
  t.deepEqual([Spec.Labels, Spec.Dispatcher.HeartbeatPeriod], [{ team: 'red' }, 7e9]);
  t.is(Spec.CAConfig.NodeCertExpiry, 200 * 86_400e9);
  t.deepEqual((await api.get('/info')).Swarm.Cluster.Spec, Spec);
  // as a script sends it: what is left out stays
  const { Version } = await api.get('/swarm');
  t.is((await api.send('POST', `/swarm/update?version=${Version.Index}`, { Name: 'default' })).status, 200);
  t.like(api.store.get('cluster', 'self'), { taskHistoryLimit: 2, certificateLifeMs: 200 * 86_400e3 });
});

test('what Shoal does not have is refused by name, and nothing is written', async (t) => {
  await using api = await ApiFixture.up();
  const version = api.store.version('cluster', 'self');
  const refusals: [(spec: Json) => void, number, RegExp][] = [
    [(spec) => (spec.Name = 'mine'), 501, /Name: a cluster is called 'default'/],
    [(spec) => (spec.Raft.SnapshotInterval = 1000), 501, /Raft\.SnapshotInterval/],
    [(spec) => (spec.CAConfig.NodeCertExpiry = 3599e9), 400, /CAConfig\.NodeCertExpiry: 1h to 3650 days/],
    [(spec) => (spec.CAConfig.NodeCertExpiry = 1e21), 400, /CAConfig\.NodeCertExpiry/],
    [(spec) => (spec.CAConfig.ExternalCAs = [{ URL: 'https://ca' }]), 501, /CAConfig\.ExternalCAs/],
    [(spec) => (spec.CAConfig.SigningCACert = 'x'), 400, /SigningCACert and SigningCAKey belong together/],
    [
      (spec) => Object.assign(spec.CAConfig, { SigningCACert: 'x', SigningCAKey: 'y' }),
      400,
      /must be one root certificate in PEM/,
    ],
    [(spec) => (spec.TaskDefaults.LogDriver = { Name: 'syslog' }), 501, /TaskDefaults\.LogDriver/],
    [(spec) => (spec.Colour = 'red'), 501, /Colour/],
    [(spec) => (spec.Orchestration.TaskHistoryRetentionLimit = -1), 400, /TaskHistoryRetentionLimit: -1/],
    [(spec) => (spec.Dispatcher.HeartbeatPeriod = 1e6), 400, /HeartbeatPeriod: 500ms to 1h/],
    [(spec) => (spec.Labels = { 'a b': '' }), 400, /'a b' is no valid label name/],
    [(spec) => (spec.Labels = 5), 400, /Labels/],
  ];
  for (const [change, status, message] of refusals) {
    const answer = await update(api, change);
    t.is(answer.status, status, String(change));
    t.regex(answer.message, message);
  }
  t.is((await update(api, () => undefined, '&rotateManagerUnlockKey=1')).status, 400);
  t.is(api.store.version('cluster', 'self'), version);
});

test('an update names the version: none is 400, an old one is out of sequence', async (t) => {
  await using api = await ApiFixture.up();
  const { Version, Spec } = await api.get('/swarm');
  t.is((await api.send('POST', '/swarm/update', Spec)).status, 400);
  const stale = await api.send('POST', `/swarm/update?version=${Version.Index - 1}`, Spec);
  t.is(stale.status, 500);
  t.is(stale.json.message, 'rpc error: code = Unknown desc = update out of sequence');
});

test('each join token is rotated by itself', async (t) => {
  await using api = await ApiFixture.up();
  const tokens = async () => (await api.get('/swarm')).JoinTokens;
  const first = await tokens();
  t.is((await update(api, () => undefined, '&rotateWorkerToken=true&rotateManagerToken=false')).status, 200);
  const second = await tokens();
  t.not(second.Worker, first.Worker);
  t.is(second.Manager, first.Manager);
  await update(api, () => undefined, '&rotateManagerToken=1');
  const third = await tokens();
  t.is(third.Worker, second.Worker);
  t.not(third.Manager, second.Manager);
});

test('autolock: the unlock key is made, shown, rotated, and gone when it is turned off', async (t) => {
  await using api = await ApiFixture.up();
  const keyOf = async (): Promise<string> => (await api.get('/swarm/unlockkey')).UnlockKey;
  const lock = (on: boolean) => (spec: Json) => (spec.EncryptionConfig.AutoLockManagers = on);
  t.is((await update(api, lock(true))).status, 200);
  t.true((await api.get('/info')).Swarm.Cluster.Spec.EncryptionConfig.AutoLockManagers);
  const first = await keyOf();
  t.regex(first, /^SWMKEY-1-[\w+/]{43}$/);
  t.is((await update(api, () => undefined)).status, 200);
  t.is(await keyOf(), first, 'other settings leave it');
  await update(api, () => undefined, '&rotateManagerUnlockKey=true');
  const second = await keyOf();
  t.not(second, first);
  const stored = JSON.stringify([...api.store.all('cluster').values()]);
  for (const key of [first, second]) t.false(stored.includes(key.slice(9)));
  await update(api, lock(false));
  t.is(await keyOf(), '');
  await update(api, lock(true));
  t.not(await keyOf(), second);
});

test('init, join, leave, unlock: what Docker says on a node of a swarm', async (t) => {
  await using api = await ApiFixture.up();
  const post = async (path: string): Promise<[number, string]> => {
    const { status, json } = await api.send('POST', path, {});
    return [status, json.message];
  };
  for (const path of ['/swarm/init', '/swarm/join']) {
    const [status, message] = await post(path);
    t.is(status, 503);
    t.regex(message, /^This node is already part of a swarm\. Use "docker swarm leave"/);
  }
  const [status, message] = await post('/swarm/leave');
  t.is(status, 503);
  t.regex(message, /^You are attempting to leave the swarm on a node that is participating as a manager\./);
  t.regex(message, /Removing the last manager erases all current state of the swarm/);
  const forced = await post('/swarm/leave?force=1');
  t.is(forced[0], 501);
  t.regex(forced[1], /only manager.*shoal down/);
  t.deepEqual((await api.get('/swarm/unlockkey')).UnlockKey, '');
  t.deepEqual(await post('/swarm/unlock'), [409, 'swarm is not locked']);
});

test('tokens with an end: made, listed without their secrets, revoked', async (t) => {
  await using api = await ApiFixture.up();
  const { status, json } = await api.send('POST', '/join-tokens', { Role: 'worker', ExpiresInSeconds: 3600 });
  t.is(status, 201);
  t.regex(json.Token, /^SHOAL-1-/);
  t.not(json.Token, (await api.get('/swarm')).JoinTokens.Worker);
  const life = Date.parse(json.ExpiresAt) - Date.parse(json.CreatedAt);
  t.is(life, 3_600_000);
  const list = async (): Promise<string[]> =>
    (await api.get('/join-tokens')).map((one: Json) => `${one.ID} ${one.Role} ${one.State} ${one.Token}`);
  const id = json.ID as string;
  const standing = ['worker worker active undefined', 'manager manager active undefined'];
  t.deepEqual(await list(), [...standing, `${id} worker active undefined`]);
  t.false(JSON.stringify(api.store.get('cluster', 'self')).includes(json.Token.split('-').at(-1)));
  for (let i = 0; i < 2; i += 1) t.is((await api.send('DELETE', `/join-tokens/${id}`)).status, 200);
  t.deepEqual(await list(), [...standing, `${id} worker revoked undefined`]);
  const refused = async (method: string, path: string, body: Json, expected: number, message: RegExp) => {
    const answer = await api.send(method, path, body);
    t.is(answer.status, expected);
    t.regex(answer.json.message, message);
  };
  await refused('DELETE', '/join-tokens/nobody', undefined, 404, /no join token nobody/);
  await refused('DELETE', '/join-tokens/worker', undefined, 400, /join-token --rotate worker/);
  await refused('POST', '/join-tokens', { Role: 'king' }, 400, /Role/);
  await refused(
    'POST',
    '/join-tokens',
    { ExpiresInSeconds: 1e9 },
    400,
    /ExpiresInSeconds: 1000000000: at most/,
  );
  await refused('POST', '/join-tokens', { Colour: 'red' }, 501, /Colour/);
});

test('the CA is rotated as Docker asks for it, and its progress is shown, node by node', async (t) => {
  await using api = await ApiFixture.up();
  const { store } = api;
  const before = await api.get('/swarm');
  t.is(before.RootRotationInProgress, false);
  t.is((await update(api, (spec) => (spec.CAConfig.ForceRotate = 1))).status, 200);
  const during = await api.get('/swarm');
  t.is(during.RootRotationInProgress, true);
  t.is(during.TLSInfo.TrustRoot, before.TLSInfo.TrustRoot);
  t.not(during.TLSInfo.CertIssuerPublicKey, before.TLSInfo.CertIssuerPublicKey);
  t.deepEqual(during.JoinTokens, before.JoinTokens);
  const ca = await api.get('/ca');
  t.is(ca.Certificate, before.TLSInfo.TrustRoot);
  t.like(ca.Rotation, { Moved: 0, SkipDead: false, Skipped: [] });
  t.deepEqual(ca.Rotation.Waiting[0], { ID: 'nodea1', Hostname: 'a1', State: 'ready' });
  t.is(ca.NodeCertExpirySeconds, 90 * 86_400);
  // a1 has moved.
  const node = store.get('nodes', 'nodea1');
  if (node === undefined) return t.fail();
  const digest = (text: string): string => text.replace('sha256:', '');
  const trust = [digest(ca.Digest), digest(ca.Rotation.Digest)];
  const certificate = { keyDigest: 'k', issuer: digest(ca.Rotation.Digest), trust, endsAtMs: 1 };
  await store.commit([{ table: 'nodes', key: 'nodea1', value: { ...node, certificate } }], {
    signal: api.stopping.signal,
  });
  t.is((await api.get('/ca')).Rotation.Moved, 1);
  t.like((await api.get('/nodes/nodea1')).Description.TLSInfo, during.TLSInfo);
  // One at a time; what was asked for once more is to skip who is dead.
  const again = await update(api, (spec) => (spec.CAConfig.ForceRotate = 2));
  t.is(again.status, 409);
  t.regex(again.message, /under way/);
  t.is((await api.send('POST', '/ca/rotate', {})).status, 409);
  t.is((await api.send('POST', '/ca/rotate', { SkipDead: true })).status, 202);
  t.is((await api.get('/ca')).Rotation.SkipDead, true);
  t.is((await api.send('POST', '/ca/rotate', { CACert: 'x' })).status, 400);
  t.false(JSON.stringify(store.get('cluster', 'self')).includes('PRIVATE KEY'));
});

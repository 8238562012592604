/** A node and a manager of two versions: what the newer one says beyond the older is left out and named, once. */
import { once } from 'node:events';
import test from 'ava';
import { WebSocket, WebSocketServer } from 'ws';
import type { AddressInfo } from 'node:net';
import { SessionLink } from '../../../agent/session/session-link.ts';
import { NotFoundError } from '../../../shared/errors/index.ts';
import { VERSION } from '../../../shared/lib/version.ts';
import { versionSkew } from '../../../shared/lib/version-skew.ts';
import type { AssignmentSet, Logger } from '../../../shared/model/index.ts';
import { RawSession } from './raw-session.ts';
import { newSpecKeys } from '../../../shared/wire/spec-keys.ts';
import { addressOf, addService, description, eventually, quiet, rig, service, status } from './rig.ts';

const [major, minor] = VERSION.split('.').map(Number) as [number, number];
const NEXT = `${major}.${minor + 1}.0`;
const FAR = `${major}.${minor + 2}.0`;

test('one minor release is near, everything else is apart', (t) => {
  t.is(versionSkew('1.4.2', '1.4.2'), 'same');
  t.is(versionSkew('1.4.2', '1.4.2+build'), 'same');
  t.is(versionSkew('1.4.2', '1.4.3-rc.1'), 'newer');
  t.is(versionSkew('1.4.2', '1.5.0'), 'newer');
  t.is(versionSkew('1.4.2', '1.3.9'), 'older');
  for (const far of ['1.6.0', '1.2.0', '2.4.2', '0.4.2', 'x', ''])
    t.is(versionSkew('1.4.2', far), 'apart', far);
});

function listening(): { logger: Logger; lines: { field?: string }[] } {
  const lines: { field?: string }[] = [];
  const logger: Logger = { ...quiet, warn: (fields) => void lines.push(fields), child: () => logger };
  return { logger, lines };
}

test('a newer node: its session opens, what is not known is named once; a far one, and an equal one that says too much, are refused', async (t) => {
  const { logger, lines } = listening();
  const r = await rig(t, { logger });
  const hello = (nodeId: string, engineVersion: string) => ({
    type: 'hello',
    protocol: 1,
    nodeId,
    colour: 'blue',
    description: { ...description('n'), address: addressOf(nodeId), engineVersion, gpus: 2 },
  });
  const say = async (engineVersion: string) => {
    const identity = await r.joined(`n-${engineVersion}`);
    const session = new RawSession(r.address, identity);
    await session.opened();
    session.socket.send(JSON.stringify(hello(identity.nodeId, engineVersion)));
    return { session, nodeId: identity.nodeId };
  };
  const same = await say(VERSION);
  await eventually('it is refused', () => same.session.closeCode === 4000);
  const far = await say(FAR);
  await eventually('it is refused', () => far.session.closeCode === 4003);
  const next = await say(NEXT);
  await eventually('it is ready', () => r.store.get('nodes', next.nodeId)?.status === 'ready');
  const statuses = [{ ...status('t1', 'running'), mood: 'good' }];
  for (const id of [1, 2])
    next.session.socket.send(JSON.stringify({ type: 'status', id, statuses, sentAtMs: Date.now() }));
  await eventually('they are answered', () => next.session.of('status-ack').length === 2);
  const fields = lines.flatMap(({ field }) => (field === undefined ? [] : [field]));
  t.deepEqual(fields.toSorted(), ['colour', 'description.gpus', 'statuses.mood']);
});

test('an older node is named as such', async (t) => {
  const r = await rig(t);
  const identity = await r.joined('old');
  const session = new RawSession(r.address, identity);
  await session.opened();
  const { nodeId } = identity;
  const engineVersion = minor > 0 ? `${major}.${minor - 1}.9` : VERSION;
  const said = { ...description('old'), address: addressOf(nodeId), engineVersion };
  session.send({ type: 'hello', protocol: 1, nodeId, description: said });
  await eventually('it is ready', () => r.store.get('nodes', nodeId)?.status === 'ready');
  t.regex(r.store.get('nodes', nodeId)?.statusMessage ?? '', /what is new is not done there/);
});

test('a node is not told of ports on addresses that its version does not know, from the start and later', async (t) => {
  const r = await rig(t);
  const publish = async (name: string, first: number): Promise<void> => {
    await addService(r, name);
    const ports = ['127.0.0.1', '0.0.0.0', '::', undefined].map((hostIp, i) => ({
      ...({ protocol: 'tcp', targetPort: 80, mode: 'ingress' } as const),
      publishedPort: first + i,
      ...(hostIp === undefined ? {} : { hostIp }),
    }));
    const value = { ...service(name), endpoint: { vips: [], ports } };
    await r.store.commit([{ table: 'services', key: name, value }], { signal: r.signal });
  };
  await publish('before', 80);
  const come = async (hostname: string, knows: readonly string[]): Promise<RawSession> => {
    const { nodeId, ...identity } = await r.joined(hostname);
    const session = new RawSession(r.address, identity);
    await session.opened();
    const said = { ...description(hostname), address: addressOf(nodeId), knows: [...knows] };
    session.send({ type: 'hello', protocol: 1, nodeId, description: said });
    await eventually('the full set came', () => session.of('full').length > 0);
    return session;
  };
  const told = (session: RawSession): (readonly [string, number])[] =>
    [
      ...session.of('full').flatMap(({ set }) => set.services),
      ...session.of('change').flatMap(({ put }) => put.services ?? []),
    ].flatMap(({ name, ports }) => ports.map(({ publishedPort }) => [name, publishedPort] as const));
  const old = await come('old', []);
  const own = await come('own', newSpecKeys());
  await publish('later', 90);
  const has = (session: RawSession, name: string) => told(session).some(([of]) => of === name);
  await eventually('both are told', () => has(old, 'later') && has(own, 'later'));
  const ports = (session: RawSession) => [...new Set(told(session).map(([, port]) => port))].toSorted();
  t.deepEqual(ports(old), [80, 83, 90, 93]);
  t.deepEqual(ports(own), [80, 81, 82, 83, 90, 91, 92, 93]);
});

for (const [version, accepted] of [
  [NEXT, true],
  [VERSION, false],
] as const) {
  test(`a manager of version ${version} that says more than the node knows`, async (t) => {
    const manager = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    t.teardown(() => manager.close());
    await once(manager, 'listening');
    const row = { taskId: 't1', colour: 'blue' };
    manager.on('connection', (socket) => {
      const say = (frame: object): void => socket.send(JSON.stringify(frame));
      say({ type: 'welcome', sessionId: 's', nodeIndex: 1, beatMs: 500, version, mood: 'good' });
      say({ type: 'change', seq: 1, put: {}, drop: {}, ...row });
    });
    const { logger, lines } = listening();
    const address = `127.0.0.1:${(manager.address() as AddressInfo).port}`;
    const none = () => Promise.reject(new NotFoundError('none'));
    const sets: AssignmentSet[] = [];
    const link = new SessionLink(
      {
        nodeId: 'n1',
        managers: [address],
        description: description('n1'),
        tls: { ca: '', cert: '', key: '' },
      },
      {
        onAssignments: (set) => void sets.push(set),
        call: none,
        // oxlint-disable-next-line eslint/require-yield
        stream: async function* () {
          await none();
        },
      },
      logger,
      () => new WebSocket(`ws://${address}`),
    );
    const stop = new AbortController();
    const running = link.run(stop.signal);
    // A change before the full set ends the session, but only once it has been read.
    await eventually('it has been read', () => lines.some((line) => 'reason' in line));
    stop.abort();
    await running;
    const fields = [...new Set(lines.flatMap(({ field }) => (field === undefined ? [] : [field])))];
    t.deepEqual(fields.toSorted(), accepted ? ['colour', 'mood', 'taskId'] : []);
    const [first] = lines.flatMap((line) => ('reason' in line ? [String(line.reason)] : []));
    t.regex(first ?? '', accepted ? /a change was missed/ : /not valid/);
  });
}

/** /events: what is filtered, what is shown, and what a client that does not read costs. */
import { request, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { containerEvent } from '../../../manager/api/events/container-event.ts';
import { EventLog } from '../../../manager/api/events/event-log.ts';
import { draft, imageEvent, volumeEvent, type ApiEvent } from '../../../manager/api/events/event.ts';
import { EVENT_FILTERS, matchesEvent } from '../../../manager/api/events/filter.ts';
import { MemoryStore } from '../../harness/memory-store.ts';
import { ApiFixture, type Json } from './fixture.ts';

const filtersOf = (filters: object): string => `filters=${encodeURIComponent(JSON.stringify(filters))}`;
const linesOf = (body: Buffer): Json[] =>
  body
    .toString()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));

const CONTAINER = {
  id: 'c'.repeat(64),
  name: 'web.1.abc',
  image: 'registry:5000/nginx:1.27',
  labels: { tier: 'front' },
  nodeId: 'nodea1',
};

function eventOf(of: ReturnType<typeof draft>): ApiEvent {
  return { ...of, time: 1, timeNano: 1e9 };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (const deadline = Date.now() + 20_000; !condition(); await sleep(5)) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}`);
  }
}

test('every filter of the API takes what it names, and nothing else', (t) => {
  const events: Record<string, ApiEvent> = {
    exec: eventOf(containerEvent('exec_create: sh -c true', CONTAINER, { execID: 'e1' })),
    sick: eventOf(containerEvent('health_status: unhealthy', CONTAINER)),
    pull: eventOf(imageEvent('pull', 'nginx:1.27', 'nginx')),
    volume: eventOf(volumeEvent('create', 'data')),
    network: eventOf(draft('network', 'connect', 'net1', { name: 'front', container: CONTAINER.id })),
    service: eventOf(draft('service', 'create', 'svc1', { name: 'web' }, 'swarm')),
    secret: eventOf(draft('secret', 'create', 'sec1', { name: 'key' }, 'swarm')),
    config: eventOf(draft('config', 'create', 'con1', { name: 'conf' }, 'swarm')),
    node: eventOf(draft('node', 'update', 'nod1', { name: 'a1' }, 'swarm')),
    plugin: eventOf(draft('plugin', 'enable', 'plu1', { name: 'plug' })),
    daemon: eventOf(draft('daemon', 'reload', 'dae1', { name: 'shoal' })),
  };
  const passing = (filters: Record<string, string[]>): string[] =>
    Object.keys(events).filter((key) => {
      const event = events[key];
      return event !== undefined && matchesEvent(event, new Map(Object.entries(filters)));
    });
  const all = Object.keys(events);
  const table: [Record<string, string[]>, string[]][] = [
    [{}, all],
    [{ type: ['container'] }, ['exec', 'sick']],
    [{ type: ['volume', 'image'] }, ['pull', 'volume']],
    [{ event: ['pull', 'reload'] }, ['pull', 'daemon']],
    [{ event: ['exec_create'] }, ['exec']],
    [{ event: ['health_status'] }, ['sick']],
    [{ event: ['health_status: unhealthy'] }, ['sick']],
    [{ event: ['health'] }, []],
    [{ scope: ['swarm'] }, ['service', 'secret', 'config', 'node']],
    [{ container: ['web.1'] }, ['exec', 'sick']],
    [{ container: ['cccc'] }, ['exec', 'sick']],
    [{ image: ['nginx'] }, ['pull']],
    [{ image: ['registry:5000/nginx'] }, ['exec', 'sick']],
    [{ image: ['registry:5000/nginx:1.27'] }, ['exec', 'sick']],
    [{ label: ['tier=front'] }, ['exec', 'sick']],
    [{ label: ['tier=back'] }, []],
    [{ network: ['front'] }, ['network']],
    [{ volume: ['data'] }, ['volume']],
    [{ service: ['svc1'] }, ['service']],
    [{ service: ['web'] }, ['service']],
    [{ secret: ['key'] }, ['secret']],
    [{ config: ['conf'] }, ['config']],
    [{ node: ['a1'] }, ['node']],
    [{ plugin: ['plug'] }, ['plugin']],
    [{ daemon: ['shoal'] }, ['daemon']],
    [{ container: ['web'], event: ['kill'] }, []],
  ];
  for (const [filters, wanted] of table) t.deepEqual(passing(filters), wanted, JSON.stringify(filters));
  const tried = new Set(table.flatMap(([filters]) => Object.keys(filters)));
  t.deepEqual(
    EVENT_FILTERS.filter((name) => !tried.has(name)),
    [],
  );
});

test('shapes: the old fields of containers and images, times, and an unknown filter', async (t) => {
  await using api = await ApiFixture.up();
  const events = api.events;
  events.emit(containerEvent('kill', CONTAINER, { signal: '9' }));
  events.emit(imageEvent('pull', 'nginx:1.27', 'nginx'));
  events.emit(volumeEvent('create', 'data'));
  const now = Date.now() / 1000;
  const { body, headers } = await api.send('GET', `/events?since=${now - 60}&until=${now + 0.001}`);
  t.is(headers['content-type'], 'application/json');
  const [kill, pull, volume] = linesOf(body).filter((event) =>
    ['container', 'image', 'volume'].includes(event.Type),
  );
  t.like(kill, {
    status: 'kill',
    id: CONTAINER.id,
    from: CONTAINER.image,
    Type: 'container',
    Action: 'kill',
    scope: 'local',
    Actor: {
      ID: CONTAINER.id,
      Attributes: { signal: '9', image: CONTAINER.image, name: CONTAINER.name, tier: 'front' },
    },
  });
  t.is(Math.floor(kill.timeNano / 1e9), kill.time);
  t.like(pull, { status: 'pull', id: 'nginx:1.27', Type: 'image', Actor: { Attributes: { name: 'nginx' } } });
  t.is(pull.from, undefined);
  t.deepEqual(Object.keys(volume).sort(), ['Action', 'Actor', 'Type', 'scope', 'time', 'timeNano']);
  // RFC 3339 as well
  const since = new Date(Date.now() - 60_000).toISOString();
  const again = await api.send(
    'GET',
    `/events?since=${since}&until=${now + 0.001}&${filtersOf({ type: ['volume'] })}`,
  );
  t.is(linesOf(again.body).length, 1);

  const unknown = await api.send('GET', `/events?${filtersOf({ colour: ['red'] })}`);
  t.is(unknown.status, 400);
  t.is(unknown.json.message, "invalid filter 'colour'");
  const reversed = await api.send('GET', '/events?since=200&until=100');
  t.is(reversed.status, 400);
  t.is(reversed.json.message, '`since` time (200) cannot be after `until` time (100)');
});

/** A client that sends its request and reads nothing of the answer. */
function silentClient(
  api: ApiFixture,
  path: string,
): Promise<{ answer: IncomingMessage; leave: () => void }> {
  return new Promise((resolve, reject) => {
    const req = request({ socketPath: api.socket, path, agent: false }, (answer) => {
      answer.pause();
      answer.on('error', () => undefined);
      resolve({ answer, leave: () => req.destroy() });
    });
    req.on('error', reject).end();
  });
}

test('a client that leaves is forgotten', async (t) => {
  await using api = await ApiFixture.up();
  const events = api.events;
  const clients = await Promise.all([1, 2, 3].map(() => silentClient(api, '/events')));
  await until(() => events.listenerCount === 3, 'three listeners');
  for (const client of clients) client.leave();
  await until(() => events.listenerCount === 0, 'no listener');
  t.pass();
});

test('a client that does not read is cut off, and holds no more than the backlog until then', async (t) => {
  await using api = await ApiFixture.up();
  const events = api.events;
  const { answer } = await silentClient(api, `/events?${filtersOf({ type: ['volume'] })}`);
  await until(() => events.listenerCount === 1, 'a listener');
  const closed = new Promise<void>((resolve) => answer.once('close', () => resolve()));
  const text = 'x'.repeat(500);
  for (let sent = 0; events.listenerCount > 0; sent += 1) {
    t.true(sent < 60_000, 'it is still there after 60,000 events');
    events.emit(volumeEvent('create', `v${sent}`, { text }));
    if (sent % 500 === 0) await sleep(1);
  }
  answer.resume();
  await closed;
  t.is(events.listenerCount, 0);
});

test('only the newest are kept for since', (t) => {
  const log = new EventLog(new MemoryStore(), { now: () => 1000 });
  for (let i = 0; i < 3000; i += 1) log.emit(volumeEvent('create', `v${i}`));
  const kept = log.since(0);
  t.is(kept.length, 1000);
  t.is(kept.at(-1)?.Actor.ID, 'v2999');
  log.close();
});

test('a container’s destroy still says whose it was, though all its records go at once', async (t) => {
  await using api = await ApiFixture.up();
  const body = {
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'nginx', Labels: { tier: 'front' } } },
  };
  const began = Date.now();
  const { json } = await api.send('POST', '/services/create', body);
  const [task] = [...api.store.tasksOfService(json.ID)];
  await api.send('DELETE', '/services/web');
  const destroyed = api.events.since(began).find(({ Action }) => Action === 'destroy');
  t.like(destroyed?.Actor.Attributes, {
    'com.docker.swarm.service.name': 'web',
    'com.docker.swarm.task.id': task,
    image: 'nginx',
    tier: 'front',
  });
  t.is(destroyed?.Actor.Attributes['name'], `web.1.${task}`);
});

/** The health of each part: what is wrong is said of its part, in words that say what to do, and of no other. */
import test from 'ava';
import { type HealthFacts, healthOf, type HealthState } from '../../../manager/api/ops/health.ts';
import type { Cluster, ManagerRecord, Node } from '../../../shared/model/index.ts';
import { ApiFixture } from './fixture.ts';

const DAY_MS = 24 * 3600 * 1000;
const MIB = 2 ** 20;
const NOW_MS = 1_000 * DAY_MS;

const cluster = { id: 'self', certificateLifeMs: 90 * DAY_MS } as Cluster;
const manager = (name: string, more: object = {}) => ({
  ...{ name, alive: true, leads: name === 'm1', version: '1.0.0' },
  ...more,
});

function node(name: string, more: Partial<Node> = {}): Node {
  const endsAtMs = NOW_MS + 60 * DAY_MS;
  const certificate = { keyDigest: '', issuer: '', trust: [], endsAtMs };
  const description = { hostname: name, engineVersion: '1.0.0' };
  return { id: name, status: 'ready', certificate, description, ...more } as Node;
}

const WELL: HealthFacts = {
  nowMs: NOW_MS,
  cluster,
  rootEndsAtMs: NOW_MS + 5_000 * DAY_MS,
  storeIsCurrent: true,
  managers: [manager('m1'), manager('m2'), manager('m3')],
  etcdMembers: ['m1', 'm2', 'm3'].map((name) => ({ name, votes: true })),
  etcdSpace: { bytes: 900 * MIB, usedBytes: 100 * MIB, quotaBytes: 1000 * MIB },
  disks: [{ directory: '/var/lib/shoal', freeBytes: 50_000 * MIB, totalBytes: 1_000_000 * MIB }],
  nodes: [node('a1'), node('a2')],
  keyRotation: undefined,
  storedData: { version: 3, current: 3, waitsFor: [] },
  backups: { everyMs: DAY_MS, newestAtMs: NOW_MS - DAY_MS / 2, leads: true },
};

const endsIn = (days: number) => ({ keyDigest: '', issuer: '', trust: [], endsAtMs: NOW_MS + days * DAY_MS });

test('a cluster that is well', (t) => {
  const parts = healthOf(WELL);
  t.true(parts.length >= 11);
  t.deepEqual(
    parts.filter(({ state }) => state !== 'ok'),
    [],
  );
  t.is(parts.find(({ part }) => part === 'managers')?.message, '3 of 3 reachable; 1 may be lost');
});

const WRONG: readonly [string, Partial<HealthFacts>, HealthState, RegExp][] = [
  [
    'managers',
    { managers: [manager('m1'), manager('m2'), manager('m3', { alive: false })] },
    'failed',
    /2 of 3.*not m3.*nothing can be written/,
  ],
  [
    'managers',
    { managers: [1, 2, 3, 4, 5].map((n) => manager(`m${n}`, { alive: n < 5 })) },
    'warning',
    /4 of 5 reachable; not m5/,
  ],
  ['managers', { managers: [manager('m1'), manager('m2')] }, 'warning', /add a third/],
  ['leader', { managers: [manager('m1', { leads: false })] }, 'failed', /nobody leads/],
  ['etcd', { storeIsCurrent: false }, 'failed', /does not reach etcd/],
  [
    'etcd',
    {
      etcdMembers: [
        { name: 'm1', votes: true },
        { name: 'm2', votes: false },
      ],
    },
    'warning',
    /1 members that vote; m2 not yet/,
  ],
  [
    'etcd',
    { etcdSpace: { bytes: 900 * MIB, usedBytes: 801 * MIB, quotaBytes: 1000 * MIB } },
    'warning',
    /3 members that vote; it is nearly full \(801 MiB used of 1000 MiB/,
  ],
  [
    'etcd',
    { etcdSpace: { bytes: 1000 * MIB, usedBytes: 100 * MIB, quotaBytes: 1000 * MIB } },
    'failed',
    /it is full .* refuses writes/,
  ],
  [
    'disk',
    {
      disks: [
        { directory: '/var/lib/shoal', freeBytes: 9_000 * MIB, totalBytes: 10_000 * MIB },
        { directory: '/backups', freeBytes: 900 * MIB, totalBytes: 10_000 * MIB },
      ],
    },
    'warning',
    /^900 MiB of 10000 MiB are free at \/backups$/,
  ],
  [
    'disk',
    { disks: [{ directory: '/var/lib/shoal', freeBytes: 60 * MIB, totalBytes: 100 * MIB }] },
    'failed',
    /make room/,
  ],
  [
    'versions',
    { managers: [manager('m1', { version: '1.1.0' })] },
    'warning',
    /^1\.1\.0, but 1\.0\.0 on node a1, node a2: bring all to one/,
  ],
  [
    'stored data',
    { storedData: { version: 2, current: 3, waitsFor: ['m2 (0.1.0)'] } },
    'warning',
    /version 2.*3 once.*m2/,
  ],
  [
    'stored data',
    { storedData: { version: 2, current: 3, waitsFor: [] } },
    'warning',
    /is being brought to 3/,
  ],
  ['nodes', { nodes: [node('a1'), node('a2', { status: 'down' })] }, 'warning', /1 of 2 ready; not a2/],
  ['certificates', { nodes: [node('a1', { certificate: endsIn(-1) })] }, 'failed', /ended: a1/],
  [
    'certificates',
    { nodes: [node('a1', { certificate: endsIn(10) })] },
    'warning',
    /not renewed in time: a1 \(10 d left\)/,
  ],
  ['ca', { rootEndsAtMs: NOW_MS + 30 * DAY_MS }, 'warning', /ends in 30 d/],
  ['ca', { rootEndsAtMs: NOW_MS - 1 }, 'failed', /has ended/],
  [
    'ca',
    {
      cluster: {
        ...cluster,
        rotation: { caCertificatePem: '', startedAtMs: NOW_MS - 60_000, skipDead: false },
      },
    },
    'warning',
    /since 60 s/,
  ],
  [
    'data key',
    {
      keyRotation: {
        keyId: 'k',
        startedAtMs: NOW_MS,
        left: 3,
        waiting: [{ hostname: 'm3' } as ManagerRecord],
      },
    },
    'warning',
    /waits for m3/,
  ],
  [
    'data key',
    { keyRotation: { keyId: 'k', startedAtMs: NOW_MS, left: 3, waiting: [] } },
    'warning',
    /3 records/,
  ],
  ['backups', { backups: undefined }, 'warning', /none are made/],
  [
    'backups',
    { backups: { everyMs: DAY_MS, newestAtMs: NOW_MS - 3 * DAY_MS, leads: true } },
    'failed',
    /3 d old/,
  ],
  [
    'clocks',
    { nodes: [node('a1', { statusMessage: "its clock is 40 s behind the manager's" })] },
    'warning',
    /a1: its clock is 40 s/,
  ],
];

test('what is wrong is said of its part alone', (t) => {
  for (const [name, wrong, state, message] of WRONG) {
    const bad = healthOf({ ...WELL, ...wrong }).filter((one) => one.state !== 'ok');
    t.deepEqual(
      bad.map(({ part }) => part),
      [name],
      JSON.stringify(bad),
    );
    t.is(bad[0]?.state, state);
    t.regex(bad[0]?.message ?? '', message);
  }
  t.is(new Set(WRONG.map(([name]) => name)).size, healthOf(WELL).length, 'each part can be wrong');
});

test('a long list of names has an end', (t) => {
  const nodes = Array.from({ length: 1_000 }, (_, i) => node(`a${i}`, { status: 'down' }));
  const found = healthOf({ ...WELL, nodes }).find(({ part }) => part === 'nodes');
  t.is(found?.message, '0 of 1000 ready; not a0, a1, a2, a3, a4 and 995 more');
});

test('GET /health tells of the cluster that there is', async (t) => {
  await using api = await ApiFixture.up(2, {
    health: {
      storeIsCurrent: () => false,
      storedData: () => ({ version: 2, current: 3, waitsFor: [] }),
      etcdMembers: () => Promise.resolve(undefined),
      etcdSpace: () => Promise.resolve(undefined),
      disks: () => Promise.resolve([{ directory: '/', freeBytes: 0, totalBytes: MIB }]),
      backups: () => Promise.resolve({ everyMs: DAY_MS, newestAtMs: undefined, leads: true }),
    },
  });
  const parts: { Part: string; State: string; Message: string }[] = await api.get('/health');
  const state = new Map(parts.map(({ Part, State }) => [Part, State]));
  t.is(state.get('nodes'), 'ok');
  t.is(state.get('etcd'), 'failed');
  t.is(state.get('backups'), 'warning');
  t.is(state.get('stored data'), 'warning');
  t.is(state.get('disk'), 'failed');
});

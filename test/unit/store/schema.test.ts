/** The version of what is stored: written, refused when newer, worked with as it is, and brought forward by planted migrations. */
import anyTest, { type TestFn } from 'ava';
import { bringForward, type MigrateOptions } from '../../../manager/store/migrate.ts';
import { MIGRATIONS, type Migration } from '../../../manager/store/migrations.ts';
import type { OpenStore } from '../../../manager/store/open-store.ts';
import { ensureSchema, storedSchemaVersion } from '../../../manager/store/schema.ts';
import { StaleError, type Write } from '../../../manager/store/store.ts';
import { SCHEMA_KEY, SCHEMA_VERSION } from '../../../manager/store/stored-schema.ts';
import { ConflictError } from '../../../shared/errors/index.ts';
import type { ManagerRecord, Service } from '../../../shared/model/index.ts';
import { startEtcd, type TestEtcd } from '../../harness/etcd.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { eventually, open } from './helpers.ts';

const test = anyTest as TestFn<{ etcd: TestEtcd }>;
const signal = new AbortController().signal;

test.before(async (t) => {
  t.context.etcd = await startEtcd();
});
test.after.always(async (t) => {
  await t.context.etcd?.[Symbol.asyncDispose]();
});
test.beforeEach(async (t) => {
  await t.context.etcd.client.delete().all();
});

/** A service of these tests: `colour` since version 2, called `color` since 3. */
type Painted = Service & { readonly n?: number; readonly colour?: string; readonly color?: string };

const paint: Migration = {
  what: 'services have a colour',
  rewrite: (table, _key, value) =>
    table !== 'services' || 'color' in (value as Painted) ? value : { colour: 'red', ...(value as Painted) },
  revert: (table, _key, value) => {
    if (table !== 'services') return value;
    const { colour, ...rest } = value as Painted;
    if (colour !== undefined && colour !== 'red') throw new ConflictError('colours have to wait');
    return rest;
  },
};
const rename: Migration = {
  what: 'colour is color',
  rewrite: (table, _key, value) => {
    const { colour, ...rest } = value as Painted;
    return table === 'services' && colour !== undefined ? { ...rest, color: colour } : value;
  },
  revert: (table, _key, value) => {
    const { color, ...rest } = value as Painted;
    return table === 'services' && color !== undefined ? { ...rest, colour: color } : value;
  },
};
const migrations = [paint, rename];

const manager = (id: string, schemaVersion?: number) =>
  ({
    id,
    hostname: id,
    version: '0.1.0',
    ...(schemaVersion === undefined ? {} : { schemaVersion }),
  }) as ManagerRecord;

async function put(etcd: TestEtcd, key: string, value: object): Promise<void> {
  await etcd.client.put(`/shoal/v1/${key}`).value(JSON.stringify(value));
}

/** Data of version 1, as a manager of then wrote it. */
async function plant(etcd: TestEtcd, services: number): Promise<void> {
  await put(etcd, 'cluster/self', { id: 'self' });
  await put(etcd, 'configs/new', { id: 'new' });
  await etcd.client.put('/shoal/v1/services/garbage').value('not of ours');
  for (let n = 0; n < services; n += 1) await put(etcd, `services/s${n}`, { id: `s${n}`, n: 0 });
}

async function contents(etcd: TestEtcd): Promise<Record<string, unknown>> {
  const all = await etcd.client.getAll().prefix('/shoal/v1/').strings();
  delete all['/shoal/v1/services/garbage'];
  return Object.fromEntries(Object.entries(all).map(([key, value]) => [key, JSON.parse(value) as unknown]));
}

/** A manager's store on that data, after the look that it takes at its start. */
async function started(etcd: TestEtcd, own = migrations): Promise<OpenStore> {
  await ensureSchema({ client: etcd.client, logger: silentLogger, migrations: own }, signal);
  return open(etcd, { migrations: own });
}

function forward(store: OpenStore, more: Partial<MigrateOptions> = {}) {
  const backUp = (): Promise<void> => Promise.resolve();
  const options = { client: store.client, store, backUp, logger: silentLogger, migrations };
  return bringForward({ ...options, ...more }, signal);
}

function service(store: OpenStore, id: string): Painted | undefined {
  return store.get('services', id);
}

function write(store: OpenStore, value: object): Promise<number> {
  const { id } = value as { id: string };
  const one = { table: 'services', key: id, value, expect: store.version('services', id) } as Write;
  return store.commit([one], { signal });
}

test.serial('new data gets the version of this release, data of before versions the first', async (t) => {
  const { etcd } = t.context;
  const options = { client: etcd.client, logger: silentLogger, migrations };
  await ensureSchema(options, signal);
  t.is(await storedSchemaVersion(etcd.client), 3, 'nothing to migrate');
  await etcd.client.delete().all();
  await plant(etcd, 1);
  t.is(await storedSchemaVersion(etcd.client), 1);
  await ensureSchema(options, signal);
  t.like((await contents(etcd))[SCHEMA_KEY], { version: 1 }, 'a start brings nothing forward');
});

test.serial(
  'while a manager of before is there its form is kept, and looks like that of today to all that use the store',
  async (t) => {
    const { etcd } = t.context;
    await plant(etcd, 2);
    await using store = await started(etcd);
    const before = async () => (await contents(etcd))['/shoal/v1/services/s1'];
    t.like(service(store, 's1'), { id: 's1', color: 'red' });
    await write(store, { id: 's1', color: 'red', n: 7 });
    t.deepEqual(await before(), { id: 's1', n: 7 }, 'one of before can read it');
    t.like(service(store, 's1'), { n: 7, color: 'red' });
    const refused = await t.throwsAsync(write(store, { id: 's1', color: 'blue' }), {
      instanceOf: ConflictError,
    });
    t.is(refused?.message, 'colours have to wait');

    let backups = 0;
    const backUp = (): Promise<void> => Promise.resolve(void (backups += 1));
    await put(etcd, 'managers/m1', manager('m1', 3));
    for (const old of [manager('m2'), manager('m2', 2)]) {
      await put(etcd, 'managers/m2', old);
      await eventually(
        t,
        'the record',
        () => store.get('managers', 'm2')?.schemaVersion === old.schemaVersion,
      );
      t.deepEqual(
        (await forward(store, { backUp })).map(({ id }) => id),
        ['m2'],
      );
    }
    t.deepEqual(await before(), { id: 's1', n: 7 });
    t.is(backups, 0);

    await put(etcd, 'managers/m2', manager('m2', 3));
    await eventually(t, 'm2 is upgraded', () => store.get('managers', 'm2')?.schemaVersion === 3);
    t.deepEqual(await forward(store, { backUp }), []);
    t.is(backups, 1, 'of before the first step, and no more');
    t.deepEqual(await before(), { id: 's1', n: 7, color: 'red' });
    t.like((await contents(etcd))[SCHEMA_KEY], { version: 3 });
    await write(store, { id: 's1', color: 'blue' });
    t.deepEqual(await before(), { id: 's1', color: 'blue' });
    const { header } = await etcd.client.kv.range({ key: Buffer.from('/') });
    t.deepEqual(await forward(store, { backUp }), []);
    t.is((await etcd.client.kv.range({ key: Buffer.from('/') })).header.revision, header.revision);
  },
);

test.serial(
  'nothing begins without a backup, nor when a manager changes what it knows meanwhile',
  async (t) => {
    const { etcd } = t.context;
    await plant(etcd, 3);
    await put(etcd, 'managers/m1', manager('m1', 3));
    await using store = await started(etcd);
    const full = (): Promise<void> => Promise.reject(new Error('no space left'));
    await t.throwsAsync(forward(store, { backUp: full }), { message: 'no space left' });
    // One that goes back to its old release at the last moment.
    const backUp = (): Promise<void> => put(etcd, 'managers/m1', manager('m1'));
    const stale = {
      get: store.get.bind(store),
      all: () => new Map([['m1', manager('m1', 3)]]),
      version: () => store.version('managers', 'm1'),
    };
    const version = store.version('managers', 'm1');
    await t.throwsAsync(forward(store, { backUp, store: { ...stale, version: () => version } as never }), {
      name: 'ContendedError',
    });
    t.like((await contents(etcd))[SCHEMA_KEY], { version: 1 });
    t.deepEqual((await contents(etcd))['/shoal/v1/services/s0'], { id: 's0', n: 0 });
  },
);

test.serial(
  'managers write while it goes on, one is killed half way, and no write is lost nor left in an old form',
  async (t) => {
    const { etcd } = t.context;
    await plant(etcd, 300);
    await using one = await started(etcd);
    await using other = await started(etcd);
    const counted = new Map<string, number>();
    const stop = new AbortController();
    const count = async (store: OpenStore, first: number): Promise<void> => {
      for (let n = first; !stop.signal.aborted; n = (n + 7) % 300) {
        const before = service(store, `s${n}`);
        if (before === undefined) return t.fail(`s${n} is gone`);
        try {
          await write(store, { ...before, n: (before.n ?? 0) + 1 });
          counted.set(before.id, (counted.get(before.id) ?? 0) + 1);
        } catch (error) {
          if (!(error instanceof StaleError)) throw error;
        }
      }
    };
    const load = [count(one, 0), count(one, 1), count(other, 2), count(other, 3)];
    await eventually(t, 'a load', () => counted.size > 20);
    // Killed: it ends in the middle of its second step.
    let steps = 0;
    const dying = {
      ...rename,
      rewrite: (table: string, key: string, value: unknown) => {
        steps += table === 'services' ? 1 : 0;
        if (steps === 120) throw new Error('killed');
        return rename.rewrite(table, key, value);
      },
    };
    await t.throwsAsync(forward(one, { migrations: [paint, dying] }), { message: 'killed' });
    t.like((await contents(etcd))[SCHEMA_KEY], { version: 2, migratingTo: 3 });
    // The next one, and one more at the same time: one of them may find that it is not alone.
    await Promise.allSettled([forward(one), forward(other)]);
    t.deepEqual(await forward(other), []);
    await eventually(t, 'a load after it', () => counted.size > 100);
    stop.abort();
    await Promise.all(load);
    const after = await contents(etcd);
    t.like(after[SCHEMA_KEY], { version: 3 });
    for (let n = 0; n < 300; n += 1) {
      const id = `s${n}`;
      t.deepEqual(after[`/shoal/v1/services/${id}`], { id, n: counted.get(id) ?? 0, color: 'red' });
      t.like(service(one, id), { color: 'red' });
    }
  },
);

test.serial('what is on its way while a migration begins is written in its form', async (t) => {
  const { etcd } = t.context;
  await plant(etcd, 1);
  await using store = await started(etcd);
  const { kv } = store.client;
  const txn = kv.txn.bind(kv);
  kv.txn = async (request) => {
    kv.txn = txn;
    await put(etcd, 'schema', { version: 1, writtenBy: '0.2.0', migratingTo: 2 });
    return txn(request);
  };
  const value = { id: 'late', color: 'red' } as Painted;
  await store.commit([{ table: 'services', key: 'late', value }], { signal });
  t.deepEqual((await contents(etcd))['/shoal/v1/services/late'], { id: 'late', colour: 'red' });
});

test.serial('newer data is refused with the reason, also when its migration was only begun', async (t) => {
  const { etcd } = t.context;
  const options = { client: etcd.client, logger: silentLogger };
  await put(etcd, 'schema', { version: SCHEMA_VERSION + 1, writtenBy: '9.1.0' });
  await t.throwsAsync(ensureSchema(options, signal), {
    name: 'InvalidError',
    message:
      /schema version 3, written by Shoal 9\.1\.0; this is Shoal .*versions up to 2 .*restore a backup/,
  });
  await put(etcd, 'schema', { version: SCHEMA_VERSION, writtenBy: '9.1.0', migratingTo: SCHEMA_VERSION + 1 });
  await t.throwsAsync(ensureSchema(options, signal), { message: /schema version 3/ });
  await put(etcd, 'schema', { version: 'x' });
  await t.throwsAsync(ensureSchema(options, signal), { message: /is not what Shoal writes there/ });
});

test.serial('a manager that runs writes nothing any more once the data is newer than it knows', async (t) => {
  const { etcd } = t.context;
  await put(etcd, 'cluster/self', { id: 'self' });
  await put(etcd, 'schema', { version: 3, writtenBy: '0.1.0' });
  await using store = await started(etcd);
  await write(store, { id: 's1' });
  await put(etcd, 'schema', { version: 4, writtenBy: '0.2.0' });
  await t.throwsAsync(write(store, { id: 's1', n: 2 }), {
    message: /schema version 4, written by Shoal 0\.2\.0/,
  });
  t.regex((await store.schema.outgrown).message, /start Shoal 0\.2\.0 or a later one/);
  t.deepEqual((await contents(etcd))['/shoal/v1/services/s1'], { id: 's1' });
});

test.serial('this release: the cluster as the first version had it, there and back, in either form', (t) => {
  const stored = {
    id: 'self',
    clusterId: 'c',
    caKeyPem: 'key',
    joinSecrets: { worker: 'w', manager: 'm' },
    later: 1,
  };
  const step = MIGRATIONS[0] as Migration;
  const newer = step.rewrite('cluster', 'self', stored);
  t.deepEqual(newer, {
    ...{ id: 'self', clusterId: 'c', later: 1 },
    secrets: { plain: { caKeyPem: 'key', joinSecrets: { worker: 'w', manager: 'm' } } },
  });
  t.deepEqual(step.revert('cluster', 'self', newer), stored);
  t.deepEqual(step.rewrite('cluster', 'self', newer), newer, 'once only');
  t.deepEqual(step.revert('cluster', 'self', stored), stored);
  t.throws(() => step.revert('cluster', 'self', { id: 'self', secrets: { sealed: {} } }), {
    instanceOf: ConflictError,
    message: /until all managers are upgraded/,
  });
  t.deepEqual(step.rewrite('nodes', 'n', { caKeyPem: 1 }), { caKeyPem: 1 });
});

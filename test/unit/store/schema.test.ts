/** The version of what is stored: written, refused when newer, brought forward by planted migrations. */
import anyTest, { type TestFn } from 'ava';
import {
  SCHEMA_KEY,
  SCHEMA_VERSION,
  ensureSchema,
  storedSchemaVersion,
} from '../../../manager/store/schema.ts';
import type { Migration } from '../../../manager/store/migrations.ts';
import { startEtcd, type TestEtcd } from '../../harness/etcd.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

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

/** Gives services a colour, and removes configs called old. */
const paint: Migration = {
  what: 'services have a colour',
  rewrite: (table, key, value) => {
    if (table === 'configs' && key === 'old') return undefined;
    return table === 'services' ? { colour: 'red', ...(value as object) } : value;
  },
};
const rename: Migration = {
  what: 'colour is color',
  rewrite: (table, _key, value) => {
    const { colour, ...rest } = value as { colour?: string };
    return table === 'services' && colour !== undefined ? { ...rest, color: colour } : value;
  },
};

async function put(etcd: TestEtcd, key: string, value: object): Promise<void> {
  await etcd.client.put(`/shoal/v1/${key}`).value(JSON.stringify(value));
}

async function plant(etcd: TestEtcd, services: number): Promise<void> {
  await put(etcd, 'cluster/self', { id: 'self' });
  await put(etcd, 'configs/old', { id: 'old' });
  await put(etcd, 'configs/new', { id: 'new' });
  for (let n = 0; n < services; n += 1) await put(etcd, `services/s${n}`, { id: `s${n}` });
}

async function contents(etcd: TestEtcd): Promise<Record<string, unknown>> {
  const all = await etcd.client.getAll().prefix('/shoal/v1/').strings();
  return Object.fromEntries(Object.entries(all).map(([key, value]) => [key, JSON.parse(value) as unknown]));
}

test.serial(
  'new data gets the version of this manager, and data of before versions is the first',
  async (t) => {
    const { etcd } = t.context;
    await ensureSchema({ client: etcd.client, logger: silentLogger, migrations: [paint, rename] }, signal);
    t.is(await storedSchemaVersion(etcd.client), 3, 'nothing to migrate');
    await etcd.client.delete().all();
    await plant(etcd, 1);
    t.is(await storedSchemaVersion(etcd.client), 1);
    await ensureSchema({ client: etcd.client, logger: silentLogger }, signal);
    t.is(await storedSchemaVersion(etcd.client), SCHEMA_VERSION);
  },
);

test.serial('older data is brought forward step by step, all of it, once', async (t) => {
  const { etcd } = t.context;
  await plant(etcd, 120);
  const options = { client: etcd.client, logger: silentLogger, migrations: [paint, rename] };
  await ensureSchema(options, signal);
  const after = await contents(etcd);
  t.is(Object.keys(after).length, 120 + 3);
  t.deepEqual(after['/shoal/v1/services/s77'], { id: 's77', color: 'red' });
  t.deepEqual(after['/shoal/v1/configs/new'], { id: 'new' });
  t.false('/shoal/v1/configs/old' in after);
  t.like(after[SCHEMA_KEY], { version: 3 });
  const { header } = await etcd.client.kv.range({ key: Buffer.from('/') });
  await ensureSchema(options, signal);
  t.is(
    (await etcd.client.kv.range({ key: Buffer.from('/') })).header.revision,
    header.revision,
    'nothing is written',
  );
});

test.serial(
  'a migration that was cut off is done again; of two managers at once each record is made once',
  async (t) => {
    const { etcd } = t.context;
    await plant(etcd, 60);
    await put(etcd, 'schema', { version: 1, writtenBy: '0.1.0', migratingTo: 2 });
    await put(etcd, 'services/s5', { colour: 'blue', id: 's5' });
    const options = { client: etcd.client, logger: silentLogger, migrations: [paint, rename] };
    await Promise.all([ensureSchema(options, signal), ensureSchema(options, signal)]);
    const after = await contents(etcd);
    t.deepEqual(after['/shoal/v1/services/s5'], { id: 's5', color: 'blue' }, 'what was made already stays');
    t.deepEqual(after['/shoal/v1/services/s59'], { id: 's59', color: 'red' });
    t.like(after[SCHEMA_KEY], { version: 3 });
  },
);

test.serial('a migration that throws ends the start and leaves the data at its version', async (t) => {
  const { etcd } = t.context;
  await plant(etcd, 3);
  const bad: Migration = {
    what: 'breaks',
    rewrite: () => {
      throw new TypeError('not a service');
    },
  };
  const options = { client: etcd.client, logger: silentLogger, migrations: [paint, bad] };
  await t.throwsAsync(ensureSchema(options, signal), { message: 'not a service' });
  t.is(await storedSchemaVersion(etcd.client), 2);
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

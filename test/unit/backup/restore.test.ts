/** From a real etcd to a file and back to a state directory that an etcd serves. */
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { writeBackupFile } from '../../../manager/backup/backup-file.ts';
import { open, seal } from '../../../manager/backup/envelope.ts';
import { checkBackup, restore, type RestoreOptions } from '../../../manager/backup/restore.ts';
import { createBackup } from '../../../manager/backup/source.ts';
import { startEmbeddedEtcd } from '../../../manager/store/embedded-etcd.ts';
import { createEtcdClient } from '../../../manager/store/etcd-client.ts';
import { openStore } from '../../../manager/store/open-store.ts';
import type { Cluster } from '../../../shared/model/index.ts';
import { startEtcd, type TestEtcd } from '../../harness/etcd.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const test = anyTest as TestFn<{ etcd: TestEtcd }>;
const signal = new AbortController().signal;
const logger = silentLogger;
/** U+2028 ends a line for some readers, not in JSON. */
const LABEL = 'one\u2028two';
const CLUSTER = {
  id: 'self',
  clusterId: 'c1',
  dataKeyId: 'k1',
  labels: { note: LABEL },
} as unknown as Cluster;

test.before(async (t) => {
  const etcd = await startEtcd();
  t.context.etcd = etcd;
  await etcd.client.put('/shoal/v1/cluster/self').value(JSON.stringify(CLUSTER));
  const text = JSON.stringify({ text: 'x'.repeat(10_000) });
  for (let n = 0; n < 300; n += 1) await etcd.client.put(`/shoal/v1/configs/c${n}`).value(text);
  await etcd.client.put('/shoal/v1-election/1').value('manager');
  await etcd.client.put('/somebody/else').value('theirs');
});
test.after.always(async (t) => {
  await t.context.etcd?.[Symbol.asyncDispose]();
});

async function directory(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'shoal-restore-'));
  t.teardown(() => rm(path, { recursive: true }));
  return path;
}

/** A backup of the etcd above, as a manager writes it. */
async function backUp(
  t: ExecutionContext<{ etcd: TestEtcd }>,
  etcd: 'embedded' | 'external',
  passphrase?: string,
): Promise<string> {
  const stateDir = await directory(t);
  await writeFile(join(stateDir, 'data-key'), 'THE-DATA-KEY\n', { mode: 0o600 });
  await writeFile(join(stateDir, 'id'), 'm1\n');
  await using store = await openStore({ endpoints: t.context.etcd.endpoints, logger, signal });
  const { client } = t.context.etcd;
  const source = { client, store, etcd, stateDir, clusterName: 'local', now: () => 1_000 };
  const file = join(stateDir, 'file');
  await writeBackupFile(file, createBackup(source, passphrase, signal));
  return file;
}

function options(file: string, stateDir: string, more: Partial<RestoreOptions> = {}): RestoreOptions {
  return { file, stateDir, force: false, logger, now: () => 0, ...more };
}

/** All keys that an etcd of the restored directory serves. */
async function served(stateDir: string): Promise<{ keys: Record<string, string>; clusterId: string }> {
  await using etcd = await startEmbeddedEtcd({ directory: join(stateDir, 'etcd'), logger, signal });
  const client = createEtcdClient({ ...etcd.reach });
  try {
    const { header } = await client.kv.range({ key: Buffer.from('/') });
    return { keys: await client.getAll().strings(), clusterId: header.cluster_id };
  } finally {
    client.close();
  }
}

for (const kind of ['embedded', 'external'] as const) {
  test.serial(`${kind} etcd: all records come back, candidates for leader do not`, async (t) => {
    const file = await backUp(t, kind);
    const stateDir = join(await directory(t), 'new', 'machine');
    const { manifest, records, aside } = await restore(options(file, stateDir), signal);
    t.like(manifest, { clusterName: 'local', clusterId: 'c1', dataKeyId: 'k1', createdAtMs: 1_000 });
    t.is(records, 301);
    t.is(aside, undefined);
    t.deepEqual((await readdir(stateDir)).toSorted(), ['data-key', 'etcd', 'id']);
    t.is(await readFile(join(stateDir, 'data-key'), 'utf8'), 'THE-DATA-KEY\n');
    t.is((await stat(join(stateDir, 'data-key'))).mode & 0o777, 0o600);
    t.is(await readFile(join(stateDir, 'id'), 'utf8'), 'm1\n');
    const { keys, clusterId } = await served(stateDir);
    const before = await t.context.etcd.client.getAll().prefix('/shoal/v1/').strings();
    t.deepEqual(Object.fromEntries(Object.entries(keys).filter(([key]) => key !== '/somebody/else')), before);
    t.is('/somebody/else' in keys, kind === 'embedded', 'of an external etcd only what is ours');
    const { header } = await t.context.etcd.client.kv.range({ key: Buffer.from('/') });
    t.not(clusterId, header.cluster_id, 'a mirror of before sees that it is another history');
  });
}

test.serial('a cluster that is there is refused, and moved aside by force', async (t) => {
  const file = await backUp(t, 'external', 'correct horse battery');
  const stateDir = await directory(t);
  const passphrase = 'correct horse battery';
  await restore(options(file, stateDir, { passphrase }), signal);
  await writeFile(join(stateDir, 'etcd', 'mark'), 'old');
  await mkdir(join(stateDir, '.restore-killed', 'parts'), { recursive: true });
  await writeFile(join(stateDir, 'data-key'), 'OTHER');
  await t.throwsAsync(restore(options(file, stateDir, { passphrase }), signal), {
    name: 'ConflictError',
    message: /holds a cluster already: --force moves it aside/,
  });
  t.is(await readFile(join(stateDir, 'etcd', 'mark'), 'utf8'), 'old');
  const { aside = '' } = await restore(options(file, stateDir, { passphrase, force: true }), signal);
  t.is(await readFile(join(aside, 'etcd', 'mark'), 'utf8'), 'old');
  t.false((await readdir(stateDir)).includes('.restore-killed'), 'what a killed one left is removed');
  t.is(await readFile(join(aside, 'data-key'), 'utf8'), 'OTHER');
  t.is(await readFile(join(stateDir, 'data-key'), 'utf8'), 'THE-DATA-KEY\n');
  t.is(Object.keys((await served(stateDir)).keys).length, 301);
});

test.serial('what is damaged, encrypted or newer changes nothing', async (t) => {
  const file = await backUp(t, 'external');
  const stateDir = await directory(t);
  const bytes = await readFile(file);
  const wrong = join(await directory(t), 'wrong');
  const refused = async (content: Buffer, message: RegExp, force = false): Promise<void> => {
    await writeFile(wrong, content);
    await t.throwsAsync(restore(options(wrong, stateDir, { force }), signal), { message });
    t.deepEqual(await readdir(stateDir), []);
  };
  await refused(bytes.subarray(0, bytes.length - 1), /cut off/);
  await refused(bytes.subarray(0, bytes.length >> 1), /cut off/, true);
  const flipped = Buffer.from(bytes);
  flipped[bytes.length >> 1] = (flipped[bytes.length >> 1] ?? 0) ^ 1;
  await refused(flipped, /damaged|differs/);
  const inner = open(createReadStream(file) as AsyncIterable<Buffer>, undefined);
  await writeBackupFile(`${wrong}.enc`, seal(inner, 'correct horse battery'));
  await refused(await readFile(`${wrong}.enc`), /encrypted: say with --passphrase-file/);
  await t.throwsAsync(restore(options(`${wrong}.none`, stateDir), signal), { message: /can not be read/ });
  await t.context.etcd.client.put('/shoal/v1/schema').value('{"version":99,"writtenBy":"9.9.9"}');
  const newer = await backUp(t, 'external');
  await t.context.etcd.client.delete().key('/shoal/v1/schema');
  await t.throwsAsync(restore(options(newer, stateDir), signal), {
    message: /schema version 99, written by Shoal/,
  });
  await t.throwsAsync(checkBackup(newer, undefined, signal), { message: /schema version 99/ });
  t.deepEqual(await readdir(stateDir), []);
});

test.serial('a reader that gives up, or a manager that ends, ends the reading of etcd', async (t) => {
  const stateDir = await directory(t);
  await using store = await openStore({ endpoints: t.context.etcd.endpoints, logger, signal });
  const { client } = t.context.etcd;
  const source = { client, store, etcd: 'embedded', stateDir, clusterName: 'local', now: () => 0 } as const;
  let bytes = 0;
  for await (const chunk of createBackup(source, undefined, signal)) {
    bytes += chunk.length;
    if (bytes > 1_000_000) break;
  }
  t.true(bytes > 1_000_000);
  const ending = new AbortController();
  const broken = async (): Promise<void> => {
    for await (const chunk of createBackup(source, undefined, ending.signal)) {
      if (chunk.length > 0) ending.abort();
    }
  };
  await t.throwsAsync(broken());
  // The data key is not there: no file that lacks it is ever a backup.
  await t.throwsAsync(writeBackupFile(join(stateDir, 'b'), createBackup(source, undefined, signal)), {
    message: /data-key/,
  });
  t.deepEqual(await readdir(stateDir), []);
});

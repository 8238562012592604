/** Parts, manifest and sums; what a restore writes to a disk. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { pack } from 'tar-stream';
import { packArchive, type PartSource, unpackArchive } from '../../../manager/backup/archive.ts';
import {
  backupName,
  isPartial,
  readPassphrase,
  timeOfBackup,
  writeBackupFile,
} from '../../../manager/backup/backup-file.ts';
import type { ManifestFacts } from '../../../manager/backup/manifest.ts';
import { keepBackups, superfluous } from '../../../manager/backup/schedule.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const signal = new AbortController().signal;
const FACTS: ManifestFacts = {
  createdAtMs: 1,
  shoalVersion: '0.1.0',
  clusterName: 'local',
  clusterId: 'c1',
  schemaVersion: 1,
  dataKeyId: 'k1',
  store: 'etcd-snapshot',
};

async function* from(...parts: readonly (string | Buffer)[]): AsyncGenerator<Buffer> {
  for (const part of parts) yield Buffer.from(part);
}

async function* parts(...all: readonly [name: string, text: string][]): AsyncGenerator<PartSource> {
  for (const [name, text] of all) yield { name, bytes: Buffer.byteLength(text), content: from(text) };
}

async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function directory(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'shoal-backup-'));
  t.teardown(() => rm(path, { recursive: true }));
  return path;
}

async function tar(...entries: readonly [name: string, text: string][]): Promise<Buffer> {
  const made = pack();
  for (const [name, text] of entries) made.entry({ name }, text);
  made.finalize();
  return collect(made as AsyncIterable<Buffer>);
}

test('parts come back, private, with a manifest that names them', async (t) => {
  const at = await directory(t);
  const bytes = await collect(
    packArchive(parts(['etcd.snapshot', 'S'.repeat(100_000)], ['data-key', 'K']), () => FACTS),
  );
  const manifest = await unpackArchive(from(bytes), at, signal);
  t.like(manifest, { ...FACTS, format: 1 });
  t.deepEqual(
    manifest.parts.map(({ name, bytes: size }) => [name, size]),
    [
      ['etcd.snapshot', 100_000],
      ['data-key', 1],
    ],
  );
  t.is(await readFile(join(at, 'etcd.snapshot'), 'utf8'), 'S'.repeat(100_000));
  t.is((await stat(join(at, 'data-key'))).mode & 0o777, 0o600);
  t.deepEqual(await unpackArchive(from(bytes), undefined, signal), manifest, 'checking writes nothing');
});

test('a part that is not as long as it said ends the backup with an error', async (t) => {
  const wrong = async function* (): AsyncGenerator<PartSource> {
    yield { name: 'data-key', bytes: 5, content: from('four') };
  };
  await t.throwsAsync(collect(packArchive(wrong(), () => FACTS)), {
    message: /data-key has not the 5 bytes/,
  });
});

test('a part that differs, lacks or is too many is refused by name', async (t) => {
  const bytes = await collect(
    packArchive(parts(['etcd.snapshot', 'snap'], ['data-key', 'KEY']), () => FACTS),
  );
  const manifest = JSON.stringify(await unpackArchive(from(bytes), undefined, signal));
  const check = async (...entries: [string, string][]): Promise<unknown> =>
    unpackArchive(from(await tar(...entries)), undefined, signal);
  const [snap, key, list] = [
    ['etcd.snapshot', 'snap'],
    ['data-key', 'KEY'],
    ['manifest.json', manifest],
  ] as [string, string][];
  if (snap === undefined || key === undefined || list === undefined) throw new Error('three are given');
  await t.notThrowsAsync(check(snap, key, list));
  await t.throwsAsync(check(snap, ['data-key', 'KEX'], list), {
    message: /part data-key .* SHA-256 differs/,
  });
  await t.throwsAsync(check(snap, list), { message: /lacks its part data-key/ });
  await t.throwsAsync(check(snap, key, ['manager-id', 'x'], list), {
    message: /part manager-id that its manifest/,
  });
  await t.throwsAsync(check(snap, key), { message: /no manifest/ });
  await t.throwsAsync(check(snap, key, key, list), { message: /two parts of one name/ });
  await t.throwsAsync(check(snap, key, list, key), { message: /after its manifest/ });
  await t.throwsAsync(check(snap, ['../data-key', 'KEY'], list), { message: /does not know/ });
  await t.throwsAsync(check(snap, key, ['manifest.json', '{"format":2}']), {
    message: /can not be read by this version/,
  });
});

test('a file has its name only when it is whole', async (t) => {
  const at = await directory(t);
  const path = join(at, 'b');
  t.is(await writeBackupFile(path, from('one', 'two')), 6);
  t.is(await readFile(path, 'utf8'), 'onetwo');
  t.is((await stat(path)).mode & 0o777, 0o600);
  const breaking = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.from('begin');
    throw new Error('etcd went away');
  };
  await t.throwsAsync(writeBackupFile(path, breaking()), { message: 'etcd went away' });
  t.is(await readFile(path, 'utf8'), 'onetwo', 'the earlier one stays');
  t.deepEqual(await readdir(at), ['b']);
  await t.throwsAsync(writeBackupFile(join(at, 'none', 'b'), from('x')), {
    name: 'InvalidError',
    message: /none\/b can not be written/,
  });
});

test('names tell cluster and time, and only those are ever pruned', (t) => {
  const name = backupName('local', Date.UTC(2026, 10, 20, 19, 54, 9, 123));
  t.is(name, 'shoal-backup-local-20261120T195409Z.shoalbackup');
  t.is(timeOfBackup('local', name), Date.UTC(2026, 10, 20, 19, 54, 9));
  t.is(timeOfBackup('other', name), undefined);
  t.true(isPartial('local', `.${name}.partial`));
  t.false(isPartial('local', name));
  const names = [3, 1, 2, 4].map((day) => backupName('local', Date.UTC(2026, 0, day)));
  const others = [
    'notes.txt',
    backupName('other', 0),
    'shoal-backup-local-x.shoalbackup',
    `.${name}.partial`,
  ];
  t.deepEqual(
    superfluous([...names, ...others], 'local', 2),
    [1, 2].map((day) => backupName('local', Date.UTC(2026, 0, day))),
  );
  t.deepEqual(superfluous(names, 'local', 4), []);
});

test('scheduled backups: the newest are kept, what a killed manager left half done goes', async (t) => {
  const at = join(await directory(t), 'backups');
  const ending = new AbortController();
  let now = Date.UTC(2026, 0, 1);
  let made = 0;
  let partial = '';
  const create = async function* (): AsyncGenerator<Buffer> {
    made += 1;
    now += 1000;
    if (made === 2) {
      partial = join(at, `.${backupName('local', 5)}.partial`);
      await writeFile(partial, 'half');
      await writeFile(join(at, 'notes.txt'), 'mine');
    }
    if (made === 3) throw new Error('etcd is away');
    if (made === 7) ending.abort();
    yield Buffer.from(`backup ${made}`);
  };
  const options = {
    directory: at,
    everyMs: 1,
    keep: 3,
    clusterName: 'local',
    create,
    now: () => now,
    logger: silentLogger,
  };
  await keepBackups(options, ending.signal);
  const names = (await readdir(at)).toSorted();
  t.false(names.includes(partial));
  t.is(names.filter((name) => name.endsWith('.shoalbackup')).length, 3);
  t.is(names.length, 4, 'and the file that is not ours');
  t.is(
    await readFile(join(at, names.findLast((name) => name.startsWith('shoal')) ?? ''), 'utf8'),
    'backup 7',
  );
});

test('a passphrase is the first line of a file, and long enough', async (t) => {
  const path = join(await directory(t), 'p');
  await writeFile(path, 'correct horse\nmore\n');
  t.is(await readPassphrase(path), 'correct horse');
  await writeFile(path, '\n');
  await t.throwsAsync(readPassphrase(path), { message: /at least 8 characters/ });
  await t.throwsAsync(readPassphrase(`${path}.none`), { message: /can not be read/ });
});

import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { loadOrCreateCluster, openSecrets } from '../../../manager/ca/cluster.ts';
import { openVault } from '../../../manager/vault/data-key-file.ts';
import { newDataKey, SealError, Vault } from '../../../manager/vault/seal.ts';
import { MIGRATIONS } from '../../../manager/store/migrations.ts';
import type { Cluster } from '../../../shared/model/index.ts';
import { MemoryStore } from '../../harness/memory-store.ts';

const { signal } = new AbortController();
const bytes = fc.uint8Array({ maxLength: 2000 }).map((array) => Buffer.from(array));
const kinds = fc.constantFrom('secret' as const, 'config' as const);

test('what is sealed opens again, shows nothing, and is never the same twice', (t) => {
  const vault = new Vault(newDataKey());
  t.notThrows(() => {
    fc.assert(
      fc.property(kinds, fc.string(), bytes, (kind, id, data) => {
        const [sealed, again] = [vault.seal(kind, id, data), vault.seal(kind, id, data)];
        const text = Buffer.from(sealed.text, 'base64');
        return (
          vault.open(kind, id, sealed).equals(data) &&
          sealed.nonce !== again.nonce &&
          text.length === data.length + 16 &&
          (data.length < 8 || !text.includes(data))
        );
      }),
    );
  });
});

test('a changed bit, another record, another kind and another key do not open', (t) => {
  const vault = new Vault(newDataKey());
  const opens = (attempt: () => unknown): boolean => {
    try {
      attempt();
      return true;
    } catch (error) {
      if (error instanceof SealError) return false;
      throw error;
    }
  };
  t.notThrows(() => {
    fc.assert(
      fc.property(bytes, fc.nat(), fc.integer({ min: 0, max: 7 }), (data, where, bit) => {
        const sealed = vault.seal('secret', 'a', data);
        const text = Buffer.from(sealed.text, 'base64');
        const at = where % text.length;
        text[at] = (text[at] ?? 0) ^ (1 << bit);
        const attempts = [
          () => vault.open('secret', 'a', { ...sealed, text: text.toString('base64') }),
          () => vault.open('secret', 'b', sealed),
          () => vault.open('config', 'a', sealed),
          () => vault.open('secret', 'a', { ...sealed, nonce: sealed.nonce.slice(4) }),
          () => vault.open('secret', 'a', { ...sealed, text: '' }),
          () => new Vault(newDataKey()).open('secret', 'a', sealed),
        ];
        return attempts.every((attempt) => !opens(attempt));
      }),
    );
  });
});

async function stateDir(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-vault-'));
  t.teardown(() => rm(directory, { recursive: true }));
  return directory;
}

async function sealOne(store: MemoryStore, vault: Vault): Promise<void> {
  const sealed = vault.seal('secret', 's1', Buffer.from('text'));
  const value = {
    id: 's1',
    spec: { name: 's', labels: {} },
    version: 1,
    createdAtMs: 1,
    updatedAtMs: 1,
    sealed,
  };
  await store.commit([{ table: 'secrets', key: 's1', value }], { signal });
}

test('the data key is made once, for its owner only, and etcd knows its name alone', async (t) => {
  const store = new MemoryStore();
  const directory = await stateDir(t);
  const vault = await openVault(store, directory, false, signal);
  await loadOrCreateCluster(store, vault, {}, 1, signal);
  const path = join(directory, 'data-key');
  t.is((await stat(path)).mode & 0o777, 0o600);
  t.is(store.get('cluster', 'self')?.dataKeyId, vault.keyId);
  const key = (await readFile(path, 'utf8')).trim();
  t.false(JSON.stringify(store.get('cluster', 'self')).includes(key));
  await sealOne(store, vault);
  const again = await openVault(store, directory, false, signal);
  const sealed = store.get('secrets', 's1')?.sealed;
  t.is(sealed === undefined ? '' : again.open('secret', 's1', sealed).toString(), 'text');
});

test('a manager without the key of what is sealed says so; with a copy of the file it opens', async (t) => {
  const store = new MemoryStore();
  const [first, second] = [await stateDir(t), await stateDir(t)];
  const vault = await openVault(store, first, false, signal);
  await loadOrCreateCluster(store, vault, {}, 1, signal);
  await sealOne(store, vault);
  await t.throwsAsync(openVault(store, second, false, signal), {
    message: /data-key, but there is none: copy the file/,
  });
  await writeFile(join(second, 'data-key'), newDataKey().bytes.toString('base64'));
  await t.throwsAsync(openVault(store, second, false, signal), { message: /it holds the key [0-9a-f]{16}/ });
  await writeFile(join(second, 'data-key'), 'no key');
  await t.throwsAsync(openVault(store, second, false, signal), { message: /is no data key/ });
  await writeFile(join(second, 'data-key'), await readFile(join(first, 'data-key')));
  t.is((await openVault(store, second, false, signal)).keyId, vault.keyId);
});

test('a lost key is replaced when that is asked for, and only while nothing is sealed with it', async (t) => {
  const store = new MemoryStore();
  const lost = await openVault(store, await stateDir(t), false, signal);
  const made = await loadOrCreateCluster(store, lost, {}, 1, signal);
  const directory = await stateDir(t);
  await t.throwsAsync(openVault(store, directory, false, signal), {
    message: /there is none: copy the file/,
  });
  await sealOne(store, lost);
  await t.throwsAsync(openVault(store, directory, true, signal), { message: /it has 1/ });
  await store.commit([{ table: 'secrets', key: 's1', value: null }], { signal });
  const next = await openVault(store, directory, true, signal);
  t.not(next.keyId, lost.keyId);
  t.is(store.get('cluster', 'self')?.dataKeyId, next.keyId);
  // What only the lost key opened is made anew: the CA and the secrets of the tokens.
  const renewed = await loadOrCreateCluster(store, next, {}, 2, signal);
  t.is(renewed.clusterId, made.clusterId);
  t.not(renewed.caCertificatePem, made.caCertificatePem);
  t.regex(openSecrets(next, renewed).caKeyPem, /PRIVATE KEY/);
  t.is(await loadOrCreateCluster(store, next, {}, 3, signal), record(store));
});

test('the keys of the CA and of the tokens are sealed in the record, from its first version on', async (t) => {
  const store = new MemoryStore();
  const vault = new Vault(newDataKey());
  await loadOrCreateCluster(store, vault, {}, 1, signal);
  const secrets = openSecrets(vault, record(store));
  const shown = (): boolean => {
    const text = JSON.stringify(store.get('cluster', 'self'));
    return text.includes('PRIVATE KEY') || text.includes(secrets.joinSecrets.worker);
  };
  t.false(shown());
  t.is(store.commits, 1, 'never written in the clear');
  t.throws(() => openSecrets(new Vault(newDataKey()), record(store)), { instanceOf: SealError });
  // A manager with another key, that raced with the first, does not touch them.
  const before = record(store);
  await t.throwsAsync(loadOrCreateCluster(store, new Vault(newDataKey()), {}, 2, signal), {
    message: /copy the file data-key/,
  });
  t.is(record(store), before);
});

test('data of before, with these keys in the clear, is sealed when a manager starts', async (t) => {
  const store = new MemoryStore();
  const vault = new Vault(newDataKey());
  const { secrets, ...rest } = await loadOrCreateCluster(store, vault, {}, 1, signal);
  const plain = openSecrets(vault, { ...rest, secrets });
  const old = { ...rest, ...plain };
  const [migration] = MIGRATIONS;
  const migrated = migration?.rewrite('cluster', 'self', old) as Cluster;
  t.deepEqual(migrated, { ...rest, secrets: { plain } });
  t.is(migration?.rewrite('cluster', 'self', migrated), migrated, 'a second time changes nothing');
  t.is(migration?.rewrite('nodes', 'n', old), old);
  await store.commit([{ table: 'cluster', key: 'self', value: migrated }], { signal });
  await loadOrCreateCluster(store, vault, {}, 2, signal);
  t.deepEqual(openSecrets(vault, record(store)), plain);
  t.false(JSON.stringify(record(store)).includes('PRIVATE KEY'));
});

function record(store: MemoryStore): Cluster {
  const cluster = store.get('cluster', 'self');
  if (cluster === undefined) throw new Error('there is no cluster');
  return cluster;
}

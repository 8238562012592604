import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { loadOrCreateCluster } from '../../../manager/ca/cluster.ts';
import { openVault } from '../../../manager/vault/data-key-file.ts';
import { newDataKey, SealError, Vault } from '../../../manager/vault/seal.ts';
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
  await loadOrCreateCluster(store, {}, 1, signal);
  const vault = await openVault(store, directory, false, signal);
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
  await loadOrCreateCluster(store, {}, 1, signal);
  const vault = await openVault(store, first, false, signal);
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
  await loadOrCreateCluster(store, {}, 1, signal);
  const lost = await openVault(store, await stateDir(t), false, signal);
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
});

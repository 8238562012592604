/** A locked manager: its socket says that it is locked and takes the unlock key, and nothing else happens before. */
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { untilUnlocked } from '../../../manager/locked-start.ts';
import { mergeKeyTexts } from '../../../manager/vault/data-key-file.ts';
import { formatUnlockKey, lock, newUnlockKey, unlock } from '../../../manager/vault/lock.ts';
import type { ManagerOptions } from '../../../shared/model/index.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

interface Told {
  readonly status: number;
  readonly text: string;
}

function ask(socketPath: string, method: string, path: string, body?: object): Promise<Told> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const req = request({ socketPath, method, path, headers, agent: false }, (res) => {
      let text = '';
      res.on('data', (part: Buffer) => (text += part.toString()));
      res.on('end', () => resolve({ status: res.statusCode ?? 0, text }));
    });
    req.on('error', reject);
    req.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

test('it serves unlocking alone until somebody gives the key, then the manager goes on', async (t) => {
  const stateDir = await mkdtemp(join(tmpdir(), 'shoal-locked-'));
  t.teardown(() => rm(stateDir, { recursive: true }));
  const apiSocket = join(stateDir, 'api.sock');
  const options = {
    stateDir,
    runDir: stateDir,
    apiSocket,
    name: 'test',
    logger: silentLogger,
  } as unknown as ManagerOptions;
  const stop = new AbortController();
  t.is(await untilUnlocked(options, stop.signal), undefined, 'no file');
  await writeFile(join(stateDir, 'data-key'), 'AAAA\n');
  t.is(await untilUnlocked(options, stop.signal), undefined, 'it is not locked');
  const key = newUnlockKey();
  await writeFile(join(stateDir, 'data-key'), lock('AAAA\n', key));
  const unlocked = untilUnlocked(options, stop.signal);
  const eventually = async (): Promise<Told> => {
    for (;;) {
      const told = await ask(apiSocket, 'GET', '/v1.47/info').catch(() => undefined);
      if (told !== undefined) return told;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const info = await eventually();
  t.true((await stat(join(stateDir, 'locked'))).isFile());
  t.is(info.status, 200);
  t.is((JSON.parse(info.text) as { Swarm: { LocalNodeState: string } }).Swarm.LocalNodeState, 'locked');
  for (const [method, path] of [
    ['GET', '/services'],
    ['GET', '/swarm/unlockkey'],
    ['POST', '/services/create'],
    ['POST', '/backup'],
  ] as const) {
    const told = await ask(apiSocket, method, path, method === 'POST' ? {} : undefined);
    t.is(told.status, 503, path);
    t.regex(told.text, /needs to be unlocked before it can be used/);
  }
  const wrong = await ask(apiSocket, 'POST', '/v1.47/swarm/unlock', {
    UnlockKey: formatUnlockKey(newUnlockKey()),
  });
  t.is(wrong.status, 400);
  t.is((await ask(apiSocket, 'POST', '/swarm/unlock', { UnlockKey: 'x' })).status, 400);
  t.is((await ask(apiSocket, 'POST', '/swarm/unlock', { UnlockKey: formatUnlockKey(key) })).status, 200);
  t.deepEqual(await unlocked, key);
  await t.throwsAsync(stat(join(stateDir, 'locked')), { code: 'ENOENT' });
  await t.throwsAsync(ask(apiSocket, 'GET', '/_ping'), undefined, 'the socket is free for the manager');
  const waiting = untilUnlocked(options, stop.signal);
  stop.abort();
  await t.throwsAsync(waiting, { any: true });
});

test('a backup that was made while the lock changed opens with the key of before or after', (t) => {
  const [first, second] = [newUnlockKey(), newUnlockKey()];
  const both = mergeKeyTexts(lock('BBBB\n', second), lock('AAAA\n', first));
  t.is(unlock(both, second), 'BBBB\n');
  t.is(unlock(both, first), 'AAAA\n');
  t.throws(() => unlock(both, newUnlockKey()));
  t.throws(() => unlock(both.slice(0, 40), second));
});

import test from 'ava';
import { chainIdsOf, sha256Of } from '../../../agent/image/digest.ts';
import { parseImageBlob } from '../../../agent/image/image-config.ts';
import { InsecureRegistries } from '../../../agent/image/insecure.ts';
import { parseManifest } from '../../../agent/image/manifest.ts';
import { parseRegistryAuth } from '../../../agent/image/registry-auth.ts';
import { parseChallenge } from '../../../agent/image/registry-token.ts';
import { SharedWork } from '../../../shared/lib/shared-work.ts';

const DIGEST = `sha256:${'0'.repeat(64)}`;

test('X-Registry-Auth: credentials in either spelling, nothing, and nonsense', (t) => {
  const header = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  t.deepEqual(parseRegistryAuth(header({ username: 'u', password: 'p', serveraddress: 'x' })), {
    username: 'u',
    password: 'p',
  });
  t.deepEqual(parseRegistryAuth(header({ auth: btoa('u:p:q') })), { username: 'u', password: 'p:q' });
  t.deepEqual(parseRegistryAuth(header({ identitytoken: 'i' })), { identityToken: 'i' });
  t.is(parseRegistryAuth(header({})), undefined);
  t.is(parseRegistryAuth(undefined), undefined);
  t.throws(() => parseRegistryAuth('nonsense'), { message: /X-Registry-Auth is not/ });
});

test('WWW-Authenticate: quoted and plain parameters, commas within quotes', (t) => {
  const challenge = parseChallenge('Bearer realm="https://a/t",service=reg,scope="repository:a:pull,push"');
  t.is(challenge?.scheme, 'bearer');
  t.is(challenge?.parameters.get('realm'), 'https://a/t');
  t.is(challenge?.parameters.get('service'), 'reg');
  t.is(challenge?.parameters.get('scope'), 'repository:a:pull,push');
  t.is(parseChallenge('Basic realm="x"')?.scheme, 'basic');
  t.is(parseChallenge('Negotiate'), undefined);
  t.is(parseChallenge(undefined), undefined);
});

test('insecure registries: loopback always, hosts and subnets when listed', async (t) => {
  const none = new InsecureRegistries([]);
  for (const host of ['localhost', 'localhost:5000', '127.0.0.1:5000', '127.9.9.9', '[::1]:5000']) {
    t.true(await none.includes(host), host);
  }
  t.false(await none.includes('10.0.0.1:5000'));
  t.false(await none.includes('docker.io'));
  const some = new InsecureRegistries(['10.0.0.0/8', 'reg:5000', 'other']);
  t.true(await some.includes('10.0.0.1:5000'));
  t.false(await some.includes('11.0.0.1:5000'));
  t.true(await some.includes('reg:5000'));
  t.false(await some.includes('reg:5001'));
  t.true(await some.includes('other:7'));
  t.throws(() => new InsecureRegistries(['10.0.0.0/99']), { message: /"10.0.0.0\/99"/ });
});

test('chain ids: the first is the diff id, each later one hashes what is below it', (t) => {
  const [a, b, c] = ['a', 'b', 'c'].map((text) => sha256Of(text)) as [string, string, string];
  const second = sha256Of(`${a} ${b}`);
  t.deepEqual(chainIdsOf([a, b, c]), [a, second, sha256Of(`${second} ${c}`)]);
  t.deepEqual(chainIdsOf([]), []);
});

test('manifests: an unsupported type and a malformed field are named', (t) => {
  const parse = (value: unknown) => parseManifest(Buffer.from(JSON.stringify(value)), 'text/plain', 'x:1');
  t.throws(() => parse({ schemaVersion: 1 }), { message: /x:1 has a manifest of type "text\/plain"/ });
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const config = { mediaType: 'c', digest: DIGEST, size: 1 };
  t.throws(() => parse({ mediaType, config, layers: [{ mediaType: 'l', digest: '../x', size: 1 }] }), {
    message: /layers\.0\.digest: is not a sha256 digest/,
  });
  t.throws(() => parse({ mediaType, config, layers: [{ mediaType: 'a/enc', digest: DIGEST, size: 1 }] }), {
    message: /layer of type "a\/enc"/,
  });
  t.throws(() => parseManifest(Buffer.from('{'), mediaType, 'x:1'), { message: /is not JSON/ });
});

test('image configuration: nulls as Docker writes them, and the health check with its defaults', (t) => {
  const blob = {
    created: '2024-01-01T00:00:00Z',
    config: {
      Env: null,
      Cmd: ['x'],
      Volumes: { '/data': {} },
      Healthcheck: { Test: ['CMD', 'ok'], Interval: 5e9 },
    },
    rootfs: { diff_ids: [DIGEST] },
  };
  const { config, diffIds, createdAt } = parseImageBlob(Buffer.from(JSON.stringify(blob)), 'x');
  t.deepEqual(config.env, []);
  t.deepEqual(config.cmd, ['x']);
  t.deepEqual(config.volumes, ['/data']);
  t.like(config.healthcheck, { test: ['CMD', 'ok'], intervalNs: 5e9, timeoutNs: 30e9, retries: 3 });
  t.deepEqual(diffIds, [DIGEST]);
  t.is(createdAt, '2024-01-01T00:00:00Z');
  t.throws(() => parseImageBlob(Buffer.from('{"rootfs":{"diff_ids":["x"]}}'), 'y'), {
    message: /rootfs\.diff_ids\.0/,
  });
});

test('shared work is aborted when the last that waits gives up, and not before', async (t) => {
  const shared = new SharedWork<string>();
  let started = 0;
  const aborted: boolean[] = [];
  const work = (signal: AbortSignal): Promise<string> => {
    started += 1;
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        aborted.push(true);
        reject(signal.reason);
      });
    });
  };
  const [a, b] = [new AbortController(), new AbortController()];
  const first = t.throwsAsync(shared.run('k', work, a.signal), { message: 'a' });
  const second = t.throwsAsync(shared.run('k', work, b.signal), { message: 'b' });
  a.abort(new Error('a'));
  await first;
  t.deepEqual(aborted, []);
  b.abort(new Error('b'));
  await second;
  t.deepEqual(aborted, [true]);
  t.is(started, 1);
  t.is(await shared.run('k', async () => 'again', new AbortController().signal), 'again');
});

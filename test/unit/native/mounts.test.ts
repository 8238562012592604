/** What of the node a container gets to see and use: directories, volumes, block devices. Needs root. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  type CreateRequest,
  createContainer,
  NativeError,
  type OciConfig,
  startContainer,
  updateContainer,
} from '../../../agent/native/container.ts';
import { Fixture } from './fixture.ts';

const fixture = new Fixture('mounts');
test.after.always(() => fixture.close());

/** A block device of this machine, whichever. */
function blockDevice(): { major: number; minor: number; name: string } {
  const [name] = readdirSync('/sys/block').filter((one) => existsSync(`/sys/block/${one}/dev`));
  if (name === undefined) throw new Error('this machine has no block device');
  const [major = NaN, minor = NaN] = readFileSync(`/sys/block/${name}/dev`, 'utf8').split(':').map(Number);
  return { name, major, minor };
}

test('limits of block devices reach the kernel, and change; what it can not do is named', async (t) => {
  const { major, minor } = blockDevice();
  const rate = (value: number) => [{ major, minor, rate: value }];
  const blockIO = {
    throttleReadBpsDevice: rate(1_000_000),
    throttleWriteBpsDevice: rate(2_000_000),
    throttleReadIOPSDevice: rate(30),
    throttleWriteIOPSDevice: rate(40),
  };
  const request = fixture.request(['sleep', '1000'], ({ linux }) => {
    linux.resources = { blockIO };
  });
  await createContainer(request);
  const texts = (): string =>
    fixture
      .cgroupDirectories(`/${request.id}`)
      .flatMap((path) =>
        ['read_bps', 'write_bps', 'read_iops', 'write_iops']
          .map((kind) => join(path, `blkio.throttle.${kind}_device`))
          .concat(join(path, 'io.max'))
          .filter((file) => existsSync(file))
          .map((file) => readFileSync(file, 'utf8').trim()),
      )
      .join('\n');
  const is = (...values: number[]): string[] => [
    values.map((value) => `${major}:${minor} ${value}`).join('\n'),
    `${major}:${minor} rbps=${values[0]} wbps=${values[1]} riops=${values[2]} wiops=${values[3]}`,
  ];
  t.true(is(1_000_000, 2_000_000, 30, 40).includes(texts()), texts());
  await updateContainer(request.runDir, { blockIO: { throttleReadBpsDevice: rate(500_000) } });
  t.true(is(500_000, 2_000_000, 30, 40).includes(texts()), texts());

  const refused = async (resources: object): Promise<string> => {
    const other = fixture.request(['true'], ({ linux }) => {
      linux.resources = resources;
    });
    return (await t.throwsAsync(createContainer(other), { instanceOf: NativeError }))?.message ?? '';
  };
  t.regex(await refused({ blockIO: { weight: 9 } }), /blockIO\.weight: 10 to 1000/);
  t.regex(
    await refused({ blockIO: { throttleReadBpsDevice: [{ major, rate: 1 }] } }),
    /major, minor and rate/,
  );
  t.regex(await refused({ blockIO: { leafWeight: 10 } }), /leafWeight is not supported/);
  const none = { major: 4095, minor: 1, rate: 1 };
  t.regex(await refused({ blockIO: { throttleReadBpsDevice: [none] } }), /4095:1/);
});

/** A tmpfs of the node with another one in it, both gone at the test's end. */
function nestedMounts(t: ExecutionContext, name: string): string {
  const top = join(fixture.directory, name);
  mkdirSync(top);
  execFileSync('mount', ['-t', 'tmpfs', 'shoal-test', top]);
  t.teardown(() => execFileSync('umount', ['-R', top]));
  execFileSync('mount', ['--make-shared', top]);
  const below = join(top, 'below');
  mkdirSync(below);
  execFileSync('mount', ['-t', 'tmpfs', 'shoal-test', below]);
  writeFileSync(join(below, 'mark'), '');
  return top;
}

test('binds are recursive, and read-only all the way down; or of one mount alone', async (t) => {
  const source = nestedMounts(t, 'nested');
  const script =
    'cd /made; ls below; for d in . below; do touch $d/x 2>/dev/null && echo "$d is writable"; done; echo done';
  const said = async (...options: string[]): Promise<string> => {
    const { stdout } = await fixture.run(['sh', '-c', script], (config) =>
      config.mounts?.push({ destination: '/made', type: 'bind', source, options }),
    );
    return stdout.replaceAll('\n', '; ');
  };
  t.is(await said('rbind', 'ro'), 'mark; done');
  t.is(await said('rbind', 'rro'), 'mark; done');
  t.is(await said('bind', 'ro'), 'done', 'what is mounted below is not there');
  t.is(await said('rbind', 'rw'), 'mark; . is writable; below is writable; done');
  t.is(await said('rbind', 'x-ro-here'), 'mark; x; below is writable; done');
});

test('what is mounted on the node later arrives with rslave, and not with rprivate', async (t) => {
  const source = nestedMounts(t, 'later');
  mkdirSync(join(source, 'new'));
  const script = 'while [ ! -e /made/go ]; do sleep 0.05; done; ls /made/new; echo done';
  const made: CreateRequest[] = [];
  for (const propagation of ['rslave', 'rprivate']) {
    const request = fixture.request(['sh', '-c', script], (config) =>
      config.mounts?.push({ destination: '/made', type: 'bind', source, options: ['rbind', propagation] }),
    );
    made.push(request);
    await createContainer(request);
    await startContainer(request.runDir);
  }
  execFileSync('mount', ['-t', 'tmpfs', 'shoal-test', join(source, 'new')]);
  writeFileSync(join(source, 'new', 'arrived'), '');
  writeFileSync(join(source, 'go'), '');
  const said: string[] = [];
  for (const request of made) said.push((await fixture.finish(request)).stdout);
  t.deepEqual(said, ['arrived\ndone', 'done']);
});

test('a path in a volume is found in the volume, whatever links there are in it', async (t) => {
  const volume = join(fixture.directory, 'volume');
  const outside = join(fixture.directory, 'beside');
  mkdirSync(join(volume, 'a', 'b'), { recursive: true });
  mkdirSync(join(outside, 'b'), { recursive: true });
  writeFileSync(join(volume, 'a', 'b', 'own'), '');
  writeFileSync(join(outside, 'b', 'of the node'), '');
  symlinkSync(outside, join(volume, 'link'));
  symlinkSync('/a', join(volume, 'inside'));
  symlinkSync('../../../../../../../../../..' + outside, join(volume, 'up'));
  const said = async (subpath: string): Promise<unknown> => {
    const mount = (config: OciConfig) =>
      config.mounts?.push({
        destination: '/made',
        type: 'bind',
        source: volume,
        options: ['bind', `x-subpath=${subpath}`],
      });
    return fixture.run(['ls', '/made'], mount).then(
      ({ stdout }) => stdout,
      (error: unknown) => (error as NativeError).code,
    );
  };
  t.is(await said('a/b'), 'own');
  t.is(await said('inside/b'), 'own', 'an absolute link is one of the volume');
  for (const path of ['link/b', 'up/b', 'a/../../beside/b', 'none']) t.is(await said(path), 'ENOENT', path);
});

test('tmpcopyup: a tmpfs begins with what the image has there, be it hostile, and the image stays as it is', async (t) => {
  const image = join(fixture.directory, 'copy-up');
  mkdirSync(join(image, 'etc', 'sub'), { recursive: true });
  writeFileSync(join(image, 'etc', 'file'), 'x'.repeat(100_000), { mode: 0o644 });
  chownSync(join(image, 'etc', 'file'), 7, 8);
  utimesSync(join(image, 'etc', 'file'), 1000, 1000);
  writeFileSync(join(image, 'etc', 'sub', 'tool'), '', { mode: 0o600 });
  chmodSync(join(image, 'etc', 'sub', 'tool'), 0o4755);
  symlinkSync('/proc/1/root/etc', join(image, 'etc', 'link'));
  execFileSync('mkfifo', [join(image, 'etc', 'fifo')]);
  chmodSync(join(image, 'etc'), 0o750);
  const mount = (...options: string[]) => {
    return {
      destination: '/etc',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'tmpcopyup', ...options],
    };
  };
  const of = (...options: string[]) => {
    const script = 'cd /etc && ls -lnd . file sub/tool link fifo && cat file | wc -c && echo y > new';
    const request = fixture.request(['busybox', 'sh', '-c', script], (config) => {
      config.mounts = [...(config.mounts ?? []), mount(...options)];
    });
    return { ...request, rootfs: { ...request.rootfs, lower: [image, fixture.layer] } };
  };
  const request = of();
  await createContainer(request);
  await startContainer(request.runDir);
  const { stdout, state } = await fixture.finish(request);
  t.is(state.exitCode, 0, stdout);
  for (const line of [
    /^drwxr-x--- .* \.$/m,
    /^-rw-r--r-- +1 7 +8 +100000 Jan +1 +1970 file$/m,
    /^-rwsr-xr-x .* sub\/tool$/m,
    /^l.* link -> \/proc\/1\/root\/etc$/m,
    /^p.* fifo$/m,
    /^100000$/m,
  ])
    t.regex(stdout, line);
  t.false(existsSync(join(image, 'etc', 'new')) || existsSync(join(request.rootfs.upper, 'etc', 'new')));
  const full = await t.throwsAsync(createContainer(of('size=8k')), { instanceOf: NativeError });
  t.regex(full?.detail ?? '', /copy file/);
  t.is(full?.code, 'ENOSPC');
  const refused = await t.throwsAsync(createContainer(of('ro')), { instanceOf: NativeError });
  t.regex(refused?.detail ?? '', /can be written only/);
});

/** Directories of layers, topmost first; the topmost hides `gone`, and all have `who`. */
function imageLayers(name: string, count: number): string[] {
  const layers = Array.from({ length: count }, (_, i) => join(fixture.directory, `${name}-${i}`));
  for (const [i, layer] of layers.entries()) {
    mkdirSync(join(layer, 'part'), { recursive: true });
    writeFileSync(join(layer, 'who'), `layer ${i}\n`);
    writeFileSync(join(layer, 'part', `of-${i}`), '');
  }
  const [top = '', below = top] = layers;
  symlinkSync('/part', join(top, 'link'));
  chownSync(join(top, 'who'), 1000, 1000);
  if (below === top) return layers;
  writeFileSync(join(below, 'gone'), '');
  execFileSync('mknod', [join(top, 'gone'), 'c', '0', '0']);
  return layers;
}

const AS_OTHERS = (config: OciConfig): void => {
  const map = [{ containerID: 0, hostID: 1_600_000_000, size: 65_536 }];
  config.linux.namespaces.push({ type: 'user' });
  Object.assign(config.linux, { uidMappings: map, gidMappings: map });
};

test('layers of an image at a path: merged, read-only, with their owners, and parts of them', async (t) => {
  const script =
    'cd /image; cat who; ls part | busybox wc -l; ls -ln who; ls gone 2>&1; touch new 2>&1; ls /image-part; cat /image-part/../who 2>&1';
  for (const [name, count] of [['one', 1] as const, ['many', 120] as const]) {
    const layers = imageLayers(name, count);
    for (const prepare of [() => undefined, AS_OTHERS]) {
      const { stdout } = await fixture.run(['sh', '-c', script], (config) => {
        prepare(config);
        const image = { type: 'x-layers', options: ['ro', ...layers] };
        const part = { ...image, options: [...image.options, 'x-subpath=link'] };
        config.mounts?.push({ destination: '/image', ...image }, { destination: '/image-part', ...part });
      });
      const listed = layers.map((_, i) => `of-${i}`).toSorted();
      const who = stdout.split('\n');
      t.deepEqual(who.slice(0, 2), ['layer 0', String(count)], stdout);
      t.regex(who[2] ?? '', / 1000 +1000 /);
      t.regex(stdout, /gone: No such file/);
      t.regex(stdout, /new: Read-only file system/);
      t.deepEqual(who.slice(5, 5 + count), listed);
      t.regex(stdout, /\/who'?: No such file/, 'a part is all that there is');
    }
  }
  const refused = async (mount: object): Promise<string> => {
    const request = fixture.request(['true'], (config) =>
      config.mounts?.push({ destination: '/image', type: 'x-layers', ...mount }),
    );
    return (await t.throwsAsync(createContainer(request), { instanceOf: NativeError }))?.message ?? '';
  };
  for (const options of [['ro'], ['ro', 'relative'], [fixture.layer]])
    t.regex(await refused({ options }), /takes absolute paths of layers, and 'ro'/);
  t.regex(await refused({ options: ['ro', '/no/such/layer'] }), /\/no\/such\/layer/);
  t.regex(await refused({ options: ['ro', fixture.layer, 'x-subpath=none'] }), /subpath none/);
});

import test from 'ava';
import fc from 'fast-check';
import {
  chooseDevices,
  deviceRequests,
  gpuDriver,
  namedRequests,
  parseDevice,
  requestProblem,
} from '../../../shared/lib/cdi.ts';

const asked = { driver: '', count: undefined, ids: [], capabilities: [['gpu']] };
const GPU = ['nvidia.com/gpu', 'amd.com/gpu'];

test('names, and what is none', (t) => {
  t.deepEqual(parseDevice('vendor.com/net.class=0:1-a_b.c'), {
    kind: 'vendor.com/net.class',
    name: '0:1-a_b.c',
  });
  for (const text of [
    ...['', '=', '/dev/null', 'a=b', 'vendor.com/class', 'vendor.com/class=', 'vendor.com/=a', '/class=a'],
    ...[
      '../../etc=passwd',
      'v/c/d=a',
      'v/c=../a',
      'v/c=a/b',
      'v/c=a b',
      'v/c=a\n',
      '1v/c=a',
      'v/c=a=b',
      'v-/c=a',
      'v/c=-a',
    ],
    ...[`v/c=${'a'.repeat(129)}`, `v/${'c'.repeat(64)}=a`, 'v/c=a\0'],
  ])
    t.is(parseDevice(text), undefined, text);
});

test('as clients ask: by name, all, so many, some', (t) => {
  t.deepEqual(
    deviceRequests({ ...asked, driver: 'cdi', ids: ['a/b=x', 'c/d=y', 'a/b=z'], capabilities: [] }),
    [
      { kinds: ['a/b'], names: ['x', 'z'] },
      { kinds: ['c/d'], names: ['y'] },
    ],
  );
  t.deepEqual(deviceRequests({ ...asked, count: -1 }), [{ kinds: GPU, count: -1 }]);
  t.deepEqual(deviceRequests({ ...asked, count: 2, driver: 'nvidia' }), [
    { kinds: ['nvidia.com/gpu'], count: 2 },
  ]);
  t.deepEqual(
    deviceRequests({
      ...asked,
      count: 1,
      capabilities: [
        ['tpu', 'x'],
        ['amd', 'gpu'],
      ].slice(1),
    }),
    [{ kinds: ['amd.com/gpu'], count: 1 }],
  );
  t.deepEqual(deviceRequests({ ...asked, ids: ['0', 'nvidia.com/gpu=1:0'] }), [
    { kinds: GPU, names: ['0'] },
    { kinds: ['nvidia.com/gpu'], names: ['1:0'] },
  ]);
  t.deepEqual([GPU, ['amd.com/gpu']].map(gpuDriver), ['', 'amd']);
});

for (const [what, change, message] of [
  ['both', { count: 1, ids: ['0'] }, /one of the two is expected/],
  ['neither', {}, /a count \(-1 for all\) or device IDs are expected/],
  ['a driver', { driver: 'intel', count: 1 }, /driver 'intel': cdi, nvidia, amd or none is expected/],
  ['no GPU', { count: 1, capabilities: [['compute']] }, /capabilities: gpu is expected among them/],
  ['a capability', { count: 1, capabilities: [['gpu', 'tpu']] }, /capability 'tpu': gpu, nvidia/],
  ['a count', { count: -2 }, /count -2/],
  ['no names', { driver: 'cdi' }, /needs device IDs/],
  ['a path', { driver: 'cdi', ids: ['/dev/null'] }, /'\/dev\/null' is no name of a device/],
  ['hostile', { ids: ['../0'] }, /'..\/0' is no name of a device/],
] as const) {
  test(`refused: ${what}`, (t) => {
    const capabilities = 'capabilities' in change ? change.capabilities : asked.capabilities;
    const error = t.throws(() => deviceRequests({ ...asked, ...change, capabilities }), {
      instanceOf: TypeError,
    });
    t.regex(error.message, message);
  });
}

test('which of a node’s devices: numbers in place of other names for the same, `all` where there is one', (t) => {
  const node = { names: ['0', '1', '10', '2', 'GPU-a', 'all'].map((name) => `nvidia.com/gpu=${name}`) };
  const of = (count: number) => chooseDevices([{ kinds: GPU, count }], node);
  t.deepEqual(of(-1), { devices: ['nvidia.com/gpu=all'] });
  t.deepEqual(of(3), { devices: ['0', '1', '2'].map((name) => `nvidia.com/gpu=${name}`) });
  t.deepEqual(of(5), { problem: '4 of 5 CDI devices nvidia.com/gpu' });
  const amd = { names: ['amd.com/gpu=a', 'amd.com/gpu=b'] };
  t.deepEqual(chooseDevices([{ kinds: GPU, count: -1 }], amd), { devices: amd.names });
  t.deepEqual(chooseDevices([{ kinds: GPU, names: ['b'] }, ...namedRequests(['amd.com/gpu=b'])], amd), {
    devices: ['amd.com/gpu=b'],
  });
});

test('why a node has not what is asked for', (t) => {
  const why = (problems: { of: string; why: string }[] | undefined, count?: number) => {
    const request = count === undefined ? namedRequests(['a/b=x']) : [{ kinds: ['a/b', 'c/d'], count }];
    const choice = chooseDevices(
      request,
      problems === undefined ? undefined : { names: ['e/f=x'], problems },
    );
    return 'problem' in choice ? choice.problem : '';
  };
  t.is(why(undefined), 'no CDI device a/b=x');
  t.is(why([{ of: '/etc/cdi/a.json', why: 'not JSON' }]), 'no CDI device a/b=x (/etc/cdi/a.json: not JSON)');
  t.is(why([{ of: 'a/b=x', why: 'two files' }]), 'CDI device a/b=x: two files');
  t.is(why([], 2), 'no CDI device a/b or c/d');
  t.is(why([{ of: 'c/d=1', why: 'two files' }], 2), 'CDI device c/d=1: two files');
});

test('property: what is chosen is there, each once, and is as many as were asked for', (t) => {
  const name = fc.constantFrom('0', '1', '2', 'a', 'b', 'all');
  const kind = fc.constantFrom('a/b', 'c/d');
  const request = fc.oneof(
    fc.record({ kinds: fc.uniqueArray(kind, { minLength: 1 }), names: fc.array(name, { minLength: 1 }) }),
    fc.record({ kinds: fc.uniqueArray(kind, { minLength: 1 }), count: fc.constantFrom(-1, 1, 2, 4) }),
  );
  const has = fc.uniqueArray(fc.tuple(kind, name).map(([one, two]) => `${one}=${two}`));
  fc.assert(
    fc.property(fc.array(request, { minLength: 1, maxLength: 3 }), has, (requests, names) => {
      for (const one of requests) t.is(requestProblem(one), undefined);
      const choice = chooseDevices(requests, { names });
      if ('problem' in choice) return choice.problem.length > 0;
      const { devices } = choice;
      const [only] = requests;
      const enough =
        requests.length > 1 ||
        only === undefined ||
        !('count' in only) ||
        only.count === -1 ||
        devices.length === only.count;
      return (
        enough && devices.every((one) => names.includes(one)) && new Set(devices).size === devices.length
      );
    }),
  );
});

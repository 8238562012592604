import test from 'ava';
import fc from 'fast-check';
import {
  genericEnvironment,
  grantedDevices,
  parseGenericResources,
} from '../../../shared/lib/generic-resources.ts';

test('counted and named, as dockerd has them', (t) => {
  t.deepEqual(parseGenericResources(['gpu=2', 'fpga=F-1', 'fpga=F-2']), [
    { kind: 'gpu', count: 2 },
    { kind: 'fpga', names: ['F-1', 'F-2'] },
  ]);
  t.deepEqual(parseGenericResources([]), []);
  const devices = parseGenericResources(['acme.com/gpu=0', 'acme.com/gpu=1']);
  t.deepEqual(devices, [{ kind: 'acme.com/gpu', names: ['0', '1'] }]);
  t.deepEqual(grantedDevices([...devices, { kind: 'gpu', names: ['a'] }]), [
    { kinds: ['acme.com/gpu'], names: ['0', '1'] },
  ]);
});

for (const [terms, message] of [
  [['gpu'], "'gpu': KIND=COUNT or KIND=NAME is expected"],
  [['gpu='], "'gpu=': KIND=COUNT or KIND=NAME is expected"],
  [['gpu=a=b'], "'gpu=a=b': KIND=COUNT or KIND=NAME is expected"],
  [['=3'], "'' is no kind of resource: letters, digits, _, . and -, at most 64, the first a letter or digit"],
  [
    ['g p=3'],
    "'g p' is no kind of resource: letters, digits, _, . and -, at most 64, the first a letter or digit",
  ],
  [['gpu=0'], 'gpu=0: a count is a whole number from 1 to 1000000'],
  [['gpu=-1'], 'gpu=-1: a count is a whole number from 1 to 1000000'],
  [['gpu=1', 'gpu=a'], 'gpu: one count or names are expected, not 1, a'],
  [['gpu=1', 'gpu=2'], 'gpu: one count or names are expected, not 1, 2'],
  [['gpu=a', 'gpu=a'], 'gpu=a is given twice'],
  [['gpu=a,b'], 'gpu=a,b: a name has no space, comma or =, and at most 128 characters'],
  [['a/gpu=-1'], 'a/gpu=-1: the name of a CDI device is expected, such as 0'],
  [['a/gpu=0', 'a/gpu=0'], 'a/gpu=0 is given twice'],
  [['gpu=1', 'GPU=a'], 'gpu and GPU differ in case only'],
] as const) {
  test(`refused: ${terms.join(' ')}`, (t) => {
    t.throws(() => parseGenericResources(terms), { instanceOf: TypeError, message });
  });
}

test('a container is told what its task was given', (t) => {
  t.deepEqual(
    genericEnvironment([
      { kind: 'gpu', names: ['GPU-a', 'GPU-b'] },
      { kind: 'nvidia-mem', count: 3 },
    ]),
    ['DOCKER_RESOURCE_GPU=GPU-a,GPU-b', 'DOCKER_RESOURCE_NVIDIA-MEM=3'],
  );
});

test('whatever is written, it is read or refused with a reason', (t) => {
  fc.assert(
    fc.property(fc.array(fc.string()), (terms) => {
      try {
        for (const one of parseGenericResources(terms)) {
          if ('names' in one ? one.names.length === 0 : one.count < 1) return false;
        }
        return true;
      } catch (error) {
        return error instanceof TypeError && error.message !== '';
      }
    }),
  );
  t.pass();
});

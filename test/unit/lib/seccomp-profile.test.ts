import test from 'ava';
import { parseSeccompProfile, resolveSeccomp } from '../../../shared/lib/seccomp-profile.ts';

const MACHINE = { arch: 'amd64', release: '6.1.0-18-amd64', capabilities: ['CAP_CHOWN', 'CAP_SYS_TIME'] };

function rules(...syscalls: object[]): string[][] {
  const profile = parseSeccompProfile(JSON.stringify({ defaultAction: 'SCMP_ACT_ERRNO', syscalls }));
  return (resolveSeccomp(profile, MACHINE).syscalls ?? []).map(({ names }) => names);
}

const allow = (names: string[], more: object = {}): object => ({ names, action: 'SCMP_ACT_ALLOW', ...more });

test('a profile without conditions is taken as it is', (t) => {
  const profile = {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 38,
    architectures: ['SCMP_ARCH_X86_64'],
    syscalls: [
      {
        names: ['clone'],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: 1,
        args: [{ index: 0, value: 2114060288, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
      },
    ],
  };
  t.deepEqual(resolveSeccomp(parseSeccompProfile(JSON.stringify(profile)), MACHINE), profile);
});

test('conditions on capabilities, architecture and kernel', (t) => {
  t.deepEqual(
    rules(
      allow(['a'], { includes: { caps: ['CAP_CHOWN'] } }),
      allow(['b'], { includes: { caps: ['CAP_CHOWN', 'CAP_BPF'] } }),
      allow(['c'], { excludes: { caps: ['CAP_BPF', 'CAP_SYS_TIME'] } }),
      allow(['d'], { excludes: { caps: ['CAP_BPF'] } }),
      allow(['e'], { includes: { arches: ['amd64', 'x32'] } }),
      allow(['f'], { includes: { arches: ['s390x'] } }),
      allow(['g'], { excludes: { arches: ['amd64'] } }),
      allow(['h'], { includes: { minKernel: '4.8' } }),
      allow(['i'], { includes: { minKernel: '6.2' } }),
      allow(['j'], { excludes: { minKernel: '6.1' } }),
      { name: 'k', action: 'SCMP_ACT_LOG', comment: 'old' },
      allow(['l'], { includes: {}, excludes: {} }),
    ),
    [['a'], ['d'], ['e'], ['h'], ['k'], ['l']],
  );
});

test('archMap: the entry of the machine, with what runs on it too', (t) => {
  const profile = parseSeccompProfile(
    JSON.stringify({
      defaultAction: 'SCMP_ACT_ERRNO',
      archMap: [
        { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] },
        { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
      ],
    }),
  );
  t.deepEqual(resolveSeccomp(profile, MACHINE).architectures, [
    'SCMP_ARCH_X86_64',
    'SCMP_ARCH_X86',
    'SCMP_ARCH_X32',
  ]);
  t.deepEqual(resolveSeccomp(profile, { ...MACHINE, arch: 'arm64' }).architectures, [
    'SCMP_ARCH_AARCH64',
    'SCMP_ARCH_ARM',
  ]);
});

test('what is wrong is said with its place', (t) => {
  const base = { defaultAction: 'SCMP_ACT_ERRNO' };
  const cases: [unknown, RegExp][] = [
    ['{', /is no JSON/],
    [[], /seccomp profile: /],
    [{}, /defaultAction: one of SCMP_ACT_KILL/],
    [{ ...base, colour: 1 }, /colour/],
    [{ ...base, syscalls: [{ names: ['a'], action: 'SCMP_ACT_NOTIFY' }] }, /syscalls\.0\.action: one of/],
    [
      { ...base, syscalls: [{ names: ['a'], name: 'b', action: 'SCMP_ACT_LOG' }] },
      /syscalls\.0: name and names/,
    ],
    [{ ...base, architectures: ['x'], archMap: [{ architecture: 'y' }] }, /architectures and archMap/],
    [{ ...base, flags: ['SECCOMP_FILTER_FLAG_LOG'] }, /flags are not supported/],
    [{ ...base, listenerPath: '/x' }, /a listener is not supported/],
    [
      {
        ...base,
        syscalls: [
          { names: ['a'], action: 'SCMP_ACT_LOG', args: [{ index: 6, value: 1, op: 'SCMP_CMP_EQ' }] },
        ],
      },
      /syscalls\.0\.args\.0\.index/,
    ],
  ];
  for (const [value, message] of cases) {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    t.throws(() => parseSeccompProfile(text), { message }, text);
  }
  t.notThrows(() => parseSeccompProfile(JSON.stringify({ ...base, flags: [], listenerPath: '' })));
  t.throws(() => parseSeccompProfile(' '.repeat(300_000)), { message: /at most/ });
});

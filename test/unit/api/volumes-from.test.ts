import test from 'ava';
import { lendMounts, type Lender } from '../../../manager/api/ops/volumes-from.ts';
import type { MountSpec } from '../../../shared/model/index.ts';

const lender: Lender = {
  nodeId: 'n1',
  asked: [
    { kind: 'volume', source: 'v', target: '/v', readOnly: false, subpath: 'part' },
    { kind: 'volume', source: '', target: '/own', readOnly: false },
    { kind: 'bind', source: '/etc', target: '/b', readOnly: true, createSource: true, recursive: false },
    { kind: 'tmpfs', target: '/t', readOnly: false },
  ],
  points: [
    { kind: 'volume', name: 'v', source: '/x/v/part', target: '/v', readOnly: false },
    { kind: 'volume', name: 'made-up', source: '/x/m', target: '/own', readOnly: false },
    { kind: 'volume', name: 'of-image', source: '/x/i', target: '/image', readOnly: false },
    { kind: 'bind', source: '/etc', target: '/b', readOnly: true },
    { kind: 'tmpfs', source: '', target: '/t', readOnly: false },
  ],
};
const other: Lender = { ...lender, nodeId: 'n2' };

const find = (ref: string): Promise<Lender> =>
  ref === 'a'
    ? Promise.resolve(lender)
    : ref === 'far'
      ? Promise.resolve(other)
      : Promise.reject(new Error(ref));

test('volumes and binds of another container, as they were asked for; what is named itself stands before', async (t) => {
  const own: MountSpec[] = [
    { kind: 'volume', source: 'mine', target: '/v', readOnly: false },
    { kind: 'volume', source: '', target: '/own', readOnly: false },
    { kind: 'tmpfs', target: '/t', readOnly: false },
  ];
  const lent = await lendMounts(['a'], own, ['n1', 'n2'], find);
  t.deepEqual(lent.nodeIds, ['n1']);
  t.deepEqual(lent.mounts, [
    { kind: 'volume', source: 'mine', target: '/v', readOnly: false },
    { kind: 'volume', source: 'made-up', target: '/own', readOnly: false, noCopy: true },
    { kind: 'volume', source: 'of-image', target: '/image', readOnly: false, noCopy: true },
    { kind: 'bind', source: '/etc', target: '/b', readOnly: true, createSource: true, recursive: false },
    { kind: 'tmpfs', target: '/t', readOnly: false },
  ]);
  const readOnly = await lendMounts(['a:ro,z'], [], ['n1'], find);
  t.true(readOnly.mounts.every((mount) => mount.readOnly));
  t.like(readOnly.mounts[0], { subpath: 'part' });
  t.deepEqual(await lendMounts([], own, ['n1', 'n2'], find), { mounts: own, nodeIds: ['n1', 'n2'] });
});

test('what can not be lent', async (t) => {
  await t.throwsAsync(lendMounts(['a:rx'], [], ['n1'], find), {
    message: /container\[:ro\|:rw\] is expected/,
  });
  await t.throwsAsync(lendMounts(['a', 'far'], [], ['n1', 'n2'], find), {
    message: /far is on another node/,
  });
  const silent = { ...lender, points: undefined };
  await t.throwsAsync(
    lendMounts(['a'], [], ['n1'], () => Promise.resolve(silent)),
    { message: /does not answer/ },
  );
});

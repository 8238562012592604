/** What a node keeps of a standalone container, and for how long. */
import test from 'ava';
import { anonymousVolumeName, detailsOf, withAnonymousVolumes } from '../../../agent/container/standalone.ts';
import { ContainerClaims } from '../../../agent/worker/container-claims.ts';
import type { ContainerSpec, TaskAssignment } from '../../../shared/model/index.ts';

const ID = 'c'.repeat(64);
const SPEC: ContainerSpec = { image: 'a', labels: {}, command: [], args: [], env: [], mounts: [] };
const IMAGE = {
  env: [],
  entrypoint: ['entry'],
  cmd: ['cmd'],
  user: 'someone',
  workingDir: '/work',
  exposedPorts: ['80/tcp'],
  labels: {},
  volumes: ['/data/', '/logs'],
};

function assigned(...tasks: readonly [taskId: string, containerId?: string][]): {
  tasks: Map<string, TaskAssignment>;
} {
  const rows = tasks.map(([taskId, containerId]): [string, TaskAssignment] => {
    const mode = containerId === undefined ? { kind: 'global' } : { kind: 'container', containerId };
    return [taskId, { taskId, spec: { mode } } as TaskAssignment];
  });
  return { tasks: new Map(rows) };
}

test('a container is claimed for as long as any assigned task is a run of it', (t) => {
  const claims = new ContainerClaims();
  claims.take(assigned(['one', ID], ['other']));
  t.deepEqual(
    [claims.isClaimed(ID), claims.containerOf('one'), claims.containerOf('other')],
    [true, ID, undefined],
  );
  claims.take(assigned(['one', ID], ['two', ID]));
  claims.take(assigned(['two', ID]));
  t.is(claims.containerOf('one'), ID, 'known until it is forgotten, so that its end finds the container');
  t.true(claims.isClaimed(ID), 'the next run goes on with its files');
  claims.forget('one');
  t.is(claims.containerOf('one'), undefined);
  claims.take(assigned());
  t.false(claims.isClaimed(ID));
});

test('an image’s volumes are made once, under names that each start finds again', (t) => {
  const mounts = [
    { kind: 'volume' as const, source: '', target: '/mine', readOnly: false },
    { kind: 'tmpfs' as const, target: '/logs', readOnly: false },
  ];
  const first = withAnonymousVolumes({ ...SPEC, mounts }, IMAGE, ID);
  t.deepEqual(first, withAnonymousVolumes({ ...SPEC, mounts }, IMAGE, ID));
  const [mine, data] = [anonymousVolumeName(ID, '/mine'), anonymousVolumeName(ID, '/data')];
  t.deepEqual(first.names, [mine, data]);
  t.regex(mine, /^[0-9a-f]{64}$/);
  t.deepEqual(
    first.spec.mounts.map((mount) => [mount.kind, mount.target]),
    [
      ['volume', '/mine'],
      ['tmpfs', '/logs'],
      ['volume', '/data'],
    ],
  );
  t.not(anonymousVolumeName('d'.repeat(64), '/mine'), mine);
});

test('details are the client’s words where there are some, else the image’s', (t) => {
  t.like(detailsOf(SPEC, IMAGE, 'box', []), {
    entrypoint: ['entry'],
    cmd: ['cmd'],
    user: 'someone',
    workingDir: '/work',
    hostname: 'box',
  });
  t.like(detailsOf({ ...SPEC, command: ['sh'], user: '1' }, IMAGE, 'box', []), {
    entrypoint: ['sh'],
    cmd: [],
    user: '1',
  });
  const mounts = [{ kind: 'volume' as const, source: 'v', target: '/v', readOnly: true }];
  const binds = [{ source: '/state/v', target: '/v', options: [] }];
  t.deepEqual(detailsOf({ ...SPEC, mounts }, IMAGE, 'box', binds).mounts, [
    { kind: 'volume', name: 'v', source: '/state/v', target: '/v', readOnly: true },
  ]);
});

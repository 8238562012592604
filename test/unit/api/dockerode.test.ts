/** The API as dockerode uses it: it repeats bodies in the query, and reads streams by itself. */
import { PassThrough } from 'node:stream';
import test from 'ava';
import Docker from 'dockerode';
import { ApiFixture } from './fixture.ts';

test('dockerode: networks, services, tasks, logs, nodes', async (t) => {
  await using api = await ApiFixture.up();
  const docker = new Docker({ socketPath: api.socket });
  const network = await docker.createNetwork({ Name: 'net', Driver: 'overlay', Labels: { a: 'b' } });
  const created = await docker.createService({
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'nginx' }, Networks: [{ Target: 'net' }] },
    Mode: { Replicated: { Replicas: 2 } },
  });
  const service = docker.getService(created.id);
  const shown = await service.inspect();
  t.is(shown.Spec.Name, 'web');
  await service.update({ ...shown.Spec, version: shown.Version.Index, Labels: { x: 'y' } });
  t.deepEqual((await service.inspect()).Spec.Labels, { x: 'y' });
  t.deepEqual(
    (await docker.listServices({ filters: { label: ['x=y'] } })).map(({ ID }) => ID),
    [created.id],
  );
  const tasks = await docker.listTasks({ filters: { service: ['web'], 'desired-state': ['running'] } });
  t.is(tasks.length, 2);
  const [task] = tasks;
  api.nodes
    .get(task.NodeID)
    ?.logs.set(task.Status.ContainerStatus.ContainerID, [
      { stream: 1, data: Buffer.from('2026-01-01T00:00:00.000000000Z hello\n') },
    ]);
  const logs = await service.logs({ stdout: true, follow: true });
  const out = new PassThrough();
  docker.modem.demuxStream(logs, out, out);
  const [line] = (await out.iterator({ destroyOnReturn: true }).next()).value.toString().split('\n');
  t.is(line, 'hello');
  (logs as unknown as PassThrough).destroy();
  t.is((await docker.listNodes()).length, 2);
  const node = await docker.getNode('a2').inspect();
  // The types say nothing of the promise that it returns.
  await Promise.resolve(
    docker.getNode('a2').update({ ...node.Spec, version: node.Version.Index, Availability: 'drain' }),
  );
  t.is((await docker.getNode('a2').inspect()).Spec.Availability, 'drain');
  t.is((await docker.info()).Swarm.ControlAvailable, true);
  await t.throwsAsync(docker.getService('none').inspect(), { message: /service none not found/ });
  await service.remove();
  await network.remove();
  const left = await docker.listNetworks();
  t.deepEqual(
    left.map(({ Name }) => Name),
    ['bridge', 'host', 'none'],
  );
});

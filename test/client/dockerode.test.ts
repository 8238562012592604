/** dockerode, the usual client library for Node, on a real cluster. */
import test from 'ava';
import Docker from 'dockerode';
import { cluster } from '../harness/cluster.ts';

test('dockerode creates, lists, inspects, updates and removes a service', async (t) => {
  await using swarm = await cluster().manager().agents(1).up();
  const docker = new Docker({ socketPath: swarm.layout.socket });
  t.is((await docker.version()).ApiVersion, '1.47');
  t.is((await docker.listNodes()).length, 1);

  const spec = {
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'shoal/example:latest', StopGracePeriod: 1_000_000_000 } },
    Mode: { Replicated: { Replicas: 2 } },
  };
  const created = await docker.createService(spec);
  await swarm.eventually((s) => s.running('web').count === 2);
  const tasks = (await docker.listTasks({ filters: { service: ['web'] } })) as {
    Status: { State: string };
  }[];
  t.deepEqual(
    tasks.map((task) => task.Status.State),
    ['running', 'running'],
  );
  const containers = await docker.listContainers();
  t.is(containers.length, 2);
  const [first] = containers;
  const inspected = await docker.getContainer(first?.Id ?? '').inspect();
  t.true(inspected.State.Running);

  const service = docker.getService((created as { id?: string; ID?: string }).ID ?? created.id);
  const { Version } = (await service.inspect()) as { Version: { Index: number } };
  await service.update({ version: Version.Index, ...spec, Mode: { Replicated: { Replicas: 1 } } });
  await swarm.eventually((s) => s.running('web').count === 1);
  const stale = await t.throwsAsync(service.update({ version: Version.Index, ...spec }));
  t.regex(stale?.message ?? '', /update out of sequence/);

  await service.remove();
  await swarm.eventually((s) => s.services.length === 0);
  await t.throwsAsync(service.inspect(), { message: /not found/ });
});

/** dockerode, the usual client library for Node, on a real cluster. */
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import test from 'ava';
import Docker from 'dockerode';
import { buildImage, buildLayer } from '../../agent/image/build-tar.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { reachableAddress } from '../harness/outside.ts';
import { pushImage, startRegistry } from '../harness/registry.ts';

const IMAGE = 'shoal/example:latest';

/** dockerode types few answers; these are the fields that the tests look at. */
interface Versioned {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: { readonly Labels: Record<string, string>; readonly Availability?: string };
}

let shared: TestCluster | undefined;
const registry = await startRegistry(reachableAddress());
test.before(async () => {
  shared = await cluster().manager().agents(2).registry(registry.address).up();
});
test.after.always(async () => {
  await shared?.[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
});

function scene(): { swarm: TestCluster; docker: Docker } {
  if (shared === undefined) throw new Error('there is no cluster');
  return { swarm: shared, docker: new Docker({ socketPath: shared.layout.socket, timeout: 60_000 }) };
}

function serviceSpec(name: string, replicas: number, container: object = {}) {
  return {
    Name: name,
    TaskTemplate: { ContainerSpec: { Image: IMAGE, StopGracePeriod: 1_000_000_000, ...container } },
    Mode: { Replicated: { Replicas: replicas } },
  };
}

/** dockerode hands back what the API says: an `ID`. */
async function create(docker: Docker, spec: object): Promise<Docker.Service> {
  const created = (await docker.createService(spec)) as unknown as { ID?: string; id?: string };
  return docker.getService(created.ID ?? created.id ?? '');
}

/** The two streams of frames that came interleaved. */
async function demultiplexed(
  docker: Docker,
  frames: Buffer | NodeJS.ReadableStream,
): Promise<[string, string]> {
  const [source, out, err] = [new PassThrough(), new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(source, out, err);
  source.on('end', () => {
    out.end();
    err.end();
  });
  if (Buffer.isBuffer(frames)) source.end(frames);
  else frames.pipe(source);
  return Promise.all([text(out), text(err)]);
}

test.serial('ping, version, info, nodes', async (t) => {
  const { docker, swarm } = scene();
  t.is((await docker.ping()).toString(), 'OK');
  t.is((await docker.version()).ApiVersion, '1.47');
  const info = (await docker.info()) as { Swarm: { LocalNodeState: string; Nodes: number } };
  t.deepEqual([info.Swarm.LocalNodeState, info.Swarm.Nodes], ['active', 2]);
  t.is((await docker.listNodes()).length, 2);
  t.is((await docker.listNodes({ filters: JSON.stringify({ name: ['a2'] }) })).length, 1);

  const id = (await swarm.state()).nodes.find((node) => node.Description?.Hostname === 'a2')?.ID ?? '';
  const node = docker.getNode(id);
  const { Version, Spec } = (await node.inspect()) as Versioned;
  await node.update({ ...Spec, version: Version.Index, Labels: { zone: 'b' } });
  t.deepEqual(((await node.inspect()) as Versioned).Spec.Labels, { zone: 'b' });
  const stale = await t.throwsAsync(node.update({ ...Spec, version: Version.Index }));
  t.regex(stale?.message ?? '', /update out of sequence/);
  const unknown = await t.throwsAsync<Error & { statusCode?: number }>(docker.getNode('nosuch').inspect());
  t.is(unknown?.statusCode, 404);
});

test.serial('a service is created, listed, inspected, updated and removed', async (t) => {
  const { docker, swarm } = scene();
  const spec = serviceSpec('web', 2);
  const service = await create(docker, spec);
  await swarm.eventually((s) => s.running('web').count === 2);
  const filters = { service: ['web'], 'desired-state': ['running'] };
  const tasks = (await docker.listTasks({ filters })) as { ID: string; Status: { State: string } }[];
  t.deepEqual(
    tasks.map((task) => task.Status.State),
    ['running', 'running'],
  );
  const [task] = tasks;
  t.like(await docker.getTask(task?.ID ?? '').inspect(), { ID: task?.ID });
  t.is((await docker.listServices({ filters: { name: ['web'] } })).length, 1);
  const again = await t.throwsAsync<Error & { statusCode?: number }>(docker.createService(spec));
  t.is(again?.statusCode, 409);

  const { Version } = (await service.inspect()) as Versioned;
  await service.update({ version: Version.Index, ...serviceSpec('web', 1, { Env: ['A=1'] }) });
  await swarm.eventually((s) => s.running('web').count === 1);
  const stale = await t.throwsAsync(service.update({ version: Version.Index, ...spec }));
  t.regex(stale?.message ?? '', /update out of sequence/);

  await service.remove();
  await swarm.eventually((s) => s.services.length === 0);
  const gone = await t.throwsAsync<Error & { statusCode?: number }>(service.inspect());
  t.is(gone?.statusCode, 404);
});

test.serial('logs of services and containers, whole and followed', async (t) => {
  const { docker, swarm } = scene();
  const script = 'echo out; echo err >&2; exec sleep 1000';
  const service = await create(docker, serviceSpec('talk', 1, { Command: ['/bin/sh', '-c', script] }));
  await swarm.eventually((s) => s.running('talk').count === 1);
  const [container] = await docker.listContainers({ filters: { name: ['talk'] } });
  const box = docker.getContainer(container?.Id ?? '');
  const inspected = await box.inspect();
  t.true(inspected.State.Running);
  t.deepEqual([inspected.Path, ...inspected.Args], ['/bin/sh', '-c', script]);

  const options = { stdout: true, stderr: true } as const;
  await swarm.eventually(async () => {
    const frames = await box.logs({ ...options, follow: false });
    return (await demultiplexed(docker, frames)).join() === 'out\n,err\n';
  });
  // ends when the container does
  const followed = demultiplexed(docker, await box.logs({ ...options, follow: true }));
  const whole = await service.logs({ ...options, tail: 1 });
  t.deepEqual(await demultiplexed(docker, whole), ['', 'err\n']);
  await service.remove();
  t.deepEqual(await followed, ['out\n', 'err\n']);
});

test.serial('a network is created, listed, used and removed', async (t) => {
  const { docker, swarm } = scene();
  const network = await docker.createNetwork({ Name: 'back', Driver: 'overlay', Labels: { kind: 'test' } });
  const listed = await docker.listNetworks({ filters: { label: ['kind=test'] } });
  t.deepEqual(
    listed.map((entry) => [entry.Name, entry.Driver, entry.Scope]),
    [['back', 'overlay', 'swarm']],
  );
  const spec = serviceSpec('user', 1);
  const service = await create(docker, {
    ...spec,
    TaskTemplate: { ...spec.TaskTemplate, Networks: [{ Target: 'back' }] },
  });
  await swarm.eventually((s) => s.running('user').count === 1);
  const used = await t.throwsAsync<Error & { statusCode?: number }>(network.remove());
  t.regex(used?.message ?? '', /network back is in use by service user/);
  await service.remove();
  await network.remove();
  t.is((await docker.listNetworks({ filters: { name: ['back'] } })).length, 0);
});

test.serial('an image is pulled with its progress, inspected, tagged, and removed', async (t) => {
  const { docker } = scene();
  const layers = [await buildLayer([{ kind: 'file', path: 'a', content: 'x'.repeat(100_000) }])];
  const image = buildImage('followed:1', layers, {});
  const reference = await pushImage(registry, image);
  const events: { readonly id?: string; readonly status?: string }[] = [];
  const stream = await docker.pull(reference);
  const output = await new Promise<{ readonly status?: string }[]>((resolve, reject) => {
    docker.modem.followProgress(
      stream,
      (error, all) => (error ? reject(error) : resolve(all)),
      (event) => events.push(event),
    );
  });
  t.deepEqual(output, events);
  t.regex(output.at(-1)?.status ?? '', /^Status: Downloaded newer image for/);
  t.true(events.some(({ id, status }) => id?.length === 12 && status === 'Pull complete'));
  t.is((await docker.getImage(reference).inspect()).Id, image.id);
  await docker.getImage(reference).tag({ repo: 'followed', tag: '2' });
  const listed = await docker.listImages({ filters: { reference: ['followed:*'] } });
  t.deepEqual(
    listed.map(({ Id, RepoTags }) => [Id, RepoTags]),
    [[image.id, ['followed:2']]],
  );
  await docker.getImage('followed:2').remove();
  await docker.getImage(reference).remove();
  const gone = await t.throwsAsync<Error & { statusCode?: number }>(docker.getImage(reference).inspect());
  t.is(gone?.statusCode, 404);
  const unknown = docker.pull(`${registry.address}/followed:nosuch`);
  t.is((await t.throwsAsync<Error & { statusCode?: number }>(unknown))?.statusCode, 404);
});

test.serial('a command is run in a container: with input, with a terminal, and inspected', async (t) => {
  const { docker, swarm } = scene();
  const service = await create(docker, serviceSpec('box', 1, { Command: ['/bin/sleep', '1000'] }));
  await swarm.eventually((s) => s.running('box').count === 1);
  const [container] = await docker.listContainers({ filters: { name: ['box'] } });
  const box = docker.getContainer(container?.Id ?? '');

  const piped = await box.exec({
    Cmd: ['/bin/sh', '-c', 'cat; echo oh >&2; exit 4'],
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
  });
  t.like(await piped.inspect(), { Running: false, ExitCode: null });
  const connection = await piped.start({ hijack: true, stdin: true });
  connection.end('through\n');
  t.deepEqual(await demultiplexed(docker, connection), ['through\n', 'oh\n']);
  t.like(await piped.inspect(), { Running: false, ExitCode: 4, ContainerID: container?.Id });
  const again = await t.throwsAsync<Error & { statusCode?: number }>(piped.start({ hijack: true }));
  t.is(again?.statusCode, 409);

  const terminal = await box.exec({ Cmd: ['/bin/stty', 'size'], Tty: true, AttachStdout: true });
  await terminal.resize({ h: 20, w: 70 });
  t.is(await text(await terminal.start({ hijack: true, stdin: false })), '20 70\r\n');

  // Without a connection of its own: an ordinary answer, and no input.
  const plain = await box.exec({ Cmd: ['/bin/echo', 'plain'], AttachStdout: true });
  t.deepEqual(await demultiplexed(docker, await plain.start({})), ['plain\n', '']);
  const input = await box.exec({ Cmd: ['/bin/cat'], AttachStdin: true, AttachStdout: true });
  const refused = await t.throwsAsync<Error & { statusCode?: number }>(input.start({ Detach: false }));
  t.is(refused?.statusCode, 501);

  const stats = await box.stats({ stream: false });
  t.true(
    stats.memory_stats.usage > 0 && stats.cpu_stats.system_cpu_usage > stats.precpu_stats.system_cpu_usage,
  );
  const unknown = docker.getExec('0'.repeat(64));
  t.is((await t.throwsAsync<Error & { statusCode?: number }>(unknown.inspect()))?.statusCode, 404);
  await service.remove();
});

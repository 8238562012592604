/** dockerode, the usual client library for Node, on a real cluster. */
import { existsSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import test from 'ava';
import Docker from 'dockerode';
import { buildImage, buildLayer } from '../../agent/image/build-tar.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { reachableAddress } from '../harness/outside.ts';
import { pushImage, startRegistry } from '../harness/registry.ts';

/** Where cgroup2 is mounted, there or below it. */
const CGROUP2 = '/sys/fs/cgroup';

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
  const { pressure_stats: pressure } = stats as { pressure_stats?: { cpu: { some: { total: number } } } };
  const counted = [`${CGROUP2}/cpu.pressure`, `${CGROUP2}/unified/cpu.pressure`].some((file) =>
    existsSync(file),
  );
  t.is((pressure?.cpu.some.total ?? -1) >= 0, counted, JSON.stringify(pressure));
  const unknown = docker.getExec('0'.repeat(64));
  t.is((await t.throwsAsync<Error & { statusCode?: number }>(unknown.inspect()))?.statusCode, 404);
  await service.remove();
});

test.serial(
  'the swarm is inspected, nodes and tasks are listed by every filter that names them',
  async (t) => {
    const { docker, swarm } = scene();
    const { ID, JoinTokens, Spec } = (await docker.swarmInspect()) as {
      ID: string;
      JoinTokens: { Worker: string; Manager: string };
      Spec: object;
    };
    t.regex(ID, /^[0-9a-z]{25}$/);
    t.regex(JoinTokens.Worker, /^SHOAL-1-/);
    t.not(JoinTokens.Worker, JoinTokens.Manager);
    t.is(typeof Spec, 'object');

    const service = await create(docker, serviceSpec('spread', 2));
    await swarm.eventually((s) => s.running('spread').count === 2);
    const tasks = (await docker.listTasks({ filters: { name: ['spread'] } })) as {
      ID: string;
      NodeID: string;
      ServiceID: string;
    }[];
    t.is(tasks.length, 2);
    const [first] = tasks;
    const narrowed = (await docker.listTasks({
      filters: { id: [first?.ID], node: [first?.NodeID], service: ['spread'], 'desired-state': ['running'] },
    })) as { ID: string }[];
    t.deepEqual(
      narrowed.map((task) => task.ID),
      [first?.ID],
    );
    t.is(
      (
        (await docker.listTasks({
          filters: { 'desired-state': ['shutdown'], service: ['spread'] },
        })) as object[]
      ).length,
      0,
    );
    const wrong = await t.throwsAsync<Error & { statusCode?: number }>(
      docker.listTasks({ filters: { nosuch: ['x'] } }),
    );
    t.is(wrong?.statusCode, 400);
    const node = await docker.getNode(first?.NodeID ?? '').inspect();
    t.like(node, { ID: first?.NodeID });
    const gone = await t.throwsAsync<Error & { statusCode?: number }>(docker.getTask('nosuch').inspect());
    t.is(gone?.statusCode, 404);
    await service.remove();
  },
);

test.serial(
  'secrets and configs are created, listed, given to a service, labelled and removed',
  async (t) => {
    const { docker, swarm } = scene();
    const data = Buffer.from('hidden').toString('base64');
    const secret = await docker.createSecret({ Name: 'word', Labels: { kind: 'a' }, Data: data });
    const config = await docker.createConfig({ Name: 'conf', Labels: { kind: 'a' }, Data: data });
    const ids = [secret, config].map(
      (made) => (made as unknown as { ID?: string; id?: string }).ID ?? made.id,
    );
    const word = docker.getSecret(String(ids[0]));
    const conf = docker.getConfig(String(ids[1]));
    const inspected = (await word.inspect()) as { ID: string; Spec: { Data?: string } };
    t.is(inspected.ID, ids[0]);
    t.is(inspected.Spec.Data, undefined);
    t.like(await conf.inspect(), { ID: ids[1], Spec: { Name: 'conf', Data: data } });
    t.is((await docker.listSecrets({ filters: JSON.stringify({ name: ['word'] }) })).length, 1);
    t.is((await docker.listConfigs({ filters: JSON.stringify({ label: ['kind=b'] }) })).length, 0);

    for (const held of [word, conf]) {
      const { Version, Spec } = (await held.inspect()) as Versioned;
      await held.update({ ...Spec, version: Version.Index, Labels: { kind: 'b' } });
      t.deepEqual(((await held.inspect()) as Versioned).Spec.Labels, { kind: 'b' });
      const stale = await t.throwsAsync<Error & { statusCode?: number }>(
        held.update({ ...Spec, version: Version.Index }),
      );
      t.is(stale?.statusCode, 400);
    }
    const again = await t.throwsAsync<Error & { statusCode?: number }>(
      docker.createSecret({ Name: 'word', Data: data }),
    );
    t.is(again?.statusCode, 409);

    const file = { UID: '0', GID: '0', Mode: 0o444 };
    const service = await create(
      docker,
      serviceSpec('reader', 1, {
        Command: ['/bin/sh', '-c', 'cat /run/secrets/word /conf; echo; exec sleep 1000'],
        Secrets: [{ SecretID: ids[0], SecretName: 'word', File: { ...file, Name: 'word' } }],
        Configs: [{ ConfigID: ids[1], ConfigName: 'conf', File: { ...file, Name: '/conf' } }],
      }),
    );
    await swarm.eventually(async () => {
      const frames = (await service.logs({ stdout: true, stderr: true })) as unknown as Buffer;
      return (await demultiplexed(docker, frames))[0] === 'hiddenhidden\n';
    });
    const used = await t.throwsAsync<Error & { statusCode?: number }>(word.remove());
    t.is(used?.statusCode, 400);
    await service.remove();
    await swarm.eventually((s) => s.services.length === 0);
    await word.remove();
    await conf.remove();
    const gone = await t.throwsAsync<Error & { statusCode?: number }>(word.inspect());
    t.is(gone?.statusCode, 404);
  },
);

test.serial('events come as they happen, only those that were asked for', async (t) => {
  const { docker, swarm } = scene();
  const stream = await docker.getEvents({ filters: { type: ['service'], event: ['create', 'remove'] } });
  const seen: { Type: string; Action: string; Actor: { Attributes: { name?: string } } }[] = [];
  let rest = '';
  stream.on('data', (data: Buffer) => {
    const lines = (rest + data.toString()).split('\n');
    rest = lines.pop() ?? '';
    seen.push(
      ...lines.filter((line) => line !== '').map((line) => JSON.parse(line) as (typeof seen)[number]),
    );
  });
  const network = await docker.createNetwork({ Name: 'unasked', Driver: 'overlay' });
  const service = await create(docker, serviceSpec('event', 1));
  await service.remove();
  await swarm.eventually(() => seen.some((event) => event.Action === 'remove'));
  t.deepEqual(
    seen.map((event) => [event.Type, event.Action, event.Actor.Attributes.name]),
    [
      ['service', 'create', 'event'],
      ['service', 'remove', 'event'],
    ],
  );
  (stream as unknown as { destroy: () => void }).destroy();
  await network.remove();
});

test.serial('a container is inspected, measured, paused, signalled, stopped and waited for', async (t) => {
  const { docker, swarm } = scene();
  const script = 'trap "echo got; exit 7" USR1; while :; do sleep 0.1; done';
  const spec = serviceSpec('lone', 1, { Command: ['/bin/sh', '-c', script] });
  const once = { ...spec, TaskTemplate: { ...spec.TaskTemplate, RestartPolicy: { Condition: 'none' } } };
  const service = await create(docker, once);
  await swarm.eventually((s) => s.running('lone').count === 1);
  const [listed] = await docker.listContainers({ filters: { name: ['lone'], status: ['running'] } });
  t.is(listed?.State, 'running');
  const box = docker.getContainer(listed?.Id ?? '');
  const top = (await box.top()) as { Titles: string[]; Processes: string[][] };
  t.true(top.Titles.includes('PID') && top.Processes.length > 0);

  const samples = await box.stats({ stream: true });
  await new Promise<void>((resolve) => samples.once('data', () => resolve()));
  (samples as unknown as { destroy: () => void }).destroy();

  await box.pause();
  t.true((await box.inspect()).State.Paused);
  const twice = await t.throwsAsync<Error & { statusCode?: number }>(box.pause());
  t.is(twice?.statusCode, 409);
  await box.unpause();
  t.false((await box.inspect()).State.Paused);

  const ended = box.wait() as Promise<{ StatusCode: number }>;
  await box.kill({ signal: 'SIGUSR1' });
  t.is((await ended).StatusCode, 7);
  t.like((await box.inspect()).State, { Running: false, ExitCode: 7 });
  const dead = await t.throwsAsync<Error & { statusCode?: number }>(box.kill());
  t.is(dead?.statusCode, 409);
  const all = await docker.listContainers({ all: true, filters: { name: ['lone'] } });
  t.deepEqual(
    all.map((one) => one.State),
    ['exited'],
  );
  await service.remove();
});

test.serial('a container is stopped, and its service replaces it', async (t) => {
  const { docker, swarm } = scene();
  const spec = serviceSpec('again', 1, { Command: ['/bin/sleep', '1000'] });
  const swift = { ...spec, TaskTemplate: { ...spec.TaskTemplate, RestartPolicy: { Delay: 0 } } };
  const service = await create(docker, swift);
  await swarm.eventually((s) => s.running('again').count === 1);
  const [first] = await docker.listContainers({ filters: { name: ['again'] } });
  await docker.getContainer(first?.Id ?? '').stop({ t: 1 });
  await swarm.eventually(async () => {
    const [now] = await docker.listContainers({ filters: { name: ['again'], status: ['running'] } });
    return now !== undefined && now.Id !== first?.Id;
  });
  const unknown = await t.throwsAsync<Error & { statusCode?: number }>(
    docker.getContainer('nosuch').inspect(),
  );
  t.is(unknown?.statusCode, 404);
  await service.remove();
});

test.serial('logs of a service of several tasks are followed by several clients', async (t) => {
  const { docker, swarm } = scene();
  const script = 'for i in 1 2 3; do echo "line $i"; done; exec sleep 1000';
  const service = await create(docker, serviceSpec('many', 2, { Command: ['/bin/sh', '-c', script] }));
  await swarm.eventually((s) => s.running('many').count === 2);
  const follow = { stdout: true, stderr: true, follow: true, details: true, timestamps: true } as const;
  const followers = await Promise.all(Array.from({ length: 5 }, () => service.logs(follow)));
  const texts = followers.map((frames) => demultiplexed(docker, frames));
  const task =
    ((await docker.listTasks({ filters: { service: ['many'] } })) as { ID: string }[])[0]?.ID ?? '';
  // Its types know nothing of a task's logs. Without follow it hands the whole answer back.
  type WithLogs = { logs(options: object): Promise<Buffer> };
  await swarm.eventually(async () => {
    const own = await (docker.getTask(task) as unknown as WithLogs).logs({ stdout: true, stderr: true });
    return (await demultiplexed(docker, own))[0] === 'line 1\nline 2\nline 3\n';
  });
  await service.remove();
  for (const [out] of await Promise.all(texts)) {
    const lines = out.trimEnd().split('\n');
    t.is(lines.length, 6);
    const ofTask = lines.filter((line) => line.includes(`com.docker.swarm.task.id=${task}`));
    t.deepEqual(
      ofTask.map((line) => line.slice(line.indexOf('line'))),
      ['line 1', 'line 2', 'line 3'],
    );
    t.true(lines.every((line) => /^\d{4}-\d\d-\d\dT[\d:.]+Z com\.docker\.swarm\.node\.id=/.test(line)));
  }
});

test.serial('a network is inspected with its address ranges', async (t) => {
  const { docker } = scene();
  const network = await docker.createNetwork({
    Name: 'ranged',
    Driver: 'overlay',
    Attachable: true,
    IPAM: { Driver: 'default', Config: [{ Subnet: '10.77.0.0/24' }] },
  });
  const inspected = (await network.inspect()) as { Name: string; IPAM: { Config: { Subnet: string }[] } };
  t.deepEqual([inspected.Name, inspected.IPAM.Config[0]?.Subnet], ['ranged', '10.77.0.0/24']);
  const again = await t.throwsAsync<Error & { statusCode?: number }>(
    docker.createNetwork({ Name: 'ranged', Driver: 'overlay' }),
  );
  t.is(again?.statusCode, 409);
  await network.remove();
  const gone = await t.throwsAsync<Error & { statusCode?: number }>(network.inspect());
  t.is(gone?.statusCode, 404);
});

test.serial('a container is made, attached to, started, waited for and removed', async (t) => {
  const { docker } = scene();
  const container = await docker.createContainer({
    name: 'tool',
    Image: IMAGE,
    Entrypoint: ['sh', '-c'],
    Cmd: ['echo out; echo err >&2; exit 3'],
    Labels: { made: 'by dockerode' },
  });
  t.like((await container.inspect()).State, { Status: 'created' });
  const stream = await container.attach({ stream: true, stdout: true, stderr: true });
  const output = demultiplexed(docker, stream);
  await container.start();
  t.deepEqual(await output, ['out\n', 'err\n']);
  t.deepEqual(await container.wait(), { StatusCode: 3 });
  const [listed] = await docker.listContainers({ all: true, filters: { label: ['made=by dockerode'] } });
  t.like(listed, { Id: container.id, Names: ['/tool'], State: 'exited' });
  const taken = await t.throwsAsync<Error & { statusCode?: number }>(
    docker.createContainer({ name: 'tool', Image: IMAGE }),
  );
  t.is(taken?.statusCode, 409);
  await container.rename({ name: 'instrument' });
  t.is((await container.inspect()).Name, '/instrument');
  await container.start();
  await container.wait();
  await container.remove();
  const gone = await t.throwsAsync<Error & { statusCode?: number }>(container.inspect());
  t.is(gone?.statusCode, 404);

  const sleeper = await docker.createContainer({ Image: IMAGE, Entrypoint: ['sleep', '1000'] });
  await sleeper.start();
  const started = await t.throwsAsync<Error & { statusCode?: number }>(sleeper.start());
  t.is(started?.statusCode, 304);
  await sleeper.stop({ t: 0 });
  await sleeper.remove({ v: true });
  const missing = await t.throwsAsync<Error & { statusCode?: number }>(
    docker.createContainer({ Image: 'nosuch:1' }),
  );
  t.is(missing?.statusCode, 404);
});

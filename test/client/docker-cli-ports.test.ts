/** docker run -p with a range of host ports, what services make of one, and addresses that no node has. */
import { busyboxImage, nginxImage } from '../images/images.ts';
import { IMAGE, LOCAL, SWIFT, suite } from './suite.ts';

const images = [await busyboxImage(), await nginxImage()];
const { test } = await suite((cluster) => cluster.agents(2).images(...images));

test('run -p FIRST-LAST:80: each container has one of them and keeps it; with none left it is refused', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const [one, two, three] = ['one', 'two', 'three'].map((name) => `${name}-${tag}`) as [
    string,
    string,
    string,
  ];
  const first = 19_000 + 10 * Number(tag.slice(1));
  const range = `${first}-${first + 1}`;
  const run = ['run', '-d', '-p', `${range}:80`];
  const answers = async (port: number, name: string): Promise<void> => {
    for (const node of swarm.nodes)
      await swarm.eventually(async () =>
        (await node.curl(`http://${node.address}:${port}/`).catch(() => '')).startsWith(`${name} `),
      );
  };
  await docker.ok(...run, '--name', one, '-h', 'x1', 'nginx');
  await docker.ok(...run, '--name', two, '-h', 'x2', 'nginx');
  t.is(await docker.ok('port', one), `80/tcp -> 0.0.0.0:${first}`);
  t.is(await docker.ok('port', two, '80'), `0.0.0.0:${first + 1}`);
  t.is(
    await docker.ok('ps', '--filter', `publish=${first + 1}`, '--format', '{{.Names}} {{.Ports}}'),
    `${two} 0.0.0.0:${first + 1}->80/tcp`,
  );
  const asked = '{{(index (index .HostConfig.PortBindings "80/tcp") 0).HostPort}}';
  t.is(await docker.ok('inspect', '--format', asked, two), range);
  await answers(first, 'x1');
  await answers(first + 1, 'x2');

  const refused = await docker.fails(...run, '--name', three, 'nginx');
  t.regex(refused, new RegExp(`Bind for 0\\.0\\.0\\.0:${range} failed: all ports of the range are already`));
  await docker.ok('rm', '-f', one);
  await docker.ok('restart', '-t', '0', two);
  t.is(await docker.ok('port', two, '80'), `0.0.0.0:${first + 1}`);
  await docker.ok(...run, '--name', three, '-h', 'x3', 'nginx');
  await answers(first, 'x3');
  await answers(first + 1, 'x2');
  const service = ['service', 'create', ...LOCAL, '--publish', `${first}:80`, IMAGE];
  t.regex(
    await docker.fails(...service),
    new RegExp(`port '${first}' is already in use by container '${three}'`),
  );
  await docker.ok('rm', '-f', two, three);
});

test('service create --publish FIRST-LAST:80: as the client has it, each of them leads to the service', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const name = `range-${tag}`;
  const first = 19_500 + 10 * Number(tag.slice(1));
  const publish = ['--publish', `${first}-${first + 1}:80`];
  await docker.ok('service', 'create', ...LOCAL, ...SWIFT, '--name', name, ...publish, IMAGE);
  const { address } = swarm.node('a1');
  for (const port of [first, first + 1])
    await swarm.eventually(async () =>
      (
        await swarm
          .node('a2')
          .curl(`http://${address}:${port}/`)
          .catch(() => '')
      ).startsWith('Hello'),
    );
  t.regex(
    await docker.fails('run', '-d', '-p', `${first}-${first + 1}:80`, 'nginx'),
    /all ports of the range are already allocated/,
  );
  await docker.ok('service', 'rm', name);
});

test('run -p ADDRESS:80:80: that no node has the address is said, and once one has it answers there', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const name = `nowhere-${tag}`;
  const node = swarm.node('a2');
  const [port, absent] = [19_900 + Number(tag.slice(1)), '198.51.100.7'];
  const run = (address: string) =>
    docker.run(['run', '-d', '--name', name, '-h', 'x1', '-p', `${address}:${port}:80`, 'nginx']);
  // What the nodes have said of themselves may be on its way.
  await swarm.eventually(async () => {
    const output = await run(absent);
    t.is(output.code, 0, output.stderr);
    if (output.stderr.includes(`no node has the address ${absent}: what is published there (80/tcp)`))
      return true;
    await docker.ok('rm', '-f', name);
    return false;
  });
  t.is(await docker.ok('port', name), `80/tcp -> ${absent}:${port}`);
  const change = (verb: 'add' | 'del') => node.run('ip', 'address', verb, `${absent}/32`, 'dev', 'lo');
  await change('add');
  try {
    await swarm.eventually(async () =>
      (await node.curl(`http://${absent}:${port}/`).catch(() => '')).startsWith('x1 '),
    );
  } finally {
    await change('del');
  }
  await docker.ok('rm', '-f', name);
  const there = await run(node.address);
  t.deepEqual([there.code, there.stderr], [0, '']);
  await swarm.eventually(async () =>
    (await node.curl(`http://${node.address}:${port}/`).catch(() => '')).startsWith('x1 '),
  );
  await docker.ok('rm', '-f', name);
});

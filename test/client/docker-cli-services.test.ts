/** service: create, ls, ps, inspect, scale, update, rollback, rm. Commands in the foreground wait, and end. */
import { freePort } from '../harness/registry.ts';
import type { Docker } from './docker.ts';
import { IMAGE, LOCAL, suite, SWIFT } from './suite.ts';

const { test } = await suite((cluster) => cluster.agents(2));

const CONVERGED = /verify: Service (\w+) converged/;

function field(docker: Docker, service: string, path: string): Promise<unknown> {
  return docker.json('service', 'inspect', '--format', `{{json ${path}}}`, service);
}

test('create in the foreground returns when the tasks run', async (t, { docker, swarm, tag }) => {
  const name = `wait-${tag}`;
  const create = ['service', 'create', '--no-resolve-image', ...SWIFT, '--name', name];
  const output = await docker.run([...create, '--replicas', '3', '--label', 'tier=front', IMAGE]);
  t.is(output.code, 0, output.stderr);
  t.is(output.stderr, '', 'no warnings');
  const id = CONVERGED.exec(output.stdout)?.[1] ?? output.stdout.split('\n')[0];
  t.is((await swarm.state()).running(name).count, 3);
  t.is(await field(docker, name, '.ID'), id?.trim());

  const list = (...filter: string[]) =>
    docker.lines('service', 'ls', '--format', '{{.Name}} {{.Mode}} {{.Replicas}} {{.Image}}', ...filter);
  t.deepEqual(await list('--filter', `name=${name}`), [`${name} replicated 3/3 ${IMAGE}`]);
  t.deepEqual(await list('--filter', 'label=tier=front', '--filter', 'mode=replicated'), [
    `${name} replicated 3/3 ${IMAGE}`,
  ]);
  t.deepEqual(await list('--filter', 'label=tier=back'), []);
  t.deepEqual(await docker.lines('service', 'ls', '-q', '--filter', `id=${id}`), [id?.trim().slice(0, 12)]);

  const pretty = await docker.ok('service', 'inspect', '--pretty', name);
  t.regex(pretty, new RegExp(`^Name:\\s+${name}$`, 'm'));
  t.regex(pretty, /tier=front[\s\S]*Service Mode:\s+Replicated[\s\S]*Replicas:\s+3/);
  t.regex(pretty, /Parallelism:\s+1[\s\S]*Monitoring Period: 300ms[\s\S]*Image:\s+shoal\/example:latest/);

  const duplicate = await docker.fails('service', 'create', ...LOCAL, '--name', name, IMAGE);
  t.regex(duplicate, /name conflicts with an existing object/);
  t.is(await docker.ok('service', 'rm', name), name);
  t.deepEqual(await list('--filter', `name=${name}`), []);
});

test('ps shows tasks, old ones too, and filters', async (t, { docker, swarm, tag }) => {
  const name = `tasks-${tag}`;
  await docker.ok('service', 'create', ...LOCAL, ...SWIFT, '--name', name, '--replicas', '4', IMAGE);
  const ps = (...more: string[]) =>
    docker.lines('service', 'ps', '--format', '{{.ID}} {{.Name}} {{.Node}} {{.DesiredState}}', ...more, name);
  const all = await ps('--no-trunc');
  t.is(all.length, 4);
  for (const [i, line] of all.entries())
    t.regex(line, new RegExp(`^\\w{25} ${name}\\.${i + 1} a[12] Running$`));
  t.true((await ps()).every((line) => /^\w{12} /.test(line)));
  t.is((await ps('--filter', 'node=a1')).length, 2);
  t.is((await ps('--filter', `name=${name}.2`)).length, 1);
  const [id = ''] = await docker.lines('service', 'ps', '-q', '--no-trunc', name);
  t.is((await ps('--filter', `id=${id}`)).length, 1);

  await docker.ok('service', 'update', ...LOCAL, '--force', '--update-parallelism', '0', name);
  await swarm.eventually((s) => s.tasks(name).in('shutdown').count === 4);
  t.is((await ps('--filter', 'desired-state=running')).length, 4);
  const old = await ps('--filter', 'desired-state=shutdown');
  t.is(old.length, 4);
  t.true(old.every((line) => line.endsWith('Shutdown')));
  t.regex(await docker.ok('service', 'ps', name), new RegExp(`\\\\_ ${name}\\.1 `));
  const task = await docker.json<{ Status: { State: string } }[]>('inspect', '--type', 'task', id);
  t.is(task[0]?.Status.State, 'shutdown');
  await docker.ok('service', 'rm', name);
});

test('scale goes up and down in the foreground, several at once', async (t, { docker, swarm, tag }) => {
  const [one, two] = [`one-${tag}`, `two-${tag}`];
  for (const name of [one, two])
    await docker.ok('service', 'create', ...LOCAL, ...SWIFT, '--name', name, IMAGE);
  const up = await docker.ok('service', 'scale', `${one}=5`, `${two}=2`);
  t.regex(up, new RegExp(`${one} scaled to 5[\\s\\S]*${two} scaled to 2`));
  t.is((await swarm.state()).running(one).count, 5);
  t.is((await swarm.state()).running(two).count, 2);
  await docker.ok('service', 'scale', `${one}=1`);
  await swarm.eventually((s) => s.running(one).count === 1);
  await docker.ok('service', 'scale', '-d', `${one}=0`);
  await swarm.eventually((s) => s.running(one).count === 0);
  const replicas = await docker.lines(
    'service',
    'ls',
    '--filter',
    `name=${one}`,
    '--format',
    '{{.Replicas}}',
  );
  t.deepEqual(replicas, ['0/0']);
  t.is(await docker.ok('service', 'rm', one, two), `${one}\n${two}`);
});

test('a global service has a task on every node', async (t, { docker, swarm, tag }) => {
  const name = `all-${tag}`;
  await docker.ok('service', 'create', ...LOCAL, ...SWIFT, '--mode', 'global', '--name', name, IMAGE);
  t.deepEqual((await swarm.state()).running(name).nodes, ['a1', 'a2']);
  const list = ['service', 'ls', '--filter', `name=${name}`, '--format', '{{.Mode}} {{.Replicas}}'];
  t.deepEqual(await docker.lines(...list), ['global 2/2']);
  t.regex(await docker.fails('service', 'scale', `${name}=2`), /scale can only be used with replicated/);
  t.regex(await docker.ok('service', 'inspect', '--pretty', name), /Service Mode:\s+Global/);
  await docker.ok('service', 'rm', name);
});

test('update rolls, rollback goes back', async (t, { docker, swarm, tag }) => {
  const name = `roll-${tag}`;
  const env = () => field(docker, name, '.Spec.TaskTemplate.ContainerSpec.Env');
  const create = ['service', 'create', ...LOCAL, ...SWIFT, '--name', name, '--replicas', '3'];
  await docker.ok(...create, '--env', 'A=1', '--rollback-parallelism', '0', IMAGE);
  const before = (await swarm.state()).running(name).tasks.map((task) => task.ID);

  const seen = new Set<string>();
  const watching = new AbortController();
  const watched = (async () => {
    const list = ['service', 'ls', '--filter', `name=${name}`, '--format', '{{.Replicas}}'];
    while (!watching.signal.aborted) seen.add(await docker.ok(...list));
  })();
  await docker.ok(
    'service',
    'update',
    ...LOCAL,
    '--env-add',
    'B=2',
    '--image',
    'docker.io/shoal/example',
    name,
  );
  watching.abort();
  await watched;
  // one at a time, the old one first
  t.deepEqual(
    [...seen].filter((replicas) => !['2/3', '3/3'].includes(replicas)),
    [],
  );
  t.true(seen.has('2/3'));

  t.deepEqual(((await env()) as string[]).toSorted(), ['A=1', 'B=2']);
  t.is(await field(docker, name, '.UpdateStatus.State'), 'completed');
  const updated = (await swarm.state()).running(name);
  t.is(updated.count, 3);
  t.true(updated.tasks.every((task) => !before.includes(task.ID)));

  const back = await docker.run(['service', 'rollback', name]);
  t.is(back.code, 0, back.stderr);
  t.deepEqual(await env(), ['A=1']);
  t.is(await field(docker, name, '.UpdateStatus.State'), 'rollback_completed');
  t.is(await field(docker, name, '.Spec.TaskTemplate.ContainerSpec.Image'), IMAGE);
  t.is((await swarm.state()).running(name).count, 3);

  // what no task can see makes no new tasks
  const same = (await swarm.state()).running(name).tasks.map((task) => task.ID);
  await docker.ok('service', 'update', ...LOCAL, '--replicas', '2', '--label-add', 'x=y', name);
  const kept = (await swarm.state()).running(name).tasks.map((task) => task.ID);
  t.is(kept.length, 2);
  t.true(kept.every((id) => same.includes(id)));
  await docker.ok('service', 'rm', name);
});

test('an update that fails pauses or goes back, and says so', async (t, { docker, swarm, tag }) => {
  const [pauses, returns] = [`pauses-${tag}`, `returns-${tag}`];
  const create = ['service', 'create', ...LOCAL, ...SWIFT, '--restart-delay', '100ms', '--replicas', '2'];
  await docker.ok(...create, '--name', pauses, IMAGE);
  await docker.ok(...create, '--name', returns, '--update-failure-action', 'rollback', IMAGE);
  const breaking = ['service', 'update', ...LOCAL, '--entrypoint', '/nope', '--update-monitor', '3s'];
  const paused = await docker.run([...breaking, pauses]);
  t.is(paused.code, 1);
  t.regex(paused.stdout + paused.stderr, /service update paused: update paused due to failure/);
  t.regex(await docker.ok('service', 'ps', '--no-trunc', pauses), /Failed .*"?\/nope"?.*not found/);
  t.is((await swarm.state()).running(pauses).count, 1);

  const returned = await docker.run(breaking.filter((word) => word !== '--quiet').concat(returns));
  t.regex(returned.stdout + returned.stderr, /rolled back|rolling back/i);
  t.is(await field(docker, returns, '.UpdateStatus.State'), 'rollback_completed');
  await swarm.eventually((s) => s.running(returns).count === 2);
  t.is(await field(docker, returns, '.Spec.TaskTemplate.ContainerSpec.Command'), null);
  await docker.ok('service', 'rm', pauses, returns);
});

test('an image that is nowhere: the tasks are rejected and say why', async (t, { docker, swarm, tag }) => {
  const name = `nowhere-${tag}`;
  const image = `127.0.0.1:${await freePort()}/none:latest`;
  await docker.ok('service', 'create', '-d', ...LOCAL, '--restart-delay', '200ms', '--name', name, image);
  await swarm.eventually((s) => s.tasks(name).in('rejected').count > 0);
  t.regex(
    await docker.ok('service', 'ps', '--no-trunc', name),
    /Rejected .*ECONNREFUSED|Rejected .*refused/i,
  );
  await docker.ok('service', 'rm', name);
});

test('specs that can not be are refused', async (t, { docker, tag }) => {
  const refused = (...args: string[]) =>
    docker.fails('service', 'create', ...LOCAL, '--name', `bad-${tag}`, ...args);
  t.regex(await refused('--constraint', 'foo==1', IMAGE), /invalid constraint "foo==1": unknown key/);
  t.regex(await refused('--constraint', 'node.role', IMAGE), /invalid constraint "node\.role"/);
  t.regex(await refused('--network', 'nosuch', IMAGE), /(network nosuch not found|no such network: nosuch)/i);
  t.regex(await refused('--limit-cpu', '-1', IMAGE), /cpu/i);
  t.regex(await refused('--secret', 'nosuch', IMAGE), /secret/);
  t.regex(await refused('Bad Image'), /invalid reference|not a valid/i);
  t.regex(await refused('--hostname', '{{.Task.Nothing}}', IMAGE), /hostname.*\.Task\.Nothing/);
  t.deepEqual(await docker.lines('service', 'ls', '-q', '--filter', `name=bad-${tag}`), []);
});

/** Jobs: service create --mode replicated-job and global-job, in the foreground, ls, ps, scale, update. */
import { IMAGE, LOCAL, suite } from './suite.ts';

const { test } = await suite((cluster) => cluster.agents(2));

const LIST = ['service', 'ls', '--format', '{{.Mode}} {{.Replicas}}', '--filter'];

test('a replicated job is created in the foreground, completes, and is run again by an update', async (t, {
  docker,
  tag,
}) => {
  const name = `job-${tag}`;
  const mode = ['--mode', 'replicated-job', '--replicas', '3', '--max-concurrent', '2'];
  const create = ['service', 'create', '--no-resolve-image', '--name', name, ...mode];
  const output = await docker.run([...create, '--entrypoint', '/bin/true', IMAGE]);
  t.is(output.code, 0, output.stderr);
  t.regex(output.stdout, /job complete/);
  t.deepEqual(await docker.lines(...LIST, `name=${name}`), ['replicated job 0/2 (3/3 completed)']);
  t.deepEqual(await docker.lines(...LIST, 'mode=replicated-job'), ['replicated job 0/2 (3/3 completed)']);
  const ps = (): Promise<string[]> =>
    docker.lines('service', 'ps', '--format', '{{.Name}} {{.DesiredState}} {{.CurrentState}}', name);
  for (const line of await ps()) t.regex(line, /^job-\S+\.\S+ Complete Complete /);
  t.is((await ps()).length, 3);

  const again = await docker.run(['service', 'update', '--no-resolve-image', '--force', name]);
  t.is(again.code, 0, again.stderr);
  t.is((await ps()).length, 3);
  const status = await docker.json<{ JobIteration: { Index: number }; LastExecution: string }>(
    ...['service', 'inspect', '--format', '{{json .JobStatus}}', name],
  );
  t.is(status.JobIteration.Index, 1);
  t.true(Date.parse(status.LastExecution) > 0);
  await docker.ok('service', 'rm', name);
});

test('a global job completes once on every node', async (t, { docker, tag }) => {
  const name = `sweep-${tag}`;
  const create = ['service', 'create', '--no-resolve-image', '--name', name, '--mode', 'global-job'];
  const output = await docker.run([...create, '--entrypoint', '/bin/true', IMAGE]);
  t.is(output.code, 0, output.stderr);
  const nodes = await docker.lines('service', 'ps', '--format', '{{.Node}} {{.CurrentState}}', name);
  t.deepEqual(nodes.map((line) => line.replace(/ .*/, '')).toSorted(), ['a1', 'a2']);
  for (const line of nodes) t.regex(line, /Complete/);
  await docker.ok('service', 'rm', name);
});

test('a job whose container fails is tried again as often as allowed', async (t, { docker, swarm, tag }) => {
  const name = `fails-${tag}`;
  const create = ['service', 'create', ...LOCAL, '--detach', '--mode', 'replicated-job'];
  await docker.ok(
    ...create,
    '--restart-max-attempts',
    '1',
    '--restart-delay',
    '0s',
    '--name',
    name,
    '--entrypoint',
    '/bin/false',
    IMAGE,
  );
  await swarm.eventually((s) => s.tasks(name).in('failed').count === 2);
  t.is((await swarm.state()).running(name).count, 0);
  await docker.ok('service', 'rm', name);
});

test('a job runs on its schedule', async (t, { docker, swarm, tag }) => {
  const name = `clock-${tag}`;
  const labels = ['--label', 'shoal.cron.schedule=* * * * * *', '--label', 'shoal.cron.history=2'];
  const create = ['service', 'create', '--no-resolve-image', '--mode', 'replicated-job', ...labels];
  // In the foreground: no run is waited for.
  const output = await docker.run([...create, '--name', name, '--entrypoint', '/bin/true', IMAGE]);
  t.is(output.code, 0, output.stderr);
  await swarm.eventually((s) => s.tasks(name).in('complete').count >= 2);
  t.deepEqual(await docker.lines(...LIST, `name=${name}`, '--format', '{{.Mode}}'), ['replicated job']);
  await docker.ok(
    'service',
    'update',
    ...LOCAL,
    '--detach',
    '--label-rm',
    'shoal.cron.schedule',
    '--label-rm',
    'shoal.cron.history',
    name,
  );
  await docker.ok('service', 'rm', name);
});

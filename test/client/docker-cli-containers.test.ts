/** docker create, run -d, start, stop, restart, kill, rename, rm, prune, wait, inspect and ps of single containers. */
import { IMAGE, suite } from './suite.ts';

const { test } = await suite((cluster) => cluster.agents(2));

test('create, start, inspect, ps, stop, start again, rm', async (t, { docker, tag }) => {
  const name = `life-${tag}`;
  const script = 'echo run >>/count; echo hello $(wc -l </count); exec sleep 1000';
  const id = await docker.ok(
    'create',
    '--name',
    name,
    '--entrypoint',
    'sh',
    '-e',
    'A=b',
    IMAGE,
    '-c',
    script,
  );
  t.regex(id, /^[0-9a-f]{64}$/);
  const state = (format: string) => docker.ok('inspect', '--format', format, name);
  t.is(await state('{{.State.Status}} {{.Name}} {{.RestartCount}}'), `created /${name} 0`);
  t.is(await docker.ok('start', name), name);
  t.is(await state('{{.State.Status}} {{.State.Running}}'), 'running true');
  t.regex(await docker.ok('ps', '--filter', `name=${name}`), new RegExp(`${id.slice(0, 12)}.*Up .*${name}`));
  t.is(await docker.ok('stop', '-t', '0', name), name);
  t.is(await state('{{.State.Status}} {{.State.ExitCode}}'), 'exited 137');
  await docker.ok('start', id.slice(0, 12));
  await docker.ok('restart', '-t', '0', name);
  await docker.ok('kill', name);
  t.is(await docker.ok('logs', name), 'hello 1\nhello 2\nhello 3');
  t.deepEqual(await docker.lines('service', 'ls', '--quiet'), []);
  await docker.ok('rm', name);
  t.regex(await docker.fails('inspect', name), /No such object/);
});

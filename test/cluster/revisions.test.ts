/** Revisions, explanations and racing updates, with the stock client, the shoal command and a real etcd. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import anyTest, { type TestFn } from 'ava';
import { z } from 'zod';
import { CLI_PATH } from '../../deploy/local/project.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { QUICK } from '../harness/settled.ts';

const test = anyTest as TestFn<{ swarm: TestCluster }>;
const STALE = 'rpc error: code = Unknown desc = update out of sequence';
const zService = z.looseObject({
  Version: z.object({ Index: z.number() }),
  Spec: z.looseObject({ TaskTemplate: z.looseObject({ ForceUpdate: z.number() }) }),
});

test.before(async (t) => {
  t.context.swarm = await cluster().manager().agents(2).up();
});

test.after.always(async (t) => {
  await t.context.swarm?.[Symbol.asyncDispose]();
});

async function shoal(swarm: TestCluster, ...args: readonly string[]): Promise<string> {
  const all = [CLI_PATH, ...args, '--socket', swarm.layout.socket];
  return (await promisify(execFile)(process.execPath, all, { timeout: 120_000 })).stdout;
}

function update(swarm: TestCluster, ...args: readonly string[]): Promise<string> {
  return swarm.docker(
    'service',
    'update',
    '--quiet',
    '--no-resolve-image',
    '--update-monitor',
    '300ms',
    ...args,
  );
}

function envOf(swarm: TestCluster, service: string): Promise<string> {
  const format = '{{join .Spec.TaskTemplate.ContainerSpec.Env " "}}';
  return swarm.docker('service', 'inspect', '--format', format, service);
}

test.serial('revisions are listed and compared, and any is come back to', async (t) => {
  const { swarm } = t.context;
  await swarm.deploy('web', { replicas: 2, more: [...QUICK, '--rollback-monitor', '300ms'] });
  await swarm.eventually((s) => s.running('web').count === 2);
  await update(swarm, '--env-add', 'STEP=2', 'web');
  await update(swarm, '--env-add', 'STEP=3', 'web');
  const listed = await shoal(swarm, 'service', 'revisions', 'web');
  t.regex(listed, /^3 .* current .*Env/m);
  t.regex(listed, /^2 .* previous /m);
  const diff = await shoal(swarm, 'service', 'diff', 'web', '2', '3');
  t.regex(diff, /revision 2 -> 3\n.*ContainerSpec\.Env: \["STEP=2"\] -> \["STEP=3"\]/);

  const told = await shoal(swarm, 'service', 'rollback', 'web', '1');
  t.regex(told, /web is rolled back, as revision 4\n[^]*service web runs\n$/);
  t.is((await envOf(swarm, 'web')).trim(), '');
  const state = await swarm.docker('service', 'inspect', '--format', '{{.UpdateStatus.State}}', 'web');
  t.is(state.trim(), 'rollback_completed');
  await swarm.docker('service', 'rollback', '--quiet', 'web');
  t.is((await envOf(swarm, 'web')).trim(), 'STEP=3');
  t.regex(await shoal(swarm, 'service', 'revisions', 'web'), /^5 .* current .*rollback to 3/m);
  await t.throwsAsync(shoal(swarm, 'service', 'rollback', 'web', '9'), {
    message: /service web has no revision 9: it has 5, 4, 3, 2, 1/,
  });
  t.regex(await shoal(swarm, 'explain', 'web'), /2 of 2 tasks run\nlast update \(rollback_completed\):/);
});

test.serial('of twenty updates of one version one wins; nothing is half done', async (t) => {
  const { swarm } = t.context;
  const path = '/services/web';
  const { Version, Spec } = zService.parse((await swarm.api('GET', path)).body);
  const before = z.array(z.unknown()).parse((await swarm.api('GET', `${path}/revisions`)).body).length;
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => {
      const spec = { ...Spec, Labels: { racer: String(i) } };
      return swarm.api('POST', `${path}/update?version=${Version.Index}`, spec);
    }),
  );
  const won = answers.flatMap(({ status }, i) => (status === 200 ? [i] : []));
  for (const { status, body } of answers) {
    if (status !== 200) t.deepEqual([status, (body as { message: string }).message], [500, STALE]);
  }
  const label = await swarm.docker('service', 'inspect', '--format', '{{.Spec.Labels.racer}}', 'web');
  t.deepEqual(won, [Number(label)]);
  t.is(z.array(z.unknown()).parse((await swarm.api('GET', `${path}/revisions`)).body).length, before + 1);
  await swarm.docker('service', 'rm', 'web');
});

test.serial('a pending task: what is said to help is a command that helps', async (t) => {
  const { swarm } = t.context;
  await swarm.deploy('zoned', { more: ['--constraint', 'node.labels.zone==a', ...QUICK] });
  await swarm.eventually((s) => s.tasks('zoned').errors.length === 1);
  const explained = await shoal(swarm, 'explain', 'zoned');
  t.regex(
    explained,
    /1 pending task:\n {2}no suitable node \(constraint node\.labels\.zone==a not met on 2 nodes\)/,
  );
  const [, command] = /help: .*: docker (node update .*)$/m.exec(explained) ?? [];
  if (command === undefined) return t.fail(explained);
  const [task] = (await swarm.state()).tasks('zoned').tasks;
  t.true((await shoal(swarm, 'explain', task?.ID ?? '')).includes(command));
  await swarm.docker(...command.split(' '));
  await swarm.eventually((s) => s.running('zoned').count === 1);
  t.notRegex(await shoal(swarm, 'explain', 'zoned'), /pending/);
  await t.throwsAsync(shoal(swarm, 'explain', 'nothing'), { message: /no service and no task nothing/ });
  await swarm.docker('service', 'rm', 'zoned');
});

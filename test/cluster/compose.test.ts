/** A project of several files through `shoal deploy`, and the way there and back: diff, revisions, rollback. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import ava, { type ExecutionContext } from 'ava';
import { CLI_PATH } from '../../deploy/local/project.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';

const test = ava.serial;

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function shoal(
  swarm: TestCluster,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Result> {
  const all = [CLI_PATH, ...args, '--socket', swarm.layout.socket];
  return new Promise((resolve) => {
    execFile(process.execPath, all, { env: { ...process.env, ...env } }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

const PROJECT: Readonly<Record<string, string>> = {
  'compose.yaml': `
include: [side/compose.yaml]
services:
  web:
    extends: {file: base/common.yaml, service: quick}
    env_file: [web.env, {path: absent.env, required: false}]
    environment: [BARE]
    command: ["env | sort; echo done; exec sleep 1000"]
  debug:
    extends: web
    profiles: [debug]
`,
  'production.yaml': `
services:
  web:
    environment: {STAGE: production}
    deploy: {replicas: 2}
`,
  'base/common.yaml': `
services:
  quick:
    image: shoal/example:latest
    stop_grace_period: 1s
    entrypoint: [/bin/sh, -c]
    env_file: common.env
`,
  'base/common.env': 'FROM=common\nSTAGE=base\n',
  'web.env': 'FROM=web\nTAGGED="tag $TAG"\n',
  'side/compose.yaml':
    'services:\n  side: {image: "shoal/example:${SIDE}", stop_grace_period: 1s, networks: [own]}\nnetworks: {own: {}}\n',
  'side/.env': 'SIDE=latest\n',
};

async function project(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-project-'));
  t.teardown(() => rm(directory, { recursive: true }));
  for (const [name, text] of Object.entries(PROJECT)) {
    await mkdir(path.dirname(path.join(directory, name)), { recursive: true });
    await writeFile(path.join(directory, name), text);
  }
  return directory;
}

test('several files, extends, include, env_file and profiles reach the containers; diff, revisions, rollback', async (t) => {
  await using swarm = await cluster().manager().agents(1).up();
  const directory = await project(t);
  const first = path.join(directory, 'compose.yaml');
  const both = ['-c', first, '-c', path.join(directory, 'production.yaml')];
  const env = { TAG: '7', BARE: 'bare' };
  const deployed = await shoal(swarm, ['deploy', ...both, 'shop'], env);
  t.is(deployed.code, 0, deployed.stderr);
  t.is((await swarm.state()).running('shop_web').count, 2);
  t.is((await swarm.state()).running('shop_side').count, 1);
  let log = '';
  await swarm.eventually(async () => {
    log = await swarm.docker('service', 'logs', '--raw', 'shop_web');
    return log.split('\n').filter((line) => line === 'done').length === 2;
  });
  for (const line of ['FROM=web', 'STAGE=production', 'TAGGED=tag 7', 'BARE=bare']) {
    t.true(log.split('\n').includes(line), `${line} in ${log}`);
  }

  const same = await shoal(swarm, ['diff', ...both, 'shop'], env);
  t.regex(same.stdout, /stack shop is as the files say/, same.stderr);
  const alone = await shoal(swarm, ['diff', '-c', first, '--profile', 'debug', 'shop'], env);
  t.regex(alone.stdout, /~ service shop_web\n/);
  t.regex(alone.stdout, /Mode\.Replicated\.Replicas: 2 -> 1/);
  t.regex(alone.stdout, /\+ service shop_debug/);

  const second = await shoal(swarm, ['deploy', '-c', first, '--profile', 'debug', 'shop'], env);
  t.is(second.code, 0, second.stderr);
  await swarm.eventually((s) => s.running('shop_web').count === 1 && s.running('shop_debug').count === 1);
  const revisions = (await shoal(swarm, ['revisions', 'shop'])).stdout;
  t.regex(revisions, /^2 .* compose\.yaml +debug$/m);
  t.regex(revisions, /^1 .* compose\.yaml production\.yaml$/m);

  const back = await shoal(swarm, ['rollback', 'shop', '1']);
  t.is(back.code, 0, back.stderr);
  t.regex(back.stdout, /stack shop is deployed again, as revision 3/);
  await swarm.eventually((s) => s.running('shop_web').count === 2 && s.tasks('shop_debug').count === 0);
  t.regex((await shoal(swarm, ['rollback', 'shop', '9'])).stderr, /no revision 9; it has 3, 2, 1/);
});

test('mistakes are named with the file that they are in', async (t) => {
  await using swarm = await cluster().manager().agents(1).up();
  const directory = await project(t);
  const file = (name: string) => path.join(directory, name);
  await writeFile(
    file('base/common.yaml'),
    'services:\n  quick:\n    image: shoal/example:latest\n    colour: red\n',
  );
  await writeFile(file('web.env'), 'A=1\nB="open\n');
  await writeFile(file('side/compose.yaml'), 'services:\n  side:\n    image: [x]\n');
  const { code, stderr } = await shoal(swarm, ['deploy', '-c', file('compose.yaml'), 'shop'], {
    TAG: '1',
    BARE: '1',
  });
  t.is(code, 1);
  t.true(stderr.includes(`${file('base/common.yaml')}:4:5: services.quick.colour: unknown key`), stderr);
  t.true(stderr.includes(`${file('web.env')}:2:1: B: a quotation mark`), stderr);
  t.true(
    stderr.includes(`${file('side/compose.yaml')}:3:12: services.side.image: a text is expected`),
    stderr,
  );
  await rm(file('web.env'));
  const lost = await shoal(swarm, ['deploy', '-c', file('compose.yaml'), 'shop']);
  t.regex(lost.stderr, /compose\.yaml:6:16: services\.web\.env_file\[0\]: there is no file web\.env/);
  t.is((await swarm.state()).services.length, 0);
});

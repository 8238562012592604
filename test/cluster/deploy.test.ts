/** `shoal deploy` against a real cluster: it waits for what comes up, and fails with the reason of what does not. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
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

async function shoal(swarm: TestCluster, ...args: readonly string[]): Promise<Result> {
  const all = [CLI_PATH, ...args, '--socket', swarm.layout.socket];
  return new Promise((resolve) => {
    execFile(process.execPath, all, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

async function compose(t: ExecutionContext, text: string): Promise<string> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-deploy-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const file = path.join(directory, 'compose.yaml');
  await writeFile(file, text);
  return file;
}

const WEB = (more: string): string => `
services:
  web:
    image: shoal/example:latest
    stop_grace_period: 1s
${more}
`;

test('deploy waits until it runs, again with --prune removes what is gone, rm removes the stack', async (t) => {
  await using swarm = await cluster().manager().agents(2).up();
  const two = await compose(
    t,
    `${WEB('    deploy: { replicas: 4 }')}\n  other:\n    image: shoal/example:latest\n`,
  );
  const first = await shoal(swarm, 'deploy', '-c', two, 'shop');
  t.is(first.code, 0, first.stderr);
  t.regex(first.stdout, /shop_web: converged[\s\S]*stack shop runs/);
  const state = await swarm.state();
  t.is(state.running('shop_web').count, 4);
  t.deepEqual(state.running('shop_web').nodes, ['a1', 'a2']);
  t.is(state.running('shop_other').count, 1);

  const one = await compose(t, WEB('    deploy: { replicas: 2 }'));
  const second = await shoal(swarm, 'deploy', '--prune', '-c', one, 'shop');
  t.is(second.code, 0, second.stderr);
  await swarm.eventually((s) => s.running('shop_web').count === 2 && s.tasks('shop_other').count === 0);

  const removed = await shoal(swarm, 'rm', 'shop');
  t.is(removed.code, 0, removed.stderr);
  t.is((await swarm.state()).services.length, 0);
  t.regex((await shoal(swarm, 'rm', 'shop')).stderr, /stack shop not found/);
});

test('what can not run makes deploy fail with the reason', async (t) => {
  await using swarm = await cluster().manager().agents(1).up();
  const cases: readonly (readonly [name: string, text: string, reason: RegExp])[] = [
    [
      'command',
      WEB('    entrypoint: /nope\n    deploy: { restart_policy: { delay: 100ms } }'),
      /command_web: its tasks fail: .*"\/nope": .*not found/,
    ],
    [
      'nowhere',
      WEB('    deploy: { placement: { constraints: ["node.hostname == mars"] } }'),
      /nowhere_web: no node takes its tasks: .*node\.hostname == mars/,
    ],
    [
      'image',
      'services: { web: { image: "localhost:1/none:latest", deploy: { restart_policy: { delay: 100ms } } } }',
      /image_web: its tasks are rejected: .*localhost:1/,
    ],
  ];
  for (const [name, text, reason] of cases) {
    const { code, stderr } = await shoal(swarm, 'deploy', '-c', await compose(t, text), name);
    t.is(code, 1, name);
    t.regex(stderr, reason);
    t.notRegex(stderr, /\n\s+at /);
  }
});

test('a mistake in the file is named with line and column, and nothing is deployed', async (t) => {
  await using swarm = await cluster().manager().agents(1).up();
  const file = await compose(t, 'services:\n  web:\n    image: shoal/example:latest\n    imagee: x\n');
  const unknown = await shoal(swarm, 'deploy', '-c', file, 'bad');
  t.is(unknown.code, 1);
  t.true(unknown.stderr.includes(`${file}:4:5: services.web.imagee`), unknown.stderr);
  const broken = await compose(t, 'services:\n  web:\n    image: x\n  - y\n');
  t.regex((await shoal(swarm, 'deploy', '-c', broken, 'bad')).stderr, /compose\.yaml:4:\d+: /);
  t.is((await swarm.state()).services.length, 0);
});

test('the service answers on the published port of every node, also while agents and manager are dead', async (t) => {
  await using swarm = await cluster().manager().agents(3).up();
  await swarm.deploy('web', { replicas: 2, ports: ['8080:80'] });
  await swarm.eventually((s) => s.running('web').count === 2);
  const ask = async (): Promise<string[]> => {
    const urls = swarm.nodes.map((node) => `http://${node.address}:8080/`);
    const all = urls.map((url) => fetch(url, { signal: AbortSignal.timeout(5_000) }));
    return Promise.all((await Promise.all(all)).map((response) => response.text()));
  };
  await swarm.eventually(async () => (await ask()).length === 3);
  await swarm.manager.kill();
  await Promise.all(swarm.nodes.map((node) => node.kill()));
  for (const answer of await ask()) t.regex(answer, /^Hello from container [0-9a-f]{12}/);
  await swarm.manager.restart();
  await Promise.all(swarm.nodes.map((node) => node.restart()));
  await swarm.eventually((s) => s.running('web').count === 2);
  await swarm.eventually(async () => (await ask()).length === 3);
});

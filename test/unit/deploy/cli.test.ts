/** The command as users run it: the compiled file, in a process of its own. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { CLI_PATH, PROJECT_ROOT } from '../../../deploy/local/project.ts';

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function shoal(...args: readonly string[]): Promise<Result> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI_PATH, ...args], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

async function temporary(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-cli-'));
  t.teardown(() => rm(directory, { recursive: true }));
  return directory;
}

/** A manager's API as far as one request goes. */
async function apiAnswering(t: ExecutionContext, status: number, body: object): Promise<string> {
  const socket = path.join(await temporary(t), 'api.sock');
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  }).listen(socket);
  t.teardown(() => server.close());
  return socket;
}

test('--help describes every command, --version says what package.json says', async (t) => {
  const { stdout, code } = await shoal('--help');
  t.is(code, 0);
  for (const command of [
    'up',
    'down',
    'status',
    'deploy',
    'rm',
    'service',
    'explain',
    'token',
    'user',
    'audit',
    'data-key',
    'upgrade',
    'manager',
    'agent',
  ]) {
    t.regex(stdout, new RegExp(`^  ${command} `, 'm'));
  }
  const { version } = JSON.parse(await readFile(path.join(PROJECT_ROOT, 'package.json'), 'utf8')) as {
    version: string;
  };
  t.is((await shoal('--version')).stdout.trim(), version);
});

test('an unknown command or option is exit code 2 and names it', async (t) => {
  for (const args of [['bogus'], ['up', '--bogus'], ['up', '--nodes', '0'], ['up', '--name', 'A B']]) {
    const { code, stderr } = await shoal(...args);
    t.is(code, 2, args.join(' '));
    t.regex(stderr, /^error: .*(bogus|--nodes|--name)/);
  }
});

test('without a cluster a command says what to do, with exit code 1 and no stack', async (t) => {
  const socket = path.join(await temporary(t), 'none.sock');
  for (const args of [['status'], ['token'], ['rm', 'x'], ['manager', 'ls'], ['manager', 'rm', 'x']]) {
    const { code, stderr } = await shoal(...args, '--socket', socket);
    t.is(code, 1);
    t.regex(stderr, /^shoal: no cluster answers on .*none\.sock: start one with 'shoal up'/);
    t.notRegex(stderr, /\n\s+at /);
  }
});

test('a compose file that can not be read is named', async (t) => {
  const { code, stderr } = await shoal('deploy', '-c', '/nonexistent/compose.yaml', 'x');
  t.is(code, 1);
  t.regex(stderr, /^shoal: the compose file \/nonexistent\/compose\.yaml can not be read: ENOENT/);
});

test('what the manager finds wrong in a compose file is printed with its place in the file', async (t) => {
  const errors = [{ message: "unknown key 'imagee'", line: 3, column: 5 }];
  const socket = await apiAnswering(t, 400, { message: 'm', errors });
  const file = path.join(await temporary(t), 'compose.yaml');
  await writeFile(file, 'services: {}\n');
  const { code, stderr } = await shoal('deploy', '-c', file, 'x', '--socket', socket);
  t.is(code, 1);
  t.true(stderr.includes(`${file}:3:5: unknown key 'imagee'`), stderr);
});

test('warnings are printed with their place, and --no-wait returns', async (t) => {
  const warnings = [{ message: 'build is ignored', line: 2, column: 1 }];
  const socket = await apiAnswering(t, 200, { warnings, services: [], networks: [] });
  const file = path.join(await temporary(t), 'compose.yaml');
  await writeFile(file, 'services: {}\n');
  const { code, stdout, stderr } = await shoal('deploy', '-c', file, 'x', '--no-wait', '--socket', socket);
  t.is(code, 0);
  t.is(stderr, `warning: ${file}:2:1: build is ignored\n`);
  t.is(stdout, 'stack x accepted\n');
});

test('tokens are made with an end, listed and revoked', async (t) => {
  const made = { Token: 'SHOAL-1-x', ID: 'i', Role: 'worker', CreatedAt: 'c', State: 'active' };
  const socket = await apiAnswering(t, 201, made);
  t.is((await shoal('token', '--expires', '1h', '--socket', socket)).stdout, 'SHOAL-1-x\n');
  t.is((await shoal('token', 'revoke', 'i', '--socket', socket)).stdout, 'i is revoked\n');
  const lists = await apiAnswering(t, 200, [{ ...made, ExpiresAt: 'e' }]);
  const { stdout, code } = await shoal('token', 'ls', '--socket', lists);
  t.is(code, 0);
  t.regex(stdout, /^ID +ROLE +STATE +CREATED +ENDS\ni +worker +active +c +e\n$/);
  t.regex((await shoal('token', '--expires', 'soon')).stderr, /s, m, h or d/);
});

test('the CA: what it is, how far its rotation is, and its end', async (t) => {
  const root = { Certificate: 'PEM\n', Digest: 'sha256:d', Subject: 'O=c, CN=shoal-ca', EndsAt: 'e' };
  const ca = { ...root, NodeCertExpirySeconds: 7_776_000 };
  const waiting = { ID: 'i', Hostname: 'a2', State: 'down' };
  const rotation = { ...root, StartedAt: 's', SkipDead: false, Moved: 2, Waiting: [waiting], Skipped: [] };
  const quiet = await apiAnswering(t, 200, ca);
  t.is((await shoal('ca', '--pem', '--socket', quiet)).stdout, 'PEM\n');
  t.regex((await shoal('ca', '--socket', quiet)).stdout, /digest: sha256:d\n[\s\S]*valid for 90 d/);
  t.regex((await shoal('ca', 'rotate', '--socket', quiet)).stdout, /^done: the root is sha256:d/);
  t.regex((await shoal('ca', 'rotate', '--ca-cert', 'x', '--socket', quiet)).stderr, /belong together/);
  const busy = await apiAnswering(t, 200, { ...ca, Rotation: rotation });
  t.regex(
    (await shoal('ca', '--socket', busy)).stdout,
    /2 of 3 nodes have moved; waiting for a2 \(down\); those that are down: shoal ca rotate --skip-dead/,
  );
  t.is((await shoal('ca', 'rotate', '--detach', '--socket', busy)).stdout, '');
});

test('an agent with a token but no manager, or half of the TLS files, is refused', async (t) => {
  const agent = await shoal('agent', '--join', 'T');
  t.is(agent.code, 1);
  t.regex(agent.stderr, /shoal agent --join TOKEN HOST:PORT/);
  const manager = await shoal('manager', '--etcd', 'https://127.0.0.1:1', '--etcd-ca', 'x');
  t.is(manager.code, 1);
  t.regex(manager.stderr, /belong together/);
});

test('a change that adds or takes away a field is shown, of a stack and of a service', async (t) => {
  const change = { Path: 'Labels.a', To: '1' };
  const listed = [
    { Revision: 2, CreatedAt: 'now', Current: true, Previous: false, RollbackOf: 1, Changes: [change] },
    { Revision: 1, CreatedAt: 'then', Current: false, Previous: true },
  ];
  const list = await shoal('service', 'revisions', 'web', '--socket', await apiAnswering(t, 200, listed));
  t.is(list.stderr, '');
  t.regex(list.stdout, /^2 +now +current +rollback to 1, Labels\.a$/m);
  const diff = { From: 1, To: 2, Changes: [change, { Path: 'Labels.b', From: 'x' }] };
  const shown = await shoal('service', 'diff', 'web', '--socket', await apiAnswering(t, 200, diff));
  t.regex(shown.stdout, /Labels\.a: nothing -> "1"\n.*Labels\.b: "x" -> nothing/);
  const stack = {
    services: [{ name: 'shop_web', action: 'update', changes: [{ path: 'Labels.a', to: '1' }] }],
    networks: [],
    secrets: [],
    configs: [],
    warnings: [],
  };
  const file = path.join(await temporary(t), 'compose.yaml');
  await writeFile(file, 'services: {web: {image: a}}');
  const socket = await apiAnswering(t, 200, stack);
  const compared = await shoal('diff', '-c', file, 'shop', '--socket', socket);
  t.is(compared.stderr, '');
  t.regex(compared.stdout, /~ service shop_web\n +Labels\.a: nothing -> "1"/);
});

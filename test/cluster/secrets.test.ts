/** Invariant 9, and what containers see of secrets and configs. */
import { execFile } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, statfs, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import ava, { type ExecutionContext } from 'ava';
import { CLI_PATH } from '../../deploy/local/project.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { containersOf, inContainer } from '../harness/containers.ts';

const test = ava.serial;

const TMPFS_MAGIC = 0x01021994;
const DETACHED = [
  'service',
  'create',
  '--quiet',
  '--detach',
  '--no-resolve-image',
  '--stop-grace-period',
  '1s',
];
const IMAGE = 'shoal/example:latest';

async function fileOf(t: ExecutionContext, text: string): Promise<string> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-secrets-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const file = path.join(directory, 'file');
  await writeFile(file, text);
  return file;
}

/** Paths of the files below a directory, on the same file system, that hold the text in one of its forms. */
async function filesWith(directory: string, text: string): Promise<string[]> {
  const forms = [text, Buffer.from(text).toString('base64').slice(0, -4)];
  const { dev } = await stat(directory);
  const found: string[] = [];
  const look = async (at: string): Promise<void> => {
    for (const entry of await readdir(at, { withFileTypes: true }).catch(() => [])) {
      const file = path.join(at, entry.name);
      const info = await stat(file).catch(() => undefined);
      if (info?.dev !== dev) continue;
      if (entry.isDirectory()) await look(file);
      else if (entry.isFile() && (await holds(file, forms))) found.push(file);
    }
  };
  await look(directory);
  return found;
}

async function holds(file: string, forms: readonly string[]): Promise<boolean> {
  const longest = Math.max(...forms.map((form) => form.length));
  let rest = '';
  try {
    for await (const part of createReadStream(file, 'latin1')) {
      const text = rest + String(part);
      if (forms.some((form) => text.includes(form))) return true;
      rest = text.slice(-longest);
    }
  } catch {
    return false; // gone meanwhile
  }
  return false;
}

function memoryOf(swarm: TestCluster, hostname: string): string {
  return path.join(swarm.node(hostname).runDir, 'memory');
}

test('invariant 9: a secret is sealed in etcd, goes to the nodes that use it, and touches no disk', async (t) => {
  await using swarm = await cluster().manager().agents(2).up();
  // Each third of it is a base64 text of its own, wherever it begins.
  const text = 'correct-horse-battery-staple-correct-horse-battery-staple-0123456789';
  await swarm.docker('secret', 'create', 'pass', await fileOf(t, text));
  await swarm.docker(
    ...[...DETACHED, '--name', 'web', '--constraint', 'node.hostname==a1', '--secret', 'pass', IMAGE],
  );
  const state = await swarm.eventually((s) => s.running('web').count === 1);
  const [container] = await containersOf(swarm.layout, state, 'web');
  if (container === undefined) throw new Error('the container does not live');
  t.is(await inContainer(container, 'cat /run/secrets/pass'), text);

  const { stateDir, runDir } = swarm.layout;
  t.deepEqual(await filesWith(stateDir, text), [], 'etcd, images, containers, logs');
  if ((await statfs(runDir)).type !== TMPFS_MAGIC) t.deepEqual(await filesWith(runDir, text), []);
  t.is((await statfs(memoryOf(swarm, 'a1'))).type, TMPFS_MAGIC);
  t.not((await filesWith(memoryOf(swarm, 'a1'), text)).length, 0, 'the search finds what there is');
  t.deepEqual(await filesWith(memoryOf(swarm, 'a2'), text), [], 'a node that does not use it');

  const shown = JSON.stringify([
    (await swarm.api('GET', '/secrets')).body,
    (await swarm.api('GET', '/secrets/pass')).body,
    (await swarm.api('GET', '/services/web')).body,
    (await swarm.api('GET', '/containers/json')).body,
  ]);
  t.false(shown.includes(text) || shown.includes(Buffer.from(text).toString('base64')));
  await t.throwsAsync(swarm.docker('secret', 'rm', 'pass'), {
    message: /secret 'pass' is in use by the following service: web/,
  });

  await swarm.docker('service', 'rm', 'web');
  await swarm.eventually(async () => (await filesWith(memoryOf(swarm, 'a1'), text)).length === 0);
  await swarm.docker('secret', 'rm', 'pass');
  t.deepEqual(await filesWith(stateDir, text), []);
});

test('owner, mode, target and templates are as the service says; they outlive agents and managers', async (t) => {
  await using swarm = await cluster().manager().agents(1).nodeDownAfter(60_000).up();
  await swarm.docker('secret', 'create', 'key', await fileOf(t, 'k3y'));
  const template =
    'host={{.Node.Hostname}} slot={{.Task.Slot}} name={{.Service.Name}} {{secret "key"}} {{env "MODE"}}\n';
  await swarm.docker('config', 'create', '--template-driver', 'golang', 'app', await fileOf(t, template));
  await swarm.docker(
    ...[...DETACHED, '--name', 'web', '--replicas', '2', '--env', 'MODE=on-{{.Task.Slot}}'],
    ...['--hostname', '{{.Service.Name}}-{{.Task.Slot}}', '--user', 'nobody'],
    ...['--mount', 'type=volume,source=data-{{.Task.Slot}},target=/data'],
    ...['--secret', 'source=key,target=key,uid=65534,gid=65534,mode=0400'],
    ...['--config', 'source=app,target=/etc/deep/app.conf,mode=0444', IMAGE],
  );
  const check = async (): Promise<void> => {
    const state = await swarm.eventually((s) => s.running('web').count === 2);
    const containers = await containersOf(swarm.layout, state, 'web');
    const told = await Promise.all(
      containers.map((one) => inContainer(one, 'hostname; cat /etc/deep/app.conf; cat /run/secrets/key')),
    );
    t.deepEqual(
      told.toSorted(),
      [1, 2].map((n) => `web-${n}\nhost=a1 slot=${n} name=web k3y on-${n}\nk3y`),
    );
    const [one] = containers;
    if (one === undefined) throw new Error('no container lives');
    t.is(
      (await inContainer(one, 'stat -c "%u %g %a" /run/secrets/key /etc/deep/app.conf')).trim(),
      '65534 65534 400\n0 0 444',
    );
    t.is((await inContainer(one, 'echo x > /run/secrets/key || echo refused')).trim(), 'refused');
  };
  await check();
  t.deepEqual((await readdir(path.join(swarm.node('a1').stateDir, 'volumes'))).toSorted(), [
    'data-1',
    'data-2',
  ]);

  await swarm.manager.kill();
  await swarm.node('a1').kill();
  await swarm.manager.restart();
  await swarm.node('a1').restart();
  await check();
  // What the manager sealed before, it opens after: a new task gets it too.
  await swarm.docker('service', 'update', '--quiet', '--detach', '--force', 'web');
  await swarm.eventually((s) => s.running('web').count === 2 && s.tasks('web').count >= 4, {
    within: 60_000,
  });
  await swarm.eventually(async () => (await check(), true));
  const keyFile = path.join(swarm.layout.stateDir, 'manager', 'data-key');
  t.is((await stat(keyFile)).mode & 0o777, 0o600);
  t.regex(await readFile(keyFile, 'utf8'), /^[A-Za-z0-9+/]{43}=\n$/);
});

const COMPOSE = `
services:
  web:
    image: ${IMAGE}
    stop_grace_period: 1s
    secrets: [pass, { source: token, target: /run/token, mode: 0400 }]
    configs: [{ source: app, target: /etc/app.conf }]
    deploy: { replicas: 2, update_config: { monitor: 300ms } }
secrets:
  pass: { file: ./pass.txt }
  token: { environment: TOKEN }
configs:
  app: { content: "slot {{.Task.Slot}} has {{secret \\"pass\\"}}", template_driver: golang }
`;

test('shoal deploy sends the contents; a changed file rolls the services that use it', async (t) => {
  await using swarm = await cluster().manager().agents(2).up();
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-secrets-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const [file, pass] = [path.join(directory, 'compose.yaml'), path.join(directory, 'pass.txt')];
  await writeFile(file, COMPOSE);
  const deploy = (environment: Readonly<Record<string, string>>): Promise<string> =>
    shoal(environment, 'deploy', '-c', file, 'shop', '--socket', swarm.layout.socket);
  const told = async (): Promise<string[]> => {
    const containers = await containersOf(swarm.layout, await swarm.state(), 'shop_web');
    const line = 'cat /run/secrets/pass /run/token; echo; cat /etc/app.conf';
    return (await Promise.all(containers.map((one) => inContainer(one, line)))).toSorted();
  };
  await t.throwsAsync(deploy({ TOKEN: 'tok' }), {
    message: /secrets\.pass: the file .*pass\.txt can not be read/,
  });
  const text = 'first-text-of-the-secret';
  await writeFile(pass, text);
  await t.throwsAsync(deploy({}), { message: /secrets\.token: the environment variable TOKEN is not set/ });
  await deploy({ TOKEN: 'token-from-the-environment' });
  const expected = (secret: string): string[] =>
    [1, 2].map((n) => `${secret}token-from-the-environment\nslot ${n} has ${secret}`);
  t.deepEqual(await told(), expected(text));

  await writeFile(pass, 'second-text');
  await deploy({ TOKEN: 'token-from-the-environment' });
  await swarm.eventually(
    async () => JSON.stringify(await told()) === JSON.stringify(expected('second-text')),
  );
  const list = await swarm.docker('secret', 'ls', '--format', '{{.Name}}');
  t.deepEqual(list.trim().split('\n').toSorted(), ['shop_pass', 'shop_pass.v1', 'shop_token']);
  for (const secret of [text, 'second-text', 'token-from-the-environment']) {
    t.deepEqual(await filesWith(swarm.layout.stateDir, secret), [], 'invariant 9');
  }
  await shoal({}, 'rm', 'shop', '--socket', swarm.layout.socket);
  await swarm.eventually(async () => (await swarm.docker('secret', 'ls', '-q')).trim() === '');
});

test('a secret that can not be delivered rejects the task by name', async (t) => {
  await using swarm = await cluster().manager().agents(1).up();
  await swarm.docker('secret', 'create', 'pass', await fileOf(t, 'text'));
  await swarm.docker(
    'config',
    'create',
    '--template-driver',
    'golang',
    'bad',
    await fileOf(t, '{{secret "other"}}'),
  );
  await swarm.docker(...DETACHED, '--name', 'web', '--secret', 'pass', '--config', 'bad', IMAGE);
  await swarm.eventually((s) =>
    s
      .tasks('web')
      .tasks.some((task) => /the service has no secret with the target "other"/.test(task.Status.Err ?? '')),
  );
  t.deepEqual(await readdir(path.join(memoryOf(swarm, 'a1'), 'files')), [], 'nothing of it is left');
});

async function shoal(
  environment: Readonly<Record<string, string>>,
  ...args: readonly string[]
): Promise<string> {
  const env = { ...process.env, ...environment };
  const { stdout } = await promisify(execFile)(process.execPath, [CLI_PATH, ...args], { env });
  return stdout;
}

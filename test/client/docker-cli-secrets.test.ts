/** secret and config commands, services that use them, and a stack that the client itself deploys. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { IMAGE, LOCAL, suite, SWIFT } from './suite.ts';

const { test } = await suite((cluster) => cluster.agents(1));

async function directoryWith(t: ExecutionContext, files: Readonly<Record<string, string>>): Promise<string> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-client-'));
  t.teardown(() => rm(directory, { recursive: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(directory, name), text);
  return directory;
}

interface FileJson {
  readonly ID: string;
  readonly Spec: { readonly Name: string; readonly Labels: object; readonly Data?: string };
}

for (const kind of ['secret', 'config'] as const) {
  test(`${kind} create, ls, inspect, rm`, async (t, { docker, tag }) => {
    const name = `${kind}-${tag}`;
    const directory = await directoryWith(t, { file: 'the text', empty: '', large: 'x'.repeat(1_024_000) });
    const file = (of: string): string => path.join(directory, of);
    const id = await docker.ok(kind, 'create', '--label', 'a=b', name, file('file'));
    t.regex(id, /^\w{25}$/);
    t.deepEqual(
      await docker.lines(kind, 'ls', '--format', '{{.Name}} {{.Labels}}', '--filter', `name=${name}`),
      [`${name} a=b`],
    );
    const [shown] = await docker.json<FileJson[]>(kind, 'inspect', name);
    t.deepEqual([shown?.ID, shown?.Spec.Name, shown?.Spec.Labels], [id, name, { a: 'b' }]);
    t.is(shown?.Spec.Data, kind === 'config' ? Buffer.from('the text').toString('base64') : undefined);
    t.regex(await docker.ok(kind, 'inspect', '--pretty', name), new RegExp(`Name:\\s+${name}`));
    t.regex(await docker.fails(kind, 'create', name, file('file')), /already exists/);
    t.regex(await docker.fails(kind, 'create', `empty-${tag}`, file('empty')), /larger than 0|is empty/);
    t.regex(
      await docker.fails(kind, 'create', `large-${tag}`, file('large')),
      /less than \d+ bytes|maximum|too large|exceed/i,
    );
    t.is(await docker.ok(kind, 'rm', name), name);
    t.regex(await docker.fails(kind, 'inspect', name), /not found|no such/i);
  });
}

test('service create and update with secrets and configs; one in use is not removed', async (t, {
  docker,
  tag,
}) => {
  const [service, key, app] = [`uses-${tag}`, `key-${tag}`, `app-${tag}`];
  const directory = await directoryWith(t, { key: 'k3y', app: 'on {{.Node.Hostname}}: {{secret "in"}}\n' });
  await docker.ok('secret', 'create', key, path.join(directory, 'key'));
  await docker.ok('config', 'create', '--template-driver', 'golang', app, path.join(directory, 'app'));
  const create = ['service', 'create', ...LOCAL, ...SWIFT, '--name', service];
  t.regex(await docker.fails(...create, '--secret', 'nosuch', IMAGE), /secret not found: nosuch/);
  const shows = 'cat /app; ls -l /run/secrets/in; exec sleep 1d';
  await docker.ok(
    ...[
      ...create,
      '--secret',
      `source=${key},target=in,uid=33,mode=0400`,
      '--config',
      `source=${app},target=app`,
    ],
    ...['--entrypoint', '/bin/sh', IMAGE, '-c', shows],
  );
  const log = await docker.follow(['service', 'logs', '--raw', '--follow', service], /secrets\/in/);
  t.regex(log, /^on a1: k3y$/m);
  t.regex(log, /-r-{8}\s+1\s+33\s/);
  t.regex(await docker.fails('secret', 'rm', key), new RegExp(`in use by the following service: ${service}`));
  t.regex(await docker.fails('config', 'rm', app), new RegExp(`in use by the following service: ${service}`));
  await docker.ok(...['service', 'update', '--quiet', '--secret-rm', key, '--config-rm', app, service]);
  t.is(await docker.ok('secret', 'rm', key), key);
  t.is(await docker.ok('config', 'rm', app), app);
  await docker.ok('service', 'rm', service);
});

test('stack deploy makes secrets and configs; a changed file is refused as by Docker', async (t, {
  docker,
  tag,
}) => {
  const stack = `files-${tag}`;
  const compose = `
version: "3.8"
services:
  web:
    image: ${IMAGE}
    secrets: [pass]
    configs: [{ source: app, target: /etc/app.conf }]
    stop_grace_period: 1s
secrets: { pass: { file: ./pass.txt } }
configs: { app: { file: ./app.conf } }
`;
  const directory = await directoryWith(t, {
    'compose.yaml': compose,
    'pass.txt': 'one',
    'app.conf': 'first',
  });
  const deploy = [
    'stack',
    'deploy',
    '--resolve-image',
    'never',
    '-c',
    path.join(directory, 'compose.yaml'),
    stack,
  ];
  await docker.ok(...deploy);
  const names = (kind: string) =>
    docker.lines(
      kind,
      'ls',
      '--format',
      '{{.Name}}',
      '--filter',
      `label=com.docker.stack.namespace=${stack}`,
    );
  t.deepEqual([await names('secret'), await names('config')], [[`${stack}_pass`], [`${stack}_app`]]);
  await docker.ok(...deploy);
  await writeFile(path.join(directory, 'app.conf'), 'second');
  t.regex(await docker.fails(...deploy), /only updates to Labels are allowed/);
  await docker.ok('stack', 'rm', stack);
  t.deepEqual([await names('secret'), await names('config')], [[], []]);
});

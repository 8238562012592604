/** docker attach to containers of services on other nodes than the client's; terminals, standard input, init. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import { WebSocket } from 'ws';
import { IMAGE, LOCAL, type Scene, suite, SWIFT } from './suite.ts';

const { test } = await suite((cluster) => cluster.agents(2));

const DEADLINE_MS = 60_000;

/** A service of one task, by `docker stack deploy`, as only compose can ask for standard input; its container's id. */
async function deployed(scene: Scene, name: string, script: string, keys: object): Promise<string> {
  const service = {
    image: IMAGE,
    // The client fills in what looks like a variable of its own.
    entrypoint: ['sh', '-c', script.replaceAll('$', '$$$$')],
    stop_grace_period: '1s',
    deploy: { restart_policy: { condition: 'none' } },
    ...keys,
  };
  const file = JSON.stringify({ version: '3.8', services: { main: service } });
  const output = await scene.docker.runWith(file, [
    'stack',
    'deploy',
    '--resolve-image=never',
    '-c',
    '-',
    name,
  ]);
  if (output.code !== 0) throw new Error(output.stderr);
  await scene.swarm.eventually((s) => s.running(`${name}_main`).count === 1);
  const [id] = await scene.docker.lines('ps', '--quiet', '--no-trunc', '--filter', `name=${name}_main`);
  return id ?? '';
}

/** What the container prints to its log. */
function logs({ docker }: Scene, id: string): Promise<string> {
  return docker.ok('logs', id);
}

function sharesText(t: ExecutionContext, text: string, wanted: RegExp): void {
  t.regex(text, wanted, text);
}

/** A raw connection to the manager's socket that has asked to attach; what follows the answer's head. */
async function raw(scene: Scene, path: string): Promise<Socket> {
  const socket = connect(scene.swarm.layout.socket);
  socket.on('error', () => undefined);
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n`,
  );
  await until(socket, /^HTTP\/1\.1 101 UPGRADED\r\n[^]*?\r\n\r\n/);
  return socket;
}

/** Reads until this has come; what comes after it stays. */
async function until(socket: Socket, wanted: RegExp): Promise<string> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  for (let seen = ''; ; ) {
    const chunk = socket.read() as Buffer | null;
    if (chunk !== null) seen += chunk.toString('latin1');
    const match = wanted.exec(seen);
    if (match !== null) {
      const end = match.index + match[0].length;
      if (end < seen.length) socket.unshift(Buffer.from(seen.slice(end), 'latin1'));
      return seen.slice(0, end);
    }
    if (socket.readableEnded) throw new Error(`the end, after: ${seen}`);
    if (chunk === null)
      await Promise.race([once(socket, 'readable', { signal }), once(socket, 'end', { signal })]);
  }
}

test('attach without a terminal: both streams, input, two clients, the exit code', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const script =
    'while read line; do case $line in quit) exit 7;; esac; echo "out $line"; echo "err $line" >&2; done';
  const id = await deployed(scene, `plain-${tag}`, script, { stdin_open: true });
  const watcher = docker.run(['attach', '--no-stdin', id]);
  const other = await raw(scene, `/containers/${id}/attach?stream=1&stdin=1&stdout=1&stderr=1`);
  // The watcher shows that it is there by what it prints; nothing else tells.
  const typist = setInterval(() => other.write('again\n'), 200);
  await until(other, /out again\n[^]*err again\n/);
  await new Promise((resolve) => setTimeout(resolve, 2000));
  clearInterval(typist);
  other.write('quit\n');
  const output = await watcher;
  t.is(output.code, 7);
  sharesText(t, output.stdout, /^(out again\n)+$/);
  sharesText(t, output.stderr, /(err again\n)+/);
  await once(other.resume(), 'end');
  sharesText(t, await logs(scene, id), /out again/);
  await docker.ok('stack', 'rm', `plain-${tag}`);
  await swarm.eventually((s) => s.running(`plain-${tag}_main`).count === 0);
});

test('attach -i: input from a pipe reaches the container, which outlives it', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const id = await deployed(scene, `pipe-${tag}`, 'cat > /tmp/got', { stdin_open: true });
  const sent = 'x'.repeat(300_000);
  const size = (bytes: number) => async () =>
    (await docker.ok('exec', id, 'sh', '-c', 'wc -c < /tmp/got')) === String(bytes);
  // With Docker too, this client waits for the end of the container once its own input has ended.
  const attached = docker.runWith(sent, ['attach', id]);
  await swarm.eventually(size(300_000));
  const other = await raw(scene, `/containers/${id}/attach?stream=1&stdin=1&stdout=1`);
  other.end('more');
  await once(other.resume(), 'end');
  await swarm.eventually(size(300_004));
  t.is(
    await docker.ok('inspect', '--format', '{{.Config.OpenStdin}} {{.Config.Tty}} {{.State.Running}}', id),
    'true false true',
  );
  await docker.ok('stack', 'rm', `pipe-${tag}`);
  t.is((await attached).code, 137);
});

test('attach to a terminal: its size follows the client’s, Ctrl-C reaches it, its end is the client’s', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const wait = (size: string) => `until stty size | grep -qx "${size}"; do sleep 0.1; done; stty size`;
  const script = `${wait('33 101')}; ${wait('40 90')}; echo $TERM; trap "echo caught; exit 3" INT; while true; do sleep 0.1; done`;
  const id = await deployed(scene, `term-${tag}`, script, { stdin_open: true, tty: true });
  const attached = docker.terminal(['attach', id], '', 'sleep 3; stty rows 40 cols 90 </dev/tty');
  await swarm.eventually(async () => /xterm/.test(await logs(scene, id)));
  // Whoever types it: the terminal is one.
  const typist = await raw(scene, `/containers/${id}/attach?stream=1&stdin=1`);
  typist.write('\x03');
  const output = await attached;
  t.is(output.code, 3, output.stdout);
  sharesText(t, output.stdout, /40 90\r\n[^]*xterm\r\n[^]*caught\r\n/);
  sharesText(t, await logs(scene, id), /33 101\r?\n[^]*40 90/);
  await docker.ok('stack', 'rm', `term-${tag}`);
});

test('detach keys leave the container running: the client’s own, and the server’s for other clients', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const script = 'while read line; do echo "got $line"; done';
  const id = await deployed(scene, `keys-${tag}`, script, { stdin_open: true, tty: true });
  const output = await docker.terminal(['attach', '--detach-keys', 'ctrl-x,x', id], 'one\n\x18x');
  sharesText(t, output.stdout + output.stderr, /read escape sequence/);
  await swarm.eventually(async () => (await logs(scene, id)).includes('got one'));
  const other = await raw(scene, `/containers/${id}/attach?stream=1&stdin=1&stdout=1`);
  other.write('two\n');
  await until(other, /got two\r\n/);
  other.write('\x10\x11');
  await once(other.resume(), 'end');
  t.is(await docker.ok('inspect', '--format', '{{.State.Running}}', id), 'true');
  const bad = await docker.run(['attach', '--detach-keys', 'ctrl-nonsense', id]);
  t.not(bad.code, 0);
  await docker.ok('stack', 'rm', `keys-${tag}`);
});

test('logs=1 gives what came before, then what comes; stream=0 only that', async (t, scene) => {
  const { docker, tag } = scene;
  const script = 'echo one; echo -n "two>"; read x; echo three';
  const id = await deployed(scene, `replay-${tag}`, script, { stdin_open: true });
  const first = await raw(scene, `/containers/${id}/attach?logs=1&stream=1&stdin=1&stdout=1`);
  await until(first, /\none\n|one\n[^]*two>/);
  const only = await raw(scene, `/containers/${id}/attach?logs=1&stdout=1`);
  const chunks: Buffer[] = [];
  for await (const chunk of only) chunks.push(chunk as Buffer);
  t.is(Buffer.concat(chunks).toString('latin1'), '\x01\0\0\0\0\0\0\x04one\n');
  first.write('\n');
  await until(first, /three\n/);
  await docker.ok('stack', 'rm', `replay-${tag}`);
});

test('a WebSocket: binary messages both ways', async (t, scene) => {
  const { docker, tag } = scene;
  const id = await deployed(scene, `ws-${tag}`, 'while read line; do echo "got $line"; done', {
    stdin_open: true,
  });
  const client = new WebSocket(
    `ws+unix://${scene.swarm.layout.socket}:/containers/${id}/attach/ws?stream=1&stdin=1&stdout=1`,
  );
  let seen = '';
  client.on('message', (data: Buffer, binary) => {
    t.true(binary);
    seen += data.toString('latin1');
  });
  await once(client, 'open');
  client.send('hello\n');
  await scene.swarm.eventually(() => seen === 'got hello\n');
  client.close();
  await once(client, 'close');
  t.is(await docker.ok('inspect', '--format', '{{.State.Running}}', id), 'true');
  await docker.ok('stack', 'rm', `ws-${tag}`);
});

test('a client that is killed or does not read leaves the container running', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const script = `n=0; while true; do n=$((n+1)); echo "line $n ${'.'.repeat(1000)}"; [ $((n % 500)) = 0 ] && echo $n > /tmp/n; done`;
  const id = await deployed(scene, `leave-${tag}`, script, {});
  const count = async () => Number((await docker.run(['exec', id, 'cat', '/tmp/n'])).stdout);
  await docker.follow(['attach', '--no-stdin', '--sig-proxy=false', id], /line \d/);
  const silent = await raw(scene, `/containers/${id}/attach?stream=1&stdout=1`);
  silent.pause();
  const before = await count();
  // More than all buffers on the way hold: it goes on only because the client is dropped.
  await swarm.eventually(async () => (await count()) > before + 10_000);
  silent.destroy();
  t.is(await docker.ok('inspect', '--format', '{{.State.Running}}', id), 'true');
  await docker.ok('stack', 'rm', `leave-${tag}`);
});

test('an agent that restarts ends the attachment with a message, not the container', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const script = 'while read line; do echo "got $line"; done';
  const id = await deployed(scene, `again-${tag}`, script, { stdin_open: true, tty: true });
  const state = await swarm.state();
  const node = state.running(`again-${tag}_main`).tasks[0]?.NodeID;
  const host = state.nodes.find((one) => one.ID === node)?.Description?.Hostname ?? '';
  const client = await raw(scene, `/containers/${id}/attach?stream=1&stdin=1&stdout=1`);
  client.write('one\n');
  await until(client, /got one\r\n/);
  const end = until(client, /the session with the node ended/);
  await swarm.node(host).crash();
  await end;
  await swarm.eventually(async () => (await docker.run(['exec', id, 'true'])).code === 0);
  const next = await raw(scene, `/containers/${id}/attach?stream=1&stdin=1&stdout=1`);
  next.write('two\n');
  t.regex(await until(next, /got two\r\n/), /got two/);
  next.destroy();
  await docker.ok('stack', 'rm', `again-${tag}`);
});

test('service create -t and its logs; --init reaps, forwards and reports', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const options = [...LOCAL, ...SWIFT, '--detach', '--restart-condition', 'none'];
  const shell = ['--entrypoint', 'sh', IMAGE, '-c'];
  await docker.ok(
    'service',
    'create',
    ...options,
    '-t',
    '--name',
    `tty-${tag}`,
    ...shell,
    'tty; echo err >&2; sleep 1000',
  );
  await swarm.eventually((s) => s.running(`tty-${tag}`).count === 1);
  await swarm.eventually(async () => /err/.test(await docker.ok('service', 'logs', '--raw', `tty-${tag}`)));
  sharesText(t, await docker.ok('service', 'logs', '--raw', `tty-${tag}`), /\/dev\/pts\/0\r?\nerr/);
  const [id = ''] = await docker.lines('ps', '-q', '--filter', `name=tty-${tag}`);
  sharesText(t, await docker.ok('logs', id), /^\/dev\/pts\/0\r?\nerr$/);

  const script = 'sh -c "sleep 0.1 &" ; trap "exit 9" TERM; while true; do sleep 0.2; done';
  await docker.ok('service', 'create', ...options, '--init', '--name', `init-${tag}`, ...shell, script);
  await swarm.eventually((s) => s.running(`init-${tag}`).count === 1);
  const [first = ''] = await docker.lines('ps', '-q', '--filter', `name=init-${tag}`);
  sharesText(t, await docker.ok('exec', first, 'cat', '/proc/1/cmdline'), /^\/sbin\/docker-init\0--\0sh\0-c/);
  await swarm.eventually(async () => !/\[sleep\]|defunct/.test(await docker.ok('top', first)));
  const waited = docker.ok('wait', first);
  await docker.ok('kill', '--signal', 'TERM', first);
  t.is(await waited, '9');
  await docker.ok('service', 'rm', `tty-${tag}`, `init-${tag}`);
});

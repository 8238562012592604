/** docker exec, top, stats, kill, stop, pause, unpause and wait on containers of other nodes than the client's. */
import { createHash, randomBytes } from 'node:crypto';
import type { ExecutionContext } from 'ava';
import { IMAGE, LOCAL, type Scene, suite, SWIFT } from './suite.ts';

const { test } = await suite((cluster) => cluster.agents(2));

/** A service of one task; the id of its container. */
async function running({ docker, swarm }: Scene, name: string, ...command: string[]): Promise<string> {
  const [program = '', ...args] = command.length === 0 ? ['sleep', '1000'] : command;
  const options = [...LOCAL, ...SWIFT, '--detach', '--name', name, '--entrypoint', program];
  await docker.ok('service', 'create', ...options, IMAGE, ...args);
  await swarm.eventually((s) => s.running(name).count === 1);
  return containerOf({ docker }, name);
}

async function containerOf({ docker }: Pick<Scene, 'docker'>, name: string): Promise<string> {
  const [id] = await docker.lines('ps', '--quiet', '--no-trunc', '--filter', `name=${name}`);
  return id ?? '';
}

async function removed({ docker }: Scene, name: string): Promise<void> {
  await docker.ok('service', 'rm', name);
}

async function exits(t: ExecutionContext, { docker }: Scene, code: number, ...args: string[]) {
  const output = await docker.run(['exec', ...args]);
  t.is(output.code, code, `${args.join(' ')}: ${output.stdout}${output.stderr}`);
  return output;
}

test('exec: output, errors, exit codes, environment, user, directory', async (t, scene) => {
  const { docker, tag } = scene;
  const name = `plain-${tag}`;
  const id = await running(scene, name);
  const both = await exits(t, scene, 7, id, 'sh', '-c', 'echo out; echo err >&2; exit 7');
  t.deepEqual([both.stdout, both.stderr], ['out\n', 'err\n']);
  t.regex((await exits(t, scene, 127, id, 'nosuch')).stderr, /"nosuch": executable file not found/);
  t.regex((await exits(t, scene, 126, id, '/bin')).stderr, /unable to start container process/);
  await exits(t, scene, 137, id, 'sh', '-c', 'kill -9 $$');

  const ids = await docker.ok('exec', '--user', '1234:5678', id, 'sh', '-c', 'id -u; id -g');
  t.deepEqual(ids.split('\n'), ['1234', '5678']);
  const env = await docker.ok('exec', '--env', 'A=1 2', '--workdir', '/bin', id, 'sh', '-c', 'echo $A; pwd');
  t.deepEqual(env.split('\n'), ['1 2', '/bin']);
  t.regex(await docker.fails('exec', '--user', 'nobody-here', id, 'true'), /unable to find user nobody-here/);
  const rights = async (...options: string[]) =>
    (await docker.ok('exec', ...options, id, 'grep', 'Cap[EB]', '/proc/self/status')).split('\n');
  const usual = await rights();
  const all = await rights('--privileged');
  t.not(all[0], usual[0]);
  t.is(all[0]?.split('\t')[1], all[1]?.split('\t')[1], 'all that there are');
  t.regex((await rights('--privileged', '--user', '1234'))[0] ?? '', /CapEff:\t0+$/);
  t.deepEqual(await rights(), usual, 'the container’s own are what they were');
  t.regex(await docker.fails('exec', 'nosuch', 'true'), /No such container/);
  await removed(scene, name);
});

test('exec -i: megabytes in and out unchanged; the end of the input is the command’s', async (t, scene) => {
  const name = `pipe-${scene.tag}`;
  const id = await running(scene, name);
  const sent = randomBytes(4 * 1024 * 1024).toString('hex');
  const output = await scene.docker.runWith(sent, ['exec', '-i', id, 'cat']);
  const hash = (text: string) => createHash('sha256').update(text).digest('hex');
  t.deepEqual([output.code, hash(output.stdout)], [0, hash(sent)]);
  // without -i there is no input
  t.is((await scene.docker.runWith('lost', ['exec', id, 'cat'])).stdout, '');
  // a command that does not read: the client is not held up, nor anything else
  t.is((await scene.docker.runWith(sent, ['exec', '-i', id, 'true'])).code, 0);
  await removed(scene, name);
});

test('exec -it: a terminal of the client’s size, that follows it', async (t, scene) => {
  const name = `term-${scene.tag}`;
  const id = await running(scene, name);
  // The size comes after the start: it is looked at until it is there.
  const until = (size: string) => `until stty size | grep -x "${size}"; do sleep 0.1; done`;
  const script = `tty; ${until('33 101')}; ${until('40 90')}; echo $TERM; read line; echo "got $line"; exit 3`;
  const output = await scene.docker.terminal(
    ['exec', '-it', id, 'sh', '-c', script],
    'typed\n',
    'sleep 2; stty rows 40 cols 90 </dev/tty',
  );
  t.is(output.code, 3, output.stdout);
  t.regex(output.stdout, /\/dev\/pts\/0\r\n[^]*33 101\r\n[^]*40 90\r\nxterm\r\n[^]*got typed\r\n/);
  await removed(scene, name);
});

test('exec -d: nobody is attached, the command runs', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const name = `detached-${tag}`;
  const id = await running(scene, name);
  await docker.ok('exec', '-d', id, 'sh', '-c', 'echo done > /tmp/mark; exec sleep 1000');
  await swarm.eventually(async () => (await docker.ok('exec', id, 'cat', '/tmp/mark')) === 'done');
  t.regex(await docker.ok('top', id), /^UID +PID +PPID[^]*sleep 1000\n[^]*sleep 1000$/);
  t.regex(await docker.ok('top', id, 'aux'), /^USER +PID +%CPU/);
  t.regex(await docker.ok('top', id, '-o', 'pid,comm'), /^PID +COMMAND\n\d+ +sleep/);
  t.regex(await docker.fails('top', id, '-o', 'wchan'), /not supported by Shoal: ps_args "-o wchan"/);
  await removed(scene, name);
});

test('a client that is killed leaves the command running', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const name = `leave-${tag}`;
  const id = await running(scene, name);
  const script = 'echo begun; n=0; while true; do n=$((n+1)); echo $n > /tmp/n; echo $n; sleep 0.1; done';
  t.regex(await docker.follow(['exec', id, 'sh', '-c', script], /begun/), /begun/);
  const count = async () => Number(await docker.ok('exec', id, 'cat', '/tmp/n'));
  const before = await count();
  await swarm.eventually(async () => (await count()) > before + 5);
  await removed(scene, name);
});

test('pause and unpause: seen in ps and inspect, exec is refused meanwhile', async (t, scene) => {
  const { docker, tag } = scene;
  const name = `still-${tag}`;
  const id = await running(scene, name);
  await docker.ok('pause', id);
  t.regex(await docker.ok('ps', '--filter', `name=${name}`, '--format', '{{.Status}}'), /^Up .*\(Paused\)$/);
  t.is(await docker.ok('inspect', '--format', '{{.State.Status}} {{.State.Paused}}', id), 'paused true');
  t.is((await docker.lines('ps', '--quiet', '--filter', 'status=paused')).length, 1);
  t.regex(await docker.fails('exec', id, 'true'), /is paused, unpause the container before exec/);
  t.regex(await docker.fails('pause', id), /is already paused/);
  await docker.ok('unpause', id);
  t.is(await docker.ok('exec', id, 'echo', 'again'), 'again');
  t.regex(await docker.fails('unpause', id), /is not paused/);
  // its service ends it, paused as it is
  await docker.ok('pause', id);
  await removed(scene, name);
  await scene.swarm.eventually(async () => (await containerOf(scene, name)) === '');
});

test('kill, stop and wait: the task ends, and its service replaces it', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const name = `end-${tag}`;
  const replaced = (old: string) => async () => {
    const now = await containerOf(scene, name);
    return now !== '' && now !== old;
  };
  const first = await running(scene, name, 'sh', '-c', 'trap "exit 9" TERM; while true; do sleep 0.1; done');
  const waited = docker.ok('wait', first);
  await docker.ok('kill', '--signal', 'TERM', first);
  t.is(await waited, '9');
  await swarm.eventually(replaced(first));
  const second = await containerOf(scene, name);
  await docker.ok('stop', '--time', '10', second);
  t.is(await docker.ok('wait', second), '9');
  await docker.ok('stop', second); // once more is fine
  t.regex(await docker.fails('kill', second), /is not running/);
  await swarm.eventually(replaced(second));
  const third = await containerOf(scene, name);
  t.regex(await docker.fails('kill', '--signal', 'NOSUCH', third), /[Ii]nvalid signal/);
  await docker.ok('kill', third);
  t.is(await docker.ok('wait', third), '137');
  t.regex(await docker.fails('restart', third), /belongs to service/);
  await removed(scene, name);
});

test('stats: once and as a stream', async (t, scene) => {
  const { docker, tag } = scene;
  const name = `busy-${tag}`;
  const id = await running(scene, name, 'sh', '-c', 'while true; do :; done');
  const format = '{{.Name}}|{{.CPUPerc}}|{{.MemUsage}}|{{.PIDs}}|{{.NetIO}}';
  const fields = (await docker.ok('stats', '--no-stream', '--format', format, id)).split('|');
  t.regex(fields[0] ?? '', new RegExp(`^${name}\\.1\\.`));
  t.true(Number.parseFloat(fields[1] ?? '') > 1, fields.join());
  t.regex(fields[2] ?? '', /^[1-9][\d.]*[KM]iB \/ [\d.]+GiB$/);
  t.is(fields[3], '1');
  t.regex(fields[4] ?? '', /^[\d.]+\w+ \/ [\d.]+\w+$/);
  const seen = await docker.follow(['stats', '--format', '{{.Name}} {{.CPUPerc}}'], /[1-9][\d.]*%/);
  t.regex(seen, new RegExp(`${name}\\.1\\.`));
  await removed(scene, name);
});

test('a node’s agent that dies ends the stream with a message; its containers go on', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const name = `lost-${tag}`;
  const id = await running(scene, name);
  const state = await swarm.state();
  const host = state.nodes.find((node) => node.ID === state.running(name).tasks[0]?.NodeID);
  const begun = docker.run(['exec', id, 'sh', '-c', 'echo > /tmp/begun; exec sleep 1000']);
  await swarm.eventually(async () => (await docker.run(['exec', id, 'ls', '/tmp/begun'])).code === 0);
  await swarm.node(host?.Description?.Hostname ?? '').crash();
  const output = await begun;
  t.not(output.code, 0);
  t.regex(output.stderr, /the session with the node ended/);
  await swarm.eventually(async () => (await docker.run(['exec', id, 'true'])).code === 0);
  await removed(scene, name);
});

/**
 * Every group of commands, with every client that there is. A group is a list of steps in order: a command, and what it prints,
 * or complains of when it must fail. `TAG` is the client's own, since clients share the cluster.
 */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { IMAGE, LOCAL, type Scene, suite, SWIFT } from './suite.ts';

interface Step {
  readonly args: readonly string[];
  /** What it prints on standard output, or, of a step that fails, says on standard error. */
  readonly says?: RegExp;
  readonly fails?: true;
  readonly input?: string;
}

/** Blanks separate words; what has blanks in it is given as more words. */
function run(line: string, says?: RegExp, ...more: readonly string[]): Step {
  return { args: [...line.split(' '), ...more], ...(says === undefined ? {} : { says }) };
}

function refused(line: string, says: RegExp, ...more: readonly string[]): Step {
  return { ...run(line, says, ...more), fails: true };
}

function fed(input: string, line: string, says?: RegExp): Step {
  return { ...run(line, says), input };
}

const { test } = await suite((cluster) => cluster.agents(2).onMachine());

async function perform(t: ExecutionContext, { docker, tag }: Scene, steps: readonly Step[]): Promise<void> {
  for (const { args, says, fails, input } of steps) {
    const named = args.map((word) => word.replaceAll('TAG', tag));
    const output = await docker.runWith(input ?? '', named);
    const text = fails === true ? output.stderr : output.stdout;
    const what = `docker ${named.join(' ')}\n${output.stdout}\n${output.stderr}`;
    t.is(output.code === 0, fails !== true, what);
    if (says !== undefined) t.regex(text, says, what);
    t.notRegex(output.stderr, /panic|runtime error/, what);
  }
}

function group(title: string, steps: readonly Step[]): void {
  test(title, (t, scene) => perform(t, scene, steps));
}

const CREATE = ['service create', ...LOCAL, ...SWIFT].join(' ');
const NOT_FOUND = /not found|[Nn]o such/;

group('version, info', [
  run(
    'version',
    /API version: +1\.4[17][\s\S]*Server: Shoal[\s\S]*API version: +1\.47 \(minimum version 1\.24\)/,
  ),
  run('version --format {{.Server.MinAPIVersion}}', /^1\.24$/m),
  run('info', /Server Version: 28[\s\S]*Swarm: active[\s\S]*Is Manager: true[\s\S]*Nodes: 2/),
  run('info', /Cgroup Version: [12]\n[\s\S]*Network: bridge host macvlan null overlay/),
  run('info', /Heartbeat Period: 2 seconds[\s\S]*Expiry Duration: 3 months[\s\S]*Manager Addresses:/),
  run('info --format {{.NEventsListener}}', /^\d+$/m),
]);

group('swarm', [
  run('swarm join-token -q worker', /^SHOAL-1-\S+$/m),
  run('swarm join-token manager', /SHOAL-1-\S+/),
  run('swarm join-token --rotate worker', /Successfully rotated worker join token\.[\s\S]*SHOAL-1-/),
  run('swarm update --task-history-limit 3 --dispatcher-heartbeat 4s', /Swarm updated\./),
  run('info', /Task History Retention Limit: 3[\s\S]*Heartbeat Period: 4 seconds/),
  run('node ls', /Ready[\s\S]*Ready/),
  run('swarm update --task-history-limit 5 --dispatcher-heartbeat 2s', /Swarm updated\./),
  run('swarm update --autolock', /Swarm updated\.[\s\S]*docker swarm unlock[\s\S]*SWMKEY-1-\S{43}/),
  run('swarm unlock-key -q', /^SWMKEY-1-\S{43}$/m),
  run('swarm unlock-key --rotate', /Successfully rotated manager unlock key\.[\s\S]*SWMKEY-1-\S{43}/),
  run('info', /Autolock Managers: true/),
  run('swarm update --autolock=false', /Swarm updated\./),
  run('swarm update --cert-expiry 24h', /Swarm updated\./),
  run('info', /Expiry Duration: 24 hours/),
  run('swarm update --cert-expiry 2160h', /Swarm updated\./),
  refused('swarm update --cert-expiry 59m', /CAConfig\.NodeCertExpiry: 1h to 3650 days/),
  refused('swarm update --snapshot-interval 5000', /Raft\.SnapshotInterval: the state is in etcd/),
  refused('swarm update --max-snapshots 5', /Raft\.KeepOldSnapshots/),
  run('swarm ca', /^-----BEGIN CERTIFICATE-----[\s\S]*-----END CERTIFICATE-----$/m),
  // It waits until every node has moved, and prints the new root.
  run('swarm ca --rotate', /^-----BEGIN CERTIFICATE-----[\s\S]*-----END CERTIFICATE-----$/m),
  run('node ls', /Ready[\s\S]*Ready/),
  refused('swarm unlock-key', /no unlock key is set/),
  refused('swarm unlock', /swarm is not locked/),
  refused('swarm init', /This node is already part of a swarm/),
  refused('swarm join --token SHOAL-1-x 127.0.0.1:1', /This node is already part of a swarm/),
  refused(
    'swarm leave',
    /You are attempting to leave the swarm on a node that is participating as a manager/,
  ),
  refused('swarm leave --force', /this is the only manager.*shoal down/),
]);

group('nodes', [
  run('node ls', /^\w{25} \* +a1 +Ready +Active +Leader/m),
  run('node ls --filter role=worker -q', /^\w{25}$/m),
  run(
    'node inspect --pretty self',
    /Hostname:\s+a1[\s\S]*Manager Status:[\s\S]*TLS Info:|Hostname:\s+a1[\s\S]*Manager Status:/,
  ),
  run('node ls --format', /^a1 Ready\na2 Ready$/m, '{{.Hostname}} {{.TLSStatus}}'),
  run('node ps self'),
  run('node update --label-add group=TAG a2', /^a2$/m),
  run('node ls --filter node.label=group=TAG --format {{.Hostname}}', /^a2$/m),
  run('node update --label-rm group a2'),
  refused('node promote a2', /no manager runs on its machine. Start one there \(shoal manager --join/),
  refused('node demote a1', /is the only manager, and the cluster is what it keeps/),
  refused('node rm a2', /is not down and can't be removed/),
  refused('node ls --filter colour=red', /invalid filter 'colour'/),
  refused('node inspect nosuch', NOT_FOUND),
]);

group('networks', [
  run('network ls', /bridge +bridge +local[\s\S]*host +host +local[\s\S]*none +null +local/),
  run('network create -d overlay --label by=TAG net-TAG', /^\w{25}$/m),
  refused('network create -d overlay net-TAG', /already exists/),
  run(
    'network ls --filter label=by=TAG --format',
    /^net-v\d+ overlay swarm$/m,
    '{{.Name}} {{.Driver}} {{.Scope}}',
  ),
  run('network inspect --verbose net-TAG', /"Scope": "swarm"/),
  run('network inspect host --format {{.Driver}}', /^host$/m),
  refused('network rm host', /host is a pre-defined network and cannot be removed/),
  refused(
    'network create -d ipvlan other-TAG',
    /driver 'ipvlan' is not supported: overlay, bridge, macvlan and/,
  ),
  refused('network create -d macvlan other-TAG', /option parent: a device of the nodes is needed/),
  run(`${CREATE} --name on-net-TAG --network net-TAG ${IMAGE}`),
  run('network inspect --verbose net-TAG', /"on-net-v\d+": \{\s+"VIP": "10\./),
  run('network inspect net-TAG', /"Name": "on-net-v\d+\.1\.\w{25}"[\s\S]*"Peers": \[/),
  refused('network rm net-TAG', /is in use by service on-net-/),
  refused('network connect net-TAG nosuch', NOT_FOUND),
  run('service rm on-net-TAG'),
  run('network create -d overlay --label by=TAG idle-TAG'),
  run('network rm net-TAG', /^net-v\d+$/m),
  run('network prune --force --filter label=by=TAG', /Deleted Networks:\nidle-v\d+/),
  refused('network inspect idle-TAG', NOT_FOUND),
]);

group('a service on the node’s own network', [
  run(`${CREATE} --name own-TAG --network host --entrypoint /bin/sleep ${IMAGE} 1000`),
  run('service inspect --pretty own-TAG', /Networks: host/),
  run('service inspect own-TAG --format', /"Target":"host0+"/, '{{json .Spec.TaskTemplate.Networks}}'),
  run('ps --filter network=host --format {{.Names}}', /^own-v\d+\.1\.\w+$/m),
  run('service update --quiet --network-rm host own-TAG'),
  run('service inspect own-TAG --format', /^(null|\[\])?$/m, '{{json .Spec.TaskTemplate.Networks}}'),
  refused(
    `${CREATE} --name bad-TAG --network host -p 8099:80 ${IMAGE}`,
    /ingress mode can't be used with network host/,
  ),
  run('service rm own-TAG'),
]);

group('secrets and configs', [
  fed('swordfish', 'secret create --label by=TAG key-TAG -', /^\w{25}$/m),
  run('secret ls --filter label=by=TAG --format {{.Name}}', /^key-v\d+$/m),
  run('secret inspect --pretty key-TAG', /Name:\s+key-/),
  refused('secret inspect nosuch', NOT_FOUND),
  fed('colour=red', 'config create conf-TAG -', /^\w{25}$/m),
  run('config inspect --pretty conf-TAG', /colour=red/),
  run(
    `${CREATE} --name files-TAG --secret key-TAG --config source=conf-TAG,target=/conf --entrypoint /bin/sleep ${IMAGE} 1000`,
  ),
  refused('secret rm key-TAG', /is in use by the following service: files-/),
  run('service rm files-TAG'),
  run('config rm conf-TAG', /^conf-v\d+$/m),
  run('secret rm key-TAG', /^key-v\d+$/m),
]);

group('services', [
  run(`${CREATE} --name web-TAG --replicas 2 --label by=TAG ${IMAGE}`, /^\w{25}$/m),
  run('service ls --filter name=web-TAG', /replicated +2\/2 +shoal\/example:latest/),
  run('service ps web-TAG', /web-v\d+\.1 +shoal\/example:latest +a[12] +Running/),
  run(
    'service inspect --pretty web-TAG',
    /Service Mode:\s+Replicated[\s\S]*Replicas:\s+2[\s\S]*Endpoint Mode:\s+vip/,
  ),
  run('service scale web-TAG=3', /web-v\d+ scaled to 3/),
  run('service update --quiet --env-add A=b web-TAG', /^web-v\d+$/m),
  run('service inspect --format {{.UpdateStatus.State}} web-TAG', /^completed$/m),
  run('service rollback --quiet web-TAG', /^web-v\d+$/m),
  run('service inspect --format {{.Spec.TaskTemplate.ContainerSpec.Env}} web-TAG', /^\[\]$/m),
  run('service logs --tail 1 web-TAG'),
  run('inspect --type service --format {{.Spec.Name}} web-TAG', /^web-v\d+$/m),
  refused(`${CREATE} --name web-TAG ${IMAGE}`, /name conflicts with an existing object/),
  refused('service inspect nosuch', NOT_FOUND),
  refused('service ls --filter colour=red', /invalid filter 'colour'/),
  run('service rm web-TAG', /^web-v\d+$/m),
]);

const COMPOSE = `version: "3.8"
services:
  web: { image: ${IMAGE}, networks: [front], deploy: { replicas: 2, update_config: { monitor: 300ms } }, stop_grace_period: 1s }
  own: { image: ${IMAGE}, entrypoint: [/bin/sleep, "1000"], networks: [outside], stop_grace_period: 1s }
networks:
  front: {}
  outside: { external: true, name: host }
`;

test('stacks, one of their services on the node’s own network', async (t, scene) => {
  const file = path.join(scene.swarm.layout.stateDir, `compose-${scene.tag}.yaml`);
  await writeFile(file, COMPOSE);
  await perform(t, scene, [
    run(`stack deploy --resolve-image never -c ${file} st-TAG`, /Creating service st-v\d+_web/),
    run('stack ls', /st-v\d+ +2/),
  ]);
  await scene.swarm.eventually(
    (s) => s.running(`st-${scene.tag}_web`).count === 2 && s.running(`st-${scene.tag}_own`).count === 1,
  );
  await perform(t, scene, [
    run('stack services st-TAG', /st-v\d+_web +replicated +2\/2/),
    run('stack ps st-TAG', /st-v\d+_own\.1/),
    run('service inspect --pretty st-TAG_own', /Networks: host/),
    run('stack rm st-TAG', /Removing service st-v\d+_web/),
  ]);
});

test('exec, logs, top, pause and kill of a container', async (t, scene) => {
  const { docker, tag } = scene;
  const create = [...CREATE.split(' '), '--name', `box-${tag}`, '--entrypoint', '/bin/sh', IMAGE];
  await docker.ok(...create, '-c', 'echo hello; exec sleep 1000');
  const id = await docker.ok('ps', '-q', '--filter', `name=box-${tag}.`);
  await perform(t, scene, [
    run(`exec ${id} cat /etc/hostname`, new RegExp(`^${id}$`, 'm')),
    { ...refused(`exec ${id} /no/such`, /./), says: /no such file|not found/i },
    fed('a\nb\n', `exec -i ${id} wc -l`, /^2$/m),
    run(`logs ${id}`, /^hello$/m),
    run(`top ${id}`, /sleep 1000/),
    run(`top ${id} -eo pid,comm,args`, /^PID +COMMAND +COMMAND\n\d+ +sleep +sleep 1000$/m),
    refused(`top ${id} -o nosuch`, /ps_args "-o nosuch" \(-ef and aux are, and -o with pid, /),
    run(`pause ${id}`),
    run(`ps --filter id=${id} --format {{.Status}}`, /\(Paused\)/),
    run(`unpause ${id}`),
    run(`stats --no-stream --format {{.Name}} ${id}`, /box-/),
    run(`kill ${id}`),
    run('service rm box-TAG'),
  ]);
});

test('events: live with a filter, and the past with since and until', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const name = `seen-${tag}`;
  const format = ['--format', '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}'];
  const listeners = async (): Promise<number> => {
    const { body } = await swarm.api('GET', '/info');
    return (body as { NEventsListener: number }).NEventsListener;
  };
  const before = await listeners();
  const live = docker.follow(['events', '--filter', `service=${name}`, ...format], /service remove .+\n/);
  await swarm.eventually(async () => (await listeners()) === before + 1);
  await docker.ok(...CREATE.split(' '), '--name', name, '--entrypoint', '/bin/sleep', IMAGE, '1000');
  const id = await docker.ok('ps', '-q', '--filter', `name=${name}.`);
  await docker.ok('exec', id, 'true');
  await docker.ok('pause', id);
  await docker.ok('unpause', id);
  await docker.ok('service', 'rm', name);
  t.regex(
    await live,
    new RegExp(`^service create ${name}\\n(service update ${name}\\n)*service remove ${name}$`, 'm'),
  );
  await swarm.eventually(async () => (await listeners()) === before);
  // clients make whole seconds of durations
  const span = (): string[] => ['--since', '5m', '--until', String(Math.ceil(Date.now() / 1000) + 1)];
  const past = (...more: string[]): Promise<string[]> =>
    docker.lines('events', ...span(), '--filter', `container=${name}`, ...more);
  await swarm.eventually(async () => (await past('--format', '{{.Action}}')).includes('destroy'));
  const actions = await past('--format', '{{.Action}}');
  const wanted = [
    'create',
    'start',
    'exec_create: true',
    'exec_start: true',
    'exec_die',
    'pause',
    'unpause',
    'die',
    'destroy',
  ];
  t.deepEqual(
    wanted.filter((action) => !actions.includes(action)),
    [],
    actions.join(', '),
  );
  t.deepEqual(await past('--filter', 'event=pause', '--format', '{{.Action}}'), ['pause']);
  t.deepEqual(await past('--filter', 'event=exec_die', '--format', '{{.Actor.Attributes.exitCode}}'), ['0']);
  t.deepEqual(await past('--filter', 'type=volume'), []);
  const network = await docker.lines(
    ...['events', ...span(), '--filter', 'type=network', '--filter', 'network=ingress'],
    ...['--format', '{{.Action}}'],
  );
  t.true(network.includes('connect') && network.includes('disconnect'), network.join(', '));
});

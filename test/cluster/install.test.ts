/** install.sh on a host with systemd, and what its units promise: containers go on. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createWriteStream } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import test, { type ExecutionContext } from 'ava';
import { imageArchive } from '../../agent/image/build-tar.ts';
import { buildExampleImage, EXAMPLE_IMAGE } from '../../deploy/local/example-image.ts';
import { PROJECT_ROOT } from '../../deploy/local/project.ts';
import { makeRelease } from '../../deploy/release/release.ts';
import { delay } from '../../shared/lib/abort.ts';
import { noSystemdHost, SystemdHost } from '../harness/systemd-host.ts';

const signal = new AbortController().signal;
const hostTest = noSystemdHost() === undefined ? test.serial : test.serial.skip;
let directory = '';

test.before(async () => {
  if (noSystemdHost() !== undefined) return;
  directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-host-'));
  const share = path.join(directory, 'share');
  await mkdir(path.join(share, 'images'), { recursive: true });
  await makeRelease({ root: PROJECT_ROOT, outDir: share, epochSeconds: 1_700_000_000 }, signal);
  const image = imageArchive([await buildExampleImage()]);
  await pipeline(image, createWriteStream(path.join(share, 'images/example.tar')));
  const web = `services:\n  web:\n    image: ${EXAMPLE_IMAGE}\n    deploy: { replicas: 2 }\n`;
  await writeFile(path.join(share, 'web.yaml'), web);
});

test.after.always(() => directory !== '' && rm(directory, { recursive: true, force: true }));

/** Runs it and insists on success. */
async function done(t: ExecutionContext, host: SystemdHost, command: string): Promise<string> {
  const { code, output } = await host.sh(command);
  t.is(code, 0, `${command}: ${output}`);
  return output.trim();
}

/** Process ids of the containers' monitors in the host, sorted: those that wait for a container to come have no child. */
async function monitors(host: SystemdHost): Promise<string> {
  const parents = 'for pid in $(pgrep -x shoal-monitor); do pgrep -P "$pid" >/dev/null && echo "$pid"; done';
  return (await host.sh(`${parents} | sort | xargs`)).output.trim();
}

async function until(t: ExecutionContext, host: SystemdHost, command: string): Promise<void> {
  let last = '';
  for (let tries = 0; tries < 120; tries += 1) {
    const { code, output } = await host.sh(command);
    if (code === 0) return;
    last = output;
    await delay(500, signal);
  }
  const logs = await host.sh('tail -n 5 /var/log/shoal-*.log');
  t.fail(`never: ${command}: ${last}\n${logs.output}`);
}

const RUNNING = 'shoal status | grep -q "app_web *2/2"';

hostTest(
  'a manager, then a node by the command that it prints; containers outlive restarts and an upgrade',
  async (t) => {
    await using host = await SystemdHost.boot(directory);
    await done(t, host, 'cd /share && tar -xzf shoal-*.tar.gz -C /tmp && mv /tmp/shoal-* /tmp/release');
    await done(
      t,
      host,
      '/tmp/release/deploy/install.sh manager --advertise 10.9.9.1:7370 --no-prerequisites',
    );
    const command = (await done(t, host, 'shoal token agent')).replace(/^sudo /, '').replace(/'$/, '');
    await done(t, host, `SHOAL_NO_PREREQUISITES=1 ${command} -- --preload-images /share/images'`);
    t.not((await host.sh('ls /etc/shoal/join-token')).code, 0, 'the token is removed once it has joined');
    t.notRegex(await done(t, host, 'cat /etc/shoal/agent.env'), /JOIN/);
    await done(t, host, 'shoal deploy -c /share/web.yaml app');
    const before = await monitors(host);
    t.is(before.split(' ').length, 2);

    await done(t, host, 'systemctl restart shoal-agent shoal-manager');
    await until(t, host, RUNNING);
    t.is(await monitors(host), before, 'after a restart of both units');

    const agentPid = 'systemctl show --property=MainPID --value shoal-agent';
    const oldAgent = await done(t, host, agentPid);
    // the same release with another version is a newer one as far as installing goes
    await done(
      t,
      host,
      'sed -i "s/\\"version\\": .*/\\"version\\": \\"9.0.0\\",/" /tmp/release/package.json',
    );
    await done(
      t,
      host,
      'cd /tmp/release && cut -c67- MANIFEST | xargs -d "\\n" sha256sum >/tmp/M && mv /tmp/M MANIFEST',
    );
    await done(t, host, '/tmp/release/deploy/install.sh upgrade --no-prerequisites');
    t.is(await done(t, host, 'readlink /opt/shoal/current'), 'releases/9.0.0');
    await until(t, host, RUNNING);
    t.not(await done(t, host, agentPid), oldAgent, 'the new release runs');
    t.is(await monitors(host), before, 'after the upgrade');

    await done(t, host, '/opt/shoal/current/deploy/install.sh uninstall');
    t.is(await monitors(host), before, 'after the program is gone');
    await done(t, host, '/tmp/release/deploy/install.sh manager --no-prerequisites');
    await done(t, host, '/tmp/release/deploy/install.sh agent --no-prerequisites');
    await until(t, host, RUNNING);
    t.is(await monitors(host), before, 'after it is back');

    await done(t, host, '/opt/shoal/current/deploy/install.sh uninstall --purge');
    t.is(await monitors(host), '');
    await until(t, host, '! pgrep -x shoal-monitor');
    const left =
      'ls -d /opt/shoal /etc/shoal /var/lib/shoal /run/shoal /usr/local/bin/shoal /etc/systemd/system/shoal-*.service';
    t.notRegex((await host.sh(`${left} 2>/dev/null`)).output, /shoal/);
    t.is(
      (await host.sh('find /sys/fs/cgroup -name "shoal-local*"; ip netns; nft list tables | grep shoal'))
        .output,
      '',
    );
  },
);

hostTest('a machine that goes down stops its containers first, each as it wants to be stopped', async (t) => {
  await using host = await SystemdHost.boot(directory);
  await done(t, host, 'cd /share && tar -xzf shoal-*.tar.gz -C /tmp && mv /tmp/shoal-* /tmp/release');
  const install = '/tmp/release/deploy/install.sh';
  await done(t, host, `${install} manager --advertise 10.9.9.1:7370 --no-prerequisites`);
  const joining = '--manager 10.9.9.1:7370 --join "$(shoal token)"';
  await done(t, host, `${install} agent --no-prerequisites ${joining} -- --preload-images /share/images`);
  // One does what it is asked to, the other never hears of it.
  const said = path.join(directory, 'share/said');
  await mkdir(said);
  const script =
    'trap "echo asked >/said/polite; exit" INT; echo up >/said/polite; while :; do sleep 0.1; done';
  const stack = {
    services: {
      polite: service(['sh', '-c', script], {
        stop_signal: 'SIGINT',
        stop_grace_period: '30s',
        volumes: ['/share/said:/said'],
      }),
      deaf: service(['sleep', '1000'], { stop_grace_period: '1s' }),
    },
  };
  await writeFile(path.join(directory, 'share/pair.yaml'), JSON.stringify(stack));
  await done(t, host, 'shoal deploy -c /share/pair.yaml pair');
  await until(t, host, 'grep -q up /share/said/polite && shoal status | grep -q "pair_deaf *1/1"');
  const tookMs = await host.shutDown();
  t.is(await readFile(path.join(said, 'polite'), 'utf8'), 'asked\n');
  t.true(tookMs < 60_000, `systemd ends what is left after 90 s; it took ${tookMs} ms`);
});

function service(command: readonly string[], more: object): object {
  return { image: EXAMPLE_IMAGE, entrypoint: command, ...more };
}

hostTest('a unit that does not come up fails the installation, which says where to look', async (t) => {
  await using host = await SystemdHost.boot(directory);
  await done(t, host, 'cd /share && tar -xzf shoal-*.tar.gz -C /tmp && mv /tmp/shoal-* /tmp/release');
  await done(t, host, 'sed -i "s/START_SECONDS=60/START_SECONDS=3/" /tmp/release/deploy/install.sh');
  await done(
    t,
    host,
    'cd /tmp/release && cut -c67- MANIFEST | xargs -d "\\n" sha256sum >/tmp/M && mv /tmp/M MANIFEST',
  );
  const { code, output } = await host.sh(
    '/tmp/release/deploy/install.sh manager --no-prerequisites -- --bogus',
  );
  t.is(code, 1);
  t.regex(output, /shoal-manager does not come up.*journalctl -u shoal-manager/);
});

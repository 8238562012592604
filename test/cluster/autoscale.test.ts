/** A service whose containers compute when they are asked to: real control groups, real clients, a manager that is killed. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { parseMetrics, sample } from '../unit/metrics/scrape.ts';

/** Computes while the file is there; a tenth of a processor at most, which is twice what is reserved. */
const SCRIPT =
  'while :; do if test -f /gate/busy; then i=0; while test $$i -lt 2000; do i=$$((i+1)); done; else sleep 1; fi; done';

const stack = (gate: string, label: string): string => `
version: '3.9'
services:
  web:
    image: shoal/example:latest
    entrypoint: [/bin/sh, -c, '${SCRIPT}']
    stop_grace_period: 1s
    volumes: ['${gate}:/gate']
    deploy:
      replicas: 1
      resources: {reservations: {cpus: '0.05'}, limits: {cpus: '0.1'}}
      labels:
        test: '${label}'
        shoal.autoscale.max: '3'
        shoal.autoscale.cpu: '60'
        shoal.autoscale.cool-down: 5s
`;

interface Shown {
  readonly Spec: {
    readonly Labels: Record<string, string>;
    readonly Mode: { readonly Replicated: { readonly Replicas: number } };
  };
  readonly PreviousSpec?: object;
  readonly Autoscale: {
    readonly MeasuredTasks: number;
    readonly Metrics: readonly { readonly Current?: number }[];
    readonly LastChange?: { readonly Replicas: number; readonly Reason: string };
  };
}

async function shown(swarm: TestCluster): Promise<Shown> {
  return (await swarm.api('GET', '/services/s_web')).body as Shown;
}

async function metric(
  swarm: TestCluster,
  name: string,
  labels: Record<string, string> = {},
): Promise<number> {
  return sample(parseMetrics(String((await swarm.api('GET', '/metrics')).body)), name, labels);
}

test('more load, more tasks; less load, fewer; clients, a killed manager and an idle cluster', async (t) => {
  await using swarm = await cluster().manager().agents(2).up();
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-autoscale-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const file = path.join(directory, 'compose.yaml');
  const gate = path.join(directory, 'busy');
  const deploy = async (label: string): Promise<void> => {
    await writeFile(file, stack(directory, label));
    await swarm.docker('stack', 'deploy', '--resolve-image', 'never', '-c', file, 's');
  };
  const number = async (): Promise<number> => (await shown(swarm)).Spec.Mode.Replicated.Replicas;

  await deploy('one');
  await swarm.eventually(async () => (await shown(swarm)).Autoscale.MeasuredTasks === 1, { within: 60_000 });
  const before = await metric(swarm, 'shoal_store_revision');
  const reports = (): Promise<number> => metric(swarm, 'shoal_dispatcher_usages_total', { verdict: 'keep' });
  const heard = await reports();
  await swarm.eventually(async () => (await reports()) >= heard + 1);
  t.is(await metric(swarm, 'shoal_store_revision'), before, 'what is measured is written nowhere');
  t.is(await number(), 1);

  await writeFile(gate, '');
  await swarm.eventually((s) => s.running('s_web').count === 3, { within: 120_000 });
  const busy = await shown(swarm);
  t.is(busy.Spec.Mode.Replicated.Replicas, 3);
  t.is(busy.PreviousSpec, undefined, 'no revision was made');
  t.regex(busy.Autoscale.LastChange?.Reason ?? '', /^mean cpu use was \d+ %, the target is 60 %$/);
  t.regex(await swarm.docker('service', 'ls', '--format', '{{.Name}} {{.Replicas}}'), /s_web 3\/3/);
  t.is(await metric(swarm, 'shoal_service_replicas_desired', { service: 's_web' }), 3);

  await swarm.manager.restart();
  await swarm.eventually(async () => (await shown(swarm)).Autoscale.MeasuredTasks === 3, { within: 60_000 });
  t.is(await number(), 3);
  await deploy('two');
  const again = await shown(swarm);
  t.is(again.Spec.Labels['test'], 'two');
  t.is(again.Spec.Mode.Replicated.Replicas, 3, 'the file says 1, as it always did');
  await swarm.docker('service', 'update', '--detach', '--label-add', 'test=three', 's_web');
  t.is(await number(), 3);
  await t.throwsAsync(swarm.docker('service', 'scale', '--detach', 's_web=4'), {
    message: /replicas: 4 is not allowed: shoal\.autoscale\.min and \.max say 1 to 3/,
  });
  await rm(gate);
  await swarm.eventually((all) => all.tasks('s_web').count === 1 && all.running('s_web').count === 1, {
    within: 120_000,
  });
  t.like((await shown(swarm)).Autoscale.LastChange, { Replicas: 1 });
  await swarm.docker('service', 'scale', '--detach', 's_web=2');
  t.like((await shown(swarm)).Autoscale.LastChange, { Replicas: 2, Reason: 'set by a user' });
  await swarm.eventually((all) => all.running('s_web').count === 2);
});

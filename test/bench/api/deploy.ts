/** A stack of 20 services: from the start of the command that deploys it until a task of each runs. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { quantile, report } from '../report.ts';
import type { Side } from './side.ts';

const SERVICES = 20;
const ROUNDS = 3;

interface Task {
  readonly Status: { readonly State: string };
}

/** Milliseconds of each round. */
export async function measureDeploy(side: Side): Promise<number[]> {
  const directory = await mkdtemp(path.join(tmpdir(), 'shoal-test-stack-'));
  try {
    const file = path.join(directory, 'compose.yaml');
    await writeFile(file, composeFile(side.image));
    const took: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) took.push(await deployOnce(side, file, `round${round}`));
    return took;
  } finally {
    await rm(directory, { recursive: true });
  }
}

export function reportDeploy(ours: readonly number[], peer: readonly number[] | undefined): void {
  const theirs = peer === undefined ? undefined : quantile(peer, 0.5);
  report(`stack-of-${SERVICES}-deploy-to-running-p50`, quantile(ours, 0.5), theirs, 'ms');
}

async function deployOnce(side: Side, file: string, stack: string): Promise<number> {
  const begin = performance.now();
  const [, took] = await Promise.all([
    side.deploy(file, stack),
    side
      .until(`${stack} runs`, async () => (await running(side, stack)) === SERVICES)
      .then(() => performance.now() - begin),
  ]);
  for (const service of await services(side, stack)) await side.remove(`/services/${service.ID}`);
  const none = async (): Promise<boolean> => ((await side.get('/containers/json')) as unknown[]).length === 0;
  await side.until('the containers are gone', none);
  return took;
}

async function running(side: Side, stack: string): Promise<number> {
  const tasks = (await side.get(`/tasks?filters=${ofStack(stack)}`)) as Task[];
  return tasks.filter((task) => task.Status.State === 'running').length;
}

async function services(side: Side, stack: string): Promise<{ ID: string }[]> {
  return (await side.get(`/services?filters=${ofStack(stack)}`)) as { ID: string }[];
}

function ofStack(stack: string): string {
  return encodeURIComponent(JSON.stringify({ label: [`com.docker.stack.namespace=${stack}`] }));
}

/** They end at SIGTERM by themselves, so that no grace period is measured between the rounds. */
function composeFile(image: string): string {
  const service = (number: number): string =>
    [
      `  service${number}:`,
      `    image: ${image}`,
      `    entrypoint: ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"]`,
      `    networks: [middle]`,
      `    environment: { NUMBER: "${number}" }`,
    ].join('\n');
  const all = Array.from({ length: SERVICES }, (_, index) => service(index + 1));
  return `version: "3.8"\nservices:\n${all.join('\n')}\nnetworks:\n  middle: {}\n`;
}

/** The example stack: deployed at the end of `up`, and asked until replicas on several nodes have answered. */
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { z } from 'zod';
import { delay } from '../../shared/lib/abort.ts';
import { UnavailableError } from '../../shared/errors/index.ts';
import { ConvergenceError, putStack, stackServices, tasksOf, waitForStack } from '../cli/stack.ts';
import type { ApiClient } from '../cli/client.ts';
import { EXAMPLE_STACK } from './project.ts';

export const EXAMPLE_NAME = 'example';
export const EXAMPLE_PORT = 8080;
export const EXAMPLE_IMAGE_FILE = 'example.tar';

const DEPLOY_TIMEOUT_MS = 120_000;
const ANSWER_TIMEOUT_MS = 30_000;

/** Deploys it and resolves once it runs. `say` hears how it goes. */
export async function deployExample(
  api: ApiClient,
  port: number,
  say: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const yaml = (await readFile(EXAMPLE_STACK, 'utf8')).replace('"8080:80"', `"${port}:80"`);
  const warnings = await putStack(api, EXAMPLE_NAME, yaml, { prune: true }, signal);
  for (const warning of warnings) say(`warning: ${warning.message}`);
  const options = {
    timeoutMs: DEPLOY_TIMEOUT_MS,
    onChange: (service: string, text: string) => say(`        ${service}: ${text}`),
  };
  await waitForStack(api, EXAMPLE_NAME, options, signal);
}

/** One answer over a connection of its own, without the line's end. */
function get(url: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent: false, signal, timeout: 5_000 }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8').trim();
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`status ${response.statusCode}`));
      });
      response.on('error', reject);
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer within 5 s')));
    outgoing.on('error', reject);
    outgoing.end();
  });
}

export interface Answers {
  readonly requests: number;
  /** What was answered, and how often. */
  readonly counts: ReadonlyMap<string, number>;
}

/** Asks until `distinct` different answers were seen; rejects with ConvergenceError when that takes too long. */
export async function askExample(port: number, distinct: number, signal: AbortSignal): Promise<Answers> {
  const counts = new Map<string, number>();
  const timeout = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
  const both = AbortSignal.any([signal, timeout]);
  let requests = 0;
  let lastError = 'no answer';
  while (counts.size < distinct || requests < 12) {
    signal.throwIfAborted();
    if (timeout.aborted) {
      const seen = counts.size === 0 ? lastError : `only ${[...counts.keys()].join(', ')} answered`;
      throw new ConvergenceError(
        `http://localhost:${port} does not answer from ${distinct} replicas: ${seen}`,
      );
    }
    try {
      const text = await get(`http://localhost:${port}/`, both);
      requests += 1;
      counts.set(text, (counts.get(text) ?? 0) + 1);
    } catch (error) {
      lastError = error instanceof Error ? error.message : String(error);
      await delay(200, both).catch(() => undefined);
    }
  }
  return { requests, counts };
}

const nodesSchema = z.array(z.object({ ID: z.string(), Description: z.object({ Hostname: z.string() }) }));

/** The node of each running replica of the example's web service, by the first 12 digits of its container's id. */
export async function exampleNodes(api: ApiClient, signal: AbortSignal): Promise<Map<string, string>> {
  const services = await stackServices(api, EXAMPLE_NAME, signal);
  const web = services.filter((service) => service.Spec.Name === `${EXAMPLE_NAME}_web`);
  if (web.length === 0) throw new UnavailableError(`the stack ${EXAMPLE_NAME} has no service web`);
  const nodes = nodesSchema.parse(await api.get('/nodes', signal));
  const names = new Map(nodes.map((node) => [node.ID, node.Description.Hostname]));
  const found = new Map<string, string>();
  for (const { Status, NodeID } of await tasksOf(api, web, signal)) {
    const container = Status.ContainerStatus?.ContainerID?.slice(0, 12);
    if (Status.State === 'running' && container !== undefined)
      found.set(container, names.get(NodeID ?? '') ?? '?');
  }
  return found;
}

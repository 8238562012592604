/** For tests of bad input: an API with something of everything in it, and clients that do not keep to the rules. */
import { request } from 'node:http';
import { connect } from 'node:net';
import { z } from 'zod';
import type { ApiOptions } from '../../../manager/api/index.ts';
import { JSON_TYPE, type Operation } from '../../../manager/api/openapi/operation.ts';
import { OPERATIONS } from '../../../manager/api/openapi/operations.ts';
import { NotFoundError } from '../../../shared/errors/index.ts';
import type { ContainerInfo } from '../../../shared/model/node-methods/index.ts';
import { parseValue } from '../../../shared/wire/frames.ts';
import { methodSchemas, streamSchemas } from '../../../shared/wire/node-methods/index.ts';
import { type Answer, ApiFixture, type Json } from './fixture.ts';
import { containerInfo } from './samples.ts';
import { furnish, IMAGE, VOLUME } from './hostile-node.ts';

const DEADLINE_MS = 30_000;
const EXEC_ID = `00000001${'e'.repeat(56)}`;

/** Names and ids of what there is, by the first part of a path. */
export type Known = Readonly<Record<string, string>>;

export interface Target {
  readonly api: ApiFixture;
  readonly known: Known;
}

/** What nodes answer of containers. */
const NODE_ANSWERS: Readonly<Record<string, unknown>> = {
  'container.kill': {},
  'container.stop': { stopped: false },
  'container.update': {},
  'container.pause': {},
  'container.unpause': {},
  'container.wait': { exitCode: 0 },
  'container.top': { titles: ['PID'], processes: [['1']] },
  'container.sample': {},
  'exec.create': {},
  'exec.start': {},
  'exec.resize': {},
  'exec.inspect': {
    spec: {
      execId: EXEC_ID,
      containerId: 'c'.repeat(64),
      args: ['ls'],
      env: [],
      user: '',
      workingDir: '',
      tty: false,
      attachStdin: false,
      attachStdout: true,
      attachStderr: true,
    },
    state: 'created',
    pid: 0,
  },
};

/** A service, its tasks and container, a network, a secret, a config and a stack. Nodes check what they are asked. */
export async function target(more: Partial<ApiOptions> = {}): Promise<Target> {
  const gateway: { current?: ApiOptions['gateway'] } = {};
  const inner = (): ApiOptions['gateway'] => gateway.current as ApiOptions['gateway'];
  const answerOf: ApiOptions['gateway']['call'] = async (nodeId, method, params, signal): Promise<Json> => {
    const known = ['container.list', 'container.inspect'].includes(method);
    if (known || api.nodes.get(nodeId)?.answers.has(method) === true)
      return inner().call(nodeId, method, params, signal);
    throw new NotFoundError(`the node has nothing for ${method}`);
  };
  const checking: ApiOptions['gateway'] = {
    connected: (nodeId) => gateway.current?.connected(nodeId) === true,
    call: async (nodeId, method, params, signal): Promise<Json> => {
      parseValue(methodSchemas[method].params as never, params, `${method}: params`);
      return parseValue<Json>(
        methodSchemas[method].result as never,
        await answerOf(nodeId, method, params, signal),
        method,
      );
    },
    stream: (nodeId, method, params, signal) => {
      parseValue(streamSchemas[method] as never, params, `${method}: params`);
      return inner().stream(nodeId, method, params, signal);
    },
    duplex: async function* (nodeId, method, params, input, signal) {
      parseValue(streamSchemas[method] as never, params, `${method}: params`);
      const node = api.nodes.get(nodeId);
      if (node?.answers.has(method) !== true && node?.duplex === undefined)
        throw new NotFoundError('the node has nothing');
      yield* inner().duplex(nodeId, method, params, input, signal);
    },
  };
  const api = await ApiFixture.up(2, { gateway: checking, ...more });
  gateway.current = api.gateway();
  api.mostTasks = 3;
  for (const [id, node] of api.nodes) {
    furnish(node, id === 'nodea2');
    for (const [method, answer] of Object.entries(NODE_ANSWERS)) node.answers.set(method, () => answer);
  }
  const known = await fill(api);
  return { api, known };
}

async function fill(api: ApiFixture): Promise<Known> {
  const made = async (path: string, body: object, expected = 201): Promise<Json> => {
    const { status, json } = await api.send('POST', path, body);
    if (status !== expected) throw new Error(`${path}: ${status} ${json.message}`);
    return json;
  };
  await made('/networks/create', { Name: 'front' });
  await made('/secrets/create', { Name: 'token', Data: 'eA==' });
  await made('/configs/create', { Name: 'motd', Data: 'eA==' });
  const web = { Name: 'web', TaskTemplate: { ContainerSpec: { Image: 'busybox' } } };
  await made('/services/create', web);
  await made('/users', { Name: 'bob', Role: 'viewer' });
  const yaml = { 'content-type': 'application/yaml' };
  // So that 1 is not the newest version of anything.
  const { Version, Spec } = await api.get('/swarm');
  await made(`/swarm/update?version=${Version.Index}`, Spec, 200);
  const { Id: single } = await made('/containers/create?name=box', { Image: IMAGE, Cmd: ['sleep', '9'] });
  const deployed = await api.send('PUT', '/stacks/shop', 'services: {shop: {image: busybox}}', yaml);
  if (deployed.status !== 200) throw new Error(deployed.json.message);
  const [id = ''] = api.store.tasksOfService(api.store.get('names', 'service:web')?.id ?? '');
  const container = api.store.get('statuses', id)?.container?.containerId ?? '';
  const nodeId = api.store.get('tasks', id)?.nodeId ?? '';
  api.nodes.get(nodeId)?.containers.push(containerOf(container, id));
  return {
    nodes: 'nodea1',
    services: 'web',
    tasks: id,
    networks: 'front',
    secrets: 'token',
    configs: 'motd',
    containers: container,
    single,
    images: IMAGE,
    distribution: IMAGE,
    volumes: VOLUME,
    exec: EXEC_ID,
    stacks: 'shop',
    users: 'bob',
  };
}

function containerOf(id: string, taskId: string): ContainerInfo {
  const program = { image: 'busybox', path: 'sleep', args: ['9'] };
  return containerInfo({ id, taskId, name: 'web.1', startedAtMs: 1, ...program });
}

/** `value` for every parameter of the path, by name. */
export function pathFor(operation: Operation, value: (name: string) => string): string {
  return operation.path.replaceAll(/[:*](\w+)/g, (_, name: string) => value(name));
}

/** The path of what there is, or of what there is not. `single`: of the single container, not of a service's. */
export function knownPath(operation: Operation, known: Known, single = false): string {
  const [, first = ''] = operation.path.split('/');
  const kind = single && first === 'containers' ? 'single' : first;
  return pathFor(operation, (name) => (name === 'revision' ? '1' : (known[kind] ?? 'none')));
}

/** What some filter may take for a time, a duration, a pattern, a port, a label, an image or a name, or may trip over. */
export const ODD_FILTER_VALUES: readonly string[] = [
  ...['[z-a]', '[', `${'*a'.repeat(30)}b`, '(a+)+$', '\\\\', '(?=a)', 'a{99999}', '**', 'é', '\u0000'],
  ...['a=b=c', '=', 'true', '1', '-1', '8-1', '80/x', '99999', '__proto__', 'constructor', ''],
  ...['24h', '1e9h', '9'.repeat(30), '2020-13-45', '1.2.3', 'sha256:', '@', ':', 'a/b', 'A', 'a:b:c'],
  ...['busybox', 'web', 'box', 'self', 'running', 'data'],
];

/** The filters that the endpoint knows. */
export function filterNames({ query = {} }: Operation): string[] {
  const { filters } = query;
  return filters instanceof z.ZodObject ? Object.keys(filters.shape) : [];
}

export interface Sent {
  readonly method: string;
  readonly path: string;
  readonly body?: Buffer | string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One request on a connection of its own. What streams is left as soon as its head is there. Rejects when it hangs. */
export function probe(api: ApiFixture, { method, path, body, headers = {} }: Sent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // Node's client would send the body of a GET without saying how long it is.
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    const options = {
      socketPath: api.socket,
      method,
      path,
      headers: { ...headers, ...length },
      agent: false,
    };
    const req = request(options, (res) => {
      const parts: Buffer[] = [];
      const settle = (): void => {
        clearTimeout(timer);
        const all = Buffer.concat(parts);
        resolve({ status: res.statusCode ?? 0, headers: res.headers, body: all, json: tryJson(all) });
      };
      res.on('data', (part: Buffer) => parts.push(part)).on('end', settle);
      res.on('error', reject);
      if (res.statusCode === 200 && streams(method, path)) {
        settle();
        req.destroy();
      }
    });
    const timer = setTimeout(() => {
      reject(new Error(`hung: ${method} ${path} ${String(body).slice(0, 2000)}`));
      req.destroy();
    }, DEADLINE_MS);
    req.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    req.end(body);
  });
}

/** Bytes as they are, on a connection of its own. Resolves with all that came back once the manager closes, or `until`. */
export function raw(
  api: ApiFixture,
  bytes: string | Buffer,
  { end = false, until }: { end?: boolean; until?: RegExp } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = '';
    const socket = connect({ path: api.socket, allowHalfOpen: true });
    const settle = (error?: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      if (error === undefined) resolve(received);
      else reject(error);
    };
    const timer = setTimeout(() => settle(new Error(`hung; received only: ${received}`)), DEADLINE_MS);
    socket.setEncoding('latin1').on('data', (text: string) => {
      received += text;
      if (until?.test(received) === true) settle();
    });
    // Cut off while it still writes: what came until then counts.
    socket.on('error', () => settle());
    socket.on('end', () => settle());
    socket.write(bytes);
    if (end) socket.end();
  });
}

/** Those that a path may mean: /services/create fits /services/:id as well. */
export function operationsAt(method: string, path: string): Operation[] {
  const bare = path.replace(/\?.*$/s, '').replace(/^\/v1\.\d+(?=\/)/, '');
  return OPERATIONS.filter((operation) => {
    if (operation.method !== method.toLowerCase() && !(method === 'HEAD' && operation.method === 'get'))
      return false;
    const pattern = operation.path.replaceAll(/:\w+/g, '[^/]+').replaceAll(/\*\w+/g, '.+');
    return new RegExp(`^${pattern}/?$`, 'i').test(bare);
  });
}

function streams(method: string, path: string): boolean {
  return operationsAt(method, path).some(({ endless }) => endless === true);
}

/** What is wrong with an answer; undefined when it is as the document says. */
export function flaw({ method, path }: Sent, answer: Answer): string | undefined {
  const { status, headers, json } = answer;
  const operations = operationsAt(method, path);
  const documented = operations.flatMap(({ answers, errors }) => [
    ...Object.keys(answers).map(Number),
    ...errors,
  ]);
  // Of every path: a version that is not spoken, what can not be decoded, and what there is not.
  if (![...documented, 400, ...(operations.length === 0 ? [404] : [])].includes(status))
    return `${status} is not documented: ${answer.body.toString().slice(0, 500)}`;
  if (status === 500 && !/update out of sequence/.test(String(json?.message)))
    return `500 without a cause: ${answer.body.toString().slice(0, 500)}`;
  if (headers['x-request-id'] === undefined) return 'no X-Request-Id';
  if (method === 'HEAD' || status === 304) return undefined;
  if (status >= 400) {
    if (headers['content-type'] !== JSON_TYPE) return `an error as ${String(headers['content-type'])}`;
    if (typeof json?.message !== 'string' || json.message === '')
      return `no message: ${answer.body.toString()}`;
    return undefined;
  }
  const schemas = operations.flatMap(({ answers, endless }) =>
    endless === true ? [] : [answers[status]?.schema],
  );
  const fits = schemas.length === 0 || schemas.some((s) => s === undefined || s.safeParse(json).success);
  return fits ? undefined : `not as documented: ${answer.body.toString().slice(0, 500)}`;
}

function tryJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}

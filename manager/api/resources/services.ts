import { Router, type Request } from 'express';
import { z } from 'zod';
import { InvalidError } from '../../../shared/errors/index.ts';
import {
  isTerminal,
  type PublishedPort,
  type Service,
  type ServiceSpec,
  type Task,
} from '../../../shared/model/index.ts';
import type { Store } from '../../store/store.ts';
import { decodeServiceSpec } from '../codec/service-spec-codec.ts';
import { serviceText } from '../codec/json-text.ts';
import type { ApiContext } from '../context.ts';
import { zNamesHostConfig } from '../codec/host-config-codec.ts';
import { readJson } from '../http/body.ts';
import {
  passes,
  passesLabels,
  queryFilters,
  queryFlag,
  queryText,
  queryVersion,
  type Filters,
} from '../http/query.ts';
import { requestSignal, sendEmpty, sendJson, sendJsonText } from '../http/respond.ts';
import { sendJsonList } from '../http/send-list.ts';
import { respondLogs } from '../logs/respond.ts';
import { addressWarnings } from '../ops/absent-addresses.ts';
import { allowWarnings } from '../ops/allow-lists.ts';
import { canaryWarnings } from '../ops/canaries.ts';
import { currentSpec, findService, liveServices, specOf } from '../ops/service-reads.ts';
import { withoutNodeNetwork } from '../ops/node-networks.ts';
import { randomName } from '../ops/random-name.ts';
import { rollbackService } from '../ops/service-revisions.ts';
import { createService, removeService, updateService } from '../ops/services.ts';

export const FILTERS = ['id', 'label', 'mode', 'name', 'runtime'];
export const zRollback = z.enum(['', 'none', 'previous']);
export const zRegistryAuthFrom = z.enum(['', 'spec', 'previous-spec']);

/** Which runtime a service has is what we say: only one who has read it says so, too. */
const zAsRead = z.object({ TaskTemplate: z.object({ Runtime: z.literal('container') }) });

export function servicesRouter(ctx: ApiContext): Router {
  const router = Router();
  const { store } = ctx;

  router.get('/services', (req, res) => {
    const filters = queryFilters(req, FILTERS);
    const withStatus = queryFlag(req, 'status');
    return sendJsonList(res, listServices(ctx, filters, withStatus), ctx.signal);
  });

  router.post('/services/create', async (req, res) => {
    const { spec, warnings } = decodeServiceSpec(await readJson(req));
    const auth = registryAuth(req);
    const name = spec.name || randomName((tried) => store.get('names', `service:${tried}`) !== undefined);
    const wanted = { ...spec, name, ...(auth === undefined ? {} : { registryAuth: auth }) };
    const id = await createService(ctx, wanted, requestSignal(res, ctx.signal));
    const all = [...warnings, ...trafficWarnings(store, id)];
    sendJson(res, 201, { ID: id, ...(all.length === 0 ? {} : { Warnings: all }) });
  });

  router.get('/services/:id', (req, res) => {
    // Defaults are always filled in: insertDefaults only ever adds.
    const service = findService(store, req.params.id);
    sendJsonText(res, 200, serviceText(ctx, service, currentSpec(store, service), false));
  });

  router.post('/services/:id/update', async (req, res) => {
    const version = queryVersion(req);
    const body = await readJson(req);
    const signal = requestSignal(res, ctx.signal);
    const service = findService(store, req.params.id);
    const rollback = queryText(req, 'rollback') ?? '';
    if (!zRollback.safeParse(rollback).success) {
      throw new InvalidError(`invalid rollback '${rollback}': 'previous' is expected`);
    }
    if (rollback === 'previous') {
      await rollbackService(ctx, service, { version }, signal);
      return sendJson(res, 200, { Warnings: null });
    }
    const { spec, warnings } = decodeServiceSpec(body);
    const wanted = withRuntime(store, service, withAuth(store, service, spec, req), body);
    const wroteBack = zAsRead.safeParse(body).success;
    await updateService(ctx, service, { version, spec: wanted, wroteBack }, signal);
    const all = [...warnings, ...trafficWarnings(store, service.id)];
    sendJson(res, 200, { Warnings: all.length === 0 ? null : all });
  });

  router.delete('/services/:id', async (req, res) => {
    await removeService(ctx, findService(store, req.params.id).id, requestSignal(res, ctx.signal));
    sendEmpty(res, 200);
  });

  router.get('/services/:id/logs', async (req, res) => {
    const service = findService(store, req.params.id);
    await respondLogs(ctx, req, res, {
      tasks: () => serviceTasks(store, service.id),
      ended: () => serviceIsGone(store, service.id),
      tty: currentSpec(store, service).container.tty === true,
      swarmDetails: true,
    });
  });
  return router;
}

/** Of labels that name other services, and of ports, as the service is stored now. */
function trafficWarnings(store: Store, id: string): string[] {
  const service = store.get('services', id);
  const spec = service === undefined ? undefined : specOf(store, service);
  if (spec === undefined) return [];
  const ofPorts = addressWarnings(store, spec.ports);
  return [...allowWarnings(store, spec.labels), ...canaryWarnings(store, spec), ...ofPorts];
}

function listServices(ctx: ApiContext, filters: Filters, withStatus: boolean): string[] {
  const { store } = ctx;
  const found: string[] = [];
  for (const service of liveServices(store)) {
    const spec = currentSpec(store, service);
    const shown =
      passes(filters, 'id', (id) => service.id.startsWith(id)) &&
      passes(filters, 'name', (name) => service.name.startsWith(name)) &&
      passes(filters, 'mode', (mode) => spec.mode.kind === mode) &&
      passes(filters, 'runtime', (runtime) => runtime === 'container') &&
      passesLabels(filters, 'label', spec.labels);
    if (!shown) continue;
    found.push(serviceText(ctx, service, spec, withStatus));
  }
  return found;
}

/** X-Registry-Auth, base64url JSON; `e30=` is {}: none. */
export function registryAuth(req: Request): string | undefined {
  const header = req.get('x-registry-auth') ?? '';
  if (header === '') return undefined;
  const text = Buffer.from(header, 'base64url').toString('utf8').trim();
  return text === '' || text === '{}' ? undefined : header;
}

/** Credentials are never shown, so an update keeps the stored ones unless it brings its own. */
function withAuth(store: Store, service: Service, spec: ServiceSpec, req: Request): ServiceSpec {
  const from = queryText(req, 'registryAuthFrom') ?? '';
  if (!zRegistryAuthFrom.safeParse(from).success) {
    throw new InvalidError(
      `unsupported registryAuthFrom value '${from}': 'spec' or 'previous-spec' is expected`,
    );
  }
  const revision = from === 'previous-spec' ? service.previousRevision : service.revision;
  const stored = revision === undefined ? undefined : specOf(store, service, revision)?.registryAuth;
  const auth = registryAuth(req) ?? stored;
  return auth === undefined ? spec : { ...spec, registryAuth: auth };
}

/**
 * Docker clients know no ContainerSpec.HostConfig and lose it on the way: only one that names it changes it. What a service
 * depends on has no place in the request at all. They know no address of a port either: a port that is asked for as it was
 * stays on the address that it was published on, rather than being opened on all.
 */
function withRuntime(store: Store, service: Service, spec: ServiceSpec, body: unknown): ServiceSpec {
  const named = zNamesHostConfig.safeParse(body).success;
  const stored = specOf(store, service);
  // Which network it has is what the request's networks say.
  const runtime = withoutNodeNetwork(stored?.container.runtime);
  const bound = zNamesHostIp.safeParse(body).success ? spec : { ...spec, ports: withAddresses(spec, stored) };
  const kept = stored?.dependsOn === undefined ? bound : { ...bound, dependsOn: stored.dependsOn };
  return named || runtime === undefined ? kept : { ...kept, container: { ...kept.container, runtime } };
}

/** The request knows ports' addresses. */
const zNamesHostIp = z.object({
  EndpointSpec: z.object({
    Ports: z
      .array(z.object({ HostIp: z.string().optional() }))
      .refine((ports) => ports.some((port) => port.HostIp !== undefined)),
  }),
});

const PORT_FIELDS = ['protocol', 'targetPort', 'publishedPort', 'mode'] as const;

function withAddresses({ ports }: ServiceSpec, stored: ServiceSpec | undefined): readonly PublishedPort[] {
  const seen: PublishedPort[] = [];
  const isSame = (one: PublishedPort, other: PublishedPort): boolean =>
    PORT_FIELDS.every((field) => one[field] === other[field]);
  return ports.flatMap((port) => {
    const same = stored?.ports.filter((one) => isSame(one, port) && one.hostIp !== undefined) ?? [];
    if (same.length === 0) return [port];
    // Such a client sees one on several addresses as the same thing several times, and may send it once.
    if (seen.some((one) => isSame(one, port))) return [];
    seen.push(port);
    return same.map(({ hostIp = '' }) => ({ ...port, hostIp }));
  });
}

export function* serviceTasks(store: Store, serviceId: string): Generator<Task> {
  for (const id of store.tasksOfService(serviceId)) {
    const task = store.get('tasks', id);
    if (task !== undefined) yield task;
  }
}

/** Removed, and every task of it has stopped. */
function serviceIsGone(store: Store, serviceId: string): boolean {
  const service = store.get('services', serviceId);
  if (service !== undefined && service.removing !== true) return false;
  return [...serviceTasks(store, serviceId)].every((task) => {
    const status = store.get('statuses', task.id);
    return status !== undefined && isTerminal(status.state);
  });
}

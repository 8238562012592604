import { type Request, Router } from 'express';
import { InvalidError, NotFoundError, OutOfSequenceError } from '../../../shared/errors/index.ts';
import type { Node, NodeRole } from '../../../shared/model/index.ts';
import type { ManagerView } from '../../membership/managers.ts';
import { drainProgress } from '../../plan/reconcile/drain-note.ts';
import { viewOf } from '../../plan/view.ts';
import { StaleError, type Store } from '../../store/store.ts';
import { decodeNodeSpec, encodeNode, type ManagerStatus } from '../codec/node-codec.ts';
import { nodeTlsInfo } from '../codec/tls-info.ts';
import type { ApiContext } from '../context.ts';
import { readJson } from '../http/body.ts';
import {
  type Filters,
  passes,
  passesLabels,
  queryFilters,
  queryFlag,
  queryText,
  queryVersion,
  zWholeText,
} from '../http/query.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { lookup } from '../lookup.ts';

export const FILTERS = ['id', 'name', 'label', 'node.label', 'role', 'membership'];

export function nodesRouter(ctx: ApiContext): Router {
  const router = Router();
  const { store } = ctx;
  const encode = (node: Node): object =>
    encodeNode(
      node,
      store.version('nodes', node.id),
      managerStatus(ctx, node),
      nodeTlsInfo(store.get('cluster', 'self'), node),
      progressOf(store, node),
    );

  router.get('/nodes', (req, res) => {
    const filters = queryFilters(req, FILTERS);
    requireKnown(filters, 'role', ['manager', 'worker']);
    requireKnown(filters, 'membership', ['accepted', 'pending']);
    const nodes = [...store.all('nodes').values()].filter(
      (node) =>
        passes(filters, 'id', (id) => node.id.startsWith(id)) &&
        passes(filters, 'name', (name) => nodeName(node).startsWith(name)) &&
        passes(filters, 'role', (role) => node.spec.role === role) &&
        // A node that is in the store was accepted when it joined.
        passes(filters, 'membership', (membership) => membership === 'accepted') &&
        passesLabels(filters, 'node.label', node.spec.labels) &&
        passesLabels(filters, 'label', { ...node.description?.engineLabels, ...node.spec.labels }),
    );
    sendJson(res, 200, nodes.map(encode));
  });

  router.get('/nodes/:id', (req, res) => {
    sendJson(res, 200, encode(findNode(ctx, req.params.id)));
  });

  router.post('/nodes/:id/update', async (req, res) => {
    const version = queryVersion(req);
    const body = await readJson(req);
    const node = findNode(ctx, req.params.id);
    const beside = ctx.managers?.ofNode(node);
    const spec = decodeNodeSpec(body, node.spec, rolesOf(ctx, beside));
    if (store.version('nodes', node.id) !== version) throw new OutOfSequenceError();
    const leaves = spec.role === 'worker' && node.spec.role === 'manager' ? beside : undefined;
    if (leaves !== undefined) await ctx.managers?.checkRemovable(leaves);
    const value: Node = { ...node, spec, updatedAtMs: ctx.clock.now() };
    try {
      await store.commit([{ table: 'nodes', key: node.id, value, expect: version }], {
        signal: requestSignal(res, ctx.signal),
      });
    } catch (error) {
      if (error instanceof StaleError) throw new OutOfSequenceError();
      throw error;
    }
    // Last: a manager that takes itself out can write nothing any more.
    if (leaves !== undefined) await ctx.managers?.remove(leaves.record.id, requestSignal(res, ctx.signal));
    sendEmpty(res, 200);
  });

  addAwait(router, ctx);
  router.delete('/nodes/:id', async (req, res) => {
    const node = findNode(ctx, req.params.id);
    requireRemovable(node, queryFlag(req, 'force'));
    const expect = store.version('nodes', node.id);
    await store.commit([{ table: 'nodes', key: node.id, value: null, expect }], {
      signal: requestSignal(res, ctx.signal),
    });
    sendEmpty(res, 200);
  });
  return router;
}

/** How long somebody may be about to restart an agent. */
const AWAIT_AT_MOST_S = 3600;

function querySeconds(req: Request): number {
  const seconds = zWholeText.safeParse(queryText(req, 'seconds') ?? '');
  if (seconds.success && seconds.data <= AWAIT_AT_MOST_S) return seconds.data;
  throw new InvalidError(`seconds: a whole number from 0 to ${AWAIT_AT_MOST_S} is wanted`);
}

function addAwait(router: Router, ctx: ApiContext): void {
  router.post('/nodes/:id/await', async (req, res) => {
    await setAwaited(ctx, req.params.id, querySeconds(req), requestSignal(res, ctx.signal));
    sendEmpty(res, 200);
  });
}

async function setAwaited(ctx: ApiContext, ref: string, seconds: number, signal: AbortSignal): Promise<void> {
  const { store, clock } = ctx;
  const { awaitedUntilMs: _, ...node } = findNode(ctx, ref);
  const until = seconds === 0 ? {} : { awaitedUntilMs: clock.now() + seconds * 1000 };
  const value: Node = { ...node, ...until, updatedAtMs: clock.now() };
  const expect = store.version('nodes', node.id);
  await store.commit([{ table: 'nodes', key: node.id, value, expect }], { signal });
}

/** What a node may be made: a manager where one runs on its machine. */
function rolesOf(ctx: ApiContext, beside: ManagerView | undefined): readonly NodeRole[] {
  if (ctx.managers === undefined) return [];
  return beside === undefined ? ['worker'] : ['worker', 'manager'];
}

/** How far its drain is. */
function progressOf(store: Store, node: Node): string | undefined {
  const view = node.spec.availability === 'drain' ? viewOf(store) : undefined;
  return view === undefined ? undefined : drainProgress(view, node);
}

/** In Docker's words. */
function requireKnown(filters: Filters, name: string, values: readonly string[]): void {
  const odd = filters.get(name)?.find((value) => !values.includes(value));
  if (odd !== undefined) throw new InvalidError(`Invalid ${name} filter: '${odd}'`);
}

function requireRemovable(node: Node, force: boolean): void {
  const prefix = `rpc error: code = FailedPrecondition desc = node ${node.id}`;
  if (node.spec.role === 'manager') {
    throw new InvalidError(
      `${prefix} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal`,
    );
  }
  if (!force && node.status !== 'down') throw new InvalidError(`${prefix} is not down and can't be removed`);
}

/** Of a node that shares its machine with a manager. */
export function managerStatus(ctx: ApiContext, node: Node): ManagerStatus | undefined {
  if (ctx.managers !== undefined) {
    const view = ctx.managers.ofNode(node);
    if (view === undefined) return undefined;
    return { leads: view.leads, reachable: view.alive, address: view.record.address };
  }
  if (node.spec.role !== 'manager') return undefined;
  const isSelf = node.id === ctx.managerNodeId();
  const address = isSelf ? ctx.managerAddress : (node.description?.address ?? '');
  return { leads: ctx.leader() === node.id, reachable: node.status !== 'down', address };
}

export function nodeName(node: Node): string {
  return node.spec.name ?? node.description?.hostname ?? '';
}

/** By id, host name, unique prefix, or `self`. */
export function findNode(ctx: ApiContext, ref: string): Node {
  const self = ctx.managerNodeId();
  if (ref === 'self') {
    const node = self === undefined ? undefined : ctx.store.get('nodes', self);
    if (node === undefined)
      throw new NotFoundError('node self not found: this manager has no agent beside it');
    return node;
  }
  return lookup(ctx.store.all('nodes').values(), ref, { kind: 'node', id: (n) => n.id, name: nodeName });
}

/** Whether a filter's value (id, prefix, name or `self`) means the node. */
export function nodeMatcher(ctx: ApiContext): (ref: string, nodeId: string) => boolean {
  const { store }: { store: Store } = ctx;
  return (ref, nodeId) => {
    if (ref === 'self') return ctx.managerNodeId() === nodeId;
    if (nodeId.startsWith(ref)) return true;
    const node = store.get('nodes', nodeId);
    return node !== undefined && nodeName(node) === ref;
  };
}

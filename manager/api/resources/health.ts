/** /health: how each part of the cluster is, as this manager sees it. */
import { Router } from 'express';
import { trustRoot } from '../../ca/authority.ts';
import type { ApiContext } from '../context.ts';
import { sendJson } from '../http/respond.ts';
import { healthOf } from '../ops/health.ts';
import { clusterOf } from '../ops/swarm.ts';

export function healthRouter(ctx: ApiContext): Router {
  const router = Router();
  router.get('/health', async (_req, res) => {
    const cluster = clusterOf(ctx);
    const views = ctx.managers?.views() ?? [];
    const parts = healthOf({
      nowMs: ctx.clock.now(),
      cluster,
      rootEndsAtMs: Date.parse(trustRoot(cluster.caCertificatePem).certificate.validTo),
      storeIsCurrent: ctx.health?.storeIsCurrent() ?? true,
      managers: views.map(({ record, alive, leads }) => ({
        name: `${record.hostname} (${record.address})`,
        alive,
        leads,
        version: record.version,
      })),
      etcdMembers: await ctx.health?.etcdMembers(),
      etcdSpace: await ctx.health?.etcdSpace(),
      disks: (await ctx.health?.disks()) ?? [],
      nodes: [...ctx.store.all('nodes').values()],
      keyRotation: ctx.dataKeys?.progress,
      storedData: ctx.health?.storedData(),
      backups: await ctx.health?.backups(),
    });
    sendJson(
      res,
      200,
      parts.map(({ part, state, message }) => ({ Part: part, State: state, Message: message })),
    );
  });
  return router;
}

/** The REST API of a manager: the Docker Engine API, and Shoal's own /stacks. */
import express, { type Express } from 'express';
import { guard } from './access/guard.ts';
import { limitedContext } from './access/limited.ts';
import type { ApiContext, ApiOptions } from './context.ts';
import { EventLog } from './events/event-log.ts';
import { apiVersion } from './http/api-version.ts';
import { errorHandler, noOptions, pageNotFound } from './http/errors.ts';
import { requestMetrics } from './http/request-metrics.ts';
import { requestLog } from './http/request-log.ts';
import { notingStore } from '../audit/noting-store.ts';
import { withRequestId } from '../request-scope.ts';
import { absentRouter } from './resources/absent.ts';
import { attachRouter } from './resources/attach.ts';
import { auditRouter } from './resources/audit.ts';
import { backupRouter } from './resources/backup.ts';
import { caRouter } from './resources/ca.ts';
import { archiveRouter } from './resources/archive.ts';
import { containerActionsRouter } from './resources/container-actions.ts';
import { containerLifecycleRouter } from './resources/container-lifecycle.ts';
import { containersRouter } from './resources/containers.ts';
import { dataKeyRouter } from './resources/data-key.ts';
import { eventsRouter } from './resources/events.ts';
import { execRouter } from './resources/exec.ts';
import { explainRouter } from './resources/explain.ts';
import { filesRouter } from './resources/files.ts';
import { healthRouter } from './resources/health.ts';
import { imageTransfersRouter } from './resources/image-transfers.ts';
import { imagesRouter } from './resources/images.ts';
import { joinTokensRouter } from './resources/join-tokens.ts';
import { managersRouter } from './resources/managers.ts';
import { metricsRouter } from './resources/metrics.ts';
import { networksRouter } from './resources/networks.ts';
import { nodesRouter } from './resources/nodes.ts';
import { openApiRouter } from './resources/openapi.ts';
import { registryRouter } from './resources/registry.ts';
import { serviceRevisionsRouter } from './resources/service-revisions.ts';
import { servicesRouter } from './resources/services.ts';
import { stacksRouter } from './resources/stacks.ts';
import { statsRouter } from './resources/stats.ts';
import { swarmRouter } from './resources/swarm.ts';
import { systemRouter } from './resources/system.ts';
import { systemDfRouter } from './resources/system-df.ts';
import { tasksRouter } from './resources/tasks.ts';
import { usersRouter } from './resources/users.ts';
import { volumesRouter } from './resources/volumes.ts';

/** Builds the request handler; listenUnix serves it. Listens to the store until `signal` aborts. */
export function createApi(options: ApiOptions): Express {
  const signal = options.signal ?? new AbortController().signal;
  const events = options.events ?? new EventLog(options.store, options.clock);
  if (options.access === undefined) signal.addEventListener('abort', () => events.close(), { once: true });
  const logger = withRequestId(options.logger);
  const { access } = options;
  const store = options.audit === undefined ? options.store : notingStore(options.store);
  const whole = { ...options, store, logger, signal, events };
  const ctx: ApiContext = access === undefined ? whole : limitedContext(whole, access);

  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  if (ctx.metrics !== undefined) app.use(requestMetrics(ctx.metrics));
  app.use(requestLog(ctx.logger, ctx.clock, ctx.audit), apiVersion(ctx.version), noOptions);
  if (access !== undefined) app.use(guard(access));
  app.use(systemRouter(ctx), swarmRouter(ctx), joinTokensRouter(ctx), caRouter(ctx), eventsRouter(ctx));
  app.use(nodesRouter(ctx), servicesRouter(ctx), tasksRouter(ctx));
  app.use(serviceRevisionsRouter(ctx), explainRouter(ctx));
  app.use(networksRouter(ctx), containersRouter(ctx), stacksRouter(ctx));
  app.use(filesRouter(ctx, 'secret'), filesRouter(ctx, 'config'));
  app.use(containerLifecycleRouter(ctx));
  app.use(containerActionsRouter(ctx), statsRouter(ctx), execRouter(ctx));
  app.use(openApiRouter(ctx), metricsRouter(ctx));
  app.use(imagesRouter(ctx), imageTransfersRouter(ctx), registryRouter(ctx));
  app.use(attachRouter(ctx));
  app.use(volumesRouter(ctx), archiveRouter(ctx), systemDfRouter(ctx));
  app.use(
    backupRouter(ctx),
    managersRouter(ctx),
    usersRouter(ctx),
    auditRouter(ctx),
    dataKeyRouter(ctx),
    healthRouter(ctx),
  );
  app.use(absentRouter());
  app.use(pageNotFound, errorHandler(ctx.logger));
  return app;
}

/** The REST API of a manager: the Docker Engine API, and Shoal's own /stacks. */
import express, { type Express } from 'express';
import type { ApiContext, ApiOptions } from './context.ts';
import { EventLog } from './events/event-log.ts';
import { apiVersion } from './http/api-version.ts';
import { errorHandler, noOptions, pageNotFound } from './http/errors.ts';
import { requestMetrics } from './http/request-metrics.ts';
import { requestLog } from './http/request-log.ts';
import { withRequestId } from '../request-scope.ts';
import { absentRouter } from './resources/absent.ts';
import { attachRouter } from './resources/attach.ts';
import { backupRouter } from './resources/backup.ts';
import { caRouter } from './resources/ca.ts';
import { archiveRouter } from './resources/archive.ts';
import { containerActionsRouter } from './resources/container-actions.ts';
import { containerLifecycleRouter } from './resources/container-lifecycle.ts';
import { containersRouter } from './resources/containers.ts';
import { eventsRouter } from './resources/events.ts';
import { execRouter } from './resources/exec.ts';
import { explainRouter } from './resources/explain.ts';
import { filesRouter } from './resources/files.ts';
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
import { volumesRouter } from './resources/volumes.ts';

/** Builds the request handler; listenUnix serves it. Listens to the store until `signal` aborts. */
export function createApi(options: ApiOptions): Express {
  const signal = options.signal ?? new AbortController().signal;
  const events = options.events ?? new EventLog(options.store, options.clock);
  signal.addEventListener('abort', () => events.close(), { once: true });
  const logger = withRequestId(options.logger);
  const ctx: ApiContext = { ...options, logger, signal, events };

  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  if (ctx.metrics !== undefined) app.use(requestMetrics(ctx.metrics));
  app.use(requestLog(ctx.logger, ctx.clock), apiVersion(ctx.version), noOptions);
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
  app.use(backupRouter(ctx), managersRouter(ctx));
  app.use(absentRouter());
  app.use(pageNotFound, errorHandler(ctx.logger));
  return app;
}

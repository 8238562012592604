import { Router } from 'express';
import { UnavailableError, UnsupportedError } from '../../../shared/errors/index.ts';
import { authorityOf, joinTokens } from '../../ca/cluster.ts';
import type { ApiContext } from '../context.ts';
import { sendJson } from '../http/respond.ts';
import { clusterInfo } from './system.ts';

export function swarmRouter(ctx: ApiContext): Router {
  const router = Router();
  router.get('/swarm', async (_req, res) => {
    const cluster = ctx.store.get('cluster', 'self');
    if (cluster === undefined) {
      throw new UnavailableError('the cluster is not set up yet: try again in a moment');
    }
    const tokens = joinTokens(cluster, await authorityOf(cluster));
    sendJson(res, 200, {
      ...clusterInfo(ctx),
      JoinTokens: { Worker: tokens.worker, Manager: tokens.manager },
    });
  });
  const refuse = (path: string, advice: string): void => {
    router.post(path, () => {
      throw new UnavailableError(advice);
    });
  };
  refuse(
    '/swarm/init',
    'This node is already part of a swarm. A Shoal cluster is one from its start: add machines with "shoal agent --join TOKEN ADDRESS" (the token: "shoal token").',
  );
  refuse(
    '/swarm/join',
    'This node is already part of a swarm. Run "shoal agent --join TOKEN ADDRESS" on the machine that shall join.',
  );
  refuse('/swarm/leave', 'A Shoal manager does not leave through the API: stop it, or run "shoal down".');
  const missing = (method: 'get' | 'post', path: string, what: string): void => {
    router[method](path, () => {
      throw new UnsupportedError(`${what} is not supported by Shoal yet`);
    });
  };
  missing('post', '/swarm/update', 'POST /swarm/update (settings, autolock and rotation of join tokens)');
  missing('get', '/swarm/unlockkey', 'GET /swarm/unlockkey (autolock)');
  missing('post', '/swarm/unlock', 'POST /swarm/unlock (autolock)');
  return router;
}

/** /swarm: a Shoal cluster is a swarm from its start; nodes join and leave by the `shoal` command. */
import { Router } from 'express';
import { ConflictError, UnavailableError, UnsupportedError } from '../../../shared/errors/index.ts';
import { authorityOf, joinTokens, openSecrets } from '../../ca/cluster.ts';
import { formatUnlockKey } from '../../vault/lock.ts';
import { decodeSwarmSpec } from '../codec/swarm-codec.ts';
import type { ApiContext } from '../context.ts';
import { readJson } from '../http/body.ts';
import { queryFlag, queryVersion } from '../http/query.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { clusterOf, updateSwarm } from '../ops/swarm.ts';
import { clusterInfo } from './system.ts';

/** Docker's words (moby daemon/cluster/errors.go), then ours. */
const IN_A_SWARM =
  'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.';
const LEAVING_MANAGER =
  'You are attempting to leave the swarm on a node that is participating as a manager. ';
const LAST_MANAGER =
  'Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. ';

export function swarmRouter(ctx: ApiContext): Router {
  const router = Router();

  router.get('/swarm', async (_req, res) => {
    const cluster = clusterOf(ctx);
    const { digest } = await authorityOf(cluster, ctx.vault);
    const tokens = joinTokens(openSecrets(ctx.vault, cluster), digest);
    sendJson(res, 200, {
      ...clusterInfo(ctx),
      JoinTokens: { Worker: tokens.worker, Manager: tokens.manager },
    });
  });

  router.post('/swarm/update', async (req, res) => {
    const version = queryVersion(req);
    const { settings, rotation } = decodeSwarmSpec(await readJson(req), clusterOf(ctx));
    const rotate = {
      worker: queryFlag(req, 'rotateWorkerToken'),
      manager: queryFlag(req, 'rotateManagerToken'),
      unlockKey: queryFlag(req, 'rotateManagerUnlockKey'),
    };
    await updateSwarm(ctx, { version, settings, rotation, rotate }, requestSignal(res, ctx.signal));
    sendEmpty(res, 200);
  });

  router.post('/swarm/init', () => {
    throw new UnavailableError(
      `${IN_A_SWARM} A Shoal cluster is one from its start: add machines with "shoal agent --join TOKEN ADDRESS".`,
    );
  });
  router.post('/swarm/join', () => {
    throw new UnavailableError(
      `${IN_A_SWARM} Run "shoal agent --join TOKEN ADDRESS" on the machine that shall join (the token: "shoal token").`,
    );
  });
  router.post('/swarm/leave', (req) => {
    const others = otherManagers(ctx);
    const last = others === 0 ? LAST_MANAGER : '';
    if (!queryFlag(req, 'force')) throw new UnavailableError(`${LEAVING_MANAGER}${last}`.trim());
    throw new UnsupportedError(
      others === 0
        ? 'swarm leave: not supported by Shoal: this is the only manager, and the cluster is what it keeps: ' +
            'stop it ("systemctl stop shoal-manager"), or remove a local cluster with "shoal down"'
        : 'swarm leave: not supported by Shoal: a manager is taken out by another one: "shoal manager rm NAME", or ' +
            '"docker node demote NODE" for that of a node',
    );
  });

  router.get('/swarm/unlockkey', (_req, res) => {
    const { unlockKey } = openSecrets(ctx.vault, clusterOf(ctx));
    const text = unlockKey === undefined ? '' : formatUnlockKey(Buffer.from(unlockKey, 'base64'));
    sendJson(res, 200, { UnlockKey: text });
  });
  router.post('/swarm/unlock', () => {
    throw new ConflictError('swarm is not locked');
  });
  return router;
}

function otherManagers(ctx: ApiContext): number {
  if (ctx.managers !== undefined) return ctx.managers.views().length - 1;
  const self = ctx.managerNodeId();
  const all = [...ctx.store.all('nodes').values()];
  return all.filter((node) => node.spec.role === 'manager' && node.id !== self && node.status === 'ready')
    .length;
}

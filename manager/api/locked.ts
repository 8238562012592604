/** What a locked manager serves on its socket: that it is locked, and the way out of it, in Docker's words. */
import express, { type Express } from 'express';
import { z } from 'zod';
import { UnavailableError } from '../../shared/errors/index.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import type { Logger } from '../../shared/model/options.ts';
import { apiVersion } from './http/api-version.ts';
import { readJson } from './http/body.ts';
import { errorHandler, noOptions } from './http/errors.ts';
import { requestLog } from './http/request-log.ts';
import { sendEmpty, sendJson } from './http/respond.ts';
import { parseStrict } from './http/unsupported.ts';

/** moby daemon/cluster/errors.go. */
const LOCKED =
  'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.';

const zUnlock = z.object({ UnlockKey: z.string() });

export interface LockedOptions {
  readonly version: string;
  readonly clusterName: string;
  /** What to do once the answer is out. Throws InvalidError for another key. */
  readonly unlock: (unlockKey: string) => () => void;
  readonly logger: Logger;
  readonly clock: Clock;
}

export function createLockedApi({ version, clusterName, unlock, logger, clock }: LockedOptions): Express {
  const app = express();
  app.disable('x-powered-by');
  app.use(requestLog(logger, clock), apiVersion(version), noOptions);
  app.get('/_ping', (_req, res) => {
    res.setHeader('Swarm', 'locked');
    res.end('OK');
  });
  app.get('/info', (_req, res) =>
    sendJson(res, 200, {
      Name: clusterName,
      ServerVersion: version,
      Swarm: {
        NodeID: '',
        LocalNodeState: 'locked',
        ControlAvailable: false,
        Error: LOCKED,
        RemoteManagers: null,
      },
    }),
  );
  app.post('/swarm/unlock', async (req, res) => {
    const { UnlockKey } = parseStrict(zUnlock, await readJson(req), 'unlock');
    try {
      res.once('close', unlock(UnlockKey));
    } catch (error) {
      logger.warn({}, 'somebody tried to unlock this manager with another key');
      throw error;
    }
    sendEmpty(res, 200);
  });
  app.use(() => {
    throw new UnavailableError(LOCKED);
  });
  app.use(errorHandler(logger));
  return app;
}

import type { RequestHandler } from 'express';
import { InvalidError } from '../../../shared/errors/index.ts';
import { API_VERSION, MIN_API_VERSION } from '../context.ts';

const PREFIX = /^\/v(\d+)\.(\d+)(?=\/|\?|$)/;

/**
 * Takes /v1.NN off the path, after a check that it is spoken here, and sets the headers that clients negotiate by.
 * Paths without a version mean the newest. The texts are Docker's (moby api/server/middleware/version.go).
 */
export function apiVersion(version: string): RequestHandler {
  return (req, res, next) => {
    res.setHeader('Api-Version', API_VERSION);
    res.setHeader('Ostype', 'linux');
    res.setHeader('Docker-Experimental', 'false');
    res.setHeader('Server', `Shoal/${version} (linux)`);
    const match = PREFIX.exec(req.url);
    if (match === null) return next();
    const asked = `${Number(match[1])}.${Number(match[2])}`;
    if (compareVersions(asked, API_VERSION) > 0) {
      throw new InvalidError(
        `client version ${asked} is too new. Maximum supported API version is ${API_VERSION}`,
      );
    }
    if (compareVersions(asked, MIN_API_VERSION) < 0) {
      throw new InvalidError(
        `client version ${asked} is too old. Minimum supported API version is ${MIN_API_VERSION}, ` +
          'please upgrade your client to a newer version',
      );
    }
    res.locals['apiVersion'] = asked;
    const rest = req.url.slice(match[0].length);
    req.url = rest.startsWith('/') ? rest : `/${rest}`;
    next();
  };
}

/** Negative, zero or positive as `a` is before, equal to or after `b`. */
export function compareVersions(a: string, b: string): number {
  const [aMajor = 0, aMinor = 0] = a.split('.').map(Number);
  const [bMajor = 0, bMinor = 0] = b.split('.').map(Number);
  return aMajor - bMajor || aMinor - bMinor;
}

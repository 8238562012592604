/** What Docker has and Shoal has not yet: lists are empty, single objects are 404, the rest says 501 by name. */
import { Router, type RequestHandler } from 'express';
import { NotFoundError, UnsupportedError } from '../../../shared/errors/index.ts';
import { sendJson } from '../http/respond.ts';

type Method = 'get' | 'post' | 'put' | 'delete' | 'head';

export const EMPTY_LISTS: readonly (readonly [string, unknown])[] = [
  ['/volumes', { Volumes: [], Warnings: [] }],
  ['/images/json', []],
  ['/plugins', []],
];

/** [path, word]: inspecting one without a type must end in a clean 404. */
export const NO_SUCH: readonly (readonly [string, string])[] = [
  ['/volumes/:id', 'volume'],
  ['/images/:id/json', 'No such image:'],
  ['/plugins/:id/json', 'plugin'],
];

export const NOT_YET: readonly (readonly [Method, string, string])[] = [
  [
    'post',
    '/volumes/create',
    'creating volumes by themselves (a service creates the volumes that it mounts)',
  ],
  ['post', '/volumes/prune', 'pruning volumes'],
  ['post', '/auth', 'checking registry credentials (docker login)'],
  ['get', '/system/df', 'disk usage'],
  ['post', '/images/create', 'pulling images by themselves (a service pulls its image on its nodes)'],
  ['post', '/images/load', 'loading images'],
  ['post', '/images/prune', 'pruning images'],
  ['get', '/images/search', 'searching registries'],
  ['get', '/images/get', 'saving images'],
  ['get', '/images/*ref/get', 'saving images'],
  ['post', '/images/*ref', 'pushing and tagging images'],
  ['delete', '/images/*ref', 'removing images'],
  ['post', '/build', 'building images'],
  ['post', '/commit', 'committing containers'],
  ['post', '/containers/create', 'single containers (create a service)'],
  ['post', '/containers/prune', 'pruning containers'],
  ['post', '/containers/:id/attach', 'attach'],
  ['get', '/containers/:id/changes', 'container changes'],
  ['get', '/containers/:id/export', 'exporting containers'],
  ['get', '/containers/:id/attach/ws', 'attach'],
  ['get', '/containers/:id/archive', 'copying from containers'],
  ['head', '/containers/:id/archive', 'copying from containers'],
  ['put', '/containers/:id/archive', 'copying to containers'],
  ['post', '/containers/:id/:action', 'acting on a single container (its service decides)'],
  ['delete', '/containers/:id', 'removing single containers (its service decides)'],
  ['post', '/networks/prune', 'pruning networks'],
  ['post', '/networks/:id/connect', 'connecting single containers'],
  ['post', '/networks/:id/disconnect', 'disconnecting single containers'],
  ['post', '/session', 'build sessions'],
  ['post', '/plugins/pull', 'plugins'],
];

export function absentRouter(): Router {
  const router = Router();
  for (const [path, body] of EMPTY_LISTS) router.get(path, (_req, res) => sendJson(res, 200, body));
  // Image names have slashes in them.
  router.get('/distribution/*ref', noSuch('manifest unknown:'));
  for (const [path, word] of NO_SUCH) {
    router.get(path, noSuch(word));
    if (path.endsWith('/:id')) router.delete(path, noSuch(word));
  }
  for (const [method, path, what] of NOT_YET) router[method](path, notYet(what));
  // after what is called /images/search: any name may be meant
  router.get('/images/*ref', noSuch('No such image:'));
  return router;
}

function noSuch(word: string): RequestHandler {
  return (req) => {
    const value = req.params['id'] ?? req.params['ref'] ?? '';
    const ref = Array.isArray(value) ? value.join('/').replace(/\/json$/, '') : value;
    throw new NotFoundError(word.endsWith(':') ? `${word} ${ref}` : `${word} ${ref} not found`);
  };
}

function notYet(what: string): RequestHandler {
  return (req) => {
    throw new UnsupportedError(`${what}: not supported by Shoal yet (${req.method} ${req.path})`);
  };
}

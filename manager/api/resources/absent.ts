/** What Docker has and Shoal has not yet: lists are empty, single objects are 404, the rest says 501 by name. */
import { Router, type RequestHandler } from 'express';
import { NotFoundError, UnsupportedError } from '../../../shared/errors/index.ts';
import { sendJson } from '../http/respond.ts';

type Method = 'get' | 'post' | 'put' | 'delete' | 'head';

export const EMPTY_LISTS: readonly (readonly [string, unknown])[] = [['/plugins', []]];

/** [path, word]: inspecting one without a type must end in a clean 404. */
export const NO_SUCH: readonly (readonly [string, string])[] = [['/plugins/:id/json', 'plugin']];

export const NOT_YET: readonly (readonly [Method, string, string])[] = [
  ['post', '/build', 'building images'],
  ['post', '/commit', 'committing containers'],
  ['post', '/session', 'build sessions'],
  ['post', '/plugins/pull', 'plugins'],
];

export function absentRouter(): Router {
  const router = Router();
  for (const [path, body] of EMPTY_LISTS) router.get(path, (_req, res) => sendJson(res, 200, body));
  for (const [path, word] of NO_SUCH) {
    router.get(path, noSuch(word));
    if (path.endsWith('/:id')) router.delete(path, noSuch(word));
  }
  for (const [method, path, what] of NOT_YET) router[method](path, notYet(what));
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

/** Lets through what a user may. It matches paths as the routers behind it do, so that the two can not differ. */
import { type RequestHandler, Router } from 'express';
import { ForbiddenError } from '../../../shared/errors/index.ts';
import { type Access, refusalOf, ROUTE_RULES, splitRoute } from './routes.ts';

/** Every rule whose path matches must let it through, and at least one must match. */
export function guard(access: Access): Router {
  const router = Router();
  for (const [route, rule] of ROUTE_RULES) {
    const { method, path } = splitRoute(route);
    router[method](path, (_req, res, next) => {
      const refusal = refusalOf(rule, access);
      if (refusal !== undefined) throw new ForbiddenError(refusal);
      res.locals['permitted'] = true;
      next();
    });
  }
  router.use(refuseTheRest(access));
  return router;
}

function refuseTheRest(access: Access): RequestHandler {
  return (_req, res, next) => {
    const refusal = res.locals['permitted'] === true ? undefined : refusalOf(undefined, access);
    if (refusal !== undefined) throw new ForbiddenError(refusal);
    next();
  };
}

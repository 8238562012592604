/**
 * PURE. What of the API a user may use: the role that each endpoint needs, and whether it may be used by one who has some
 * stacks only. What is not here is for admins: a new endpoint is refused until somebody has thought about it.
 */
import { roleIncludes, type UserRole } from '../../../shared/model/index.ts';
import type { Method } from '../openapi/operation.ts';

export interface Access {
  readonly role: UserRole;
  /** Only these; absent: everything. */
  readonly stacks?: readonly string[];
}

interface Rule {
  readonly role: UserRole;
  /** What it shows or changes is of stacks, so that those with some stacks may use it. */
  readonly byStack: boolean;
}

const VIEW_OF_STACKS = [
  'get /_ping',
  'get /version',
  'get /info',
  'get /health',
  'get /openapi.json',
  'get /events',
  'get /ca',
  'get /managers',
  'get /nodes',
  'get /nodes/:id',
  'get /services',
  'get /services/:id',
  'get /services/:id/revisions',
  'get /services/:id/revisions/diff',
  'get /services/:id/revisions/:revision',
  'get /services/:id/explain',
  'get /tasks',
  'get /tasks/:id',
  'get /networks',
  'get /networks/:id',
  'get /containers/json',
  'get /containers/:id/json',
  'get /containers/:id/stats',
  'get /containers/:id/top',
  'get /containers/:id/changes',
  'post /containers/:id/wait',
  'get /stacks',
  'get /stacks/:name',
  'get /stacks/:name/revisions',
  'get /secrets',
  'get /secrets/:id',
  'get /configs',
  'get /configs/:id',
  'get /volumes',
  'get /volumes/*name',
  'get /plugins',
  'get /plugins/:id/json',
] as const;

const VIEW_OF_ALL = [
  'get /images/json',
  'get /images/search',
  'get /images/*ref/json',
  'get /images/*ref/history',
  'get /system/df',
  'get /metrics',
] as const;

const OPERATE_STACKS = [
  'get /services/:id/logs',
  'get /tasks/:id/logs',
  'get /containers/:id/logs',
  'post /services/create',
  'post /services/:id/update',
  'post /services/:id/rollback',
  'delete /services/:id',
  'put /stacks/:name',
  'post /stacks/:name/diff',
  'post /stacks/:name/rollback',
  'delete /stacks/:name',
  // With the variables that it was deployed with.
  'get /stacks/:name/revisions/:revision',
  'post /networks/create',
  'post /networks/:id/update',
  'delete /networks/:id',
  'post /networks/:id/connect',
  'post /networks/:id/disconnect',
  ...(['secrets', 'configs'] as const).flatMap(
    (table) => [`post /${table}/create`, `post /${table}/:id/update`, `delete /${table}/:id`] as const,
  ),
  'post /containers/create',
  'post /containers/:id/update',
  'delete /containers/:id',
  ...(
    ['start', 'stop', 'restart', 'kill', 'pause', 'unpause', 'rename', 'resize', 'attach', 'exec'] as const
  ).map((verb) => `post /containers/:id/${verb}` as const),
  'get /containers/:id/attach/ws',
  'head /containers/:id/archive',
  'get /containers/:id/archive',
  'put /containers/:id/archive',
  'get /containers/:id/export',
  'post /exec/:id/start',
  'post /exec/:id/resize',
  'get /exec/:id/json',
  'post /volumes/create',
  'put /volumes/*name',
  'delete /volumes/*name',
  // Before a service or container is made, clients ask for the image.
  'post /images/create',
  'get /distribution/*ref/json',
  'post /auth',
] as const;

const OPERATE_ALL = [
  'post /networks/prune',
  'post /containers/prune',
  'post /volumes/prune',
  'post /images/prune',
  'delete /images/*ref',
  'post /images/*ref/push',
  'get /images/get',
  'get /images/*ref/get',
] as const;

/** For admins, and known to be. */
export const ADMINS_ONLY: readonly string[] = [
  'get /swarm',
  'post /swarm/update',
  'post /swarm/init',
  'post /swarm/join',
  'post /swarm/leave',
  'get /swarm/unlockkey',
  'post /swarm/unlock',
  'get /join-tokens',
  'post /join-tokens',
  'delete /join-tokens/:id',
  'post /ca/rotate',
  'post /ca/rotate-etcd',
  'get /data-key',
  'post /data-key/rotate',
  'post /nodes/:id/update',
  'post /nodes/:id/await',
  'delete /nodes/:id',
  'delete /managers/:id',
  'post /backup',
  // They say what an image's name means on the nodes, also for what others run.
  'post /images/load',
  'post /images/*ref/tag',
  'post /build',
  'post /commit',
  'post /session',
  'post /plugins/pull',
  'get /audit',
  'get /users',
  'post /users',
  'get /users/:name',
  'delete /users/:name',
  'post /users/:name/update',
  'post /users/:name/certificate',
  'post /users/:name/tokens',
  'delete /users/:name/credentials/:id',
];

const TABLES: readonly (readonly [readonly string[], Rule])[] = [
  [VIEW_OF_STACKS, { role: 'viewer', byStack: true }],
  [VIEW_OF_ALL, { role: 'viewer', byStack: false }],
  [OPERATE_STACKS, { role: 'operator', byStack: true }],
  [OPERATE_ALL, { role: 'operator', byStack: false }],
  [ADMINS_ONLY, { role: 'admin', byStack: false }],
];

export const ROUTE_RULES: ReadonlyMap<string, Rule> = new Map(
  TABLES.flatMap(([routes, rule]) => routes.map((route) => [route, rule] as const)),
);

/** `get /services/:id` in its parts. */
export function splitRoute(route: string): { method: Method; path: string } {
  const [method = '', path = ''] = route.split(' ');
  return { method: method as Method, path };
}

/** Why the user may not; undefined when it may. */
export function refusalOf(rule: Rule | undefined, access: Access): string | undefined {
  const needed = rule?.role ?? 'admin';
  if (!roleIncludes(access.role, needed)) return `this needs the role ${needed}: you have ${access.role}`;
  if (access.stacks !== undefined && rule?.byStack !== true)
    return `this is about the whole cluster: you may use ${stacksText(access.stacks)} only`;
  return undefined;
}

export function stacksText(stacks: readonly string[]): string {
  return `${stacks.length === 1 ? 'the stack' : 'the stacks'} ${stacks.join(', ')}`;
}

/** Keys of a service that Shoal does not act on, and what is said about them. The table of docs/compose.md. */
import type { KeyRule, KeyRules } from './section.ts';

const refuse = (why: string): KeyRule => ({ severity: 'error', message: why });
const warn = (why: string): KeyRule => ({ severity: 'warning', message: why });
const NOT_YET = refuse('not supported yet');
const NEVER = refuse('has no meaning in a cluster');

export const SERVICE_RULES: KeyRules = {
  annotations: warn('has no effect: nothing here reads them'),
  attach: warn('has no effect in a cluster: logs are read with docker service logs'),
  blkio_config: NOT_YET,
  cgroup_parent: NOT_YET,
  container_name: warn('has no effect: containers are named after service, slot and task'),
  cpu_count: refuse('is for Windows: use cpus'),
  cpu_percent: refuse('is for Windows: use cpus'),
  cpu_period: refuse('not supported: use cpus'),
  cpu_quota: refuse('not supported: use cpus'),
  cpu_rt_period: NOT_YET,
  cpu_rt_runtime: NOT_YET,
  credential_spec: refuse('is for Windows'),
  depends_on: warn('has no effect yet: all services start at once, and a task that fails is started again'),
  develop: warn('has no effect in a cluster'),
  expose: warn('has no effect: the services of a network reach all ports of one another'),
  external_links: NEVER,
  gpus: NOT_YET,
  isolation: refuse('is for Windows'),
  links: warn('has no effect: the services of a network reach one another by name'),
  mac_address: NOT_YET,
  mem_swappiness: NOT_YET,
  models: NOT_YET,
  oom_kill_disable: NOT_YET,
  post_start: NOT_YET,
  pre_stop: NOT_YET,
  provider: NEVER,
  pull_policy: warn('has no effect: a node pulls an image that it does not have'),
  pull_refresh_after: warn('has no effect: a node pulls an image that it does not have'),
  runtime: NOT_YET,
  storage_opt: NOT_YET,
  use_api_socket: NOT_YET,
  volumes_from: refuse('not supported: name the volume in both services'),
};

export const TOP_RULES: KeyRules = {
  models: NOT_YET,
  name: warn('has no effect: the stack has the name that it is deployed under'),
  version: warn('is obsolete and has no effect'),
};

/** Keys of a service that Shoal does not act on, and what is said about them. The table of docs/compose.md. */
import type { KeyRule, KeyRules } from './section.ts';

const refuse = (why: string): KeyRule => ({ severity: 'error', message: why });
const warn = (why: string): KeyRule => ({ severity: 'warning', message: why });
const REAL_TIME = refuse('not supported: kernels share real-time CPU time out by cgroup v1 alone, if at all');

export const SERVICE_RULES: KeyRules = {
  attach: warn('has no effect in a cluster: logs are read with docker service logs'),
  cgroup_parent: refuse('not supported: the agent of a node chooses where in the cgroups its containers are'),
  container_name: warn('has no effect: containers are named after service, slot and task'),
  cpu_count: refuse('is for Windows: use cpus'),
  cpu_percent: refuse('is for Windows: use cpus'),
  cpu_rt_period: REAL_TIME,
  cpu_rt_runtime: REAL_TIME,
  credential_spec: refuse('is for Windows'),
  develop: warn('has no effect in a cluster'),
  expose: warn('has no effect: the services of a network reach all ports of one another'),
  external_links: refuse(
    'has no meaning in a cluster: services reach one another by name on a network that both are on',
  ),
  isolation: refuse('is for Windows'),
  mac_address: refuse('not supported: addresses are given by the manager'),
  models: refuse('has no meaning in a cluster: there is nothing here that runs models'),
  provider: refuse('has no meaning in a cluster: services are containers'),
  pull_refresh_after: warn('has no effect: a tag is asked of its registry at each start'),
  runtime: refuse('not supported: nodes have one runtime'),
  use_api_socket: refuse('not supported: mount the socket of a manager and place the service there'),
};

export const TOP_RULES: KeyRules = {
  models: refuse('has no meaning in a cluster: there is nothing here that runs models'),
  name: warn('has no effect: the stack has the name that it is deployed under'),
  version: warn('is obsolete and has no effect'),
};

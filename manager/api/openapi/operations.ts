/** All endpoints: each resource's table, put together. A test compares them with what the router has. */
import { absentOperations } from './absent.ts';
import { archiveOperations } from './archive.ts';
import { auditOperations } from './audit.ts';
import { caOperations } from './ca.ts';
import { containerLifecycleOperations } from './container-lifecycle.ts';
import { containersOperations } from './containers.ts';
import { dataKeyOperations } from './data-key.ts';
import { eventsOperations } from './events.ts';
import { execOperations } from './exec.ts';
import { filesOperations } from './files.ts';
import { healthOperations } from './health.ts';
import { imagesOperations } from './images.ts';
import { joinTokensOperations } from './join-tokens.ts';
import { managersOperations } from './managers.ts';
import { networksOperations } from './networks.ts';
import { nodesOperations } from './nodes.ts';
import type { Operation } from './operation.ts';
import { registryOperations } from './registry.ts';
import { serviceRevisionsOperations } from './service-revisions.ts';
import { servicesOperations } from './services.ts';
import { stacksOperations } from './stacks.ts';
import { swarmOperations } from './swarm.ts';
import { systemOperations } from './system.ts';
import { tasksOperations } from './tasks.ts';
import { usersOperations } from './users.ts';
import { volumesOperations } from './volumes.ts';

export const OPERATIONS: readonly Operation[] = [
  ...systemOperations,
  ...healthOperations,
  ...swarmOperations,
  ...joinTokensOperations,
  ...caOperations,
  ...dataKeyOperations,
  ...eventsOperations,
  ...nodesOperations,
  ...managersOperations,
  ...servicesOperations,
  ...serviceRevisionsOperations,
  ...tasksOperations,
  ...networksOperations,
  ...containersOperations,
  ...containerLifecycleOperations,
  ...archiveOperations,
  ...stacksOperations,
  ...filesOperations,
  ...execOperations,
  ...imagesOperations,
  ...registryOperations,
  ...volumesOperations,
  ...usersOperations,
  ...auditOperations,
  ...absentOperations,
];

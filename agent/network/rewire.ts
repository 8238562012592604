/**
 * PURE. From the interfaces that a running container has to those that it is to have: it was connected to a network, or
 * taken from one. What stays is not touched.
 */
import { prefixBits } from '../../shared/lib/network-subnets.ts';
import type { AssignmentSet, TaskAssignment } from '../../shared/model/index.ts';
import { type AttachPlan, interfacesHere, portsOf, setUp } from './attach.ts';
import { containerObjects, type Interface, type Joins, outOf } from './container-scope.ts';
import { addOps, diffScope } from './diff.ts';
import { type KernelObject, scopeOf } from './kernel-object.ts';
import type { Self } from './local.ts';
import { type NamespaceDump, observeScope } from './observe.ts';
import { outsideBatch } from './outside-links.ts';

const isOurs = (dev: string): boolean => /^(eth|dns)\d+$/.test(dev);
/** The interface that a device is of. */
const ethOf = (dev: string): string => dev.replace(/^dns/, 'eth');

/** `dump` is what the container's namespace holds. */
export function rewirePlan(
  task: TaskAssignment,
  set: AssignmentSet,
  self: Self,
  netns: string,
  dump: NamespaceDump,
  joins?: Joins,
): AttachPlan {
  const wanted = interfacesHere(task, set, self, joins);
  const observed = [...observeScope(dump, undefined, isOurs).values()];
  const has = (one: Interface): boolean =>
    dump.links.some(({ name }) => name === one.dev) &&
    dump.addresses.some(({ dev, address }) => dev === one.dev && address === addressOf(one));
  const staying = wanted.filter(has);
  const stays = new Set(staying.map(({ dev }) => dev));
  const stale = dump.links.map(({ name }) => name).filter((name) => isOurs(name) && !stays.has(ethOf(name)));
  const fresh = wanted.filter((one) => !stays.has(one.dev));
  // It may have had the network before, and connections by it.
  const ports = portsOf(task, fresh, self, netns, () => false);
  const now = scopeOf(
    observed.filter((object) => {
      const dev = deviceOf(object);
      return object.type !== 'veth' && (dev === undefined || stays.has(ethOf(dev)));
    }),
  );
  const { rest } = diffScope(now, scopeOf(containerObjects(wanted, outOf(task))), netns);
  return {
    batches: [
      { netns, ops: stale.map((name) => ({ op: 'link-del', name })) },
      ...ports.map(({ netns: sandbox, objects }) => ({
        netns: sandbox,
        ops: objects.flatMap((object) => addOps(object, undefined, sandbox)),
      })),
      outsideBatch(fresh, self, netns),
      { netns, ops: [...fresh.flatMap(setUp), ...rest] },
    ],
    added: new Map(ports.map(({ vni, objects }) => [vni, scopeOf(objects)])),
  };
}

/** The device with which it goes. */
function deviceOf(object: KernelObject): string | undefined {
  if (object.type === 'sysctl') return /\/(eth\d+)\//.exec(object.path)?.[1];
  return 'dev' in object ? object.dev : undefined;
}

function addressOf({ address, network }: Interface): string {
  return `${address}/${prefixBits(network, address)}`;
}

/** PURE. A container's spec with its templates filled in: environment, host name and mounts, as in Swarm. */
import { genericEnvironment } from '../../shared/lib/generic-resources.ts';
import { Template, type TemplateContext } from '../../shared/lib/template.ts';
import type { ContainerSpec, GenericResource, MountSpec } from '../../shared/model/index.ts';

/**
 * Throws TypeError, with the place, for a template that is not supported. Variables name what the task was given of its
 * node's generic resources; their names are no templates.
 */
export function fillSpec(
  spec: ContainerSpec,
  context: TemplateContext,
  granted: readonly GenericResource[] = [],
): ContainerSpec {
  const fill = (text: string): string =>
    text.includes('{{') ? new Template(text, false).fill(context) : text;
  return {
    ...spec,
    env: [
      ...spec.env.map((line) => {
        const equals = line.indexOf('=');
        return equals < 0 ? line : line.slice(0, equals + 1) + fill(line.slice(equals + 1));
      }),
      ...genericEnvironment(granted),
    ],
    ...(spec.hostname === undefined ? {} : { hostname: fill(spec.hostname) }),
    mounts: spec.mounts.map((mount) => fillMount(mount, fill)),
  };
}

function fillMount(mount: MountSpec, fill: (text: string) => string): MountSpec {
  const target = fill(mount.target);
  if (mount.kind === 'tmpfs' || mount.kind === 'image') return { ...mount, target };
  const source = fill(mount.source);
  if (mount.kind === 'bind' || mount.labels === undefined) return { ...mount, source, target };
  const labels = Object.entries(mount.labels).map(([key, value]) => [key, fill(value)] as const);
  return { ...mount, source, target, labels: Object.fromEntries(labels) };
}

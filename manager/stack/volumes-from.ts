/** `volumes_from` of a service: what another one mounts, at the same places. */
import type { MountSpec, ServiceSpec } from '../../shared/model/index.ts';
import type { Problems } from './problem.ts';
import type { Section } from './section.ts';
import type { Value } from './value.ts';

export interface VolumesFrom {
  readonly service: string;
  readonly readOnly: boolean;
  /** For messages. */
  readonly at: Value;
}

interface Reader {
  readonly key: string;
  readonly spec: ServiceSpec;
  readonly volumesFrom: readonly VolumesFrom[];
}

/** SERVICE, SERVICE:ro or SERVICE:rw. */
export function readVolumesFrom(service: Section): VolumesFrom[] {
  return (service.list('volumes_from')?.items ?? []).flatMap((item): VolumesFrom[] => {
    const text = service.textOf(item);
    if (text === undefined) return [];
    const [name = '', mode = 'rw', ...rest] = text.split(':');
    if (name !== '' && name !== 'container' && rest.length === 0 && (mode === 'ro' || mode === 'rw'))
      return [{ service: name, readOnly: mode === 'ro', at: item }];
    const why =
      name === 'container' ? 'a container is on one node' : 'SERVICE, SERVICE:ro or SERVICE:rw is expected';
    service.problems.error(item, item.key, `'${text}': ${why}`);
    return [];
  });
}

/** What a service mounts itself stays; of several the first that has a place counts. */
export function withVolumesFrom<T extends Reader>(all: readonly T[], problems: Problems): T[] {
  const byKey = new Map(all.map((service) => [service.key, service]));
  const mountsOf = (service: Reader, above: readonly string[]): readonly MountSpec[] => {
    const targets = new Set(service.spec.container.mounts.map(({ target }) => target));
    const more = service.volumesFrom.flatMap((from) => {
      const other = byKey.get(from.service);
      const path = [...above, service.key];
      if (other === undefined || path.includes(from.service)) {
        const why = other === undefined ? 'there is no such service' : 'it goes round in a circle';
        problems.error(from.at, from.at.key, `'${from.service}': ${why}`);
        return [];
      }
      return mountsOf(other, path).flatMap((mount) => shared(mount, from, problems));
    });
    const added = more.filter(({ target }) => !targets.has(target) && targets.add(target));
    return [...service.spec.container.mounts, ...added];
  };
  return all.map((service) => {
    if (service.volumesFrom.length === 0) return service;
    const container = { ...service.spec.container, mounts: mountsOf(service, []) };
    return { ...service, spec: { ...service.spec, container } };
  });
}

function shared(mount: MountSpec, from: VolumesFrom, problems: Problems): MountSpec[] {
  if (mount.kind === 'tmpfs') return [];
  if (mount.kind === 'volume' && mount.source === '') {
    const why = `its volume at ${mount.target} has no name, and is one task's alone: name it`;
    problems.error(from.at, from.at.key, `'${from.service}': ${why}`);
    return [];
  }
  return [from.readOnly ? { ...mount, readOnly: true } : mount];
}

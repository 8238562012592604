/** Node of the Docker Engine API <-> ours. */
import { z } from 'zod';
import { InvalidError, UnsupportedError } from '../../../shared/errors/index.ts';
import type { Node, NodeRole, NodeSpec } from '../../../shared/model/index.ts';
import { parseStrict } from '../http/unsupported.ts';
import { defined, given, labelsOf, timeText, zLabels, zText } from './common.ts';
import { encodeGenericResources } from './generic-resource-codec.ts';
import { takenPortText } from './taken-ports.ts';

export const zNodeSpec = z.object({
  // A parameter of the update: dockerode sends it in the body as well as in the query, where it counts.
  version: z.unknown().optional(),
  Name: zText,
  Labels: zLabels,
  Role: z.enum(['worker', 'manager'], { error: "'worker' or 'manager' is expected" }),
  Availability: z.enum(['active', 'pause', 'drain'], { error: "'active', 'pause' or 'drain' is expected" }),
});

/** Throws UnsupportedError for a role that is not in `mayBe`. */
export function decodeNodeSpec(value: unknown, current: NodeSpec, mayBe: readonly NodeRole[]): NodeSpec {
  const raw = parseStrict(zNodeSpec, value, 'node spec');
  if (raw.Role !== current.role && !mayBe.includes(raw.Role)) {
    const remedy =
      raw.Role === 'manager'
        ? 'no manager runs on its machine. Start one there (shoal manager --join TOKEN HOST:PORT; the token: shoal token ' +
          'manager), then promote the node'
        : 'this manager does not know of managers that could be removed';
    throw new UnsupportedError(
      `node spec: not supported by Shoal: a change of Role from ${current.role} to ${raw.Role}: ${remedy}`,
    );
  }
  const labels = labelsOf(raw.Labels);
  const bad = Object.keys(labels).find((key) => !/^[^\s=]+$/.test(key));
  if (bad !== undefined) throw new InvalidError(`node spec: '${bad}' is no valid label name`);
  const name = raw.Name === null || raw.Name === '' ? undefined : raw.Name;
  return defined({ name, role: raw.Role, availability: raw.Availability, labels }) as NodeSpec;
}

/** What a node shows that shares its machine with a manager. */
export interface ManagerStatus {
  readonly leads: boolean;
  readonly reachable: boolean;
  /** host:port, or the host alone. */
  readonly address: string;
}

export function encodeNode(
  node: Node,
  version: number,
  manager: ManagerStatus | undefined,
  tls: object = {},
  note?: string,
): object {
  const description = node.description;
  return defined({
    ID: node.id,
    Version: { Index: version },
    CreatedAt: timeText(node.createdAtMs),
    UpdatedAt: timeText(node.updatedAtMs),
    Spec: defined({
      Name: node.spec.name,
      Labels: node.spec.labels,
      Role: node.spec.role,
      Availability: node.spec.availability,
    }),
    Description: defined({
      Hostname: description?.hostname ?? '',
      Platform: { Architecture: description?.arch ?? '', OS: description?.os ?? '' },
      Resources: defined({
        NanoCPUs: description?.nanoCpus ?? 0,
        MemoryBytes: description?.memoryBytes ?? 0,
        GenericResources: encodeGenericResources(description?.genericResources),
      }),
      Engine: {
        EngineVersion: description?.engineVersion ?? '',
        Labels: description?.engineLabels ?? {},
        Plugins: [
          { Type: 'Network', Name: 'overlay' },
          { Type: 'Volume', Name: 'local' },
        ],
      },
      TLSInfo: tls,
      // Shoal's own: what its CDI files describe.
      CDIDevices: node.devices?.names,
      // Likewise: as /info has them, of this node, and what is loaded there.
      SecurityOptions: given(securityModules([node])),
      AppArmorProfiles: node.confinement?.appArmorProfiles,
    }),
    Status: defined({
      State: node.status,
      Message: messageOf(node, note),
      Addr: description?.address ?? '',
    }),
    ManagerStatus:
      manager === undefined
        ? undefined
        : {
            ...(manager.leads ? { Leader: true } : {}),
            Reachability: manager.reachable ? 'reachable' : 'unreachable',
            Addr: manager.address,
          },
  });
}

/** Those that any of the nodes has on, as /info's SecurityOptions have them. */
export function securityModules(nodes: readonly Node[]): string[] {
  const some = (has: (node: Node) => boolean, name: string): string[] =>
    nodes.some(has) ? [`name=${name}`] : [];
  return [
    ...some(({ confinement }) => confinement?.appArmorProfiles !== undefined, 'apparmor'),
    ...some(({ confinement }) => confinement?.selinux === true, 'selinux'),
  ];
}

/** All that people should know of it. */
function messageOf({ statusMessage, takenPorts = [], devices }: Node, note?: string): string | undefined {
  const own = statusMessage ?? note;
  const cdi = (devices?.problems ?? []).map(({ of, why }) => `CDI: ${of}: ${why}`);
  const all = [...(own === undefined ? [] : [own]), ...takenPorts.map(takenPortText), ...cdi];
  return all.length === 0 ? undefined : all.join('; ');
}

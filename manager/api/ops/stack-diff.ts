/** What a deployment would change, found without changing anything. */
import type {
  ContainerSpec,
  FileReference,
  ServiceSpec,
  StoredFile,
  StoredFileKind,
} from '../../../shared/model/index.ts';
import type { StackConversion, StackFile } from '../../stack/index.ts';
import type { Store } from '../../store/store.ts';
import { currentSpec } from './service-reads.ts';
import { type Difference, differences, shownSpec } from './spec-diff.ts';
import { takeNodeNetwork } from './node-networks.ts';
import { fileNamed } from './files.ts';
import { stackFiles } from './stack-files.ts';
import { stackNetworks, stackServices } from './stack-members.ts';
import { withKeptPin } from './stack-pins.ts';

export interface DiffEntry {
  readonly name: string;
  /** `extra`: of the stack, not in the files; --prune removes it. */
  readonly action: 'create' | 'update' | 'unchanged' | 'extra';
  readonly changes: readonly Difference[];
}

export interface StackDiff {
  readonly services: readonly DiffEntry[];
  readonly networks: readonly DiffEntry[];
  /** `update`: other contents, which are not shown, or labels. */
  readonly secrets: readonly DiffEntry[];
  readonly configs: readonly DiffEntry[];
}

/** True when the file that is stored is not what the conversion has. */
export type FileChanged = (existing: StoredFile, wanted: StackFile) => boolean;

export function diffStack(
  store: Store,
  stack: string,
  conversion: StackConversion,
  changed: FileChanged,
): StackDiff {
  const services = conversion.services.map(({ spec }) => diffService(store, stack, spec));
  const wanted = new Set(conversion.services.map(({ spec }) => spec.name));
  const extra = stackServices(store, stack).filter(({ name }) => !wanted.has(name));
  const networks = conversion.networks.flatMap(({ name, spec }): DiffEntry[] => {
    if (spec === undefined) return [];
    const existing = store.get('networks', store.get('names', `network:${name}`)?.id ?? '');
    if (existing === undefined) return [{ name, action: 'create', changes: [] }];
    const changes = differences({ Labels: existing.spec.labels }, { Labels: spec.labels });
    return [{ name, action: changes.length === 0 ? 'unchanged' : 'update', changes }];
  });
  const used = new Set(conversion.networks.map(({ name }) => name));
  const idle = stackNetworks(store, stack).filter(({ spec }) => !used.has(spec.name));
  return {
    services: [...services, ...extra.map(({ name }) => extraEntry(name))],
    networks: [...networks, ...idle.map(({ spec }) => extraEntry(spec.name))],
    secrets: diffFiles(store, stack, 'secret', conversion, changed),
    configs: diffFiles(store, stack, 'config', conversion, changed),
  };
}

function diffFiles(
  store: Store,
  stack: string,
  kind: StoredFileKind,
  conversion: StackConversion,
  changed: FileChanged,
): DiffEntry[] {
  const wanted = conversion.files.filter((file) => file.kind === kind && file.spec !== undefined);
  const names = new Set(wanted.map(({ name }) => name));
  const extra = stackFiles(store, kind, stack).filter(
    ({ spec, replaced }) => !names.has(spec.name) && replaced !== true,
  );
  return [
    ...wanted.map((file): DiffEntry => {
      const existing = fileNamed(store, kind, file.name);
      const differs = existing !== undefined && changed(existing, file);
      const action = existing === undefined ? 'create' : differs ? 'update' : 'unchanged';
      return { name: file.name, action, changes: [] };
    }),
    ...extra.map(({ spec }) => extraEntry(spec.name)),
  ];
}

function extraEntry(name: string): DiffEntry {
  return { name, action: 'extra', changes: [] };
}

function diffService(store: Store, stack: string, wanted: ServiceSpec): DiffEntry {
  const { name } = wanted;
  const existing = stackServices(store, stack).find((service) => service.name === name);
  if (existing === undefined) return { name, action: 'create', changes: [] };
  const current = currentSpec(store, existing);
  const named: ServiceSpec = {
    ...current,
    networks: current.networks.map((attachment) => ({
      ...attachment,
      network: store.get('networks', attachment.network)?.spec.name ?? attachment.network,
    })),
    container: withoutIds(current.container),
  };
  const to = shownSpec({
    ...withKeptPin(takeNodeNetwork(wanted), current),
    forceUpdate: current.forceUpdate,
  });
  const changes = differences(shownSpec(named), to);
  return { name, action: changes.length === 0 ? 'unchanged' : 'update', changes };
}

/** Secrets and configs by name alone, as in the files. */
function withoutIds(container: ContainerSpec): ContainerSpec {
  const { secrets, configs } = container;
  const plain = (list: readonly FileReference[]): FileReference[] => list.map((one) => ({ ...one, id: '' }));
  return {
    ...container,
    ...(secrets === undefined ? {} : { secrets: plain(secrets) }),
    ...(configs === undefined ? {} : { configs: plain(configs) }),
  };
}

/** What is mounted into a single container, in the ways of the Docker Engine API: Binds, Mounts, Tmpfs, Volumes. */
import { InvalidError } from '../../../shared/errors/index.ts';
import { cleanPath } from '../../../shared/lib/clean-path.ts';
import { parseTmpfsOption, TMPFS_OPTIONS } from '../../../shared/lib/tmpfs-options.ts';
import type { BindPropagation, MountSpec } from '../../../shared/model/index.ts';
import { defined } from './common.ts';
import type { RawCreate, RawHostConfig } from './container-create-schema.ts';
import { decodeMount } from './mount-codec.ts';

const PROPAGATIONS: readonly string[] = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'];
/** Nothing here labels files or caches them: what these ask for is so. */
const WITHOUT_EFFECT: readonly string[] = ['z', 'Z', 'consistent', 'cached', 'delegated', 'default'];

/** A volume without a source is one of the container's own. Of several at one path the one named last in the API wins. */
export function decodeMounts(config: RawCreate, host: RawHostConfig): MountSpec[] {
  const mounts = new Map<string, MountSpec>();
  for (const target of Object.keys(config.Volumes ?? {}).map(cleanPath)) {
    mounts.set(target, { kind: 'volume', source: '', target, readOnly: false });
  }
  const given = [
    ...(host.Binds ?? []).map(decodeBind),
    ...(host.Mounts ?? []).map(decodeMount),
    ...Object.entries(host.Tmpfs ?? {}).map(([target, options]) => decodeTmpfs(target, options)),
  ].map((mount) => ({ ...mount, target: cleanPath(mount.target) }));
  const targets = new Set<string>();
  for (const mount of given) {
    if (targets.has(mount.target)) throw new InvalidError(`Duplicate mount point: ${mount.target}`);
    targets.add(mount.target);
    mounts.set(mount.target, mount);
  }
  return [...mounts.values()];
}

/** "source:target[:options]": a path of the node, made when it is missing, or the name of a volume. */
function decodeBind(text: string): MountSpec {
  const [source = '', target = '', options = '', ...more] = text.split(':');
  if (target === '' && source.startsWith('/'))
    return { kind: 'volume', source: '', target: source, readOnly: false };
  if (source === '' || !target.startsWith('/') || more.length > 0)
    throw new InvalidError(`invalid volume specification: '${text}': source:target[:options] is expected`);
  const words = options.split(',').filter((word) => word !== '' && !WITHOUT_EFFECT.includes(word));
  const propagation = words.find((word) => PROPAGATIONS.includes(word)) as BindPropagation | undefined;
  const other = words.find((word) => !['ro', 'rw', 'nocopy', propagation].includes(word));
  if (other !== undefined) throw new InvalidError(`invalid mode: ${other} in '${text}'`);
  const readOnly = words.includes('ro');
  if (source.startsWith('/')) {
    const bind = { kind: 'bind' as const, source, target, readOnly, createSource: true, propagation };
    return defined(bind) as MountSpec;
  }
  if (propagation !== undefined)
    throw new InvalidError(`invalid mode: ${propagation} in '${text}': it is a volume`);
  const noCopy = words.includes('nocopy') ? true : undefined;
  return defined({ kind: 'volume' as const, source, target, readOnly, noCopy }) as MountSpec;
}

function decodeTmpfs(target: string, options: string): MountSpec {
  const found = options
    .split(',')
    .filter((word) => word !== '')
    .map((option) => {
      const parsed = parseTmpfsOption(option);
      if (parsed === undefined)
        throw new InvalidError(`HostConfig.Tmpfs: option '${option}' of ${target}: ${TMPFS_OPTIONS}`);
      return parsed;
    });
  return Object.assign({ kind: 'tmpfs', target, readOnly: false }, ...found) as MountSpec;
}

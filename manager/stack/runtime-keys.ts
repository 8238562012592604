/** Keys of a service that ask something of the container's runtime: privileges, namespaces, devices, weights. */
import type { ContainerSpec, RuntimeOptions } from '../../shared/model/index.ts';
import { describeError } from '../../shared/errors/index.ts';
import { type Confinement, isConfinement, readConfinement } from '../../shared/lib/confinement.ts';
import { parseBytes } from '../../shared/lib/bytes.ts';
import { parseSeccompProfile } from '../../shared/lib/seccomp-profile.ts';
import { readBlockIo } from './block-io.ts';
import { readLifecycle } from './lifecycle.ts';
import { readDevices } from './devices.ts';
import type { ProjectFiles } from './files.ts';
import { defined, labels, type Section } from './section.ts';
import type { Value } from './value.ts';

type SecurityFields = Pick<
  ContainerSpec,
  'noNewPrivileges' | 'seccompUnconfined' | 'seccompProfile' | 'selinux'
>;
type RuntimeFields = SecurityFields & Pick<ContainerSpec, 'oomScoreAdj' | 'runtime'>;

export function readRuntime(service: Section, files: ProjectFiles): RuntimeFields {
  const score = service.whole('oom_score_adj', -1000);
  const { appArmorProfile, selinux } = readSecurityModules(service);
  const options = defined({
    privileged: service.flag('privileged') === true ? true : undefined,
    appArmorProfile,
    ...readSystemPaths(service),
    annotations: nonEmpty(labels(service, 'annotations')),
    ...readDevices(service),
    deviceRules: nonEmpty(service.texts('device_cgroup_rules')),
    shmBytes: service.bytes('shm_size') || undefined,
    diskBytes: readDiskLimit(service),
    hostPid: hostMode(service, 'pid'),
    hostIpc: hostMode(service, 'ipc', ['private', 'shareable']),
    hostUts: hostMode(service, 'uts'),
    hostCgroup: hostMode(service, 'cgroup', ['private']),
    userNamespace: readUserNamespace(service),
    domainname: service.text('domainname'),
    cpuShares: service.whole('cpu_shares') || undefined,
    cpuPeriodUs: service.whole('cpu_period') || undefined,
    cpuset: service.text('cpuset'),
    memorySwapBytes: readSwap(service),
    memorySwappiness: service.whole('mem_swappiness'),
    oomKillDisable: service.flag('oom_kill_disable') === true ? true : undefined,
    blockIo: readBlockIo(service),
    postStart: readLifecycle(service, 'post_start'),
    preStop: readLifecycle(service, 'pre_stop'),
    pullPolicy: readPullPolicy(service),
  }) as RuntimeOptions;
  return defined({
    ...readSecurity(service, files),
    selinux,
    oomScoreAdj: score === 0 ? undefined : score,
    runtime: Object.keys(options).length === 0 ? undefined : options,
  }) as RuntimeFields;
}

/** Of lists and mappings. */
function nonEmpty<T extends object>(value: T | undefined): T | undefined {
  return value === undefined || Object.keys(value).length === 0 ? undefined : value;
}

const ALL_SYSTEM_PATHS = /^systempaths[=:]unconfined$/;

/** One of the options of security: nothing is hidden and nothing read-only. */
function readSystemPaths(service: Section): Pick<RuntimeOptions, 'maskedPaths' | 'readOnlyPaths'> {
  const options = service.list('security_opt')?.items ?? [];
  const all = options.some((item) => item.kind === 'scalar' && ALL_SYSTEM_PATHS.test(item.text));
  return all ? { maskedPaths: [], readOnlyPaths: [] } : {};
}

/** `host`, or words that say what is so anyway. */
function hostMode(
  service: Section,
  name: 'pid' | 'ipc' | 'uts' | 'cgroup',
  usual: readonly string[] = [],
): true | undefined {
  const text = service.text(name);
  if (text === undefined || text === '' || usual.includes(text)) return undefined;
  if (text === 'host') return true;
  const at = service.map.entries.get(name)?.value ?? service.map;
  if (/^(service|container):/.test(text)) {
    const why =
      'tasks are placed one by one, on different nodes; run both as single containers ' +
      `(docker compose, docker run --${name} container:NAME)`;
    service.problems.error(at, at.key, `'${text}' is not supported: ${why}`);
    return undefined;
  }
  const allowed = ['host', ...usual].join(' or ');
  service.problems.error(at, at.key, `'${text}' is not supported: ${allowed} is expected`);
  return undefined;
}

function readUserNamespace(service: Section): RuntimeOptions['userNamespace'] {
  const text = service.text('userns_mode');
  if (text === undefined || text === '' || text === 'host' || text === 'private') return text || undefined;
  const at = service.map.entries.get('userns_mode')?.value ?? service.map;
  service.problems.error(at, at.key, `'${text}' is not supported: host or private is expected`);
  return undefined;
}

/** A node asks the registry of a tag each time, which is `always`. */
function readPullPolicy(service: Section): RuntimeOptions['pullPolicy'] {
  const text = service.text('pull_policy');
  switch (text) {
    case undefined:
    case 'always':
      return undefined;
    case 'missing':
    case 'if_not_present':
      return 'missing';
    case 'never':
      return 'never';
    default: {
      const at = service.map.entries.get('pull_policy')?.value ?? service.map;
      const why =
        text === 'build'
          ? 'a cluster builds no images'
          : 'always, missing, if_not_present or never is expected (a tag is asked of its registry at each start)';
      service.problems.error(at, at.key, `'${text}' is not supported: ${why}`);
      return undefined;
    }
  }
}

/** -1 is no limit. */
function readDiskLimit(service: Section): number | undefined {
  const options = service.section('storage_opt');
  const bytes = options?.bytes('size');
  options?.end();
  return bytes === 0 ? undefined : bytes;
}

function readSwap(service: Section): number | undefined {
  const text = service.text('memswap_limit');
  if (text === undefined) return undefined;
  const bytes = text === '-1' ? -1 : parseBytes(text);
  const at = service.map.entries.get('memswap_limit')?.value ?? service.map;
  if (bytes === undefined) service.expected(at, 'a size such as 64m, 1.5g or -1');
  return bytes === 0 ? undefined : bytes;
}

/** Each is NAME, NAME=VALUE or NAME:VALUE. */
function readSecurity(service: Section, files: ProjectFiles): SecurityFields {
  const found: { -readonly [K in keyof SecurityFields]: SecurityFields[K] } = {};
  for (const item of service.list('security_opt')?.items ?? []) {
    const text = service.textOf(item) ?? '';
    if (isConfinement(text)) continue;
    const file = profileFile(text);
    if (file !== undefined) {
      const profile = readProfile(service, item, file, files);
      if (profile !== undefined) found.seccompProfile = profile;
      continue;
    }
    switch (text.replace(/[=:]/, '=')) {
      case 'no-new-privileges':
      case 'no-new-privileges=true':
        found.noNewPrivileges = true;
        break;
      case 'seccomp=unconfined':
        found.seccompUnconfined = true;
        break;
      case 'systempaths=unconfined':
      case 'no-new-privileges=false':
      case 'seccomp=builtin':
        break;
      default:
        service.problems.error(
          item,
          item.key,
          `'${text}' is not supported: no-new-privileges, seccomp=unconfined, seccomp=FILE, systempaths=unconfined, apparmor=PROFILE and label=... are`,
        );
    }
  }
  return found;
}

/** The same, of AppArmor and SELinux. */
function readSecurityModules(service: Section): Confinement {
  const items = (service.list('security_opt')?.items ?? []).flatMap((item) =>
    item.kind === 'scalar' && isConfinement(item.text) ? [item] : [],
  );
  for (const item of items) {
    try {
      readConfinement([item.text]);
    } catch (error) {
      service.problems.error(item, item.key, describeError(error));
      return {};
    }
  }
  return readConfinement(items.map(({ text }) => text));
}

/** FILE of seccomp=FILE. */
export function profileFile(text: string): string | undefined {
  const name = /^seccomp[=:](.+)$/s.exec(text)?.[1];
  return name === undefined || ['unconfined', 'builtin'].includes(name) ? undefined : name;
}

function readProfile(service: Section, item: Value, file: string, files: ProjectFiles): string | undefined {
  const text = files.read(file, true, item, item.key);
  if (text === undefined) return undefined;
  try {
    parseSeccompProfile(text);
    return JSON.stringify(JSON.parse(text));
  } catch (error) {
    service.problems.error(
      item,
      item.key,
      `${file}: ${error instanceof Error ? error.message : String(error)}`,
    );
    return undefined;
  }
}

/** `shoal manager` and `shoal agent`: the processes that run on the hosts, in the foreground. */
import { readFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { type Command, Option } from 'commander';
import { InvalidError } from '../../shared/errors/index.ts';
import { readPassphrase } from '../../manager/backup/backup-file.ts';
import type { IdRange } from '../../shared/lib/id-ranges.ts';
import type {
  AgentOptions,
  EtcdOptions,
  ManagerIdentity,
  ManagerOptions,
  ScheduledBackups,
} from '../../shared/model/index.ts';
import { DEFAULT_NAME, DEFAULT_PORT_BASE } from '../local/layout.ts';
import { signalOfInterrupts } from './fail.ts';
import { makeLogger } from './logger.ts';
import { addManagerCommands } from './manager-commands.ts';
import {
  collect,
  collectLabel,
  parseCount,
  parseHostPort,
  parseIdPool,
  parseManagers,
  parseName,
  parsePeriod,
  parsePort,
  readGenericResources,
} from './options.ts';

const DAY_MS = 86_400_000;
const MIB = 1024 * 1024;
const LEVELS = ['debug', 'info', 'warn', 'error'];

interface ManagerFlags {
  join?: string;
  joinFile?: string;
  name: string;
  stateDir: string;
  runDir: string;
  socket: string;
  socketGroup: string;
  listen: { host: string; port: number };
  advertise?: string;
  api?: { host: string; port: number };
  apiName: string[];
  metrics?: { host: string; port: number };
  etcd?: string;
  etcdCa?: string;
  etcdCert?: string;
  etcdKey?: string;
  etcdClientPort: number;
  etcdPeerPort: number;
  etcdQuota?: number;
  nodeDownAfter?: number;
  newDataKey?: boolean;
  caCert?: string;
  caKey?: string;
  backupDir?: string;
  backupEvery: number;
  backupKeep: number;
  backupPassphraseFile?: string;
  logLevel: string;
}

const parseAdvertise = (text: string): string => {
  parseHostPort(text);
  return text;
};

export function addManager(program: Command): void {
  const manager = program
    .command('manager')
    .description('run a manager on this host, with an etcd of its own unless --etcd names one')
    .argument('[managers]', 'with --join: HOST:PORT[,HOST:PORT...] of managers', parseManagers)
    .option('--join <token>', 'become one more manager of a cluster (see `shoal token manager`)')
    .option('--join-file <file>', 'the same, the token being in a file')
    .option('--name <name>', 'name of the cluster', parseName, DEFAULT_NAME)
    .option('--state-dir <dir>', 'what must survive a restart', '/var/lib/shoal/manager')
    .option('--run-dir <dir>', 'what need not', '/run/shoal/manager')
    .option('--socket <path>', 'unix socket of the API', '/run/shoal/shoal.sock')
    .option('--socket-group <group>', 'group that may use the socket besides root', 'shoal')
    .option('--listen <host:port>', 'where agents connect to', parseHostPort, {
      host: '0.0.0.0',
      port: DEFAULT_PORT_BASE,
    })
    .option(
      '--advertise <host:port>',
      'where agents are told to connect to (default: this host, same port)',
      parseAdvertise,
    )
    .option('--etcd <urls>', 'use this etcd: URL[,URL...]')
    .option('--etcd-ca <file>', 'its CA certificate (PEM)')
    .option('--etcd-cert <file>', 'client certificate for it (PEM)')
    .option('--etcd-key <file>', 'key of that certificate (PEM)')
    .option('--etcd-client-port <port>', "the own etcd's client port", parsePort, DEFAULT_PORT_BASE + 1)
    .option('--etcd-peer-port <port>', "the own etcd's peer port", parsePort, DEFAULT_PORT_BASE + 2)
    .option(
      '--etcd-quota <MiB>',
      "size of the own etcd's database at which it refuses writes (default: 2048)",
      parseCount(16, 8192),
    )
    .option(
      '--node-down-after <ms>',
      'silence after which a node is down; the first manager decides for the cluster (default: 2000)',
      parseCount(100, 3_600_000),
    )
    .option('--ca-cert <file>', 'root certificate (PEM) that a new cluster begins with; default: one is made')
    .option('--ca-key <file>', 'its key (PEM). Both are of no use once the cluster is made')
    .option(
      '--new-data-key',
      'replace a lost data key, and the CA that it sealed: nodes come back with a token. Refused while there are secrets or configs',
    )
    .addOption(new Option('--log-level <level>').choices(LEVELS).default('info'))
    .action(async (managers: string[] | undefined, flags: ManagerFlags) => {
      const { runManager } = await import('../../manager/main.ts');
      const signal = signalOfInterrupts();
      const options = await managerOptions(flags);
      await runManager({ ...options, ...(await joinOptions(options, managers, flags, signal)) }, signal);
    });
  addApiOptions(manager);
  addBackupOptions(manager);
  addManagerCommands(manager);
}

function addApiOptions(manager: Command): void {
  manager
    .option(
      '--api <host:port>',
      'serve the API here too, over TLS, for users (see `shoal user add`); e.g. 0.0.0.0:2376',
      parseHostPort,
    )
    .option(
      '--api-name <name>',
      'a name or address that clients call this manager by, besides its own (repeatable)',
      collect,
      [],
    )
    .option(
      '--metrics <host:port>',
      'serve /metrics, and nothing else, here too: plain HTTP on a loopback address, elsewhere TLS for users',
      parseHostPort,
    );
}

function addBackupOptions(manager: Command): void {
  manager
    .option('--backup-dir <dir>', 'where backups are kept (default: backups in the state directory)')
    .addOption(
      new Option('--backup-every <duration>', 'how often one is made, e.g. 6h or 7d; 0: never')
        .argParser(parsePeriod)
        .default(DAY_MS, '24h'),
    )
    .option('--backup-keep <count>', 'how many of them', parseCount(1, 10_000), 7)
    .option('--backup-passphrase-file <file>', 'encrypt them with the first line of this file');
}

/** Certificate and CA for a manager that joins; nothing for one that is in a cluster already. */
async function joinOptions(
  options: ManagerOptions,
  managers: string[] | undefined,
  flags: ManagerFlags,
  signal: AbortSignal,
): Promise<{ joins?: ManagerIdentity }> {
  const { advertise: address, logger, stateDir } = options;
  if (flags.join === undefined && flags.joinFile === undefined) {
    if (managers !== undefined) throw new InvalidError(`${managers[0]}: a manager joins with --join TOKEN`);
    return {};
  }
  const [{ ownPeerUrl }, { mayJoin }] = await Promise.all([
    import('../../manager/membership/own-store.ts'),
    import('../../manager/membership/enter.ts'),
  ]);
  const peerUrl = ownPeerUrl(options);
  if (peerUrl === undefined) {
    throw new InvalidError(
      '--join is for managers with an etcd of their own: with --etcd copy the data key instead',
    );
  }
  if (!(await mayJoin(stateDir))) {
    logger.info({ stateDir }, 'this manager is in a cluster already: --join is not needed any more');
    return {};
  }
  if (managers === undefined) throw new InvalidError('a join token needs a manager: --join TOKEN HOST:PORT');
  const token = flags.join ?? (await readText(flags.joinFile ?? '')).trim();
  const { join } = await import('../../agent/session/join.ts');
  const manager = { address, peerUrl };
  return { joins: await join({ token, managers, hostname: os.hostname(), manager }, signal) };
}

async function managerOptions(flags: ManagerFlags): Promise<ManagerOptions> {
  return {
    name: flags.name,
    stateDir: path.resolve(flags.stateDir),
    runDir: path.resolve(flags.runDir),
    apiSocket: path.resolve(flags.socket),
    apiGroup: flags.socketGroup,
    listen: flags.listen,
    advertise: flags.advertise ?? `${ownAddress(flags.listen.host)}:${flags.listen.port}`,
    ...apiOptions(flags),
    ...(flags.metrics === undefined ? {} : { metricsListen: flags.metrics }),
    etcd: await etcdOptions(flags),
    ...(flags.nodeDownAfter === undefined ? {} : { nodeDownAfterMs: flags.nodeDownAfter }),
    ...(flags.newDataKey === undefined ? {} : { newDataKey: flags.newDataKey }),
    ...(await rootOptions(flags)),
    ...(await backupOptions(flags)),
    logger: makeLogger(flags.logLevel, 'manager'),
  };
}

function apiOptions({ api, apiName }: ManagerFlags): Pick<ManagerOptions, 'api'> {
  if (api !== undefined) return { api: { ...api, names: apiName } };
  if (apiName.length > 0) throw new InvalidError('--api-name is of use with --api only');
  return {};
}

async function rootOptions({ caCert, caKey }: ManagerFlags): Promise<Pick<ManagerOptions, 'root'>> {
  if (caCert === undefined && caKey === undefined) return {};
  if (caCert === undefined || caKey === undefined)
    throw new InvalidError('--ca-cert and --ca-key belong together: give both');
  return { root: { caCertificatePem: await readText(caCert), caKeyPem: await readText(caKey) } };
}

async function backupOptions(flags: ManagerFlags): Promise<{ backups?: ScheduledBackups }> {
  const { backupDir, backupEvery: everyMs, backupKeep: keep, backupPassphraseFile } = flags;
  if (everyMs === 0) return {};
  const passphrase =
    backupPassphraseFile === undefined ? undefined : await readPassphrase(backupPassphraseFile);
  return {
    backups: {
      everyMs,
      keep,
      ...(backupDir === undefined ? {} : { directory: path.resolve(backupDir) }),
      ...(passphrase === undefined ? {} : { passphrase }),
    },
  };
}

async function etcdOptions(flags: ManagerFlags): Promise<EtcdOptions> {
  const { etcd, etcdCa, etcdCert, etcdKey } = flags;
  if (etcd === undefined) {
    const { etcdClientPort: clientPort, etcdPeerPort: peerPort, etcdQuota } = flags;
    const quota = etcdQuota === undefined ? {} : { quotaBytes: etcdQuota * MIB };
    return { kind: 'embedded', clientPort, peerPort, ...quota };
  }
  const endpoints = etcd.split(',').filter((url) => url !== '');
  if (etcdCa === undefined && etcdCert === undefined && etcdKey === undefined) {
    return { kind: 'external', endpoints };
  }
  if (etcdCa === undefined || etcdCert === undefined || etcdKey === undefined) {
    throw new InvalidError('--etcd-ca, --etcd-cert and --etcd-key belong together: give all three');
  }
  const [ca, cert, key] = await Promise.all([readText(etcdCa), readText(etcdCert), readText(etcdKey)]);
  return { kind: 'external', endpoints, tls: { ca, cert, key } };
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new InvalidError(`${file} can not be read`, { cause: error });
  }
}

/** The address that others are told, when none was given: the first of this host that is not loopback. */
function ownAddress(listenHost: string): string {
  if (listenHost !== '0.0.0.0' && listenHost !== '::') return listenHost;
  const all = Object.values(os.networkInterfaces()).flatMap((list) => list ?? []);
  const own = all.find((entry) => entry.family === 'IPv4' && !entry.internal);
  if (own === undefined) {
    throw new InvalidError(
      'this host has no IPv4 address but loopback: say with --advertise where agents connect to',
    );
  }
  return own.address;
}

interface AgentFlags {
  join?: string;
  joinFile?: string;
  name: string;
  hostname: string;
  stateDir: string;
  runDir: string;
  address?: string;
  insecureRegistry: string[];
  preloadImages?: string;
  label: Record<string, string>;
  genericResource: string[];
  cdiSpecDir: string[];
  usernsRemap?: boolean;
  usernsPool?: IdRange;
  vxlanPort: number;
  wireguardPort: number;
  logLevel: string;
}

export function addAgent(program: Command): void {
  program
    .command('agent')
    .description('run an agent on this host; the first time it joins with a token (see `shoal token`)')
    .argument('[managers]', 'HOST:PORT[,HOST:PORT...] of managers', parseManagers)
    .option('--join <token>', 'join the cluster with this token')
    .option('--join-file <file>', 'the same, the token being in a file')
    .option('--name <name>', 'name of the cluster', parseName, DEFAULT_NAME)
    .option('--hostname <name>', 'name of the node', os.hostname())
    .option(
      '--state-dir <dir>',
      'what must survive a restart: identity, images, volumes',
      '/var/lib/shoal/agent',
    )
    .option('--run-dir <dir>', 'what need not', '/run/shoal/agent')
    .option(
      '--address <ip>',
      'address of this node for the other nodes (default: the one towards the manager)',
    )
    .option('--insecure-registry <host>', 'speak plain HTTP with this registry (repeatable)', collect, [])
    .option('--preload-images <dir>', 'import *.tar (docker save format) from here at start')
    .option('--label <key=value>', 'engine label of the node (repeatable)', collectLabel, {})
    .option(
      '--generic-resource <kind=what>',
      'what the node has besides: gpu=2, or gpu=NAME for each of them (repeatable)',
      collect,
      [],
    )
    .option(
      '--cdi-spec-dir <dir>',
      'CDI files are here, in place of /etc/cdi and /var/run/cdi; of several the later come first (repeatable)',
      collect,
      [],
    )
    .option(
      '--userns-remap',
      'containers have user namespaces of their own, but for those that ask for the node’s',
    )
    .option('--userns-pool <first:count>', 'the ids for them: 65536 for each', parseIdPool)
    .option('--vxlan-port <port>', 'UDP port of the overlays, the same on all nodes', parsePort, 4789)
    .option(
      '--wireguard-port <port>',
      'UDP port of encrypted overlays, with the one after it; the same on all nodes',
      parsePort,
      51_831,
    )
    .addOption(new Option('--log-level <level>').choices(LEVELS).default('info'))
    .action(async (managers: string[] | undefined, flags: AgentFlags) => {
      const { runAgent } = await import('../../agent/main.ts');
      await runAgent(await agentOptions(managers, flags), signalOfInterrupts());
    });
}

async function agentOptions(managers: string[] | undefined, flags: AgentFlags): Promise<AgentOptions> {
  const token =
    flags.join ?? (flags.joinFile === undefined ? undefined : (await readText(flags.joinFile)).trim());
  if (token !== undefined && managers === undefined) {
    throw new InvalidError('a join token needs a manager: shoal agent --join TOKEN HOST:PORT');
  }
  return {
    name: flags.name,
    hostname: flags.hostname,
    stateDir: path.resolve(flags.stateDir),
    runDir: path.resolve(flags.runDir),
    ...(token === undefined || managers === undefined ? {} : { join: { token, managers } }),
    ...(flags.address === undefined ? {} : { address: flags.address }),
    insecureRegistries: flags.insecureRegistry,
    ...(flags.preloadImages === undefined ? {} : { preloadImages: path.resolve(flags.preloadImages) }),
    labels: flags.label,
    genericResources: readGenericResources(flags.genericResource),
    ...(flags.cdiSpecDir.length === 0
      ? {}
      : { cdiDirectories: flags.cdiSpecDir.map((one) => path.resolve(one)) }),
    userNamespaces: {
      remap: flags.usernsRemap === true,
      ...(flags.usernsPool === undefined ? {} : { pool: flags.usernsPool }),
    },
    vxlanPort: flags.vxlanPort,
    wireguardPort: flags.wireguardPort,
    logger: makeLogger(flags.logLevel, 'agent'),
  };
}

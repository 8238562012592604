/** From a task's assignment to everything that its container needs: image, volumes, files, OCI configuration. */
import { copyFile } from 'node:fs/promises';
import { arch, hostname as hostnameOfNode, release as kernelRelease } from 'node:os';
import { dirname, join } from 'node:path';
import { grantedDevices } from '../../shared/lib/generic-resources.ts';
import { taskContext, type TemplateContext } from '../../shared/lib/template.ts';
import { InvalidError, NotFoundError } from '../../shared/errors/index.ts';
import { newContainerId } from '../../shared/lib/ids.ts';
import type { LogForward } from '../../shared/lib/log-forward.ts';
import { readLogDriver } from '../../shared/lib/log-driver.ts';
import {
  DEFAULT_STOP_GRACE_NS,
  STACK_LABEL,
  type ContainerSpec,
  type HealthCheck,
  type MountSpec,
  type TaskAssignment,
} from '../../shared/model/index.ts';
import type { CdiDirectories } from '../cdi/directories.ts';
import { cdiDevices, chooseEdits, type ChosenEdits, withCdiDevices, withEdits } from '../cdi/edits.ts';
import { checkConfinement, selinuxLabels } from '../confinement/security-modules.ts';
import type { TaskFiles } from '../files/task-files.ts';
import type { ImageUser } from '../image/image-removal.ts';
import type { ImageService, ResolvedImage } from '../image/image-service.ts';
import { parseRegistryAuth } from '../image/registry-auth.ts';
import { writeBatch } from '../native/file-batch.ts';
import type { Volumes } from '../volume/volumes.ts';
import { resolveBlockIo } from './block-io.ts';
import { resolveDevices } from './devices.ts';
import { requireProcessors } from './processors.ts';
import type { Containers } from './containers.ts';
import type { NewContainer } from './new-container.ts';
import { heldMounts } from './held-mounts.ts';
import { hostsOf } from './task-hosts.ts';
import { ImageUsers } from './image-users.ts';
import { logTarget } from './log-message.ts';
import { mountBinds } from './mount-binds.ts';
import { imagesOf, MountedImages } from './mounted-images.ts';
import { availableCapabilities } from './own-capabilities.ts';
import { etcBinds, filesLender, sharedMemory, sharingOf } from './peers.ts';
import type { ContainerRecord } from './record.ts';
import { type HeldProcess, heldProcess } from './exec-process.ts';
import { fillSpec } from './fill-spec.ts';
import { INIT_PATH, processArgs, runtimeSpec, type BindMount } from './runtime-spec.ts';
import { nativeDir } from '../native/library.ts';
import { parseSignal } from './signals.ts';
import { detailsOf, type StandaloneRecord, standaloneMode, withAnonymousVolumes } from './standalone.ts';
import { asOwn, isRemapped } from './user-ranges.ts';
import { type ResolvedUser, resolveUser } from './users.ts';
import { checkDisk } from './writable-layer.ts';

export interface BuilderOptions {
  readonly images: ImageService;
  readonly volumes: Volumes;
  readonly containers: Containers;
  readonly files: TaskFiles;
  readonly cdi: Pick<CdiDirectories, 'read'>;
  /** What /etc/resolv.conf of the task's container says. */
  readonly resolvConf: (task: TaskAssignment) => string | Promise<string>;
  /** Parent of the containers' cgroups, e.g. /shoal/n1. */
  readonly cgroupParent: string;
  /** Whether containers that say nothing have user namespaces of their own. */
  readonly remap?: boolean;
  readonly nodeId: string;
  readonly hostname: string;
  /** What `host-gateway` stands for among the extra hosts. */
  readonly nodeAddress: string;
  readonly platform: { readonly os: string; readonly arch: string };
}

export class ContainerBuilder {
  readonly #options: BuilderOptions;
  readonly #prepared = new Map<string, ResolvedImage>();
  readonly #mounted: MountedImages;
  readonly #users = new ImageUsers();

  constructor(options: BuilderOptions) {
    this.#options = options;
    this.#mounted = new MountedImages(options.images);
  }

  /**
   * Fetches the image. Rejects with the registry's message when there is none, and when this node can not be what the
   * container needs.
   */
  async prepare(task: TaskAssignment, signal: AbortSignal): Promise<ResolvedImage> {
    const { registryAuth, container } = task.spec;
    await checkDisk(dirname(this.#options.containers.directory(task.taskId)), container);
    await checkConfinement(container);
    const mode = standaloneMode(task);
    const made = mode === undefined ? undefined : this.#options.containers.find(mode.containerId);
    await this.#mounted.prepare(task, made?.mountedImages, signal);
    if (mode !== undefined) return this.#prepareStandalone(task, mode.containerId);
    const here = await this.#imageHere(container);
    const image =
      here ?? (await this.#options.images.ensure(container.image, parseRegistryAuth(registryAuth), signal));
    this.#prepared.set(task.taskId, image);
    return image;
  }

  /** The image of its first start for ever, whatever its name means by then. `docker create` pulls nothing. */
  async #prepareStandalone(task: TaskAssignment, containerId: string): Promise<ResolvedImage> {
    const { images, containers } = this.#options;
    const { image: name } = task.spec.container;
    const reference = containers.find(containerId)?.imageId ?? name;
    const image = await images.resolveLocal(reference);
    if (image === undefined) throw new NotFoundError(`No such image: ${name}`);
    this.#prepared.set(task.taskId, image);
    return image;
  }

  /** The image as it is here, where the registry is not to be asked. */
  async #imageHere({ image, runtime }: ContainerSpec): Promise<ResolvedImage | undefined> {
    const policy = runtime?.pullPolicy;
    if (policy === undefined) return undefined;
    const here = await this.#options.images.resolveLocal(image);
    if (here === undefined && policy === 'never') {
      throw new InvalidError(`image ${image} is not on this node, and its pull policy is never`);
    }
    return here;
  }

  forget(taskId: string): void {
    this.#prepared.delete(taskId);
    this.#mounted.forget(taskId);
  }

  /** A container that an image belongs to, else a task that has none yet. */
  userOf(imageId: string): ImageUser | undefined {
    const records = this.#options.containers.list().filter((record) => imagesOf(record).includes(imageId));
    const record = records.find(({ exit }) => exit === undefined) ?? records[0];
    if (record !== undefined) return { kind: 'container', id: record.id, running: record.exit === undefined };
    return this.inUse().has(imageId) ? { kind: 'task' } : undefined;
  }

  /** Image ids that a clean-up must leave. */
  inUse(): Set<string> {
    const used = [...this.#prepared.values()].map((image) => image.id);
    return new Set([...used, ...this.#mounted.inUse(), ...this.#options.containers.list().flatMap(imagesOf)]);
  }

  /** `networked` false: its networks may not be known yet, and it is not about to be started. */
  async build(task: TaskAssignment, signal: AbortSignal, networked = true): Promise<NewContainer> {
    const id = standaloneMode(task)?.containerId ?? newContainerId();
    try {
      return await this.#build(task, id, signal, networked);
    } catch (error) {
      await this.#options.volumes.release(id);
      throw error;
    }
  }

  async #build(
    task: TaskAssignment,
    id: string,
    signal: AbortSignal,
    networked: boolean,
  ): Promise<NewContainer> {
    const image = this.#prepared.get(task.taskId) ?? (await this.prepare(task, signal));
    const context = this.#context(task);
    const mode = standaloneMode(task);
    const filled = filledSpec(task, context);
    const { spec, names } = withAnonymousVolumes(filled, image.config, id);
    const user = await this.#userOf(spec, image);
    const { containers, volumes } = this.#options;
    const readOnly = spec.readOnlyRoot === true;
    const lender = await filesLender(containers, spec.runtime?.networkOf, readOnly);
    const hostname = this.#hostname(spec, id, lender?.hostname);
    const remapped = isRemapped(spec, this.#options.remap);
    const owned = (list: BindMount[]) => list.map((bind) => asOwn(bind, remapped, spec));
    const owner = { id, image, mounts: spec.mounts, mounted: this.#mounted.of(task.taskId) };
    const files = lender === undefined ? { files: await this.#files(task, hostname, networked) } : {};
    const binds = [
      ...(lender?.binds ?? owned(etcBinds(containers.directory(id), readOnly))),
      ...sharedMemory(containers, id, spec.runtime),
      ...owned(spec.init === true ? [await this.#init(id)] : []),
      ...(await mountBinds(volumes, { ...owner, anonymous: names, remapped }, signal)),
      ...owned(this.#options.files.mounts(id, spec)),
    ];
    const chosen = await this.#cdiEdits(spec, task.granted);
    const plain = runtimeSpec({
      spec,
      user,
      hostname,
      binds,
      image: image.config,
      limits: task.spec.limits,
      reservations: task.spec.reservations,
      cgroupsPath: join(this.#options.cgroupParent, id),
      ...(await resolved(spec, id, chosen, user.uid)),
      limitedVolume: await volumes.limited(spec.mounts.flatMap(volumeName)),
    });
    const config = withEdits(plain, chosen, remapped);
    const process = heldProcess(config, processArgs(spec, image.config));
    const { uid, gid, additionalGids = [] } = config.process.user;
    const identity = { id, uid, gid, additionalGids, imageId: image.id };
    const stop = spec.stopSignal ?? image.config.stopSignal ?? 'SIGTERM';
    const health = healthCheckOf(spec.healthCheck, image.config.healthcheck);
    // Last, so that nothing that fails leaves them behind.
    await this.#options.files.write(id, spec, context, process.env);
    // What an earlier manager let pass, and this one would refuse, is no reason to fail now.
    const { policy: log } = readLogDriver(task.spec.logDriver);
    const record: ContainerRecord = {
      ...recordOf(task, identity, process, stop, health, this.#options.nodeId),
      mounts: heldMounts(spec.mounts, names, binds),
      ...(log.kept ? {} : { withoutLog: true }),
      ...this.#mounted.noteOf(task.taskId),
      ...(lender === undefined ? {} : { filesOf: lender.id }),
      ...askedOf(spec),
    };
    const made = { config, layers: image.layers, log, remapped, ...files, ...sharingOf(spec.runtime) };
    if (mode === undefined) return { record: withTarget(record, log.forward), ...made };
    const known = this.#options.containers.find(id);
    const standalone: StandaloneRecord = {
      details: detailsOf(spec, image.config, hostname, binds),
      anonymousVolumes: names,
      discardVolumes: mode.autoRemove || known?.standalone?.discardVolumes === true,
    };
    const alone = standaloneRecord(record, known, image, standalone, task);
    return { record: withTarget(alone, log.forward), ...made };
  }

  /** By the image's own files. */
  async #userOf({ user, groups = [] }: ContainerSpec, image: ResolvedImage): Promise<ResolvedUser> {
    const { passwd, group } = await this.#users.of(image);
    return resolveUser(user ?? image.config.user, groups, passwd, group);
  }

  /** As the node's files describe the devices now. */
  async #cdiEdits({ runtime }: ContainerSpec, granted: TaskAssignment['granted']): Promise<ChosenEdits> {
    const requests = [...(runtime?.deviceRequests ?? []), ...grantedDevices(granted ?? [])];
    if (requests.length === 0) return { devices: [], edits: [] };
    return chooseEdits(requests, await this.#options.cdi.read());
  }

  #hostname({ hostname, runtime = {} }: ContainerSpec, id: string, lent: string | undefined): string {
    if (runtime.hostUts === true) return hostnameOfNode();
    return lent ?? (hostname || (runtime.network === 'host' ? this.#options.hostname : id.slice(0, 12)));
  }

  /** A copy of the container's own: what a privileged one could do to it harms no other. */
  async #init(id: string): Promise<BindMount> {
    const directory = this.#options.containers.directory(id);
    const source = join(directory, 'init');
    await writeBatch({ directories: [{ path: directory, mode: 0o700 }], files: [] });
    await copyFile(join(nativeDir, 'shoal-init'), source);
    return { source, target: INIT_PATH, options: ['bind', 'ro', 'rprivate'] };
  }

  #context(task: TaskAssignment): TemplateContext {
    const { hostname, nodeId, platform } = this.#options;
    const { taskId: id, serviceId, slot, spec } = task;
    return taskContext({ id, serviceId, slot, nodeId }, spec, { hostname, ...platform });
  }

  /** What the files that the container sees under /etc say, which belong to the node. */
  async #files(task: TaskAssignment, hostname: string, networked: boolean): Promise<Record<string, string>> {
    return {
      hosts: hostsOf(task, hostname, this.#options.nodeAddress),
      hostname: `${hostname}\n`,
      'resolv.conf': networked ? await this.#options.resolvConf(task) : '',
    };
  }
}

/** What of it is the node's to say: devices, by their numbers, labels, what the kernel and the agent can do. */
async function resolved(spec: ContainerSpec, id: string, chosen: ChosenEdits, uid: number) {
  const { runtime = {} } = spec;
  await requireProcessors(runtime);
  const devices = withCdiDevices(await resolveDevices(runtime), await cdiDevices(chosen, uid));
  const blockIo = await resolveBlockIo(runtime.blockIo);
  return { devices, blockIo, labels: await selinuxLabels(spec, id), ...machineNow() };
}

/** What the record keeps of what was asked for. */
function askedOf({ readOnlyRoot, runtime = {} }: ContainerSpec): Partial<ContainerRecord> {
  const { diskBytes, ipcShareable, postStart, preStop } = runtime;
  return {
    ...(readOnlyRoot === true ? { readOnlyRoot: true } : {}),
    ...(diskBytes === undefined ? {} : { diskBytes }),
    ...(ipcShareable === true ? { sharesMemory: true } : {}),
    ...(postStart === undefined ? {} : { postStart }),
    ...(preStop === undefined ? {} : { preStop }),
  };
}

function volumeName(mount: MountSpec): string[] {
  return mount.kind === 'volume' ? [mount.source] : [];
}

function machineNow() {
  const machine = { arch: GO_ARCH[arch()] ?? arch(), release: kernelRelease() };
  return { machine, available: availableCapabilities() };
}

/** A standalone container's has no templates. */
function filledSpec(task: TaskAssignment, context: TemplateContext): ContainerSpec {
  const { container } = task.spec;
  return standaloneMode(task) === undefined ? fillSpec(container, context, task.granted) : container;
}

/** Go's names for what Node calls otherwise. */
const GO_ARCH: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };

function recordOf(
  task: TaskAssignment,
  identity: Pick<ContainerRecord, 'id' | 'uid' | 'gid' | 'additionalGids' | 'imageId'>,
  process: HeldProcess,
  stopSignal: string,
  healthCheck: HealthCheck | undefined,
  nodeId: string,
): ContainerRecord {
  const { container: spec } = task.spec;
  const place = task.slot > 0 ? String(task.slot) : nodeId;
  const stack = task.spec.labels[STACK_LABEL];
  return {
    ...identity,
    ...process,
    name: `${task.serviceName}.${place}.${task.taskId}`,
    taskId: task.taskId,
    serviceId: task.serviceId,
    serviceName: task.serviceName,
    slot: task.slot,
    image: spec.image,
    labels: {
      ...spec.labels,
      ...(stack === undefined ? {} : { [STACK_LABEL]: stack }),
      'com.docker.swarm.node.id': nodeId,
      'com.docker.swarm.service.id': task.serviceId,
      'com.docker.swarm.service.name': task.serviceName,
      'com.docker.swarm.task': '',
      'com.docker.swarm.task.id': task.taskId,
      'com.docker.swarm.task.name': `${task.serviceName}.${place}.${task.taskId}`,
    },
    tty: spec.tty === true,
    openStdin: spec.openStdin === true,
    stdinOnce: spec.stdinOnce === true,
    createdAtMs: Date.now(),
    stopSignal: parseSignal(stopSignal),
    stopGraceMs: (spec.stopGraceNs ?? DEFAULT_STOP_GRACE_NS) / 1e6,
    networks: task.addresses,
    ...(healthCheck === undefined ? {} : { healthCheck }),
  };
}

/** Under its own name and labels, the image's among them, as old as its creation. */
function standaloneRecord(
  record: ContainerRecord,
  known: ContainerRecord | undefined,
  image: ResolvedImage,
  standalone: StandaloneRecord,
  { spec }: TaskAssignment,
): ContainerRecord {
  return {
    ...record,
    name: spec.name,
    labels: { ...image.config.labels, ...spec.container.labels },
    createdAtMs: known?.createdAtMs ?? record.createdAtMs,
    standalone,
  };
}

function withTarget(record: ContainerRecord, forward: LogForward | undefined): ContainerRecord {
  return forward === undefined ? record : { ...record, forward: logTarget(forward, record) };
}

/** The service's check replaces the image's field by field; a zero inherits (Docker's rule). */
function healthCheckOf(
  own: HealthCheck | undefined,
  image: Partial<HealthCheck> | undefined,
): HealthCheck | undefined {
  const test = own !== undefined && own.test.length > 0 ? own.test : image?.test;
  if (test === undefined || test.length === 0 || test[0] === 'NONE') return undefined;
  return {
    test,
    intervalNs: own?.intervalNs || image?.intervalNs || 0,
    timeoutNs: own?.timeoutNs || image?.timeoutNs || 0,
    startPeriodNs: own?.startPeriodNs || image?.startPeriodNs || 0,
    startIntervalNs: own?.startIntervalNs || image?.startIntervalNs || 0,
    retries: own?.retries || image?.retries || 0,
  };
}

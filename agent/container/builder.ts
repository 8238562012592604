/** From a task's assignment to everything that its container needs: image, volumes, files, OCI configuration. */
import { mkdir, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { hostname as hostnameOfNode } from 'node:os';
import { join } from 'node:path';
import { taskContext, type TemplateContext } from '../../shared/lib/template.ts';
import { InvalidError } from '../../shared/errors/index.ts';
import { newContainerId } from '../../shared/lib/ids.ts';
import {
  DEFAULT_STOP_GRACE_NS,
  STACK_LABEL,
  type HealthCheck,
  type MountSpec,
  type TaskAssignment,
} from '../../shared/model/index.ts';
import type { TaskFiles } from '../files/task-files.ts';
import type { ImageService, ResolvedImage } from '../image/image-service.ts';
import { parseRegistryAuth } from '../image/registry-auth.ts';
import type { Volumes } from '../volume/volumes.ts';
import { ALL_CAPABILITIES, capabilitiesOf } from './capabilities.ts';
import { resolveDevices } from './devices.ts';
import type { Containers, NewContainer } from './containers.ts';
import { hostsFile, hostsFileOfNode } from './hosts-file.ts';
import type { ContainerRecord } from './record.ts';
import { fillSpec } from './fill-spec.ts';
import { runtimeSpec, type BindMount } from './runtime-spec.ts';
import { parseSignal } from './signals.ts';
import { readImageFile, resolveUser } from './users.ts';

export interface BuilderOptions {
  readonly images: ImageService;
  readonly volumes: Volumes;
  readonly containers: Containers;
  readonly files: TaskFiles;
  /** What /etc/resolv.conf of the task's container says. */
  readonly resolvConf: (task: TaskAssignment) => string | Promise<string>;
  /** Parent of the containers' cgroups, e.g. /shoal/n1. */
  readonly cgroupParent: string;
  readonly nodeId: string;
  readonly hostname: string;
  readonly platform: { readonly os: string; readonly arch: string };
}

export class ContainerBuilder {
  readonly #options: BuilderOptions;
  readonly #prepared = new Map<string, ResolvedImage>();

  constructor(options: BuilderOptions) {
    this.#options = options;
  }

  /** Fetches the image. Rejects with the registry's message when there is none. */
  async prepare(task: TaskAssignment, signal: AbortSignal): Promise<ResolvedImage> {
    const { registryAuth, container } = task.spec;
    const image = await this.#options.images.ensure(container.image, parseRegistryAuth(registryAuth), signal);
    this.#prepared.set(task.taskId, image);
    return image;
  }

  forget(taskId: string): void {
    this.#prepared.delete(taskId);
  }

  /** Image ids that a clean-up must leave. */
  inUse(): Set<string> {
    const used = [...this.#prepared.values()].map((image) => image.id);
    return new Set([...used, ...this.#options.containers.list().map((record) => record.imageId)]);
  }

  async build(task: TaskAssignment, signal: AbortSignal): Promise<NewContainer> {
    const image = this.#prepared.get(task.taskId) ?? (await this.prepare(task, signal));
    const context = this.#context(task);
    const spec = fillSpec(task.spec.container, context);
    const id = newContainerId();
    const [passwd, group] = await Promise.all(
      ['etc/passwd', 'etc/group'].map((path) => readImageFile(image.layers, path)),
    );
    const user = resolveUser(spec.user ?? image.config.user, spec.groups ?? [], passwd ?? '', group ?? '');
    const hostUts = spec.runtime?.hostUts === true;
    const ownName = spec.runtime?.network === 'host' ? this.#options.hostname : id.slice(0, 12);
    const hostname = hostUts ? hostnameOfNode() : spec.hostname || ownName;
    const binds = [
      ...(await this.#files(task, id, hostname)),
      ...(await this.#mounts(spec.mounts, image, task)),
      ...this.#options.files.mounts(id, spec),
    ];
    const config = runtimeSpec({
      spec,
      user,
      hostname,
      binds,
      image: image.config,
      limits: task.spec.limits,
      reservations: task.spec.reservations,
      cgroupsPath: join(this.#options.cgroupParent, id),
      devices: await resolveDevices(spec.runtime ?? {}),
      available: availableCapabilities(),
    });
    const { args, env = [], cwd, capabilities, rlimits = [], noNewPrivileges = false } = config.process;
    const process = { args, env, cwd, rlimits, noNewPrivileges, capabilities: capabilities?.bounding ?? [] };
    const { uid, gid, additionalGids } = user;
    const identity = { id, uid, gid, additionalGids, imageId: image.id };
    const stop = spec.stopSignal ?? image.config.stopSignal ?? 'SIGTERM';
    const health = healthCheckOf(spec.healthCheck, image.config.healthcheck);
    // Last, so that nothing that fails leaves them behind.
    await this.#options.files.write(id, spec, context, process.env);
    return {
      record: recordOf(task, identity, process, stop, health, this.#options.nodeId),
      config,
      layers: image.layers,
    };
  }

  #context(task: TaskAssignment): TemplateContext {
    const { hostname, nodeId, platform } = this.#options;
    const { taskId: id, serviceId, slot, spec } = task;
    return taskContext({ id, serviceId, slot, nodeId }, spec, { hostname, ...platform });
  }

  /** The files that the container sees under /etc but that belong to the node. */
  async #files(task: TaskAssignment, id: string, hostname: string): Promise<BindMount[]> {
    const directory = this.#options.containers.directory(id);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const files = {
      hosts: hostsOf(task, hostname),
      hostname: `${hostname}\n`,
      'resolv.conf': await this.#options.resolvConf(task),
    };
    await Promise.all(
      Object.entries(files).map(([name, text]) => writeFile(join(directory, name), text, { mode: 0o644 })),
    );
    return Object.keys(files).map((name) => ({
      source: join(directory, name),
      target: `/etc/${name}`,
      options: ['bind', 'rprivate'],
    }));
  }

  async #mounts(
    mounts: readonly MountSpec[],
    image: ResolvedImage,
    task: TaskAssignment,
  ): Promise<BindMount[]> {
    const binds: BindMount[] = [];
    for (const mount of mounts) {
      if (mount.kind === 'tmpfs') continue;
      const options = [mount.kind === 'bind' ? 'rbind' : 'bind', mount.readOnly ? 'ro' : 'rw'];
      if (mount.kind === 'bind') {
        if (!mount.source.startsWith('/'))
          throw new InvalidError(`bind source "${mount.source}" is not an absolute path`);
        if (mount.createSource === true) await mkdir(mount.source, { recursive: true });
        binds.push({
          source: mount.source,
          target: mount.target,
          options: [...options, mount.propagation ?? 'rprivate'],
        });
      } else {
        const source = mount.source || `${task.taskId}-${mount.target.replaceAll(/[^a-zA-Z0-9]+/g, '-')}`;
        const path = await this.#options.volumes.ensure({ ...mount, source }, image.layers);
        binds.push({ source: path, target: mount.target, options: [...options, 'rprivate'] });
      }
    }
    return binds;
  }
}

function hostsOf(task: TaskAssignment, hostname: string): string {
  const { extraHosts = [], runtime } = task.spec.container;
  if (runtime?.network === 'host') return hostsFileOfNode(readFileSync('/etc/hosts', 'utf8'), extraHosts);
  const addresses = task.addresses.map((one) => one.address);
  return hostsFile(hostname, addresses, extraHosts);
}

/** The agent's own: it can give no others. */
function availableCapabilities(): string[] {
  const mask = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return mask === undefined ? ALL_CAPABILITIES : capabilitiesOf(mask);
}

function recordOf(
  task: TaskAssignment,
  identity: Pick<ContainerRecord, 'id' | 'uid' | 'gid' | 'additionalGids' | 'imageId'>,
  process: Pick<ContainerRecord, 'args' | 'env' | 'cwd' | 'rlimits' | 'noNewPrivileges' | 'capabilities'>,
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
    createdAtMs: Date.now(),
    stopSignal: parseSignal(stopSignal),
    stopGraceMs: (spec.stopGraceNs ?? DEFAULT_STOP_GRACE_NS) / 1e6,
    networks: task.addresses,
    ...(healthCheck === undefined ? {} : { healthCheck }),
  };
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

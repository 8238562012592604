import type {
  ImageEvent,
  ImageInfo,
  ImageSummary,
  LayerStep,
  RemovedImage,
} from '../../../shared/model/node-methods/index.ts';
import { compareVersions } from '../http/api-version.ts';

/** An image of the cluster: one entry, whatever number of nodes have it. */
export interface ClusterImage extends ImageSummary {
  readonly nodeIds: readonly string[];
  /** Of the whole cluster, stopped ones included. */
  readonly containers: number;
  /** Bytes of layers that other images have too; undefined: not asked for. */
  readonly sharedBytes?: number;
}

/** Of GET /images/json. Before 1.43 an image without names had names that say so, before 1.44 a VirtualSize. */
export function encodeImageSummary(image: ClusterImage, apiVersion: string): object {
  const isNameless = image.repoTags.length === 0 && image.repoDigests.length === 0;
  const marked = isNameless && compareVersions(apiVersion, '1.43') < 0;
  return {
    Id: image.id,
    ParentId: '',
    RepoTags: marked ? ['<none>:<none>'] : image.repoTags,
    RepoDigests: marked ? ['<none>@<none>'] : image.repoDigests,
    Created: Math.floor((Date.parse(image.createdAt) || 0) / 1000),
    Size: image.sizeBytes,
    ...(compareVersions(apiVersion, '1.44') < 0 ? { VirtualSize: image.sizeBytes } : {}),
    SharedSize: image.sharedBytes ?? -1,
    Labels: image.labels,
    Containers: image.containers,
  };
}

export function encodeImageInspection(info: ImageInfo, apiVersion: string): object {
  return {
    Id: info.id,
    RepoTags: info.repoTags,
    RepoDigests: info.repoDigests,
    Parent: '',
    Comment: info.comment,
    Created: info.createdAt,
    DockerVersion: '',
    Author: info.author,
    Config: encodeConfig(info),
    Architecture: info.architecture,
    ...(info.variant === '' ? {} : { Variant: info.variant }),
    Os: info.os,
    Size: info.sizeBytes,
    ...(compareVersions(apiVersion, '1.44') < 0 ? { VirtualSize: info.sizeBytes } : {}),
    GraphDriver: { Name: 'overlayfs', Data: null },
    RootFS: { Type: 'layers', Layers: info.diffIds },
    Metadata: { LastTagTime: '0001-01-01T00:00:00Z' },
  };
}

function encodeConfig({ config }: ImageInfo): object {
  const list = (values: readonly string[]): readonly string[] | null => (values.length === 0 ? null : values);
  const set = (keys: readonly string[]): object => Object.fromEntries(keys.map((key) => [key, {}]));
  const health = config.healthcheck;
  return {
    Hostname: '',
    Domainname: '',
    User: config.user,
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    ...(config.exposedPorts.length === 0 ? {} : { ExposedPorts: set(config.exposedPorts) }),
    Tty: false,
    OpenStdin: false,
    StdinOnce: false,
    Env: config.env,
    Cmd: list(config.cmd),
    ...(health === undefined
      ? {}
      : {
          Healthcheck: {
            Test: health.test,
            Interval: health.intervalNs,
            Timeout: health.timeoutNs,
            StartPeriod: health.startPeriodNs,
            StartInterval: health.startIntervalNs,
            Retries: health.retries,
          },
        }),
    Image: '',
    Volumes: config.volumes.length === 0 ? null : set(config.volumes),
    WorkingDir: config.workingDir,
    Entrypoint: list(config.entrypoint),
    OnBuild: null,
    Labels: Object.keys(config.labels).length === 0 ? null : config.labels,
    ...(config.stopSignal === undefined ? {} : { StopSignal: config.stopSignal }),
  };
}

/** Newest first; only the image itself has an id. */
export function encodeHistory({ id, repoTags, history }: ImageInfo): object[] {
  return history.toReversed().map((step, i) => ({
    Id: i === 0 ? id : '<missing>',
    Created: Math.floor((Date.parse(step.createdAt) || 0) / 1000),
    CreatedBy: step.createdBy,
    Tags: i === 0 && repoTags.length > 0 ? repoTags : null,
    Size: step.sizeBytes,
    Comment: step.comment,
  }));
}

/** One entry a name and a layer, whatever number of nodes they went from. */
export function encodeRemoved(removed: readonly RemovedImage[]): object[] {
  const untagged = new Set(removed.flatMap((one) => one.untagged));
  const deleted = new Set(removed.flatMap((one) => one.deleted));
  return [
    ...[...untagged].map((Untagged) => ({ Untagged })),
    ...[...deleted].map((Deleted) => ({ Deleted })),
  ];
}

const STATUS: Readonly<Record<LayerStep, string>> = {
  pulling: 'Pulling fs layer',
  downloading: 'Downloading',
  downloaded: 'Download complete',
  extracting: 'Extracting',
  pulled: 'Pull complete',
  exists: 'Already exists',
  preparing: 'Preparing',
  pushing: 'Pushing',
  pushed: 'Pushed',
  'pushed-before': 'Layer already exists',
  loading: 'Loading layer',
  loaded: 'Loaded layer',
};

/** A layer's line, as Docker's clients know it. */
export function encodeLayerEvent(event: Extract<ImageEvent, { kind: 'layer' }>): object {
  const { current, total } = event;
  const amount = current === undefined || total === undefined ? {} : { current, total };
  return {
    status: STATUS[event.step],
    progressDetail: amount,
    ...(current === undefined || total === undefined ? {} : { progress: progressBar(current, total) }),
    id: event.id,
  };
}

const BAR_WIDTH = 50;

/** `[=====>    ]  1.2MB/3.4MB` */
function progressBar(current: number, total: number): string {
  const filled = total === 0 ? BAR_WIDTH : Math.min(BAR_WIDTH, Math.floor((current / total) * BAR_WIDTH));
  const bar = filled === BAR_WIDTH ? '='.repeat(BAR_WIDTH) : `${'='.repeat(filled)}>`.padEnd(BAR_WIDTH);
  return `[${bar}]  ${size(current)}/${size(total)}`;
}

/** Decimal units, as Docker has them. */
function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${Number(value.toPrecision(4))}${units[unit]}`;
}

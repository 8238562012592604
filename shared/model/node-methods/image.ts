/** What a manager may ask of a node about its images. */
import type { HealthCheck } from '../service.ts';
import type { Nothing } from './common.ts';

/** What an image says about running it, defaults applied. */
export interface ImageConfig {
  /** KEY=value. */
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** name or uid, optionally with :group; '' is root. */
  readonly user: string;
  /** '' is the root directory. */
  readonly workingDir: string;
  /** `80/tcp` */
  readonly exposedPorts: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly stopSignal?: string;
  readonly healthcheck?: HealthCheck;
  /** Paths that want an anonymous volume each. */
  readonly volumes: readonly string[];
}

/** One step of how an image was made. */
export interface ImageHistoryEntry {
  /** RFC 3339; '' if the image does not say. */
  readonly createdAt: string;
  readonly createdBy: string;
  readonly comment: string;
  /** Unpacked; 0 for a step that made no layer. */
  readonly sizeBytes: number;
}

export interface ImageSummary {
  /** `sha256:...`, the digest of its configuration. */
  readonly id: string;
  /** As people write them, e.g. `nginx:1.25`. */
  readonly repoTags: readonly string[];
  /** `nginx@sha256:...`: by what its registries know it. */
  readonly repoDigests: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** Unpacked, all layers. */
  readonly sizeBytes: number;
  /** RFC 3339; '' if the image does not say. */
  readonly createdAt: string;
  /** Lowest first. Equal chain ids are one layer on disk, whatever images have it. */
  readonly layers: readonly { readonly chainId: string; readonly sizeBytes: number }[];
}

export interface ImageInfo extends ImageSummary {
  readonly config: ImageConfig;
  readonly os: string;
  /** Go's names: amd64, arm64. */
  readonly architecture: string;
  readonly variant: string;
  readonly author: string;
  readonly comment: string;
  /** Digest of each layer's uncompressed tar, lowest first. */
  readonly diffIds: readonly string[];
  /** Oldest first. */
  readonly history: readonly ImageHistoryEntry[];
}

export interface ImagePlatform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** How far a layer is; `id` is the first 12 digits of the digest that its registry or archive knows it by. */
export type LayerStep =
  | 'pulling'
  | 'downloading'
  | 'downloaded'
  | 'extracting'
  | 'pulled'
  | 'exists'
  | 'preparing'
  | 'pushing'
  | 'pushed'
  | 'pushed-before'
  | 'loading'
  | 'loaded';

/** What a pull, a push or a load says while it is under way: the JSON of one stream chunk each. */
export type ImageEvent =
  | { readonly kind: 'begin'; readonly repository: string; readonly tag: string }
  | {
      readonly kind: 'layer';
      readonly id: string;
      readonly step: LayerStep;
      readonly current?: number;
      readonly total?: number;
    }
  /** The end of a pull. `name` is as people write it. */
  | { readonly kind: 'pulled'; readonly name: string; readonly digest: string; readonly isNew: boolean }
  | {
      readonly kind: 'pushed';
      readonly tag: string;
      readonly digest: string;
      readonly sizeBytes: number;
    }
  /** One image of an archive; `name` is absent where it has none. */
  | { readonly kind: 'loaded'; readonly id: string; readonly name?: string };

/** What a removal did: names first. */
export interface RemovedImage {
  /** As people write them. */
  readonly untagged: readonly string[];
  /** Ids of the image and of the layers that went with it. */
  readonly deleted: readonly string[];
}

export interface ImageMethods {
  'image.list': { params: Nothing; result: readonly ImageSummary[] };
  /** By name, digest, id or at least 12 digits of it. NotFoundError: `No such image: REF`. */
  'image.inspect': { params: { reference: string }; result: ImageInfo };
  'image.tag': { params: { reference: string; target: string }; result: Nothing };
  /**
   * ConflictError in Docker's words while a container or a task uses it, or it has several names and is called by its id.
   * With `force` names are taken off, but what is in use stays. `check`: only says whether it would be refused.
   */
  'image.remove': {
    params: { reference: string; force: boolean; check: boolean };
    result: RemovedImage;
  };
  /** Images without a tag, or all, that nothing uses and that fit. Labels: `key` or `key=value`, all must hold. */
  'image.prune': {
    params: {
      all: boolean;
      createdBeforeMs?: number;
      labels: readonly string[];
      withoutLabels: readonly string[];
    };
    result: RemovedImage & { reclaimedBytes: number };
  };
  /** What a registry has under the name. NotFoundError, UnauthorizedError, UnavailableError. */
  'image.describe-remote': {
    params: { reference: string; registryAuth?: string };
    result: {
      mediaType: string;
      digest: string;
      sizeBytes: number;
      platforms: readonly ImagePlatform[];
    };
  };
  /** Whether a registry accepts the credentials: UnauthorizedError when not. `server` is host[:port] or a URL. */
  'image.login': { params: { server: string; registryAuth: string }; result: { identityToken?: string } };
}

export interface ImageStreams {
  /** Chunks are ImageEvents. Asks the registry, whatever is here. */
  'image.pull': {
    readonly reference: string;
    /** As X-Registry-Auth has it, in all of these. */
    readonly registryAuth?: string;
    /** os[/architecture[/variant]]; default: the node's. */
    readonly platform?: string;
  };
  /** Chunks are ImageEvents. */
  'image.push': { readonly reference: string; readonly registryAuth?: string };
  /** The input is an archive, as `docker save` writes it or of an OCI layout; chunks are ImageEvents. */
  'image.load': Nothing;
  /** Chunks are an archive, which is both. A name without a tag is all tags of it. */
  'image.save': { readonly references: readonly string[] };
}

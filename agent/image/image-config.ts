import { z } from 'zod';
import type { ImageConfig } from '../../shared/model/node-methods/index.ts';
import type { HealthCheck } from '../../shared/model/service.ts';
import { check, parseJson } from './manifest.ts';

export type { ImageConfig };

/** One step of how an image was made; `isEmpty`: it made no layer. */
export interface HistoryStep {
  readonly createdAt: string;
  readonly createdBy: string;
  readonly comment: string;
  readonly isEmpty: boolean;
}

/** The image configuration blob: OCI image-spec, config.md. */
export interface ImageBlob {
  readonly config: ImageConfig;
  /** Digest of each layer's uncompressed tar, lowest first. */
  readonly diffIds: readonly string[];
  /** RFC 3339, or undefined. */
  readonly createdAt?: string;
  /** '' where the image does not say. */
  readonly os: string;
  readonly architecture: string;
  readonly variant: string;
  readonly author: string;
  readonly comment: string;
  /** Oldest first. */
  readonly history: readonly HistoryStep[];
}

const strings = z.array(z.string()).nullish();
const keys = z.record(z.string(), z.unknown()).nullish();
const nanoseconds = z.number().nonnegative().nullish();
const blobSchema = z.object({
  created: z.string().nullish(),
  os: z.string().nullish(),
  architecture: z.string().nullish(),
  variant: z.string().nullish(),
  author: z.string().nullish(),
  comment: z.string().nullish(),
  history: z
    .array(
      z.object({
        created: z.string().nullish(),
        created_by: z.string().nullish(),
        comment: z.string().nullish(),
        empty_layer: z.boolean().nullish(),
      }),
    )
    .nullish(),
  config: z
    .object({
      Env: strings,
      Entrypoint: strings,
      Cmd: strings,
      User: z.string().nullish(),
      WorkingDir: z.string().nullish(),
      ExposedPorts: keys,
      Labels: z.record(z.string(), z.string()).nullish(),
      StopSignal: z.string().nullish(),
      Volumes: keys,
      Healthcheck: z
        .object({
          Test: strings,
          Interval: nanoseconds,
          Timeout: nanoseconds,
          StartPeriod: nanoseconds,
          StartInterval: nanoseconds,
          Retries: z.number().int().nonnegative().nullish(),
        })
        .nullish(),
    })
    .nullish(),
  rootfs: z.object({ diff_ids: z.array(z.string().regex(/^sha256:[a-f0-9]{64}$/)) }),
});

type RawConfig = NonNullable<z.infer<typeof blobSchema>['config']>;

/** Parses an image's configuration blob. `name` is for the message. Throws ImageInvalidError. */
export function parseImageBlob(bytes: Buffer, name: string): ImageBlob {
  const what = `the configuration of ${name}`;
  const blob = check(blobSchema, parseJson(bytes, what), what);
  return {
    config: configFrom(blob.config ?? {}),
    diffIds: blob.rootfs.diff_ids,
    os: blob.os ?? '',
    architecture: blob.architecture ?? '',
    variant: blob.variant ?? '',
    author: blob.author ?? '',
    comment: blob.comment ?? '',
    history: (blob.history ?? []).map((step) => ({
      createdAt: step.created ?? '',
      createdBy: step.created_by ?? '',
      comment: step.comment ?? '',
      isEmpty: step.empty_layer === true,
    })),
    ...(blob.created ? { createdAt: blob.created } : {}),
  };
}

function configFrom(raw: RawConfig): ImageConfig {
  const healthcheck = healthcheckFrom(raw.Healthcheck);
  return {
    env: raw.Env ?? [],
    entrypoint: raw.Entrypoint ?? [],
    cmd: raw.Cmd ?? [],
    user: raw.User ?? '',
    workingDir: raw.WorkingDir ?? '',
    exposedPorts: Object.keys(raw.ExposedPorts ?? {}),
    labels: raw.Labels ?? {},
    volumes: Object.keys(raw.Volumes ?? {}),
    ...(raw.StopSignal ? { stopSignal: raw.StopSignal } : {}),
    ...(healthcheck === undefined ? {} : { healthcheck }),
  };
}

/** Docker's defaults where the image gives none: 30 s, 30 s, none, 5 s, three times. */
function healthcheckFrom(raw: RawConfig['Healthcheck']): HealthCheck | undefined {
  if (!raw?.Test?.length) return undefined;
  return {
    test: raw.Test,
    intervalNs: raw.Interval || 30e9,
    timeoutNs: raw.Timeout || 30e9,
    startPeriodNs: raw.StartPeriod ?? 0,
    startIntervalNs: raw.StartInterval || 5e9,
    retries: raw.Retries || 3,
  };
}

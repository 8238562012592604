/** What a manager may ask of a node over its session: the methods of each subject, their shapes. */
import type { ArchiveMethods, ArchiveStreams } from './archive.ts';
import type { AttachMethods, AttachStreams } from './attach.ts';
import type { CertificateMethods } from './certificate.ts';
import type { StreamChunk } from './common.ts';
import type { ContainerMethods, ContainerStreams } from './container.ts';
import type { ExecMethods, ExecStreams } from './exec.ts';
import type { ImageMethods, ImageStreams } from './image.ts';
import type { NetworkMethods } from './network.ts';
import type { VolumeMethods } from './volume.ts';

export type * from './archive.ts';
export type * from './attach.ts';
export type * from './certificate.ts';
export type * from './common.ts';
export type * from './container.ts';
export type * from './exec.ts';
export type * from './image.ts';
export type * from './network.ts';
export type * from './volume.ts';

export interface NodeMethods
  extends AttachMethods,
    CertificateMethods,
    ContainerMethods,
    ExecMethods,
    ImageMethods,
    ArchiveMethods,
    NetworkMethods,
    VolumeMethods {}

export interface NodeStreams
  extends AttachStreams,
    ContainerStreams,
    ExecStreams,
    ImageStreams,
    ArchiveStreams {}

/** One function for each method of a subject: what the agent answers with. */
export type MethodHandlers<M extends keyof NodeMethods> = {
  readonly [K in M]: (
    params: NodeMethods[K]['params'],
    signal: AbortSignal,
  ) => Promise<NodeMethods[K]['result']>;
};

/** `input` is what the manager sends on the same stream: nothing for most. */
export type StreamHandlers<M extends keyof NodeStreams> = {
  readonly [K in M]: (
    params: NodeStreams[K],
    input: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ) => AsyncIterable<StreamChunk>;
};

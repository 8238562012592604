/** What nodes say of their containers and images, where a test cares for little of it; and what clients read of logs. */
import type { ContainerInfo, ImageInfo } from '../../../shared/model/node-methods/index.ts';

/** A running container of the service `web`. */
export function containerInfo(more: Partial<ContainerInfo> = {}): ContainerInfo {
  return {
    id: 'a'.repeat(64),
    taskId: 'task',
    name: 'web.1.task',
    image: 'nginx',
    imageId: 'sha256:1',
    serviceId: 's',
    serviceName: 'web',
    slot: 1,
    labels: {},
    path: 'nginx',
    args: [],
    env: [],
    createdAtMs: 1,
    state: 'running',
    pid: 5,
    logPath: '',
    networks: [],
    ...more,
  };
}

/** Everything that an image may have but its id, its names, its size, its layers and its history. */
export const IMAGE_FIELDS = {
  repoDigests: [],
  config: {
    env: [],
    entrypoint: [],
    cmd: ['sh'],
    user: '',
    workingDir: '',
    exposedPorts: ['80/tcp'],
    labels: {},
    volumes: [],
  },
  os: 'linux',
  architecture: 'amd64',
  variant: '',
  author: '',
  comment: '',
  diffIds: [],
} as const satisfies Partial<ImageInfo>;

export interface Frame {
  /** 1: stdout, 2: stderr. */
  readonly stream: number;
  readonly text: string;
}

/** The frames of a body of logs or of attach, as in Docker's API: stream, three zeros, the length in four bytes, the text. */
export function framesOf(body: Buffer): Frame[] {
  const found: Frame[] = [];
  for (let at = 0; at + 8 <= body.length; ) {
    const length = body.readUInt32BE(at + 4);
    found.push({ stream: body[at] ?? 0, text: body.subarray(at + 8, at + 8 + length).toString() });
    at += 8 + length;
  }
  return found;
}

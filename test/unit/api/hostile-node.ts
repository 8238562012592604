/** A node that has an image and volumes, and streams as a real one does: for tests of bad input. */
import { ConflictError, NotFoundError } from '../../../shared/errors/index.ts';
import type {
  ImageEvent,
  ImageInfo,
  NewVolume,
  PathStat,
  StreamChunk,
  VolumeInfo,
} from '../../../shared/model/node-methods/index.ts';
import type { FakeNode, Json } from './fixture.ts';
import { IMAGE_FIELDS } from './samples.ts';

export const IMAGE = 'busybox';
export const VOLUME = 'data';

const image: ImageInfo = {
  id: `sha256:${'1'.repeat(64)}`,
  repoTags: [`${IMAGE}:latest`],
  ...IMAGE_FIELDS,
  labels: { a: 'b' },
  sizeBytes: 3,
  createdAt: '2001-01-01T00:00:00Z',
  layers: [{ chainId: 'sha256:a', sizeBytes: 3 }],
  history: [{ createdAt: '2001-01-01T00:00:00Z', createdBy: 'ADD', comment: '', sizeBytes: 3 }],
};

const stat: PathStat = {
  name: 'x',
  sizeBytes: 1,
  mode: 0o100644,
  mtimeSeconds: 1,
  mtimeNanos: 0,
  linkTarget: '',
};

/** What is removed stays, but for volumes that were created. `volume`: it has the one of that name. */
export function furnish({ answers }: FakeNode, volume: boolean): void {
  for (const [method, answer] of [...imageAnswers(), ...volumeAnswers(volume), ...fileAnswers()])
    answers.set(method, answer);
}

type Answers = [string, (params: Json, input?: AsyncIterable<Buffer>) => Json][];

function imageAnswers(): Answers {
  const find = (reference: string): ImageInfo => {
    if (['busybox', 'busybox:latest', image.id, image.id.slice(7)].includes(reference)) return image;
    throw new NotFoundError(`No such image: ${reference}`);
  };
  const { id, repoTags, repoDigests, labels, sizeBytes, createdAt, layers } = image;
  const summary = { id, repoTags, repoDigests, labels, sizeBytes, createdAt, layers };
  const layer: ImageEvent = { kind: 'layer', id: 'a', step: 'pulling' };
  return [
    ['image.list', () => [summary]],
    ['image.inspect', ({ reference }) => find(reference)],
    ['image.tag', ({ reference }) => find(reference) && {}],
    ['image.remove', ({ reference }) => find(reference) && { untagged: repoTags, deleted: [id] }],
    ['image.prune', () => ({ untagged: [], deleted: [], reclaimedBytes: 0 })],
    ['image.login', () => ({})],
    [
      'image.describe-remote',
      ({ reference }) => ({
        mediaType: 'm',
        digest: find(reference).id,
        sizeBytes: 1,
        platforms: [{ os: 'linux', architecture: 'amd64' }],
      }),
    ],
    [
      'image.pull',
      ({ reference }) =>
        told({ kind: 'begin', repository: reference, tag: '' }, layer, {
          kind: 'pulled',
          name: reference,
          digest: id,
          isNew: true,
        }),
    ],
    ['image.push', () => told(layer, { kind: 'pushed', tag: 'latest', digest: id, sizeBytes: 1 })],
    ['image.load', (_, input) => loaded(input ?? empty())],
    ['image.save', () => bytes(1, 'archive')],
  ];
}

function volumeAnswers(own: boolean): Answers {
  const volumes: VolumeInfo[] = own ? [made({ name: VOLUME, options: {}, labels: {} }, [])] : [];
  const find = (name: string): VolumeInfo => {
    const found = volumes.find((one) => one.name === name);
    if (found === undefined) throw new NotFoundError(`get ${name}: no such volume`);
    return found;
  };
  return [
    ['volume.list', () => ({ volumes, freeBytes: 1e9 })],
    ['volume.inspect', ({ name }) => find(name)],
    [
      'volume.create',
      (wanted: NewVolume) => {
        const known = volumes.find(({ name }) => name === wanted.name);
        const volume = known ?? made(wanted, []);
        if (known === undefined) volumes.push(volume);
        return { volume, created: known === undefined };
      },
    ],
    [
      'volume.remove',
      ({ name }) => {
        const found = find(name);
        if (found.usedBy.length > 0) throw new ConflictError(`remove ${name}: volume is in use`);
        volumes.splice(volumes.indexOf(found), 1);
        return {};
      },
    ],
    ['volume.prune', () => ({ removed: [], bytes: 0 })],
    ['storage.usage', () => ({ volumes: volumes.map((volume) => ({ volume, bytes: 1 })), containers: [] })],
  ];
}

function made({ name, options, labels }: NewVolume, usedBy: readonly string[]): VolumeInfo {
  return { name, options, labels, createdAtMs: 1, mountpoint: `/v/${name}`, usedBy };
}

function fileAnswers(): Answers {
  return [
    ['container.archive.stat', () => stat],
    ['container.archive.get', () => bytes(2, JSON.stringify(stat), 'archive')],
    ['container.archive.put', (_, input) => swallowed(input ?? empty())],
    ['container.export', () => bytes(1, 'archive')],
    ['container.changes', () => bytes(1, 'C /etc\0A /etc/x\0')],
    ['container.attach', () => bytes(1, '', 'output')],
    ['container.resize', () => ({})],
    ['container.size', () => ({ ownBytes: 1, totalBytes: 2 })],
    ['container.discard-volumes', () => ({})],
    ['container.until-removed', () => ({})],
  ];
}

async function* told(...events: readonly ImageEvent[]): AsyncGenerator<StreamChunk> {
  for (const event of events) yield { stream: 1, data: Buffer.from(JSON.stringify(event)) };
}

/** The first one of that stream, the others of stream 1. */
async function* bytes(first: 1 | 2, ...texts: readonly string[]): AsyncGenerator<StreamChunk> {
  for (const [i, text] of texts.entries()) yield { stream: i === 0 ? first : 1, data: Buffer.from(text) };
}

async function* loaded(input: AsyncIterable<Buffer>): AsyncGenerator<StreamChunk> {
  yield* swallowed(input);
  yield* told({ kind: 'loaded', id: image.id });
}

async function* swallowed(input: AsyncIterable<Buffer>): AsyncGenerator<StreamChunk> {
  for await (const _ of input) yield* [];
}

async function* empty(): AsyncGenerator<Buffer> {
  yield* [];
}

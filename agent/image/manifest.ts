import { z } from 'zod';
import { ImageInvalidError } from './errors.ts';

/** Media types: OCI image-spec and Docker's image manifest version 2, schema 2. */
const INDEX_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];
/** What Shoal writes itself. */
export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
export const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const MANIFEST_TYPES = [MANIFEST_TYPE, 'application/vnd.docker.distribution.manifest.v2+json'];
/** What we tell a registry that we understand. */
export const ACCEPTED_MANIFESTS = [...INDEX_TYPES, ...MANIFEST_TYPES].join(', ');

/** Only what unpacking understands; registries may offer others (encrypted, foreign). */
const LAYER_TYPE =
  /^application\/vnd\.(docker\.image\.rootfs\.diff\.tar(\.gzip|\.zstd)?|oci\.image\.layer\.v1\.tar(\+gzip|\+zstd)?)$/;

/** The OCI type of a layer's archive, by its first bytes (RFC 1952, RFC 8878): gzip, zstd, or a plain tar. */
export function layerTypeOf(head: Buffer): string {
  const type = 'application/vnd.oci.image.layer.v1.tar';
  if (head.length >= 2 && head.readUInt16BE(0) === 0x1f8b) return `${type}+gzip`;
  return head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528 ? `${type}+zstd` : type;
}

const digestSchema = z.string().regex(/^sha256:[a-f0-9]{64}$/, 'is not a sha256 digest');
const descriptorSchema = z.object({
  mediaType: z.string().default(''),
  digest: digestSchema,
  size: z.number().int().nonnegative(),
});
const manifestSchema = z.object({
  config: descriptorSchema,
  layers: z.array(descriptorSchema),
});
const indexSchema = z.object({
  manifests: z.array(
    descriptorSchema.extend({
      platform: z
        .object({ os: z.string(), architecture: z.string(), variant: z.string().optional() })
        .optional(),
      annotations: z.record(z.string(), z.string()).optional(),
    }),
  ),
});

export type Descriptor = z.infer<typeof descriptorSchema>;
export type Index = z.infer<typeof indexSchema>;
export type ParsedManifest =
  | { readonly kind: 'index'; readonly index: Index }
  | { readonly kind: 'image'; readonly config: Descriptor; readonly layers: readonly Descriptor[] };

/** Parses a manifest or an index. `name` is for the message. Throws ImageInvalidError. */
export function parseManifest(bytes: Buffer, mediaType: string, name: string): ParsedManifest {
  const value = parseJson(bytes, `the manifest of ${name}`);
  const type = typeOf(value, mediaType);
  if (INDEX_TYPES.includes(type)) {
    return { kind: 'index', index: check(indexSchema, value, `the index of ${name}`) };
  }
  if (!MANIFEST_TYPES.includes(type)) {
    throw new ImageInvalidError(`${name} has a manifest of type "${type}", which is not supported`);
  }
  const manifest = check(manifestSchema, value, `the manifest of ${name}`);
  const strange = manifest.layers.find((layer) => !LAYER_TYPE.test(layer.mediaType));
  if (strange !== undefined) {
    throw new ImageInvalidError(`${name} has a layer of type "${strange.mediaType}", which is not supported`);
  }
  return { kind: 'image', ...manifest };
}

/** The media type of a manifest or an index; `mediaType` is the header's. */
export function manifestType(bytes: Buffer, mediaType: string, name: string): string {
  return typeOf(parseJson(bytes, `the manifest of ${name}`), mediaType);
}

function typeOf(value: unknown, mediaType: string): string {
  return declaredType(value) ?? mediaType.split(';')[0]?.trim() ?? '';
}

/** The media type in the document itself goes before the header: OCI layouts have no header. */
function declaredType(value: unknown): string | undefined {
  const declared = z.object({ mediaType: z.string(), config: z.unknown(), manifests: z.unknown() }).partial();
  const parsed = declared.safeParse(value);
  if (!parsed.success) return undefined;
  if (parsed.data.mediaType !== undefined) return parsed.data.mediaType;
  if (parsed.data.manifests !== undefined) return INDEX_TYPES[0];
  return parsed.data.config === undefined ? undefined : MANIFEST_TYPES[0];
}

/**
 * The entry of an index for `platform` (os[/architecture[/variant]]), by default this machine's. Throws ImageInvalidError
 * that lists what there is.
 */
export function selectPlatform(index: Index, name: string, platform?: string): Descriptor {
  const wanted = platform === undefined ? thisPlatform() : parsePlatform(platform);
  const fits = index.manifests.filter(
    ({ platform }) => platform?.os === 'linux' && platform.architecture === wanted.architecture,
  );
  const best = fits.find(({ platform }) => platform?.variant === wanted.variant) ?? fits[0];
  const onlyOne = index.manifests.length === 1 && index.manifests[0]?.platform === undefined;
  const chosen = best ?? (onlyOne ? index.manifests[0] : undefined);
  if (chosen !== undefined) return chosen;
  const offered = index.manifests.map(({ platform }) => `${platform?.os}/${platform?.architecture}`);
  throw new ImageInvalidError(
    `no matching manifest for linux/${wanted.architecture} in ${name}: it has ${offered.join(', ') || 'none'}`,
  );
}

/** Throws ImageInvalidError for what no node can run. */
export function parsePlatform(text: string): { architecture: string; variant?: string } {
  const [os, architecture, variant, ...more] = text.split('/');
  if (os !== 'linux' || architecture === '' || more.length > 0)
    throw new ImageInvalidError(
      `platform "${text}" is not linux, linux/ARCHITECTURE or linux/ARCHITECTURE/VARIANT`,
    );
  if (architecture === undefined) return thisPlatform();
  return { architecture, ...(variant === undefined ? {} : { variant }) };
}

/** Go's names of the architectures that Node runs on. */
function thisPlatform(): { architecture: string; variant?: string } {
  switch (process.arch) {
    case 'x64':
      return { architecture: 'amd64' };
    case 'ia32':
      return { architecture: '386' };
    case 'arm':
      return { architecture: 'arm', variant: 'v7' };
    default:
      return { architecture: process.arch };
  }
}

/** Throws ImageInvalidError where the bytes are no JSON. */
export function parseJson(bytes: Buffer, what: string): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new ImageInvalidError(`${what} is not JSON`, { cause });
  }
}

/** Throws ImageInvalidError that names the field. */
export function check<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new ImageInvalidError(`${what} is malformed: ${issue?.path.join('.') || 'it'}: ${issue?.message}`);
}

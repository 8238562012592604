/** Secret and Config of the Docker Engine API <-> ours. A secret's data goes in and never comes out. */
import { z } from 'zod';
import { InvalidError } from '../../../shared/errors/index.ts';
import type {
  FileReference,
  StoredFile,
  StoredFileKind,
  StoredFileSpec,
} from '../../../shared/model/index.ts';
import { DEFAULT_FILE_MODE } from '../../../shared/model/index.ts';
import { parseStrict } from '../http/unsupported.ts';
import { defined, labelsOf, timeText, zLabels, zText, zWhole } from './common.ts';

export const zSpec = z.object({
  // A parameter of the update: dockerode sends it in the body as well as in the query, where it counts.
  version: z.unknown().optional(),
  Name: zText,
  Labels: zLabels,
  Data: zText,
  Templating: z.object({ Name: zText }).nullish(),
});

export interface DecodedFile {
  readonly spec: StoredFileSpec;
  /** Absent: an update that leaves it as it is. */
  readonly data: Buffer | undefined;
}

/** Throws InvalidError; the message never holds the data. */
export function decodeFileSpec(kind: StoredFileKind, value: unknown): DecodedFile {
  const raw = parseStrict(zSpec, value, `${kind} spec`);
  const driver = raw.Templating?.Name ?? '';
  if (driver !== '' && driver !== 'golang') {
    throw new InvalidError(
      `rpc error: code = InvalidArgument desc = template driver '${driver}' is not supported: golang is`,
    );
  }
  const spec = { name: raw.Name ?? '', labels: labelsOf(raw.Labels) };
  return {
    spec: driver === '' ? spec : { ...spec, templating: 'golang' },
    data: raw.Data === null || raw.Data === undefined ? undefined : decodeBase64(kind, raw.Data),
  };
}

/** Go's encoding/json takes standard base64 with padding only. */
function decodeBase64(kind: StoredFileKind, text: string): Buffer {
  const valid = text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
  if (!valid) throw new InvalidError(`invalid ${kind} spec: Data is not base64`);
  return Buffer.from(text, 'base64');
}

/** `data`: of a config; a secret has none to show. */
export function encodeFile(file: StoredFile, version: number, data: Buffer | undefined): object {
  const { name, labels, templating } = file.spec;
  return {
    ID: file.id,
    Version: { Index: version },
    CreatedAt: timeText(file.createdAtMs),
    UpdatedAt: timeText(file.updatedAtMs),
    Spec: defined({
      Name: name,
      Labels: labels,
      Data: data?.toString('base64'),
      Templating: templating === undefined ? undefined : { Name: templating },
    }),
  };
}

const zTarget = z.object({ Name: zText, UID: zText, GID: zText, Mode: zWhole });

export const zSecretReference = z.object({ File: zTarget.nullish(), SecretID: zText, SecretName: zText });
export const zConfigReference = z.object({ File: zTarget.nullish(), ConfigID: zText, ConfigName: zText });

type RawTarget = z.output<typeof zTarget> | null | undefined;

export function decodeSecretReference(raw: z.output<typeof zSecretReference>): FileReference {
  return { id: raw.SecretID ?? '', name: raw.SecretName ?? '', target: decodeTarget('Secrets', raw.File) };
}

export function decodeConfigReference(raw: z.output<typeof zConfigReference>): FileReference {
  return { id: raw.ConfigID ?? '', name: raw.ConfigName ?? '', target: decodeTarget('Configs', raw.File) };
}

function decodeTarget(field: string, raw: RawTarget): FileReference['target'] {
  const name = raw?.Name ?? '';
  if (name === '') {
    throw new InvalidError(
      `rpc error: code = InvalidArgument desc = malformed reference: ContainerSpec.${field} needs a File with a Name`,
    );
  }
  const [uid, gid] = [raw?.UID, raw?.GID].map((id) =>
    id === null || id === undefined || id === '' ? '0' : id,
  );
  return { name, uid: uid ?? '0', gid: gid ?? '0', mode: raw?.Mode ?? DEFAULT_FILE_MODE };
}

export function encodeSecretReference(reference: FileReference): object {
  return { File: encodeTarget(reference), SecretID: reference.id, SecretName: reference.name };
}

export function encodeConfigReference(reference: FileReference): object {
  return { File: encodeTarget(reference), ConfigID: reference.id, ConfigName: reference.name };
}

function encodeTarget({ target }: FileReference): object {
  return { Name: target.name, UID: target.uid, GID: target.gid, Mode: target.mode };
}

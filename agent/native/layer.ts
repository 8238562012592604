import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';
import { library } from './library.ts';

/** What unpacking one layer told. */
export interface UnpackedLayer {
  /** `sha256:` and the digest of the uncompressed tar stream. */
  readonly diffId: string;
  /** Sum of the sizes of its regular files. */
  readonly sizeBytes: number;
}

/** The native unpacker's refusal. EBADMSG: the archive is damaged; EINVAL: it tries to leave its directory. */
export class LayerUnpackError extends Error {
  override readonly name = 'LayerUnpackError';
  /** The errno's name, e.g. EBADMSG. */
  readonly code: string;

  constructor(errno: number, step: string, detail: string) {
    const code = getSystemErrorName(-errno);
    super(`${step}: ${detail} (${code})`);
    this.code = code;
  }
}

// Laid out as native/include/shoal.h and shoal-layer.h say; unnamed, as koffi's names are global.
const errorType = koffi.struct({
  code: 'int32_t',
  step: koffi.array('char', 32, 'String'),
  detail: koffi.array('char', 128, 'String'),
});
const resultType = koffi.struct({
  diff_id: koffi.array('char', 72, 'String'),
  size_bytes: 'int64_t',
  entries: 'int64_t',
});

interface NativeResult {
  diff_id: string;
  size_bytes: number;
}

interface NativeFailure {
  code: number;
  step: string;
  detail: string;
}

const unpack = library.func('shoal_layer_unpack', 'int', [
  'str',
  'str',
  koffi.out(koffi.pointer(resultType)),
  koffi.out(koffi.pointer(errorType)),
]);

/**
 * Unpacks the tar archive `tarPath` (plain, gzip or zstd) into the existing, empty directory `destDir`, on a thread of
 * its own: whiteouts in overlayfs's form, nothing outside `destDir` touched. Rejects with LayerUnpackError, and
 * leaves `destDir` partly filled then. It can not be aborted: `destDir` must stay until it settles.
 */
export function unpackLayer(tarPath: string, destDir: string): Promise<UnpackedLayer> {
  return new Promise((resolve, reject) => {
    const result = {} as NativeResult;
    const failure = {} as NativeFailure;
    unpack.async(tarPath, destDir, result, failure, (error: unknown, code: number) => {
      if (error) reject(error);
      else if (code < 0) reject(new LayerUnpackError(-code, failure.step, failure.detail));
      else resolve({ diffId: result.diff_id, sizeBytes: Number(result.size_bytes) });
    });
  });
}

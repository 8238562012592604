import koffi from 'koffi';
import { errorParameter } from './errors.ts';
import { library } from './library.ts';
import { settled } from './settled.ts';

/** What unpacking one layer told. */
export interface UnpackedLayer {
  /** `sha256:` and the digest of the uncompressed tar stream. */
  readonly diffId: string;
  /** Sum of the sizes of its regular files. */
  readonly sizeBytes: number;
}

// Laid out as native/include/shoal-layer.h says; unnamed, as koffi's names are global.
const resultType = koffi.struct({
  diff_id: koffi.array('char', 72, 'String'),
  size_bytes: 'int64_t',
  entries: 'int64_t',
});

interface NativeResult {
  diff_id: string;
  /** koffi gives a bigint beyond 2^53. */
  size_bytes: number | bigint;
}

const unpack = library.func('shoal_layer_unpack', 'int', [
  'str',
  'str',
  koffi.out(koffi.pointer(resultType)),
  errorParameter,
]);

const opaque = library.func('shoal_layer_is_opaque', 'int', ['str']);

/** Whether a directory of an unpacked layer hides all that the layers below it have under its name. */
export function isOpaque(directory: string): boolean {
  return opaque(directory) === 1;
}

/**
 * Unpacks the tar archive `tarPath` (plain, gzip or zstd) into the existing, empty directory `destDir`, on a thread of
 * its own: whiteouts in overlayfs's form, nothing outside `destDir` touched. Rejects with NativeError (EBADMSG: the
 * archive is damaged; EINVAL: it tries to leave its directory), and leaves `destDir` partly filled then. It can not be
 * aborted: `destDir` must stay until it settles.
 */
export async function unpackLayer(tarPath: string, destDir: string): Promise<UnpackedLayer> {
  const result = {} as NativeResult;
  await settled((...rest) => unpack.async(tarPath, destDir, result, ...rest));
  return { diffId: result.diff_id, sizeBytes: Number(result.size_bytes) };
}

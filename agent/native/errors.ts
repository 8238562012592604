import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';

const ESRCH = 3;
const EPROTO = 71;

/** struct shoal_error of native/include/shoal.h; unnamed, as koffi's names are global. */
const errorType = koffi.struct({
  code: 'int32_t',
  step: koffi.array('char', 32, 'String'),
  detail: koffi.array('char', 128, 'String'),
});

/** The last parameter of every export. */
export const errorParameter = koffi.out(koffi.pointer(errorType));

export interface NativeFailure {
  code: number;
  step: string;
  detail: string;
}

/** Node and libuv know different ones: libuv none for ENOEXEC, Node none for EHOSTDOWN. Of two names of a number the first. */
const ERRNO_NAMES = new Map(
  Object.entries(constants.errno)
    .toReversed()
    .map(([name, errno]) => [errno, name]),
);

/** The name of an errno, e.g. 2 -> 'ENOENT'. */
export function errnoName(errno: number): string {
  const known = ERRNO_NAMES.get(errno);
  if (known !== undefined) return known;
  const name = errno > 0 ? getSystemErrorName(-errno) : '';
  return /^E[A-Z0-9]+$/.test(name) ? name : `errno ${errno}`;
}

/** What a native call or the monitor refused: which step failed, and with what. */
export class NativeError extends Error {
  override readonly name = 'NativeError';
  /** The errno's name, e.g. ENOENT; ENOTSUP for what a config asks for and we do not have. */
  readonly code: string;
  readonly errno: number;
  /** What was being done, e.g. `exec`, `mount /proc`, `config`. */
  readonly step: string;
  readonly detail: string;

  constructor(errno: number, step: string, detail: string) {
    const code = errnoName(errno);
    super(`${step}: ${detail} (${code})`);
    this.code = code;
    this.errno = errno;
    this.step = step;
    this.detail = detail;
  }
}

/** What a monitor's answer other than "ok" says; no answer: it is gone. */
export function refusalOf(answer: string | undefined, step: string): NativeError {
  if (answer === undefined) return new NativeError(ESRCH, step, 'the container is gone');
  const match = /^error (\d+) ([^\t]*)\t(.*)$/s.exec(answer);
  if (match === null) return new NativeError(EPROTO, step, `unexpected answer: ${answer}`);
  return new NativeError(Number(match[1]), match[2] ?? step, match[3] ?? '');
}

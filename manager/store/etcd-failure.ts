/** Says in one sentence why etcd did not start, from what it logged. Pure. */
import { AppError, ConflictError, InvalidError, UnavailableError } from '../../shared/errors/index.ts';

export interface EtcdExit {
  /** What etcd logged since it was started. */
  readonly log: string;
  /** Exit code or signal name. */
  readonly status: string;
  readonly directory: string;
  readonly logPath: string;
}

const CORRUPT = [
  /crc mismatch/i,
  /corrupt/i,
  /invalid database/i,
  /file size too small/i,
  /checksum error/i,
  /unexpected EOF/i,
  /wal: .*not found|slice bounds out of range/i,
  /failed to (recover|open|read) .*(snapshot|wal|database|backend)/i,
  /version mismatch/i,
  /panic: .*(page|freelist|bucket|meta)/i,
];

/** The other members have removed this one. */
export class MemberRemovedError extends AppError {
  override readonly name = 'MemberRemovedError';
  readonly code = 'invalid';
}

export function explainExit(exit: EtcdExit): AppError {
  const { log, directory } = exit;
  const last = lastLine(log);
  const more = `${last}; see ${exit.logPath}`;
  if (/permanently removed from the cluster|member.{1,80}has been removed|removed member/i.test(log)) {
    const advice = 'let it join again with --join, or uninstall it';
    return new MemberRemovedError(`this manager was removed from its cluster (${advice}): ${more}`);
  }
  const port = /listen tcp \S*?:(\d+): bind: ([^"\n]+)/.exec(log);
  if (port !== null) {
    return new ConflictError(`etcd can not listen on port ${port[1]} (${port[2]}): is it taken? ${more}`);
  }
  if (/permission denied|read-only file system/i.test(log)) {
    return new InvalidError(`etcd can not write its data directory ${directory}: ${more}`);
  }
  if (/no space left on device/i.test(log)) {
    return new UnavailableError(`no space is left for etcd's data directory ${directory}: ${more}`);
  }
  if (CORRUPT.some((pattern) => pattern.test(log))) {
    const advice = 'restore a backup there, or move it away to begin with an empty store';
    return new InvalidError(`etcd's data in ${directory} is damaged (${advice}): ${more}`);
  }
  return new UnavailableError(`etcd ended (${exit.status}): ${more}`);
}

/** The last line that is not part of a stack trace; of zap's JSON, its message and error. */
function lastLine(log: string): string {
  const lines = log.split('\n').filter((line) => /^(\{|panic:|\d{4}|\S+: )/.test(line));
  const telling = lines.filter((line) => /panic:|"level":"(fatal|panic|error)"/.test(line));
  const line = telling.at(-1) ?? lines.at(-1) ?? 'it logged nothing';
  try {
    const { msg, error } = JSON.parse(line) as { msg?: string; error?: string };
    return [msg, error].filter((part) => part !== undefined).join(': ');
  } catch {
    return line.slice(0, 300);
  }
}

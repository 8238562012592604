/** PURE. A line of a container's log as syslog daemons and the journal take it. */
import {
  fillTag,
  type LogForward,
  type SyslogAddress,
  type SyslogFormat,
} from '../../shared/lib/log-forward.ts';
import type { LogLine } from './log-line.ts';
import type { ContainerRecord } from './record.ts';

/** Where a container's output goes, and what is said of it there. Kept in its record. */
export type LogTarget =
  | {
      readonly kind: 'syslog';
      readonly address: SyslogAddress;
      readonly facility: number;
      readonly format: SyslogFormat;
      readonly tag: string;
    }
  | { readonly kind: 'journald'; readonly fields: Readonly<Record<string, string>> };

type Described = Pick<ContainerRecord, 'id' | 'name' | 'image' | 'imageId' | 'labels' | 'env'>;

const SHORT_ID = 12;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
/** syslog(3): what a container prints is LOG_INFO, its errors are LOG_ERR, as with Docker. */
const INFO = 6;
const ERROR = 3;

export function logTarget(forward: LogForward, container: Described): LogTarget {
  const { id, name, image, imageId } = container;
  const tag = fillTag(forward.tag, {
    '.ID': id.slice(0, SHORT_ID),
    '.FullID': id,
    '.Name': name,
    '.ImageID': imageId.replace(/^sha256:/, '').slice(0, SHORT_ID),
    '.ImageFullID': imageId,
    '.ImageName': image,
    '.DaemonName': 'shoal',
  });
  if (forward.kind === 'syslog') {
    const { kind, address, facility, format } = forward;
    return { kind, address, facility, format, tag };
  }
  const fields = {
    ...attributesOf(forward, container),
    CONTAINER_ID: id.slice(0, SHORT_ID),
    CONTAINER_ID_FULL: id,
    CONTAINER_NAME: name,
    CONTAINER_TAG: tag,
    IMAGE_NAME: image,
    SYSLOG_IDENTIFIER: tag,
  };
  return { kind: 'journald', fields };
}

/** Labels and variables under names that the journal takes: capitals, digits and _, no _ first. */
function attributesOf({ labels, env }: LogForward, container: Described): Record<string, string> {
  const variables = new Map(
    container.env.map((line) => [line.split('=', 1)[0] ?? '', line.slice(line.indexOf('=') + 1)]),
  );
  const found: Record<string, string> = {};
  for (const [name, value] of [
    ...labels.map((key) => [key, container.labels[key]] as const),
    ...env.map((key) => [key, variables.get(key)] as const),
  ]) {
    const field = name
      .toUpperCase()
      .replaceAll(/[^A-Z0-9]/g, '_')
      .replace(/^_+/, '');
    if (value !== undefined && field !== '') found[field] = value;
  }
  return found;
}

/** One message, without an end of its own: streams need a newline between them. */
export function syslogMessage(
  { facility, format, tag }: Extract<LogTarget, { kind: 'syslog' }>,
  { stream, time, text }: LogLine,
  from: { readonly hostname: string; readonly pid: number },
): Buffer {
  const priority = facility * 8 + (stream === 1 ? INFO : ERROR);
  const { hostname, pid } = from;
  const heads: Record<SyslogFormat, string> = {
    local: `<${priority}>${shortTime(time)} ${tag}[${pid}]: `,
    rfc3164: `<${priority}>${shortTime(time)} ${hostname} ${tag}[${pid}]: `,
    rfc5424: `<${priority}>1 ${time.replace(/(?:\.\d+)?Z$/, 'Z')} ${hostname} ${tag} ${pid} ${tag} - `,
    rfc5424micro: `<${priority}>1 ${micro(time)} ${hostname} ${tag} ${pid} ${tag} - `,
  };
  return Buffer.concat([Buffer.from(heads[format]), text]);
}

/** RFC 3164's: `Jan  2 03:04:05`. The times of a node's logs are UTC. */
function shortTime(time: string): string {
  const month = MONTHS[Number(time.slice(5, 7)) - 1] ?? 'Jan';
  return `${month} ${String(Number(time.slice(8, 10))).padStart(2)} ${time.slice(11, 19)}`;
}

function micro(time: string): string {
  const fraction = /\.(\d+)Z$/.exec(time)?.[1] ?? '';
  return `${time.slice(0, 19)}.${fraction.padEnd(6, '0').slice(0, 6)}Z`;
}

/** An entry as systemd's native journal protocol has it (https://systemd.io/JOURNAL_NATIVE_PROTOCOL). */
export function journalEntry(
  { fields }: Extract<LogTarget, { kind: 'journald' }>,
  { stream, time, partial, text }: LogLine,
): Buffer {
  const head = {
    ...fields,
    PRIORITY: String(stream === 1 ? INFO : ERROR),
    SYSLOG_TIMESTAMP: time,
    ...(partial ? { CONTAINER_PARTIAL_MESSAGE: 'true' } : {}),
  };
  const parts = Object.entries(head).map(([name, value]) => journalField(name, Buffer.from(value)));
  return Buffer.concat([...parts, journalField('MESSAGE', text)]);
}

/** A value with newlines has its length before it. */
function journalField(name: string, value: Buffer): Buffer {
  if (!value.includes('\n')) return Buffer.concat([Buffer.from(`${name}=`), value, Buffer.from('\n')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(value.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, value, Buffer.from('\n')]);
}

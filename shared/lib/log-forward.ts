/** PURE. Where the drivers syslog and journald send a container's output, by Docker's options. */

export type SyslogFormat = 'local' | 'rfc3164' | 'rfc5424' | 'rfc5424micro';

export type SyslogAddress =
  | { readonly transport: 'unix'; readonly path: string }
  | { readonly transport: 'udp' | 'tcp'; readonly host: string; readonly port: number };

interface Forward {
  /** With fields in braces: see TAG_FIELDS. */
  readonly tag: string;
  /** Names of labels and variables that go along with each line. */
  readonly labels: readonly string[];
  readonly env: readonly string[];
}

export type LogForward =
  | (Forward & { readonly kind: 'journald' })
  | (Forward & {
      readonly kind: 'syslog';
      readonly address: SyslogAddress;
      readonly facility: number;
      readonly format: SyslogFormat;
    });

export interface LogForwardReading {
  readonly forward: LogForward;
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

type Options = Readonly<Record<string, string>>;

export const FORWARDING_DRIVERS = ['syslog', 'journald'] as const;
export type ForwardingDriver = (typeof FORWARDING_DRIVERS)[number];

/** What a tag may say of its container. */
export const TAG_FIELDS = [
  '.ID',
  '.FullID',
  '.Name',
  '.ImageID',
  '.ImageFullID',
  '.ImageName',
  '.DaemonName',
] as const;
export type TagField = (typeof TAG_FIELDS)[number];

/** Where syslog is on most systems. */
const LOCAL: SyslogAddress = { transport: 'unix', path: '/dev/log' };
const SYSLOG_PORT = 514;
/** syslog(3), as Docker names them; those from local0 are 16 to 23. */
const FACILITIES = [
  ...['kern', 'user', 'mail', 'daemon', 'auth', 'syslog', 'lpr', 'news', 'uucp', 'cron', 'authpriv', 'ftp'],
  ...['', '', '', ''],
  ...Array.from({ length: 8 }, (_, i) => `local${i}`),
];
const DAEMON = 3;
const FORMATS: readonly string[] = ['rfc3164', 'rfc5424', 'rfc5424micro'];

const COMMON = ['tag', 'labels', 'env'];
const OF_SYSLOG = ['syslog-address', 'syslog-facility', 'syslog-format'];
const WITHOUT_EFFECT = [
  ...['labels-regex', 'env-regex', 'mode', 'max-buffer-size'],
  ...['cache-disabled', 'cache-compress'],
];
/** Options for the files that `docker logs` reads: the caller knows them. */
export const CACHE_OPTIONS = ['cache-max-size', 'cache-max-file'] as const;

/** Never throws: where there is a problem, the value is the default. */
export function readForward(name: ForwardingDriver, options: Options): LogForwardReading {
  const problems: string[] = [];
  const known = [...COMMON, ...(name === 'syslog' ? OF_SYSLOG : []), ...CACHE_OPTIONS, ...WITHOUT_EFFECT];
  for (const key of Object.keys(options)) {
    if (key.startsWith('syslog-tls-')) problems.push(`${key}: TLS is not supported by Shoal`);
    else if (!known.includes(key)) problems.push(`${key}: no option of ${name} (${known.join(', ')} are)`);
  }
  const ignored = Object.keys(options).filter((key) => WITHOUT_EFFECT.includes(key));
  // Docker's syslog takes them for its tag alone, which has no such fields here.
  if (name === 'syslog') ignored.push(...['labels', 'env'].filter((key) => key in options));
  const warnings = ignored.length === 0 ? [] : [`${ignored.join(', ')}: kept without an effect`];
  const common = {
    tag: options['tag'] || '{{.ID}}',
    labels: namesOf(options['labels']),
    env: namesOf(options['env']),
  };
  problems.push(...tagProblems(common.tag));
  if (name === 'journald') return { forward: { kind: name, ...common }, problems, warnings };
  const take = <T>(key: string, read: (text: string) => T | string, usual: T): T => {
    const text = options[key];
    if (text === undefined || text === '') return usual;
    const value = read(text);
    if (typeof value !== 'string') return value;
    problems.push(`${key}: '${text}': ${value}`);
    return usual;
  };
  const address = take('syslog-address', readAddress, LOCAL);
  const facility = take('syslog-facility', readFacility, DAEMON);
  const { format } = take('syslog-format', readFormat, { format: 'local' as const });
  return { forward: { kind: name, ...common, address, facility, format }, problems, warnings };
}

function namesOf(list = ''): string[] {
  return list
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

function tagProblems(tag: string): string[] {
  const unknown = fieldsOf(tag).filter((field) => !TAG_FIELDS.some((one) => one === field));
  const allowed = TAG_FIELDS.map((field) => `{{${field}}}`).join(', ');
  return unknown.map((field) => `tag: '{{${field}}}' is not supported (${allowed} are)`);
}

function fieldsOf(tag: string): string[] {
  return [...tag.matchAll(/\{\{(.*?)(?:\}\}|$)/gs)].map(([, field = '']) => field.trim());
}

/** The tag with what is known of the container in place of the fields. */
export function fillTag(tag: string, values: Readonly<Record<TagField, string>>): string {
  return tag.replaceAll(/\{\{\s*(\.\w+)\s*\}\}/g, (_, field: TagField) => values[field]);
}

function readAddress(text: string): SyslogAddress | string {
  const expected =
    'unix:///dev/log, unixgram:///dev/log, udp://HOST:PORT or tcp://HOST:PORT is expected (TLS is not supported by Shoal)';
  const local = /^unix(?:gram)?:\/\/(\/.+)$/.exec(text)?.[1];
  if (local !== undefined) return { transport: 'unix', path: local };
  const match = /^(udp|tcp):\/\/(\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+)(?::(\d{1,5}))?$/.exec(text);
  const port = match?.[3] === undefined ? SYSLOG_PORT : Number(match[3]);
  if (match === null || port < 1 || port > 65_535) return expected;
  const host = (match[2] ?? '').replaceAll(/[[\]]/g, '');
  return { transport: match[1] === 'udp' ? 'udp' : 'tcp', host, port };
}

function readFacility(text: string): number | string {
  const number = /^\d+$/.test(text) ? Number(text) : FACILITIES.indexOf(text);
  if (number >= 0 && number < FACILITIES.length) return number;
  return `${FACILITIES.filter((name) => name !== '').join(', ')} or a number from 0 to 23 is expected`;
}

function readFormat(text: string): { format: SyslogFormat } | string {
  if (FORMATS.includes(text)) return { format: text as SyslogFormat };
  return `${FORMATS.join(', ')} is expected`;
}

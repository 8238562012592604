/** PURE. What a service's log driver and its options mean: Docker's names (https://docs.docker.com/engine/logging/configure/). */
import type { ServiceSpec } from '../model/index.ts';
import {
  CACHE_OPTIONS,
  FORWARDING_DRIVERS,
  type ForwardingDriver,
  type LogForward,
  readForward,
} from './log-forward.ts';

/** What becomes of a container's output. */
export interface LogPolicy {
  /** In files on its node, from which it is read again. */
  readonly kept: boolean;
  /** Of one file; 0: no limit. */
  readonly maxBytes: number;
  readonly maxFiles: number;
  /** And sent on from there. */
  readonly forward?: LogForward;
}

export interface LogDriverReading {
  readonly policy: LogPolicy;
  /** What is refused, each naming the driver or option and what is allowed. */
  readonly problems: readonly string[];
  /** What is accepted and has no effect. */
  readonly warnings: readonly string[];
}

/** A container that nobody set limits for fills a disk no further than this. */
export const DEFAULT_LOG_POLICY: LogPolicy = { kept: true, maxBytes: 20_000_000, maxFiles: 5 };
const MAX_FILES = 1000;

const DRIVERS = ['json-file', 'local', 'none', ...FORWARDING_DRIVERS];
const OPTIONS = ['max-size', 'max-file'];
const WITHOUT_EFFECT = [
  'compress',
  'labels',
  'labels-regex',
  'env',
  'env-regex',
  'tag',
  'mode',
  'max-buffer-size',
];
/** docker/go-units: json-file reads powers of 1000 (FromHumanSize), local powers of 1024 (RAMInBytes). */
const UNITS = 'kmgtp';

/** Never throws: where there is a problem, the policy is that of the default. */
export function readLogDriver(driver: ServiceSpec['logDriver']): LogDriverReading {
  if (driver === undefined) return { policy: DEFAULT_LOG_POLICY, problems: [], warnings: [] };
  const { name, options } = driver;
  if (!DRIVERS.includes(name)) {
    const problems = [`not supported by Shoal: '${name}' (${DRIVERS.join(', ')} are)`];
    return { policy: DEFAULT_LOG_POLICY, problems, warnings: [] };
  }
  if (name === 'none') return readNone(options);
  const forwarding = FORWARDING_DRIVERS.find((one) => one === name);
  return forwarding === undefined ? readFiles(name, options) : readForwarded(forwarding, options);
}

/** Kept too, in files of the limits that Docker names for such a copy. */
function readForwarded(name: ForwardingDriver, options: Readonly<Record<string, string>>): LogDriverReading {
  const { forward, problems, warnings } = readForward(name, options);
  const [size, count] = CACHE_OPTIONS.map((key) => options[key]);
  const limits = {
    ...(size === undefined ? {} : { 'max-size': size }),
    ...(count === undefined ? {} : { 'max-file': count }),
  };
  const files = readFiles('local', limits);
  return {
    policy: { ...files.policy, forward },
    problems: [...problems, ...files.problems.map((problem) => `cache-${problem}`)],
    warnings,
  };
}

function readNone(options: Readonly<Record<string, string>>): LogDriverReading {
  const problems = Object.keys(options).map((key) => `${key}: the driver none has no options`);
  return { policy: { ...DEFAULT_LOG_POLICY, kept: false }, problems, warnings: [] };
}

function readFiles(name: string, options: Readonly<Record<string, string>>): LogDriverReading {
  const problems: string[] = [];
  const known = [...OPTIONS, ...WITHOUT_EFFECT];
  const unknown = Object.keys(options).filter((key) => !known.includes(key));
  problems.push(...unknown.map((key) => `${key}: no option of ${name} (${known.join(', ')} are)`));
  const ignored = Object.keys(options).filter((key) => WITHOUT_EFFECT.includes(key));
  const warnings = ignored.length === 0 ? [] : [`${ignored.join(', ')}: kept without an effect`];

  const { 'max-size': size, 'max-file': count } = options;
  const maxBytes =
    size === undefined ? DEFAULT_LOG_POLICY.maxBytes : sizeOf(size, name === 'local' ? 1024 : 1000);
  if (maxBytes === undefined)
    problems.push(`max-size: '${size}': a size such as 10m, 1g or 500k is expected, or -1 for no limit`);
  const asked = count === undefined ? undefined : countOf(count);
  if (count !== undefined && asked === undefined)
    problems.push(`max-file: '${count}': a number of files from 1 to ${MAX_FILES} is expected`);
  // Docker's: json-file that is given a size alone has one file.
  const usual = name === 'json-file' && size !== undefined ? 1 : DEFAULT_LOG_POLICY.maxFiles;
  const policy = { kept: true, maxBytes: maxBytes ?? DEFAULT_LOG_POLICY.maxBytes, maxFiles: asked ?? usual };
  return { policy, problems, warnings };
}

function sizeOf(text: string, base: number): number | undefined {
  if (text === '-1') return 0;
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?$/i.exec(text);
  if (match === null) return undefined;
  const [, number = '', unit = ''] = match;
  const bytes = Math.floor(
    Number(number) * base ** (unit === '' ? 0 : UNITS.indexOf(unit.toLowerCase()) + 1),
  );
  return bytes >= 1 && Number.isSafeInteger(bytes) ? bytes : undefined;
}

function countOf(text: string): number | undefined {
  const count = /^\d+$/.test(text) ? Number(text) : 0;
  return count >= 1 && count <= MAX_FILES ? count : undefined;
}

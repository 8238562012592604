import type { HealthCheck } from '../../shared/model/index.ts';
import type { Section } from './section.ts';

/** `healthcheck`: times that are not given are 0, which inherits the image's. */
export function readHealthCheck(service: Section): HealthCheck | undefined {
  const check = service.section('healthcheck');
  if (check === undefined) return undefined;
  const disabled = check.flag('disable') === true;
  const test = disabled ? ['NONE'] : readTest(check);
  const result: HealthCheck = {
    test,
    intervalNs: check.duration('interval') ?? 0,
    timeoutNs: check.duration('timeout') ?? 0,
    startPeriodNs: check.duration('start_period') ?? 0,
    startIntervalNs: check.duration('start_interval') ?? 0,
    retries: check.whole('retries') ?? 0,
  };
  if (disabled && check.has('test')) {
    check.take('test');
    check.problems.warning(check.map, check.map.key, 'disable is set: test has no effect');
  }
  check.end();
  return result;
}

function readTest(check: Section): string[] {
  const value = check.take('test');
  if (value === undefined) return [];
  if (value.kind !== 'list') {
    const line = check.textOf(value);
    return line === undefined ? [] : ['CMD-SHELL', line];
  }
  const words = value.items.flatMap((item) => check.textOf(item) ?? []);
  const [kind] = words;
  if (kind === undefined || !['NONE', 'CMD', 'CMD-SHELL'].includes(kind)) {
    check.problems.error(value, value.key, 'the list must begin with NONE, CMD or CMD-SHELL');
  } else if (kind !== 'NONE' && words.length < 2) {
    check.problems.error(value, value.key, `${kind} without a command`);
  }
  return words;
}

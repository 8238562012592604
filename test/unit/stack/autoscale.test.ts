import test from 'ava';
import { convertStack } from '../../../manager/stack/index.ts';
import type { ServiceSpec } from '../../../shared/model/index.ts';

function convert(deploy: string): { spec: ServiceSpec | undefined; errors: string[] } {
  const compose = `services:\n  web:\n    image: a\n    deploy:\n      ${deploy}\n`;
  const { services, problems } = convertStack({
    stack: 's',
    compose,
    files: {},
    variables: {},
    profiles: [],
  });
  const errors = problems.map(({ line, column, key, message }) => `${line}:${column} ${key}: ${message}`);
  return { spec: services[0]?.spec, errors };
}

const SECTION = 'x-shoal-autoscale: {min: 2, max: 10, cpu: 70, cool-down: 90s}';
const LABELS =
  'labels: {shoal.autoscale.min: 2, shoal.autoscale.max: 10, shoal.autoscale.cpu: 70%, shoal.autoscale.cool-down: 1m30s}';

test('a key of its own, or labels, which are what the key becomes', (t) => {
  const autoscale = { min: 2, max: 10, cpuPercent: 70, coolDownMs: 90_000 };
  for (const deploy of [SECTION, LABELS]) {
    const { spec, errors } = convert(deploy);
    t.deepEqual(errors, []);
    t.deepEqual(spec?.autoscale, autoscale);
    t.is(spec?.labels['shoal.autoscale.max'], '10');
    t.deepEqual(spec?.mode, { kind: 'replicated', replicas: 2 });
  }
  t.deepEqual(convert(`{replicas: 4, ${SECTION}}`).spec?.mode, { kind: 'replicated', replicas: 4 });
  const memory = 'resources: {limits: {memory: 64m}}';
  t.like(convert(`{${memory}, x-shoal-autoscale: {max: 3, memory: 80}}`).spec?.autoscale, {
    min: 1,
    memoryPercent: 80,
    coolDownMs: 300_000,
  });
  t.is(convert('replicas: 3').spec?.autoscale, undefined);
});

test('mistakes are told where they are', (t) => {
  const wrong = (deploy: string): string => convert(deploy).errors.join('\n');
  t.regex(
    wrong('x-shoal-autoscale: {min: 3, max: 2, cpu: 70}'),
    /5:7 services\.web\.deploy\.x-shoal-autoscale: shoal\.autoscale\.min: 3 is more than shoal\.autoscale\.max, 2/,
  );
  t.regex(
    wrong('labels: {shoal.autoscale.max: 2}'),
    /5:7 services\.web\.deploy\.labels: shoal\.autoscale\.cpu: or shoal\.autoscale\.memory is missing/,
  );
  t.regex(wrong('x-shoal-autoscale: {max: 2, cpu: 70, speed: 1}'), /x-shoal-autoscale\.speed: unknown key/);
  t.regex(wrong('x-shoal-autoscale: {}'), /x-shoal-autoscale: max and a target is expected/);
  t.regex(wrong('x-shoal-autoscale: 5'), /a mapping is expected/);
  t.regex(wrong('x-shoal-autoscale: {max: 2, memory: 80}'), /a percentage of a reservation or a limit/);
  t.regex(wrong(`{mode: global, ${SECTION}}`), /shoal\.autoscale\.max: needs mode replicated/);
  t.regex(wrong(`{mode: replicated-job, ${SECTION}}`), /shoal\.autoscale\.max: needs mode replicated/);
});

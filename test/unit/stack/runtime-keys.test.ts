/** Keys that ask something of the nodes: profiles from files, CPU time, pull policies, directories under a name. */
import test from 'ava';
import { convertStack, type StackConversion } from '../../../manager/stack/index.ts';
import type { ServiceSpec } from '../../../shared/model/index.ts';

test('a seccomp profile comes from its file, whose path counts from the file that names it', (t) => {
  const profile = '{ "defaultAction": "SCMP_ACT_LOG" }';
  const compose = 'include: [side/c.yaml]\nservices: {a: {image: x, security_opt: ["seccomp:./p.json"]}}';
  const side = 'services: {b: {image: x, security_opt: [seccomp=q.json]}}';
  const files = { 'side/c.yaml': side, 'side/.env': null };
  const asked = convertStack({ stack: 's', compose, variables: {}, files });
  t.deepEqual([...asked.missing].sort(), ['p.json', 'side/q.json']);
  const given = { ...files, 'p.json': profile, 'side/q.json': '{"defaultAction": "NO"}' };
  const { services, problems } = convertStack({ stack: 's', compose, variables: {}, files: given });
  t.is(
    services.find(({ key }) => key === 'a')?.spec.container.seccompProfile,
    '{"defaultAction":"SCMP_ACT_LOG"}',
  );
  t.regex(problems[0]?.message ?? '', /^side\/q\.json: the seccomp profile, defaultAction: one of/);
  t.is(problems[0]?.key, 'services.b.security_opt[0]');
});

test('CPU time by quota and period, and pull policies', (t) => {
  const spec = (lines: string): ServiceSpec | undefined => {
    const { services, problems } = convertStack({
      stack: 's',
      compose: `services: {a: {image: x, ${lines}}}`,
      variables: {},
    });
    t.deepEqual(problems, []);
    return services[0]?.spec;
  };
  t.is(spec('cpu_quota: 50000')?.limits.nanoCpus, 0.5e9);
  const both = spec('cpu_quota: 30000, cpu_period: 20000');
  t.is(both?.limits.nanoCpus, 1.5e9);
  t.is(both?.container.runtime?.cpuPeriodUs, 20_000);
  t.deepEqual(spec('cpu_quota: -1')?.limits, {});
  t.is(spec('pull_policy: if_not_present')?.container.runtime?.pullPolicy, 'missing');
  t.is(spec('pull_policy: always')?.container.runtime, undefined);
});

test('a volume that is a directory of the node; other options are refused with what is possible', (t) => {
  const convert = (options: string): StackConversion =>
    convertStack({
      stack: 's',
      compose: `services: {a: {image: x, volumes: ["data:/d"]}}\nvolumes: {data: {driver_opts: ${options}}}`,
      variables: {},
    });
  const bound = (options: string): unknown => convert(options).services[0]?.spec.container.mounts;
  const mount = { kind: 'bind', source: '/srv/data', target: '/d', readOnly: false };
  t.deepEqual(bound('{type: none, o: bind, device: /srv/data}'), [mount]);
  t.deepEqual(bound('{o: "bind,ro", device: /srv/data}'), [{ ...mount, readOnly: true }]);
  const refused: [string, RegExp][] = [
    ['{type: nfs, o: "addr=10.0.0.1", device: ":/x"}', /type 'nfs' is not supported: mount it on the nodes/],
    ['{type: none, o: bind, device: data}', /an absolute device/],
    ['{type: none, o: "bind,uid=5", device: /x}', /are supported/],
    ['{size: 5g}', /are supported/],
  ];
  for (const [options, message] of refused) {
    const [problem] = convert(options).problems;
    t.is(problem?.key, 'volumes.data.driver_opts');
    t.regex(problem?.message ?? '', message);
  }
});

import test from 'ava';
import { DEFAULT_LOG_POLICY, readLogDriver } from '../../../shared/lib/log-driver.ts';
import { decodeContainer } from '../../../manager/api/codec/container-create-codec.ts';
import { ApiFixture } from './fixture.ts';

const read = (name: string, options: Record<string, string> = {}) => readLogDriver({ name, options });
const policyOf = (name: string, options: Record<string, string>) => {
  const { policy, problems } = read(name, options);
  if (problems.length > 0) throw new Error(problems.join());
  return [policy.maxBytes, policy.maxFiles];
};

test('limits of log files: Docker’s words, and never none by default', (t) => {
  const { maxBytes, maxFiles } = DEFAULT_LOG_POLICY;
  t.deepEqual(readLogDriver(undefined).policy, DEFAULT_LOG_POLICY);
  t.true(maxBytes > 0 && maxFiles > 1);
  t.deepEqual(policyOf('json-file', {}), [maxBytes, maxFiles]);
  t.deepEqual(policyOf('json-file', { 'max-file': '3' }), [maxBytes, 3]);
  t.deepEqual(policyOf('json-file', { 'max-size': '10m' }), [10_000_000, 1]);
  t.deepEqual(policyOf('json-file', { 'max-size': '1.5 GB', 'max-file': '7' }), [1_500_000_000, 7]);
  t.deepEqual(policyOf('local', { 'max-size': '10m' }), [10 * 1024 * 1024, maxFiles]);
  t.deepEqual(policyOf('local', { 'max-size': '2KiB' }), [2048, maxFiles]);
  t.deepEqual(policyOf('json-file', { 'max-size': '-1' }), [0, 1]);
  t.deepEqual(policyOf('json-file', { 'max-size': '4096' }), [4096, 1]);
  t.like(read('none'), { policy: { kept: false }, problems: [] });
});

test('what is no driver, no option or no value is refused by its name; what has no effect is named', (t) => {
  const problem = (name: string, options: Record<string, string> = {}) =>
    read(name, options).problems.join('; ');
  t.is(
    problem('awslogs'),
    "not supported by Shoal: 'awslogs' (json-file, local, none, syslog, journald are)",
  );
  t.regex(
    problem('json-file', { 'max-sizes': '1m' }),
    /^max-sizes: no option of json-file \(max-size, max-file, /,
  );
  t.regex(problem('none', { 'max-size': '1m' }), /^max-size: the driver none has no options/);
  for (const text of ['', '0', '-2', '1x', 'm', '1e3', '9999999p', '0.1'])
    t.regex(problem('local', { 'max-size': text }), /^max-size: '.*': a size such as 10m/, text);
  for (const text of ['', '0', '-1', '1.5', '1001', 'x'])
    t.regex(
      problem('local', { 'max-file': text }),
      /^max-file: '.*': a number of files from 1 to 1000/,
      text,
    );
  t.deepEqual(read('json-file', { tag: 'x', compress: 'true' }).warnings, [
    'tag, compress: kept without an effect',
  ]);
});

test('syslog and journald: where to, as what, and what of it is refused', (t) => {
  const usual = { tag: '{{.ID}}', labels: [], env: [] };
  t.deepEqual(read('syslog').policy, {
    ...DEFAULT_LOG_POLICY,
    forward: {
      kind: 'syslog',
      ...usual,
      address: { transport: 'unix', path: '/dev/log' },
      facility: 3,
      format: 'local',
    },
  });
  const cached = { 'cache-max-size': '1m', 'cache-max-file': '2', labels: 'a, b', env: 'C' };
  t.like(read('journald', cached).policy, { maxBytes: 1024 * 1024, maxFiles: 2 });
  t.deepEqual(read('journald', cached).policy.forward, {
    kind: 'journald',
    ...usual,
    labels: ['a', 'b'],
    env: ['C'],
  });
  const addressOf = (text: string) => {
    const { policy, problems } = read('syslog', { 'syslog-address': text });
    return problems[0] ?? (policy.forward?.kind === 'syslog' ? policy.forward.address : undefined);
  };
  t.deepEqual(addressOf('tcp://log.shop:601'), { transport: 'tcp', host: 'log.shop', port: 601 });
  t.deepEqual(addressOf('udp://10.0.0.1'), { transport: 'udp', host: '10.0.0.1', port: 514 });
  t.deepEqual(addressOf('tcp://[fd00::1]:5140'), { transport: 'tcp', host: 'fd00::1', port: 5140 });
  t.deepEqual(addressOf('unix:///run/log'), { transport: 'unix', path: '/run/log' });
  for (const text of [
    'tcp+tls://a:1',
    'tcp://',
    'tcp://a:0',
    'udp://a:65536',
    'unix://log',
    'http://a',
    'a:1',
  ])
    t.regex(String(addressOf(text)), /^syslog-address: '.*': unix:\/\/\/dev\/log, .*is expected/, text);
  const problem = (options: Record<string, string>): string => read('syslog', options).problems.join('; ');
  t.regex(
    problem({ 'syslog-facility': 'local8' }),
    /^syslog-facility: 'local8': kern, user, .* 0 to 23 is expected/,
  );
  t.regex(
    problem({ 'syslog-format': 'json' }),
    /^syslog-format: 'json': rfc3164, rfc5424, rfc5424micro is expected/,
  );
  t.regex(problem({ tag: '{{.Secret}}' }), /^tag: '\{\{\.Secret\}\}' is not supported \(\{\{\.ID\}\}/);
  t.regex(problem({ 'syslog-tls-cert': 'x' }), /^syslog-tls-cert: TLS is not supported/);
  t.regex(problem({ 'max-size': '1m' }), /^max-size: no option of syslog/);
  t.regex(problem({ 'cache-max-size': 'much' }), /^cache-max-size: 'much'/);
  t.deepEqual(read('syslog', { 'env-regex': 'x', labels: 'a' }).warnings, [
    'env-regex, labels: kept without an effect',
  ]);
});

test('a service, a container and a stack are told so before anything is made', async (t) => {
  const bad = { 'max-size': 'much' };
  t.throws(() => decodeContainer({ Image: 'a', HostConfig: { LogConfig: { Type: '', Config: bad } } }), {
    message: /^HostConfig\.LogConfig: max-size: 'much'/,
  });
  const { spec } = decodeContainer({
    Image: 'a',
    HostConfig: { LogConfig: { Type: '', Config: { 'max-file': '2' } } },
  });
  t.deepEqual(spec.logDriver, { name: 'json-file', options: { 'max-file': '2' } });

  await using api = await ApiFixture.up();
  const TaskTemplate = { ContainerSpec: { Image: 'a' }, LogDriver: { Name: 'local', Options: bad } };
  const service = await api.send('POST', '/services/create', { Name: 'a', TaskTemplate });
  t.is(service.status, 400);
  t.regex(service.json.message, /logDriver: max-size: 'much'/);
  const compose = 'services: {web: {image: a, logging: {driver: local, options: {max-size: much}}}}';
  const stack = await api.send('PUT', '/stacks/s', compose);
  t.is(stack.status, 400);
  t.regex(JSON.stringify(stack.json), /services\.web\.logging.*max-size: 'much'/);
  t.is(api.store.all('services').size, 0);
});

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
  t.is(problem('awslogs'), "not supported by Shoal: 'awslogs' (json-file, local, none are)");
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

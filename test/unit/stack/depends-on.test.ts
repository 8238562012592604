import test from 'ava';
import { convertStack, type StackConversion } from '../../../manager/stack/index.ts';

function convert(services: string): StackConversion {
  return convertStack({ stack: 's', compose: `services:\n${services}`, variables: {} });
}

function said(services: string): string[] {
  return convert(services).problems.map((p) => `${p.severity} ${p.line}:${p.column} ${p.key}: ${p.message}`);
}

function dependsOn(services: string, key = 'web'): unknown {
  const { problems, services: all } = convert(services);
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  return all.find((service) => service.key === key)?.spec.dependsOn;
}

test('both forms; conditions; services by their names in the cluster', (t) => {
  const others = '  db: {image: x}\n  job: {image: x}\n';
  t.deepEqual(dependsOn(`${others}  web: {image: x, depends_on: [db, job]}`), [
    { service: 's_db', condition: 'started', required: true },
    { service: 's_job', condition: 'started', required: true },
  ]);
  t.deepEqual(
    dependsOn(`${others}  web:
    image: x
    depends_on:
      db: {condition: service_healthy, restart: true}
      job: {condition: service_completed_successfully, required: false}
`),
    [
      { service: 's_db', condition: 'healthy', required: true },
      { service: 's_job', condition: 'completed', required: false },
    ],
  );
  t.is(dependsOn('  web: {image: x}'), undefined);
});

test('the services that are waited for come first', (t) => {
  const { services } = convert(
    '  a: {image: x, depends_on: [c]}\n  b: {image: x}\n  c: {image: x, depends_on: [d]}\n  d: {image: x}',
  );
  t.deepEqual(
    services.map(({ key }) => key),
    ['d', 'c', 'a', 'b'],
  );
});

test('links are dependencies; their aliases are not given', (t) => {
  t.deepEqual(dependsOn('  db: {image: x}\n  web: {image: x, links: [db]}'), [
    { service: 's_db', condition: 'started', required: true },
  ]);
  t.deepEqual(said('  db: {image: x}\n  web: {image: x, links: ["db:sql"]}'), [
    "warning 3:27 services.web.links[0]: the alias 'sql' has no effect: 'db' answers to it on a network where it has the alias",
  ]);
});

test('a service that is not there: an error with its place, unless it is not required', (t) => {
  const missing = "service 'db' is not in the files, or not in the profiles that were asked for";
  t.deepEqual(said('  web:\n    image: x\n    depends_on:\n      - db'), [
    `error 5:9 services.web.depends_on[0]: ${missing}`,
  ]);
  t.deepEqual(said('  web: {image: x, depends_on: [db]}\n  db: {image: x, profiles: [more]}'), [
    `error 2:32 services.web.depends_on[0]: ${missing}`,
  ]);
  t.deepEqual(said('  web:\n    image: x\n    depends_on:\n      db: {required: false}'), [
    `warning 5:7 services.web.depends_on.db: ${missing}: it is not waited for`,
  ]);
});

test('cycles: each once, with the way around', (t) => {
  t.deepEqual(
    said(`  a: {image: x, depends_on: [b]}
  b: {image: x, depends_on: [c]}
  c: {image: x, depends_on: [b, d]}
  d: {image: x, depends_on: [d]}`),
    [
      'error 4:30 services.c.depends_on[0]: services wait for one another: b -> c -> b',
      'error 5:30 services.d.depends_on[0]: services wait for one another: d -> d',
    ],
  );
});

test('conditions that the other service never meets', (t) => {
  const web = (condition: string): string =>
    `  web:\n    image: x\n    depends_on: {db: {condition: ${condition}}}\n`;
  t.deepEqual(said(`${web('service_healthy')}  db: {image: x, healthcheck: {disable: true}}`), [
    "error 4:18 services.web.depends_on.db: service 'db' has no health check, so it is never healthy",
  ]);
  t.deepEqual(said(`${web('service_completed_successfully')}  db: {image: x, restart: always}`), [
    "error 4:18 services.web.depends_on.db: service 'db' is restarted whenever it ends, so it never completes",
  ]);
  t.regex(
    said(web('service_ready')).join(),
    /one of service_started, service_healthy, service_completed_successfully is expected/,
  );
  t.regex(said('  web: {image: x, depends_on: {db: {when: now}}}').join(), /unknown key/);
});

test('what is waited for to complete runs once, if the file does not say otherwise', (t) => {
  const web = '  web: {image: x, depends_on: {job: {condition: service_completed_successfully}}}\n';
  const restart = (job: string): string | undefined =>
    convert(`${web}  job: {image: x${job}}`).services.find(({ key }) => key === 'job')?.spec.restart
      .condition;
  t.is(restart(''), 'none');
  t.is(restart(', restart: on-failure'), 'on-failure');
  t.is(restart(', deploy: {restart_policy: {condition: on-failure}}'), 'on-failure');
  t.is(convert(web).services[0]?.spec.restart.condition, 'any');
});

/** The text that reads are answered with is what the codecs say, also after what it was made from has changed. */
import test from 'ava';
import { systemClock } from '../../../shared/lib/clock.ts';
import { serviceText, taskText } from '../../../manager/api/codec/json-text.ts';
import { encodeService, serviceStatus } from '../../../manager/api/codec/service-codec.ts';
import { encodeTask } from '../../../manager/api/codec/task-codec.ts';
import { currentSpec } from '../../../manager/api/ops/service-reads.ts';
import { taskSpec } from '../../../manager/api/resources/tasks.ts';
import type { Write } from '../../../manager/store/store.ts';
import type { Task } from '../../../shared/model/index.ts';
import { ApiFixture } from './fixture.ts';

/** Would be taken for the place of a spec, did it come before one. */
const TRICK = '\u0000spec';

async function create(api: ApiFixture, name: string, image: string): Promise<string> {
  const { json } = await api.send('POST', '/services/create', {
    Name: name,
    Labels: { trick: TRICK },
    TaskTemplate: {
      ContainerSpec: { Image: image, Env: [`A=${TRICK}"\\u2028é`] },
      Networks: [{ Target: 'net' }],
    },
    EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080 }] },
  });
  return json.ID;
}

function checkTasks(t: { deepEqual: (a: unknown, b: unknown) => unknown }, { store }: ApiFixture): void {
  for (const task of store.all('tasks').values()) {
    const spec = taskSpec(store, task);
    const expected: unknown = JSON.parse(JSON.stringify(encodeTask(store, task, spec)));
    // twice: as it is made, and as it is remembered
    for (let i = 0; i < 2; i += 1) t.deepEqual(JSON.parse(taskText(store, task, spec)), expected);
  }
}

test('services: with a previous spec, with a status, and with texts that look like places', async (t) => {
  await using api = await ApiFixture.up();
  const { store } = api;
  await api.send('POST', '/networks/create', { Name: 'net', Driver: 'overlay' });
  const id = await create(api, 'web', 'nginx:1');
  const from = { store, clock: systemClock };
  const check = (): void => {
    const service = store.get('services', id);
    if (service === undefined) return t.fail('the service is there');
    const spec = currentSpec(store, service);
    const plain = encodeService(from, service, spec);
    for (let i = 0; i < 2; i += 1) {
      t.deepEqual(JSON.parse(serviceText(from, service, spec, false)), JSON.parse(JSON.stringify(plain)));
      const full = { ...plain, ServiceStatus: serviceStatus(store, service, spec) };
      t.deepEqual(JSON.parse(serviceText(from, service, spec, true)), JSON.parse(JSON.stringify(full)));
    }
  };
  check();
  const { Version, Spec } = await api.get(`/services/${id}`);
  Spec.TaskTemplate.ContainerSpec.Image = 'nginx:2';
  await api.send('POST', `/services/${id}/update?version=${Version.Index}`, Spec);
  check();
  t.is((await api.get(`/services/${id}`)).PreviousSpec.TaskTemplate.ContainerSpec.Image, 'nginx:1');
});

test('tasks: a change of the status, of the task or of its network is shown', async (t) => {
  await using api = await ApiFixture.up();
  const { store } = api;
  const commit = (write: Write): Promise<number> =>
    store.commit([write], { signal: new AbortController().signal });
  const network = (await api.send('POST', '/networks/create', { Name: 'net', Driver: 'overlay' })).json
    .Id as string;
  await create(api, 'web', 'nginx:1');
  const [task] = store.all('tasks').values();
  if (task === undefined) return t.fail('there is a task');
  const placed: Task = { ...task, addresses: [{ network, address: '10.0.1.7' }] };
  await commit({ table: 'tasks', key: task.id, value: placed });
  checkTasks(t, api);
  const shown = async () => (await api.get(`/tasks?filters={"id":["${task.id}"]}`))[0];
  const before = await shown();

  const status = { taskId: task.id, state: 'failed' as const, atMs: 5, message: TRICK, error: `no ${TRICK}` };
  await commit({ table: 'statuses', key: task.id, value: status });
  checkTasks(t, api);
  t.is((await shown()).Status.Err, `no ${TRICK}`);
  t.true((await shown()).Version.Index > before.Version.Index);

  await commit({ table: 'tasks', key: task.id, value: { ...placed, desired: 'shutdown' } });
  checkTasks(t, api);
  t.is((await shown()).DesiredState, 'shutdown');

  const known = store.get('networks', network);
  if (known === undefined) return t.fail('the network is there');
  await commit({
    table: 'networks',
    key: network,
    value: { ...known, spec: { ...known.spec, labels: { a: 'b' } } },
  });
  checkTasks(t, api);
  t.deepEqual((await shown()).NetworksAttachments[0].Network.Spec.Labels, { a: 'b' });
  await commit({ table: 'networks', key: network, value: null });
  checkTasks(t, api);
});

test('a list that goes out in slices is whole', async (t) => {
  await using api = await ApiFixture.up();
  const { store } = api;
  api.obeys = false;
  await create(api, 'web', 'nginx:1').catch(() => undefined);
  const count = 2_345;
  const writes = Array.from({ length: count }, (_, i): Write => {
    const id = `task${String(i).padStart(21, '0')}`;
    const value: Task = {
      id,
      serviceId: 'gone',
      revision: 1,
      slot: i + 1,
      desired: 'running',
      createdAtMs: i,
      desiredAtMs: i,
      addresses: [],
    };
    return { table: 'tasks', key: id, value };
  });
  await store.commit(writes, { signal: new AbortController().signal });
  const tasks = (await api.get('/tasks')) as { Slot: number }[];
  t.deepEqual(
    tasks.map((task) => task.Slot),
    writes.map((_, i) => i + 1),
  );
});

import test from 'ava';
import { type Json, ApiFixture } from './fixture.ts';

const FIELD = 'TaskTemplate.Resources.Reservations.GenericResources';

async function create(api: ApiFixture, Resources: object, more: object = {}): Promise<Json> {
  const TaskTemplate = { ContainerSpec: { Image: 'nginx:1' }, Resources };
  return (await api.send('POST', '/services/create', { Name: 'a', TaskTemplate, ...more })).json;
}

const counted = (Kind: string, Value: number) => ({ DiscreteResourceSpec: { Kind, Value } });
const named = (Kind: string, Value: string) => ({ NamedResourceSpec: { Kind, Value } });
const asking = (...GenericResources: object[]) => ({ Reservations: { GenericResources } });

test('what a service asks for goes in and comes out as it was', async (t) => {
  await using api = await ApiFixture.up();
  const Resources = asking(counted('gpu', 2), counted('fpga', 1));
  const { ID } = await create(api, Resources);
  t.like(api.store.get('revisions', `${ID}.1`)?.spec.reservations, {
    genericResources: [
      { kind: 'gpu', count: 2 },
      { kind: 'fpga', count: 1 },
    ],
  });
  t.deepEqual((await api.get(`/services/${ID}`)).Spec.TaskTemplate.Resources, { Limits: {}, ...Resources });
});

test('what may not be asked for is named', async (t) => {
  await using api = await ApiFixture.up();
  const refused = async (resources: object): Promise<string> => (await create(api, resources)).message;
  t.is(
    await refused(asking(named('gpu', 'GPU-a'))),
    `invalid argument for resource gpu: ${FIELD}[0]: a number of them is asked for (DiscreteResourceSpec), ` +
      'not one by its name',
  );
  t.is(await refused(asking({})), `${FIELD}[0]: DiscreteResourceSpec is missing`);
  t.regex(
    await refused(asking(counted('gpu', 0))),
    /genericResources.*gpu: a whole number from 1 to 1000000/,
  );
  t.regex(await refused(asking(counted('gpu', -1))), /GenericResources\.0\.DiscreteResourceSpec\.Value/);
  t.regex(await refused(asking(counted('', 1))), /'' is no kind of resource/);
  t.regex(await refused(asking(counted('gpu', 1), counted('gpu', 2))), /gpu is named twice/);
  t.regex(
    await refused({ Limits: { GenericResources: [counted('gpu', 1)] } }),
    /not supported by Shoal: TaskTemplate\.Resources\.Limits\.GenericResources/,
  );
});

test('nodes show what they have, and tasks what they were given', async (t) => {
  await using api = await ApiFixture.up(1);
  const node = api.store.get('nodes', 'nodea1');
  if (node?.description === undefined) throw new Error('no node');
  t.false('GenericResources' in (await api.get('/nodes/nodea1')).Description.Resources);
  const genericResources = [
    { kind: 'gpu', names: ['a', 'b'] },
    { kind: 'fpga', count: 2 },
  ];
  const description = { ...node.description, genericResources };
  await api.write([{ table: 'nodes', key: node.id, value: { ...node, description } }]);
  const shown = [named('gpu', 'a'), named('gpu', 'b'), counted('fpga', 2)];
  t.deepEqual((await api.get('/nodes/nodea1')).Description.Resources.GenericResources, shown);

  const { ID } = await create(api, {});
  const [task] = [...api.store.all('tasks').values()].filter(({ serviceId }) => serviceId === ID);
  if (task === undefined) throw new Error('no task');
  const plain = await api.get(`/tasks/${task.id}`);
  t.false('GenericResources' in plain || 'AssignedGenericResources' in plain);
  const granted = [{ kind: 'gpu', names: ['b'] }];
  const preemptedBy = { serviceId: 'x', serviceName: 'web' };
  await api.write([{ table: 'tasks', key: task.id, value: { ...task, granted, preemptedBy } }]);
  const after = await api.get(`/tasks/${task.id}`);
  t.like(after, {
    GenericResources: [named('gpu', 'b')],
    AssignedGenericResources: [named('gpu', 'b')],
    Status: { Err: 'preempted by service web' },
  });
});

test('a priority is a label, which clients bring back', async (t) => {
  await using api = await ApiFixture.up();
  const priority = (text: string) => ({ Labels: { 'shoal.priority': text } });
  const { ID } = await create(api, {}, priority('-20'));
  t.is(api.store.get('revisions', `${ID}.1`)?.spec.priority, -20);
  const { Spec, Version } = await api.get(`/services/${ID}`);
  t.deepEqual(Spec.Labels, { 'shoal.priority': '-20' });
  const path = `/services/${ID}/update?version=${Version.Index}`;
  t.is((await api.send('POST', path, { ...Spec, Labels: {} })).status, 200);
  t.is(api.store.get('revisions', `${ID}.2`)?.spec.priority, undefined);
  for (const text of ['', 'high', '1.5', '1001', '-1001', '1e3', '99999']) {
    const { message } = await create(api, {}, { Name: 'b', ...priority(text) });
    t.is(
      message,
      `invalid service spec: Labels.shoal.priority: a whole number from -1000 to 1000 is expected, not '${text}'`,
    );
  }
});

/** Explanations as clients get them. That they are true the tests of the plan show. */
import test from 'ava';
import { newId } from '../../../shared/lib/ids.ts';
import { INGRESS_NETWORK_ID, type Network, type Task } from '../../../shared/model/index.ts';
import { ApiFixture, type Json } from './fixture.ts';

/** As the leader makes it. */
async function addIngress(api: ApiFixture): Promise<void> {
  const spec = {
    name: 'ingress',
    labels: {},
    driver: 'overlay',
    internal: false,
    attachable: false,
    ingress: true,
    driverOptions: {},
  } as const;
  const allocation = { subnet: '10.0.0.0/24', gateway: '10.0.0.1', vni: 4097 };
  const value: Network = { id: INGRESS_NETWORK_ID, spec, allocation, createdAtMs: 1 };
  await api.write([{ table: 'networks', key: value.id, value }]);
}

async function pending(mode: object, constraint: string): Promise<ApiFixture> {
  const api = await ApiFixture.up(2);
  api.obeys = false;
  await addIngress(api);
  const spec = {
    Name: 'web',
    Mode: mode,
    TaskTemplate: { ContainerSpec: { Image: 'a' }, Placement: { Constraints: [constraint] } },
  };
  const { json } = await api.send('POST', '/services/create', spec);
  if ('Replicated' in mode) {
    for (const slot of [1, 2]) {
      const task: Task = {
        id: newId(),
        serviceId: json.ID,
        revision: 1,
        slot,
        desired: 'running',
        createdAtMs: Date.now(),
        desiredAtMs: Date.now(),
        addresses: [],
        pendingReason: 'no suitable node (constraint node.labels.zone==a not met on 2 nodes)',
      };
      await api.write([{ table: 'tasks', key: task.id, value: task }]);
    }
  }
  return api;
}

test('a pending task says which filters removed how many nodes, and what would help', async (t) => {
  await using api = await pending({ Replicated: { Replicas: 2 } }, 'node.labels.zone==a');
  const [listed]: Json[] = await api.get('/tasks');
  const task = await api.get(`/tasks/${listed.ID}`);
  const explanation = {
    Reason: task.Status.Err,
    Nodes: 2,
    SuitableNodes: 0,
    Filters: [
      {
        Name: 'constraints',
        Reason: 'constraint node.labels.zone==a not met',
        Nodes: 2,
        NodeNames: ['a1', 'a2'],
        Help: {
          Node: 'a1',
          Steps: ['a1 does not have the label zone=a: docker node update --label-add zone=a a1'],
        },
      },
    ],
    Help: [],
  };
  t.deepEqual(task.Explanation, explanation);
  t.false('Explanation' in listed);
  const service = await api.get('/services/web/explain');
  t.is(service.Pending.Count, 2);
  t.true(service.Pending.Tasks.includes(listed.ID));
  t.deepEqual(service.Pending.Explanation, explanation);
  t.like(service, { Name: 'web', Revision: 1, Tasks: { DesiredTasks: 2, RunningTasks: 0 }, Failures: [] });
  t.deepEqual(
    service.Update.Events.map((event: Json) => event.Text),
    ['created, as revision 1'],
  );
});

test('a task that has a node has no explanation', async (t) => {
  await using api = await ApiFixture.up(1);
  await api.send('POST', '/services/create', {
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'a' } },
  });
  const [listed]: Json[] = await api.get('/tasks');
  t.false('Explanation' in (await api.get(`/tasks/${listed.ID}`)));
  const explained = await api.get('/services/web/explain');
  t.false('Pending' in explained || 'Missing' in explained);
});

test('of a global service the nodes without a task are explained', async (t) => {
  await using api = await pending({ Global: {} }, 'node.hostname==a1');
  const { Missing } = await api.get('/services/web/explain');
  t.is(Missing.Count, 2);
  t.deepEqual(
    Missing.Explanation.Filters.map((one: Json) => [one.Name, one.NodeNames]),
    [['constraints', ['a2']]],
  );
  t.is(Missing.Explanation.SuitableNodes, 1);
});

test('failures: the newest first, with node and error', async (t) => {
  await using api = await ApiFixture.up(1);
  await api.send('POST', '/services/create', {
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'a' } },
  });
  const [listed]: Json[] = await api.get('/tasks');
  const status = {
    taskId: listed.ID,
    state: 'failed',
    atMs: 5,
    message: 'started',
    error: 'exit 1',
  } as const;
  await api.write([{ table: 'statuses', key: listed.ID, value: status }]);
  const { Failures } = await api.get('/services/web/explain');
  t.like(Failures[0], { Task: listed.ID, Node: 'a1', State: 'failed', Error: 'exit 1', Slot: 1 });
  t.is((await api.send('GET', '/services/none/explain')).status, 404);
});

test('a published port that another program listens on is said of the node and of the service', async (t) => {
  await using api = await ApiFixture.up(2);
  await addIngress(api);
  const Ports = [{ TargetPort: 80, PublishedPort: 8080, Protocol: 'tcp' }];
  const spec = { Name: 'web', TaskTemplate: { ContainerSpec: { Image: 'a' } }, EndpointSpec: { Ports } };
  const { json } = await api.send('POST', '/services/create', spec);
  const [first] = [...api.store.all('nodes').values()];
  const web = api.store.get('services', json.ID);
  if (first === undefined || web === undefined) return t.fail();
  const endpoint = {
    vips: [],
    ports: [{ protocol: 'tcp', targetPort: 80, publishedPort: 8080, mode: 'ingress', hostIp: '127.0.0.1' }],
  } as const;
  const takenPorts = [
    { port: '127.0.0.1:8080/tcp', holder: 'ours' },
    { port: '8080/udp', holder: 'theirs' },
    // Of another service, on another address.
    { port: '[::1]:8080/tcp', holder: 'ours' },
  ] as const;
  await api.write([
    { table: 'services', key: web.id, value: { ...web, endpoint } },
    { table: 'nodes', key: first.id, value: { ...first, takenPorts } },
  ]);
  const { Message } = (await api.get(`/nodes/${first.id}`)).Status;
  t.regex(Message, /listens on port 127\.0\.0\.1:8080\/tcp, which is published.*; port 8080\/udp is in use/);
  const older = { ...endpoint, ports: [{ ...endpoint.ports[0], hostIp: '::1' }] };
  const says = async (knows: readonly string[]): Promise<unknown> => {
    const description = { ...first.description, engineVersion: '0.0.9', knows } as typeof first.description;
    await api.write([
      { table: 'services', key: web.id, value: { ...web, endpoint: older } },
      { table: 'nodes', key: first.id, value: { ...first, ...(description && { description }) } },
    ]);
    return (await api.get('/services/web/explain')).Ports?.map(({ Text }: { Text: string }) => Text);
  };
  t.deepEqual(await says([]), [
    'Shoal 0.0.9 does not know ports.hostIp=IPv6: port [::1]:8080/tcp is not published here',
  ]);
  t.is(await says(['ports.hostIp=IPv6']), undefined);
  await api.write([
    { table: 'services', key: web.id, value: { ...web, endpoint } },
    { table: 'nodes', key: first.id, value: { ...first, takenPorts } },
  ]);
  t.deepEqual((await api.get('/services/web/explain')).Ports, [
    {
      Node: first.description?.hostname,
      Text: 'a process listens on port 127.0.0.1:8080/tcp, which is published: it gets no connection',
    },
  ]);
});

import test from 'ava';
import { type Json, ApiFixture } from './fixture.ts';

async function create(api: ApiFixture, Name: string, Mode: object, more: object = {}): Promise<Json> {
  const body = { Name, TaskTemplate: { ContainerSpec: { Image: 'nginx:1' } }, Mode, ...more };
  return (await api.send('POST', '/services/create', body)).json;
}

test('job modes go in and come out as they were, with their defaults', async (t) => {
  await using api = await ApiFixture.up();
  const modeOf = async (id: string): Promise<object> => (await api.get(`/services/${id}`)).Spec.Mode;
  const both = { ReplicatedJob: { MaxConcurrent: 2, TotalCompletions: 5 } };
  t.deepEqual(await modeOf((await create(api, 'a', both)).ID), both);
  const one = await create(api, 'b', { ReplicatedJob: {} });
  t.deepEqual(await modeOf(one.ID), { ReplicatedJob: { MaxConcurrent: 1, TotalCompletions: 1 } });
  const total = await create(api, 'c', { ReplicatedJob: { MaxConcurrent: 3 } });
  t.deepEqual(await modeOf(total.ID), { ReplicatedJob: { MaxConcurrent: 3, TotalCompletions: 3 } });
  t.deepEqual(await modeOf((await create(api, 'd', { GlobalJob: {} })).ID), { GlobalJob: {} });
  t.regex((await create(api, 'e', { ReplicatedJob: { MaxConcurrent: -1 } })).message, /MaxConcurrent/);
  const names = (await api.get('/services?filters={"mode":["replicated-job"]}')).map(
    (s: Json) => s.Spec.Name,
  );
  t.deepEqual(names.toSorted(), ['a', 'b', 'c']);
});

test('every update is an execution of its own, also one that changes nothing', async (t) => {
  await using api = await ApiFixture.up();
  const { ID } = await create(api, 'a', { GlobalJob: {} });
  const before = await api.get(`/services/${ID}`);
  t.is(before.JobStatus.JobIteration.Index, 0);
  const path = `/services/${ID}/update?version=${before.Version.Index}`;
  t.is((await api.send('POST', path, before.Spec)).status, 200);
  const after = await api.get(`/services/${ID}`);
  t.is(after.JobStatus.JobIteration.Index, 1);
  t.true(Date.parse(after.JobStatus.LastExecution) >= Date.parse(before.JobStatus.LastExecution));
  t.is(after.Spec.UpdateConfig, undefined);
});

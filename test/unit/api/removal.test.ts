/** What services refer to is removed, or referred to, never both, however the two requests meet. */
import test from 'ava';
import type { Store } from '../../../manager/store/store.ts';
import { ApiFixture, type Json } from './fixture.ts';

/** Right before the `nth` commit from now on that touches the record, something else happens, to its end. */
function before(store: Store, key: string, nth: number, what: () => Promise<void>): void {
  const commit = store.commit.bind(store);
  let seen = 0;
  store.commit = async (writes, options) => {
    const touches = writes.some((write) => write.key === key);
    if (touches) seen += 1;
    if (touches && seen === nth) {
      store.commit = commit;
      await what();
    }
    return commit(writes, options);
  };
}

const KINDS = {
  network: {
    make: async (api: ApiFixture): Promise<string> =>
      (await api.send('POST', '/networks/create', { Name: 'asset', Driver: 'overlay' })).json.Id,
    refer: (id: string): object => ({ Networks: [{ Target: id }] }),
    table: 'networks',
  },
  secret: {
    make: async (api: ApiFixture): Promise<string> =>
      (await api.send('POST', '/secrets/create', { Name: 'asset', Data: 'eA==' })).json.ID,
    refer: (id: string): object => ({
      ContainerSpec: {
        Image: 'nginx',
        Secrets: [{ SecretID: id, SecretName: 'asset', File: { Name: 'f', UID: '0', GID: '0', Mode: 292 } }],
      },
    }),
    table: 'secrets',
  },
} as const;

for (const [kind, { make, refer, table }] of Object.entries(KINDS)) {
  test(`a service that refers to a ${kind} when its removal has just looked keeps it`, async (t) => {
    await using api = await ApiFixture.up();
    const id = await make(api);
    let used: Json;
    before(api.store, id, 1, async () => {
      used = await api.send('POST', '/services/create', serviceWith(refer(id)));
    });
    const removed = await api.send('DELETE', `/${table}/${id}`);
    t.is(used.status, 201, JSON.stringify(used.json));
    t.true(removed.status >= 400 && removed.status < 500);
    t.regex(removed.json.message, /is in use by .*web/);
    t.is(api.store.get(table, id)?.removing, undefined, 'others may refer to it, too');
  });

  test(`a service cannot refer to a ${kind} that is being removed`, async (t) => {
    await using api = await ApiFixture.up();
    const id = await make(api);
    let used: Json;
    before(api.store, id, 2, async () => {
      used = await api.send('POST', '/services/create', serviceWith(refer(id)));
    });
    const removed = await api.send('DELETE', `/${table}/${id}`);
    t.is(removed.status, 204, JSON.stringify(removed.json));
    t.is(used.status, 400);
    t.regex(used.json.message, /is being removed|not found: asset/);
    t.is(api.store.get(table, id), undefined);
  });
}

function serviceWith(template: object): object {
  return { Name: 'web', TaskTemplate: { ContainerSpec: { Image: 'nginx' }, ...template } };
}

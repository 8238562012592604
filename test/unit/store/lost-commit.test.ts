/** A transaction that nobody will answer: what etcd's leader had when it died. */
import test from 'ava';
import type { Etcd3, ITxnRequest, ITxnResponse } from 'etcd3';
import { Committer } from '../../../manager/store/committer.ts';
import type { Mirror } from '../../../manager/store/mirror.ts';
import { StoredSchema } from '../../../manager/store/stored-schema.ts';
import { UnavailableError } from '../../../shared/errors/index.ts';
import { put, silent } from './helpers.ts';

const never = new AbortController().signal;

/** etcd as far as the committer knows it: the first transactions are lost, and fail when told; the others are written. */
function losing(count: number) {
  const sent: string[][] = [];
  const lost: ((error: Error) => void)[] = [];
  const txn = (request: ITxnRequest): Promise<ITxnResponse> => {
    sent.push((request.success ?? []).map((one) => String(one.request_put?.key).split('/').at(-1) ?? ''));
    if (sent.length <= count) return new Promise((_resolve, reject) => lost.push(reject));
    return Promise.resolve({
      succeeded: true,
      responses: [],
      header: { revision: '7' },
    } as unknown as ITxnResponse);
  };
  const committer = new Committer(
    { kv: { txn } } as unknown as Etcd3,
    { schema: new StoredSchema() } as Mirror,
    silent,
  );
  return { committer, sent, fail: () => lost.forEach((reject) => reject(new Error('deadline'))) };
}

test('what is written with a comparison waits a second for one that is lost, not for the deadline of the call', async (t) => {
  const { committer, sent, fail } = losing(2);
  const first = committer.commit([put('t1', {}, 5)], { signal: never });
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  const second = committer.commit([put('t2', {}, 5)], { signal: never });
  t.is(await committer.commit([put('t1', { slot: 2 }, 5)], { signal: never }), 7);
  fail();
  await t.throwsAsync(first, { instanceOf: UnavailableError });
  await t.throwsAsync(second, { instanceOf: UnavailableError });
  t.is(await committer.commit([put('t2', {}, 5)], { signal: never }), 7);
  t.deepEqual(sent, [['t1'], ['t2'], ['t1'], ['t2']]);
});

test('what is written without a comparison keeps its order', async (t) => {
  const { committer, sent, fail } = losing(1);
  const first = committer.commit([put('t1')], { signal: never });
  await new Promise((resolve) => setImmediate(resolve));
  const second = committer.commit([put('t1', { slot: 2 })], { signal: never });
  const other = await committer.commit([put('t2')], { signal: never });
  t.is(other, 7, 'another key does not wait');
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  t.deepEqual(sent, [['t1'], ['t2']]);
  fail();
  await t.throwsAsync(first, { instanceOf: UnavailableError });
  t.is(await second, 7);
});

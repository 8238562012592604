import test from 'ava';
import { StatusQueue } from '../../../agent/session/status-queue.ts';
import { status } from './rig.ts';

test('the furthest of each task is sent, one batch at a time', (t) => {
  const queue = new StatusQueue();
  queue.add(status('t1', 'starting'));
  queue.add(status('t1', 'running'));
  queue.add(status('t1', 'preparing'));
  queue.add(status('t2', 'ready'));
  const batch = queue.next();
  t.deepEqual(
    batch?.statuses.map((s) => [s.taskId, s.state]),
    [
      ['t1', 'running'],
      ['t2', 'ready'],
    ],
  );
  t.is(queue.next(), undefined, 'until the first is acknowledged');
});

test('what came while a batch was under way stays for the next', (t) => {
  const queue = new StatusQueue();
  queue.add(status('t1', 'starting'));
  queue.add(status('t2', 'running'));
  const first = queue.next();
  queue.add(status('t1', 'running'));
  queue.acked((first?.id ?? 0) + 100);
  t.is(queue.next(), undefined, 'an acknowledgement of something else');
  queue.acked(first?.id ?? 0);
  t.deepEqual(queue.next()?.statuses, [status('t1', 'running')]);
});

test('after a session ended everything unconfirmed is sent again', (t) => {
  const queue = new StatusQueue();
  queue.add(status('t1', 'running'));
  queue.next();
  queue.reset();
  const again = queue.next();
  t.deepEqual(again?.statuses, [status('t1', 'running')]);
  queue.acked(again?.id ?? 0);
  t.is(queue.size, 0);
});

test('a change of health in the same state replaces the earlier', (t) => {
  const queue = new StatusQueue();
  queue.add(status('t1', 'running', { health: 'starting' }));
  queue.add(status('t1', 'running', { health: 'healthy' }));
  t.is(queue.next()?.statuses[0]?.health, 'healthy');
});

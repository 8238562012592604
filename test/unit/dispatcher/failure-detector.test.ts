import test from 'ava';
import { FailureDetector } from '../../../manager/dispatcher/failure-detector.ts';

const OPTIONS = { downAfterMs: 2000, tickMs: 250, nowMs: 0 };

/** Ticks as the timer does, from `fromMs` to `toMs`; what was said on the way, with its time. */
function run(detector: FailureDetector, fromMs: number, toMs: number, beats: readonly string[] = []) {
  const said: { atMs: number; nodeId: string; reason: string }[] = [];
  for (let now = fromMs; now <= toMs; now += OPTIONS.tickMs) {
    for (const nodeId of beats) detector.heard(nodeId, now);
    for (const verdict of detector.tick(now)) said.push({ atMs: now, ...verdict });
  }
  return said;
}

test('a node that is heard stays up, a silent one is down soon after its time, once', (t) => {
  const detector = new FailureDetector(OPTIONS);
  detector.heard('quiet', 0);
  t.deepEqual(run(detector, 250, 10_000, ['lively']), [{ atMs: 2250, nodeId: 'quiet', reason: 'silent' }]);
});

test('a closed session leaves the same time to come back', (t) => {
  const detector = new FailureDetector(OPTIONS);
  detector.heard('n1', 0);
  run(detector, 250, 1000);
  detector.closed('n1', 1000);
  t.deepEqual(run(detector, 1250, 2750), []);
  detector.heard('n1', 2800);
  t.deepEqual(run(detector, 3000, 4750), [], 'it came back');
  detector.closed('n1', 4750);
  t.deepEqual(run(detector, 5000, 8000), [{ atMs: 7000, nodeId: 'n1', reason: 'disconnected' }]);
});

test('a manager that stood still blames nobody for it', (t) => {
  const detector = new FailureDetector(OPTIONS);
  detector.heard('n1', 0);
  run(detector, 250, 1000, ['n1']);
  t.deepEqual(detector.tick(61_000), [], 'a minute without a tick is ours');
  t.deepEqual(run(detector, 61_250, 70_000, ['n1']), []);
});

test('a node that is silent after the stall is still found', (t) => {
  const detector = new FailureDetector(OPTIONS);
  detector.heard('n1', 1000);
  run(detector, 250, 1000);
  detector.tick(61_000);
  const [verdict] = run(detector, 61_250, 70_000);
  t.is(verdict?.nodeId, 'n1');
  t.true((verdict?.atMs ?? 0) > 62_500 && (verdict?.atMs ?? 0) <= 63_250, `${verdict?.atMs}`);
});

test('small delays of the timer are not taken for stalls', (t) => {
  const detector = new FailureDetector(OPTIONS);
  detector.heard('n1', 0);
  let downAtMs = 0;
  for (let now = 400; downAtMs === 0 && now < 60_000; now += 400) {
    if (detector.tick(now).length > 0) downAtMs = now;
  }
  t.is(downAtMs, 2400);
});

test('a node known from before has three times as long to come', (t) => {
  const detector = new FailureDetector(OPTIONS);
  detector.expect('n1', 0);
  detector.expect('n2', 0);
  t.deepEqual(run(detector, 250, 5000, ['n2']), []);
  t.deepEqual(run(detector, 5250, 6250, ['n2']), [{ atMs: 6250, nodeId: 'n1', reason: 'never-heard' }]);
});

test('a forgotten node is not judged', (t) => {
  const detector = new FailureDetector(OPTIONS);
  detector.heard('n1', 0);
  detector.forget('n1');
  t.deepEqual(run(detector, 250, 10_000), []);
});

test('after a stall longer than nodes wait for their manager they have the time that a new manager would give', (t) => {
  const detector = new FailureDetector(OPTIONS);
  run(detector, 250, 1000, ['n1', 'n2']);
  detector.tick(31_000);
  detector.closed('n1', 31_100);
  t.deepEqual(run(detector, 31_250, 37_000, ['n2']), [], 'it gave up meanwhile, and is about to try again');
  t.deepEqual(
    run(detector, 37_250, 38_000, ['n2']).map(({ reason }) => reason),
    ['disconnected'],
  );
  detector.closed('n2', 38_000);
  const [verdict] = run(detector, 38_250, 50_000);
  t.true((verdict?.atMs ?? 0) <= 40_250, 'the stall is over: the usual time again');
});

const CROWD = Array.from({ length: 200 }, (_, i) => `n${i}`);

test('of a crowd that returns one by one nobody is judged before its turn; who is missing then is', (t) => {
  const detector = new FailureDetector(OPTIONS);
  for (const nodeId of CROWD) detector.expect(nodeId, 0);
  const back: string[] = [];
  const coming = CROWD.slice(0, 190);
  const said: string[] = [];
  let now = 0;
  for (const nodeId of coming) {
    back.push(nodeId);
    now += OPTIONS.tickMs;
    for (const one of back) detector.heard(one, now);
    said.push(...detector.tick(now).map((verdict) => verdict.nodeId));
  }
  t.deepEqual(said, [], 'each was waited for, long after its own time');
  said.push(...run(detector, now + OPTIONS.tickMs, now + 10_000, back).map(({ nodeId }) => nodeId));
  t.deepEqual(said, CROWD.slice(190));
});

test('a crowd that does not return is judged in its time', (t) => {
  const detector = new FailureDetector(OPTIONS);
  for (const nodeId of CROWD) detector.heard(nodeId, 0);
  for (const nodeId of CROWD) detector.closed(nodeId, 1000);
  const said = run(detector, 250, 10_000);
  t.is(said.length, CROWD.length);
  t.true(said.every(({ atMs }) => atMs <= 3250));
});

test('one that flaps in a crowd keeps the dead alive for a bounded time', (t) => {
  const detector = new FailureDetector(OPTIONS);
  for (const nodeId of CROWD) detector.closed(nodeId, 0);
  const said: { nodeId: string; atMs: number }[] = [];
  for (let now = 250; now < 300_000; now += 250) {
    detector.heard('n0', now);
    detector.closed('n0', now);
    for (const { nodeId } of detector.tick(now)) said.push({ nodeId, atMs: now });
  }
  t.is(new Set(said.map(({ nodeId }) => nodeId)).size, CROWD.length - 1);
  t.true(
    said.every(({ atMs }) => atMs <= 122_250),
    `${said[0]?.atMs}`,
  );
});

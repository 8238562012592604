/** Clocks that are off, on a real TLS port: what is written is on the manager's clock, and people are told. */
import test from 'ava';
import { join } from '../../../agent/session/join.ts';
import { refusalText } from '../../../agent/session/refused-certificate.ts';
import { UnavailableError } from '../../../shared/errors/index.ts';
import type { Logger } from '../../../shared/model/index.ts';
import { eventually, putTask, quiet, rig, startAgent, status, task } from './rig.ts';

const HOUR_MS = 3_600_000;

for (const skewMs of [-2 * HOUR_MS, 2 * HOUR_MS]) {
  test(`a node whose clock is off by ${skewMs / HOUR_MS} h: its reports are on the manager’s clock, its record says so`, async (t) => {
    const r = await rig(t);
    const identity = await r.joined('off');
    const clock = { now: () => Date.now() + skewMs };
    const agent = startAgent({ address: r.address, identity, hostname: 'off', clock, signal: r.signal });
    await eventually('it is ready', () => r.store.get('nodes', agent.nodeId)?.status === 'ready');
    const words =
      skewMs < 0 ? "its clock is 2 h behind the manager's" : "its clock is 2 h ahead of the manager's";
    t.is(r.store.get('nodes', agent.nodeId)?.statusMessage, words);
    const before = Date.now();
    await putTask(r, task('t1', 'web', agent.nodeId, { createdAtMs: before - 10_000 }));
    agent.link.report(status('t1', 'running', { atMs: clock.now(), startedAtMs: clock.now() - 3_000 }));
    await eventually('the report is written', () => r.store.get('statuses', 't1') !== undefined);
    const written = r.store.get('statuses', 't1');
    t.true((written?.atMs ?? 0) >= before && (written?.atMs ?? 0) <= Date.now());
    t.true(
      (written?.startedAtMs ?? 0) >= before - 3_000 && (written?.startedAtMs ?? 0) <= Date.now() - 2_900,
    );
  });
}

test('a manager’s certificate that is not valid yet here: joining and reconnecting say so', async (t) => {
  const r = await rig(t);
  const identity = await r.joined('early');
  const ahead = await rig(t, { store: r.store, clock: { now: () => Date.now() + 48 * HOUR_MS } });
  const late = join({ token: ahead.tokens.worker, managers: [ahead.address], hostname: 'x' }, r.signal);
  await t.throwsAsync(late, {
    instanceOf: UnavailableError,
    message: /not valid yet by the clock of this machine/,
  });
  const reasons: string[] = [];
  const logger: Logger = {
    ...quiet,
    warn: (fields) => reasons.push('reason' in fields ? String(fields.reason) : ''),
  };
  startAgent({ address: ahead.address, identity, hostname: 'early', logger, signal: r.signal });
  await eventually('the agent logs it', () =>
    reasons.some((text) => text.includes('not valid yet by the clock')),
  );
});

test('a node’s certificate that is not valid yet at the manager: the node is told why', async (t) => {
  const r = await rig(t);
  const { csr, key } = await request();
  const cert = await r.dispatcher.authority.issue(
    csr,
    { nodeId: 'n9', role: 'worker' },
    Date.now() + 48 * HOUR_MS,
  );
  const reasons: string[] = [];
  const logger: Logger = {
    ...quiet,
    warn: (fields) => reasons.push('reason' in fields ? String(fields.reason) : ''),
  };
  const identity = { nodeId: 'n9', ca: r.dispatcher.authority.caPem, cert, key, managers: [r.address] };
  startAgent({ address: r.address, identity, hostname: 'n9', logger, signal: r.signal });
  await eventually('it is told', () =>
    reasons.some((text) => text.includes("not valid yet by the manager's clock")),
  );
  t.false(r.dispatcher.gateway.connected('n9'));
});

test('the words name the distance of the clocks, where it is known', (t) => {
  const of = (offMs: number | undefined) => refusalText('10.0.0.1:7370', 'is not valid yet', offMs);
  t.regex(of(26 * HOUR_MS), /which is 26 h behind the manager's: set the clock that is wrong/);
  t.regex(of(-50 * HOUR_MS), /which is 2 d 2 h ahead of the manager's/);
  t.regex(of(0), /look at the manager's log/);
  t.regex(of(undefined), /is the clock right\?/);
});

async function request(): Promise<{ csr: string; key: string }> {
  const { certificateRequest, generateKeys, privateKeyPem } = await import('../../../shared/wire/keys.ts');
  const keys = await generateKeys();
  return { csr: await certificateRequest(keys), key: await privateKeyPem(keys.privateKey) };
}

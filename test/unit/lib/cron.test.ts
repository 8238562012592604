import test from 'ava';
import fc from 'fast-check';
import { lastTime, nextTime, scheduleProblem, timeZoneProblem } from '../../../shared/lib/cron.ts';

const at = (text: string): number => Date.parse(text);

test('times follow the local clock through its changes', (t) => {
  const next = (schedule: string, from: string) =>
    new Date(nextTime(schedule, 'Europe/Berlin', at(from)) ?? 0);
  t.is(next('30 2 * * *', '2026-03-28T12:00Z').toISOString(), '2026-03-29T01:00:00.000Z');
  t.is(next('30 2 * * *', '2026-10-25T00:00Z').toISOString(), '2026-10-25T00:30:00.000Z');
  t.is(next('30 2 * * *', '2026-10-25T00:30Z').toISOString(), '2026-10-26T01:30:00.000Z');
  t.is(next('@daily', '2026-07-01T12:00Z').toISOString(), '2026-07-01T22:00:00.000Z');
});

test('what is no schedule is said', (t) => {
  t.is(scheduleProblem('*/5 * * * *', 'UTC'), undefined);
  t.is(scheduleProblem('*/10 * * * * *', 'America/New_York'), undefined);
  t.regex(scheduleProblem('61 * * * *', 'UTC') ?? '', /no cron schedule.*minute/);
  t.regex(scheduleProblem('* * *', 'UTC') ?? '', /no cron schedule/);
  t.regex(scheduleProblem('@reboot', 'UTC') ?? '', /no cron schedule/);
  t.regex(scheduleProblem('0 0 31 2 *', 'UTC') ?? '', /never comes/);
  t.regex(timeZoneProblem('Mars/Olympus') ?? '', /no time zone/);
});

test('the last time is not later than asked, and no other lies between', (t) => {
  const schedule = fc.constantFrom('*/5 * * * *', '0 3 * * 1', '15,45 * * * * *', '30 2 * * *', '@monthly');
  const zone = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata');
  const moment = fc.integer({ min: at('2026-01-01'), max: at('2027-12-31') });
  const holds = (pattern: string, timeZone: string, now: number): void => {
    const last = lastTime(pattern, timeZone, now) ?? Number.NaN;
    const next = nextTime(pattern, timeZone, now) ?? Number.NaN;
    t.true(last <= now && next > now);
    t.is(nextTime(pattern, timeZone, last), next);
  };
  fc.assert(fc.property(schedule, zone, moment, holds), { numRuns: 200 });
});

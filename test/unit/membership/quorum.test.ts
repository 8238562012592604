import test from 'ava';
import fc from 'fast-check';
import { majority, removalProblem, type Voter } from '../../../manager/membership/quorum.ts';

const voter = (name: string, alive = true): Voter => ({ id: name, name, alive });

test('a majority is more than half', (t) => {
  t.deepEqual([1, 2, 3, 4, 5].map(majority), [1, 2, 2, 3, 3]);
});

test('the last manager stays; a dead one of three may go, a living one beside it may not', (t) => {
  t.regex(removalProblem([voter('m1')], 'm1') ?? '', /m1 is the only manager/);
  const three = [voter('m1'), voter('m2'), voter('m3', false)];
  t.is(removalProblem(three, 'm3'), undefined);
  t.regex(
    removalProblem(three, 'm1') ?? '',
    /of the 2 other managers 2 must be reachable and 1 is \(not: m3\)/,
  );
  t.is(removalProblem([voter('m1'), voter('m2')], 'm2'), undefined);
});

test('who has no vote may always go', (t) => {
  t.is(removalProblem([voter('m1')], 'm2'), undefined);
});

test('whatever is allowed leaves a majority of the rest alive, and what is refused does not', (t) => {
  const voters = fc.array(fc.boolean(), { minLength: 1, maxLength: 9 });
  fc.assert(
    fc.property(voters, fc.nat(8), (lives, pick) => {
      const all = lives.map((alive, index) => voter(`m${index}`, alive));
      const leaving = all[pick % all.length] as Voter;
      const rest = all.filter((one) => one !== leaving);
      const alive = rest.filter((one) => one.alive).length;
      const goesOn = rest.length > 0 && alive * 2 > rest.length;
      t.is(removalProblem(all, leaving.id) === undefined, goesOn);
    }),
  );
});

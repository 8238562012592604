/** Which machine is upgraded next, and why none may be. */
import test from 'ava';
import fc from 'fast-check';
import {
  isDone,
  type Machine,
  nextStep,
  type UpgradeView,
  waitsFor,
} from '../../../deploy/cli/upgrade-plan.ts';

const TARGET = '0.2.0';

function manager(name: string, more: Partial<NonNullable<Machine['manager']>> = {}, node = false): Machine {
  const own = { version: '0.1.0', reachable: true, leads: false, joining: false, ...more };
  return {
    ...{ name, address: name, manager: own },
    ...(node ? { node: { id: name, version: own.version, ready: true } } : {}),
  };
}

function node(name: string, more: Partial<NonNullable<Machine['node']>> = {}): Machine {
  return { name, address: name, node: { id: name, version: '0.1.0', ready: true, ...more } };
}

function view(
  machines: readonly Machine[],
  readyBefore = machines.flatMap((one) => one.node?.id ?? []),
): UpgradeView {
  return { machines, target: TARGET, readyBefore: new Set(readyBefore) };
}

/** As after a machine's upgrade that went well. */
function upgraded({ manager: own, node: beside, ...rest }: Machine): Machine {
  return {
    ...rest,
    ...(own === undefined ? {} : { manager: { ...own, version: TARGET } }),
    ...(beside === undefined ? {} : { node: { ...beside, version: TARGET } }),
  };
}

const CLUSTER = [
  node('n10'),
  node('n2'),
  manager('m1', { leads: true }),
  manager('m2', {}, true),
  manager('m3'),
];

test('managers go first, the one that leads last, then nodes; each machine once', (t) => {
  const order: string[] = [];
  let machines = CLUSTER;
  for (;;) {
    const step = nextStep(view(machines));
    if (step.kind !== 'upgrade') {
      t.deepEqual(step, { kind: 'done', leftOut: [] });
      break;
    }
    order.push(step.machine.name);
    machines = machines.map((one) => (one === step.machine ? upgraded(one) : one));
  }
  t.deepEqual(order, ['m2', 'm3', 'm1', 'n2', 'n10']);
});

test('a machine whose manager is upgraded and whose node is not goes on', (t) => {
  const half = {
    ...manager('m1', { version: TARGET, leads: true }),
    node: { id: 'm1', version: '0.1.0', ready: true },
  };
  t.like(nextStep(view([half])), { kind: 'upgrade', machine: { name: 'm1' } });
});

const REFUSED: readonly [string, UpgradeView, 'stop' | 'wait', RegExp][] = [
  [
    'a downgrade',
    view([manager('m1', { leads: true }), node('n1', { version: '0.2.1' })]),
    'stop',
    /n1 has 0\.2\.1.*is older/,
  ],
  [
    'too far',
    view([manager('m1', { leads: true, version: '0.0.9' })]),
    'stop',
    /m1 has 0\.0\.9, more than one minor/,
  ],
  ['another major', view([manager('m1', { leads: true, version: '1.2.0' })]), 'stop', /more than one minor/],
  [
    'one away',
    view([manager('m1', { leads: true }), manager('m2', { reachable: false })]),
    'wait',
    /m2 is not reachable/,
  ],
  [
    'one joins',
    view([manager('m1', { leads: true }), manager('m2', { joining: true })]),
    'wait',
    /m2 is joining/,
  ],
  ['no leader', view([manager('m1')]), 'wait', /no manager leads/],
  [
    'a node lost',
    view([manager('m1', { leads: true }), node('n1', { ready: false })]),
    'wait',
    /n1 was ready/,
  ],
];

test('what is not fit or not well is said, and nothing is upgraded', (t) => {
  for (const [what, seen, kind, reason] of REFUSED) {
    const step = nextStep(seen);
    t.is(step.kind, kind, what);
    t.regex('reason' in step ? step.reason : '', reason);
  }
});

test('a node that was not there is left out, and named', (t) => {
  const machines = [upgraded(manager('m1', { leads: true })), node('n1', { ready: false, version: '0.0.1' })];
  t.like(nextStep(view(machines, [])), { kind: 'done', leftOut: [{ name: 'n1' }] });
});

test('a machine is well once its manager is back and votes, and its node is ready, of the new version', (t) => {
  const own = { version: TARGET, leads: true };
  const says = (machine: Machine, wasReady = true): string => waitsFor(machine, TARGET, wasReady) ?? '';
  t.regex(says(manager('m1')), /says it is 0\.1\.0/);
  t.regex(says(manager('m1', { ...own, reachable: false })), /not reachable/);
  t.regex(says(manager('m1', { ...own, joining: true })), /does not vote/);
  t.regex(says(node('n1', { ready: false, version: TARGET })), /not ready/);
  t.regex(says(node('n1')), /node says it is 0\.1\.0/);
  t.is(says(node('n1', { ready: false }), false), '');
  t.is(says(manager('m1', own, true)), '');
});

test('property: never a manager while another is away, never a node before a manager, and it comes to an end', (t) => {
  const version = fc.constantFrom('0.1.0', '0.1.3', TARGET);
  const managers = fc
    .array(fc.record({ version, reachable: fc.boolean(), joining: fc.boolean() }), {
      minLength: 1,
      maxLength: 5,
    })
    .map((all) => all.map((one, index) => manager(`m${index}`, { ...one, leads: index === 0 })));
  const nodes = fc
    .array(fc.record({ version, ready: fc.boolean() }), { maxLength: 5 })
    .map((all) => all.map((one, index) => node(`n${index}`, one)));
  fc.assert(
    fc.property(managers, nodes, (some, more) => {
      let machines = [...some, ...more];
      const ready = more.filter((one) => one.node?.ready === true).map(({ name }) => name);
      for (let steps = 0; steps <= 10; steps += 1) {
        const step = nextStep(view(machines, ready));
        if (step.kind === 'done') return machines.every((one) => isDone(one, TARGET));
        if (step.kind !== 'upgrade')
          return machines.some((one) => one.manager?.reachable === false || one.manager?.joining === true);
        const { machine } = step;
        if (machines.some((one) => one.manager?.reachable === false)) return false;
        if (machine.manager === undefined && machines.some((one) => one.manager?.version === '0.1.0'))
          return false;
        machines = machines.map((one) => (one === machine ? upgraded(one) : one));
      }
      return false;
    }),
  );
  t.pass();
});

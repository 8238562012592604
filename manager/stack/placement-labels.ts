/** A service's labels for what the Docker API's Placement has no field for. */
import type { Affinity, Labels, Placement } from '../../shared/model/index.ts';

const STRATEGY_LABEL = 'shoal.placement.strategy';
const STRATEGIES = ['spread', 'binpack'] as const;
const AFFINITIES: readonly { readonly label: string; readonly rule: Omit<Affinity, 'service'> }[] = [
  { label: 'shoal.placement.with', rule: { kind: 'with', hard: true } },
  { label: 'shoal.placement.near', rule: { kind: 'with', hard: false } },
  { label: 'shoal.placement.apart', rule: { kind: 'apart', hard: true } },
  { label: 'shoal.placement.away', rule: { kind: 'apart', hard: false } },
];
const KNOWN = [STRATEGY_LABEL, ...AFFINITIES.map(({ label }) => label)];

export type PlacementReading =
  | { readonly kind: 'read'; readonly placement: Pick<Placement, 'strategy' | 'affinities'> }
  | { readonly kind: 'problem'; readonly field: string; readonly message: string };

export function readPlacementLabels(labels: Labels): PlacementReading {
  const unknown = Object.keys(labels).find(
    (name) => name.startsWith('shoal.placement.') && !KNOWN.includes(name),
  );
  if (unknown !== undefined) return problem(unknown, `is none of ${KNOWN.join(', ')}`);
  const strategy = labels[STRATEGY_LABEL];
  const known = STRATEGIES.find((one) => one === strategy);
  if (known !== strategy) return problem(STRATEGY_LABEL, `${STRATEGIES.join(' or ')} is expected`);
  const affinities: Affinity[] = [];
  for (const { label, rule } of AFFINITIES) {
    const names = labels[label];
    if (names === undefined) continue;
    const services = names.split(',').map((name) => name.trim());
    if (services.includes('')) return problem(label, 'names of services are expected, separated by commas');
    affinities.push(...services.map((service) => ({ service, ...rule })));
  }
  const placement = {
    ...(known === undefined ? {} : { strategy: known }),
    ...(affinities.length === 0 ? {} : { affinities }),
  };
  return { kind: 'read', placement };
}

function problem(field: string, message: string): PlacementReading {
  return { kind: 'problem', field, message };
}

/** `x-shoal-allow-from` of a service and `x-shoal-allow` of a network, as the labels that say the same. */
import {
  ALLOW_FROM_LABEL,
  ALLOW_LABEL,
  type AllowReading,
  namesInRules,
  readAllow,
  readAllowFrom,
} from '../../shared/lib/allow-list.ts';
import type { Labels } from '../../shared/model/index.ts';
import type { Position } from './problem.ts';
import type { Section } from './section.ts';

const FROM_KEY = 'x-shoal-allow-from';
const KEY = 'x-shoal-allow';

export function allowFromLabels(service: Section): Labels {
  return listLabel(service, FROM_KEY, ALLOW_FROM_LABEL);
}

export function allowLabels(network: Section): Labels {
  return listLabel(network, KEY, ALLOW_LABEL);
}

/** An empty list lets nobody in. */
function listLabel(section: Section, key: string, label: string): Labels {
  const entries = section.textOrTexts(key);
  return entries === undefined ? {} : { [label]: entries.length === 0 ? 'none' : entries.join(',') };
}

/** Tells what is wrong with a service's list, and which of its names are none of the file's. */
export function checkAllowFrom(service: Section, labels: Labels, known: ReadonlySet<string>): void {
  const deploy = service.map.entries.get('deploy')?.value;
  const inDeploy = deploy?.kind === 'map' ? deploy.entries.get('labels')?.at : undefined;
  const at = service.map.entries.get(FROM_KEY)?.at ?? inDeploy ?? service.map;
  check(service, at, ALLOW_FROM_LABEL, readAllowFrom(labels), known);
}

export function checkAllow(network: Section, labels: Labels, known: ReadonlySet<string>): void {
  const at = network.map.entries.get(KEY)?.at ?? network.map.entries.get('labels')?.at ?? network.map;
  check(network, at, ALLOW_LABEL, readAllow(labels), known);
}

function check(
  { problems }: Section,
  at: Position & { readonly key: string },
  label: string,
  list: AllowReading,
  known: ReadonlySet<string>,
): void {
  if (typeof list === 'string') problems.error(at, at.key, `${label}: ${list}`);
  if (typeof list !== 'object') return;
  for (const name of namesInRules(list)) {
    if (known.has(name)) continue;
    const meant = `the service '${name}' of the cluster is meant, and allows nothing before it is there`;
    problems.warning(at, at.key, `no service '${name}' in this file: ${meant}`);
  }
}

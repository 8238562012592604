/** PURE. Names that one container alone has for others on its networks. */
import type { TaskAssignment } from '../../shared/model/index.ts';
import { type Answer, answer, type Question } from './dns-answer.ts';
import type { NetworkNames } from './dns-names.ts';

/** Undefined: the asker has no link of this name, or nothing is behind it: others may have the name. */
export function answerLink(
  question: Question,
  asker: TaskAssignment | undefined,
  networks: readonly NetworkNames[],
  random: () => number,
): Answer | undefined {
  const asked = question.name.toLowerCase().replace(/\.$/, '');
  for (const { network: id, links = [] } of asker?.spec.networks ?? []) {
    const network = networks.find((one) => one.network.networkId === id);
    if (network === undefined || links.length === 0) continue;
    const suffix = `.${network.network.name.toLowerCase()}`;
    const isAsked = (alias: string): boolean => asked === alias || asked === `${alias}${suffix}`;
    const link = links.find(({ alias }) => isAsked(alias.toLowerCase()));
    if (link === undefined) continue;
    const found = answer({ ...question, name: link.name }, [network], random);
    if (found.kind !== 'elsewhere' && found.kind !== 'unknown') return found;
  }
  return undefined;
}

/** PURE. Which devices the files of the directories describe together: who has precedence, what contradicts what. */
import type { DeviceProblem, NodeDevices } from '../../shared/model/index.ts';
import { MAX_DEVICE_PROBLEMS, MAX_DEVICE_TEXT, MAX_DEVICES } from '../../shared/wire/node-schema.ts';
import { type CdiEdits, type CdiFile, notDone } from './spec-file.ts';

/** A file of one of the directories, read or not. */
export interface ReadFile {
  readonly path: string;
  /** Position of its directory: the later ones have precedence. */
  readonly priority: number;
  readonly content: CdiFile | { readonly problem: string };
}

export interface CdiDevice {
  /** vendor.com/class=name */
  readonly name: string;
  readonly path: string;
  readonly edits: CdiEdits;
  /** For whoever gets any device of the file, once. */
  readonly common: CdiEdits | undefined;
}

export interface Registry {
  readonly devices: ReadonlyMap<string, CdiDevice>;
  readonly problems: readonly DeviceProblem[];
}

interface Candidate extends CdiDevice {
  readonly priority: number;
}

/** A device that two files of one directory describe is neither's (SPEC.md, "Error Handling"). */
export function registryOf(files: readonly ReadFile[]): Registry {
  const candidates = new Map<string, Candidate[]>();
  const problems: DeviceProblem[] = [];
  for (const { path, priority, content } of files) {
    if ('problem' in content) {
      problems.push({ of: path, why: content.problem });
      continue;
    }
    for (const { name: short, containerEdits: edits } of content.devices) {
      const name = `${content.kind}=${short}`;
      const one = { name, path, priority, edits, common: content.containerEdits ?? undefined };
      candidates.set(name, [...(candidates.get(name) ?? []), one]);
    }
  }
  const devices = new Map<string, CdiDevice>();
  for (const [name, all] of candidates) {
    const highest = Math.max(...all.map(({ priority }) => priority));
    const [first, second] = all.filter(({ priority }) => priority === highest);
    if (first === undefined) continue;
    const unable = notDone(first.edits) ?? notDone(first.common ?? {});
    if (second !== undefined)
      problems.push({ of: name, why: `both ${first.path} and ${second.path} describe it` });
    else if (unable !== undefined) problems.push({ of: name, why: `${first.path}: ${unable}` });
    else devices.set(name, first);
  }
  return { devices, problems };
}

/** What managers are told. Undefined: nothing is described here. */
export function nodeDevices({ devices, problems }: Registry): NodeDevices | undefined {
  if (devices.size === 0 && problems.length === 0) return undefined;
  const told = problems
    .map(({ of, why }) => ({ of: of.slice(0, MAX_DEVICE_TEXT), why: why.slice(0, MAX_DEVICE_TEXT) }))
    .toSorted((a, b) => (a.of < b.of ? -1 : 1))
    .slice(0, MAX_DEVICE_PROBLEMS);
  return {
    names: [...devices.keys()].toSorted().slice(0, MAX_DEVICES),
    ...(told.length === 0 ? {} : { problems: told }),
  };
}

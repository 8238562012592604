/**
 * PURE. AppArmor profiles and SELinux labels as users name them (--security-opt and compose's security_opt:
 * https://docs.docker.com/reference/cli/docker/container/run/#security-opt), and whether a node can apply them.
 */
import type { ContainerSpec, NodeConfinement, SelinuxLabel } from '../model/index.ts';
import { InvalidError } from '../errors/index.ts';

/** What of a container's spec is about security modules. */
export interface Confinement {
  /** Never `unconfined`, which is what a container without a profile is. */
  readonly appArmorProfile?: string;
  readonly selinux?: SelinuxLabel;
}

const PARTS = ['user', 'role', 'type', 'level'] as const satisfies readonly (keyof SelinuxLabel)[];
export const UNCONFINED = 'unconfined';

/** The native library's LABEL_MAX leaves room for more; names of files, which many profiles have, are shorter. */
const PROFILE_MAX = 255;
const PART: Readonly<Record<(typeof PARTS)[number], RegExp>> = {
  user: /^[A-Za-z0-9_.-]{1,128}$/,
  role: /^[A-Za-z0-9_.-]{1,128}$/,
  type: /^[A-Za-z0-9_.-]{1,128}$/,
  level: /^[A-Za-z0-9_.:,-]{1,255}$/,
};

/** `apparmor` or `label` with what follows it; undefined: another option. */
function split(option: string): readonly ['apparmor' | 'label', string] | undefined {
  const match = /^(apparmor|label)[=:](.*)$/s.exec(option);
  return match === null ? undefined : [match[1] as 'apparmor' | 'label', match[2] ?? ''];
}

export function isConfinement(option: string): boolean {
  return split(option) !== undefined;
}

/**
 * Those of the options that are `apparmor=` and `label=`, together: the later wins, and `disable` over every other label,
 * as with Docker. Throws InvalidError that names the option.
 */
export function readConfinement(options: readonly string[]): Confinement {
  let profile: string | undefined;
  let disabled = false;
  const label: { -readonly [K in keyof SelinuxLabel]: SelinuxLabel[K] } = {};
  for (const option of options) {
    const [kind, value] = split(option) ?? [];
    if (kind === undefined || value === undefined) continue;
    if (kind === 'apparmor') {
      const problem = profileProblem(value);
      if (problem !== undefined) throw new InvalidError(`'${option}': ${problem}`);
      profile = value;
    } else if (value === 'disable') disabled = true;
    else {
      const [part, text] = partOf(option, value);
      label[part] = text;
    }
  }
  return {
    ...(profile === undefined || profile === UNCONFINED ? {} : { appArmorProfile: profile }),
    ...(disabled || Object.keys(label).length === 0 ? {} : { selinux: label }),
  };
}

function partOf(option: string, value: string): [(typeof PARTS)[number], string] {
  const at = value.indexOf(':');
  const part = PARTS.find((one) => one === value.slice(0, Math.max(at, 0)));
  if (part === undefined) {
    throw new InvalidError(
      `'${option}': 'label=disable', or 'label=' with user:, role:, type: or level: and a value, is expected`,
    );
  }
  const text = value.slice(at + 1);
  const problem = labelProblem({ [part]: text });
  if (problem !== undefined) throw new InvalidError(`'${option}': ${problem}`);
  return [part, text];
}

/** Why it is no name of an AppArmor profile; undefined: it may be one. */
export function profileProblem(name: string): string | undefined {
  if (/^[^\s\p{Cc}][^\p{Cc}]*$/u.test(name) && name.length <= PROFILE_MAX) return undefined;
  return `the name of an AppArmor profile is expected, of at most ${PROFILE_MAX} characters`;
}

/** Why they are no parts of an SELinux label; undefined: they may be. */
export function labelProblem(label: SelinuxLabel): string | undefined {
  const given = PARTS.filter((part) => label[part] !== undefined);
  if (given.length === 0) return 'a user, a role, a type or a level is expected';
  const wrong = given.find((part) => !PART[part].test(label[part] ?? ''));
  if (wrong === undefined) return undefined;
  const example = { user: 'system_u', role: 'system_r', type: 'container_t', level: 's0:c1,c2' }[wrong];
  return `${wrong} '${label[wrong] ?? ''}': such as ${example} is expected`;
}

/** The same as options: `label=type:container_t`. */
export function confinementOptions({ appArmorProfile, selinux = {} }: Confinement): string[] {
  return [
    ...(appArmorProfile === undefined ? [] : [`apparmor=${appArmorProfile}`]),
    ...PARTS.flatMap((part) => (selinux[part] === undefined ? [] : [`label=${part}:${selinux[part]}`])),
  ];
}

export function confinementOf({ selinux, runtime }: ContainerSpec): Confinement {
  const appArmorProfile = runtime?.appArmorProfile;
  return {
    ...(appArmorProfile === undefined ? {} : { appArmorProfile }),
    ...(selinux === undefined ? {} : { selinux }),
  };
}

/** Why a node can not confine a container so; undefined: it can. */
export function confinementProblem(
  { appArmorProfile, selinux }: Confinement,
  node: NodeConfinement | undefined,
): string | undefined {
  if (appArmorProfile !== undefined) {
    const loaded = node?.appArmorProfiles;
    if (loaded === undefined) return `no AppArmor (profile ${appArmorProfile} is asked for)`;
    if (!loaded.includes(appArmorProfile)) return `AppArmor profile ${appArmorProfile} is not loaded`;
  }
  if (selinux !== undefined && node?.selinux !== true)
    return `no SELinux (${confinementOptions({ selinux }).join(', ')} is asked for)`;
  return undefined;
}

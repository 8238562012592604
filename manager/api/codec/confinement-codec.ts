/** AppArmor profiles and SELinux labels of the Docker Engine API <-> ours. */
import { z } from 'zod';
import { describeError, InvalidError, UnsupportedError } from '../../../shared/errors/index.ts';
import { type Confinement, confinementOptions, readConfinement } from '../../../shared/lib/confinement.ts';
import type { SelinuxLabel } from '../../../shared/model/index.ts';
import { defined, given, zFlag, zText } from './common.ts';

/** ContainerSpec.Privileges.SELinuxContext. */
export const zSelinuxContext = z
  .object({ Disable: zFlag, User: zText, Role: zText, Type: zText, Level: zText })
  .nullish();

/** ContainerSpec.Privileges.AppArmor: Docker's services choose between its own profile and none; Shoal has no own. */
export const zAppArmor = z.object({ Mode: z.enum(['', 'default', 'disabled']).nullish() }).nullish();

export function decodeSelinux(raw: z.output<typeof zSelinuxContext>): SelinuxLabel | undefined {
  if (raw === null || raw === undefined || raw.Disable === true) return undefined;
  const { User, Role, Type, Level } = raw;
  return given(defined({ user: given(User), role: given(Role), type: given(Type), level: given(Level) })) as
    | SelinuxLabel
    | undefined;
}

export function encodeSelinux(label: SelinuxLabel | undefined): object | undefined {
  if (label === undefined) return undefined;
  const { user = '', role = '', type = '', level = '' } = label;
  return { Disable: false, User: user, Role: role, Type: type, Level: level };
}

/** Those of HostConfig.SecurityOpt. Throws InvalidError that names the option. */
export function decodeConfinement(options: readonly string[]): Confinement {
  try {
    return readConfinement(options);
  } catch (error) {
    throw new InvalidError(`HostConfig.SecurityOpt: ${describeError(error)}`);
  }
}

/** ContainerSpec.HostConfig.SecurityOpt: what Docker's fields of a service can not say. */
export function decodeServiceProfile(options: readonly string[]): string | undefined {
  const other = options.find((option) => !/^apparmor[=:]/.test(option));
  if (other !== undefined) {
    throw new UnsupportedError(
      `ContainerSpec.HostConfig.SecurityOpt: not supported by Shoal: '${other}' (apparmor=PROFILE is; for the rest there is ContainerSpec.Privileges)`,
    );
  }
  return decodeConfinement(options).appArmorProfile;
}

export function encodeServiceProfile(appArmorProfile: string | undefined): string[] | undefined {
  return appArmorProfile === undefined ? undefined : confinementOptions({ appArmorProfile });
}

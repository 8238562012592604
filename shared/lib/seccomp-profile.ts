/**
 * Seccomp profiles as Docker has them (https://docs.docker.com/engine/security/seccomp/; moby profiles/seccomp): the OCI
 * runtime-spec's linux.seccomp, and conditions on the machine and the container's capabilities.
 */
import { z } from 'zod';
import { InvalidError } from '../errors/index.ts';

const ACTIONS = [
  'SCMP_ACT_KILL',
  'SCMP_ACT_KILL_THREAD',
  'SCMP_ACT_KILL_PROCESS',
  'SCMP_ACT_TRAP',
  'SCMP_ACT_ERRNO',
  'SCMP_ACT_LOG',
  'SCMP_ACT_ALLOW',
] as const;
const OPERATORS = [
  'SCMP_CMP_NE',
  'SCMP_CMP_LT',
  'SCMP_CMP_LE',
  'SCMP_CMP_EQ',
  'SCMP_CMP_GE',
  'SCMP_CMP_GT',
  'SCMP_CMP_MASKED_EQ',
] as const;

const zAction = z.enum(ACTIONS, { error: `one of ${ACTIONS.join(', ')} is expected` });
const zNone = <T extends z.ZodType>(type: T, what: string) =>
  type.nullish().refine((value) => value === null || value === undefined || isEmpty(value), what);
const zWhole = z.number().int().min(0, 'a whole number from 0 is expected');

const zCondition = z
  .strictObject({
    arches: z.array(z.string()).nullish(),
    caps: z.array(z.string()).nullish(),
    minKernel: z
      .string()
      .regex(/^\d+\.\d+$/, 'a version such as 4.8 is expected')
      .nullish(),
  })
  .nullish();

const zRule = z.strictObject({
  name: z.string().nullish(),
  names: z.array(z.string()).nullish(),
  action: zAction,
  errnoRet: zWhole.nullish(),
  args: z
    .array(
      z.strictObject({
        index: zWhole.max(5, 'a system call has arguments 0 to 5'),
        value: zWhole,
        valueTwo: zWhole.nullish(),
        op: z.enum(OPERATORS, { error: `one of ${OPERATORS.join(', ')} is expected` }),
      }),
    )
    .nullish(),
  comment: z.string().nullish(),
  includes: zCondition,
  excludes: zCondition,
});

const zProfile = z.strictObject({
  defaultAction: zAction,
  defaultErrnoRet: zWhole.nullish(),
  architectures: z.array(z.string()).nullish(),
  archMap: z
    .array(z.strictObject({ architecture: z.string(), subArchitectures: z.array(z.string()).nullish() }))
    .nullish(),
  syscalls: z.array(zRule).nullish(),
  flags: zNone(z.array(z.string()), 'flags are not supported'),
  listenerPath: zNone(z.string(), 'a listener is not supported'),
  listenerMetadata: zNone(z.string(), 'a listener is not supported'),
});

export type SeccompProfile = z.output<typeof zProfile>;
type Condition = NonNullable<z.output<typeof zCondition>>;

/** Of the node, and of the container that the profile is for. */
export interface SeccompMachine {
  /** As Go names it: amd64, arm64. */
  readonly arch: string;
  /** Of the kernel: "6.1.0-18-amd64". */
  readonly release: string;
  /** With CAP_. */
  readonly capabilities: readonly string[];
}

/** The OCI runtime-spec's linux.seccomp, as far as the native library has it. */
export interface ResolvedSeccomp {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: string[];
  syscalls?: {
    names: string[];
    action: string;
    errnoRet?: number;
    args?: { index: number; value: number; valueTwo?: number; op: string }[];
  }[];
}

export const SECCOMP_PROFILE_MAX_BYTES = 256 * 1024;

function isEmpty(value: unknown): boolean {
  return typeof value === 'string' || Array.isArray(value) ? value.length === 0 : false;
}

/** Throws InvalidError that says where in the profile what is wrong. */
export function parseSeccompProfile(text: string): SeccompProfile {
  if (text.length > SECCOMP_PROFILE_MAX_BYTES) {
    throw new InvalidError(`a seccomp profile has at most ${SECCOMP_PROFILE_MAX_BYTES} bytes`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InvalidError(`the seccomp profile is no JSON: ${(error as Error).message}`);
  }
  const parsed = zProfile.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const where = issue?.path.join('.') ?? '';
    throw new InvalidError(`the seccomp profile${where === '' ? '' : `, ${where}`}: ${issue?.message ?? ''}`);
  }
  const profile = parsed.data;
  if ((profile.architectures ?? []).length > 0 && (profile.archMap ?? []).length > 0) {
    throw new InvalidError('the seccomp profile: architectures and archMap: one of the two is expected');
  }
  for (const [index, { name, names }] of (profile.syscalls ?? []).entries()) {
    const both = name !== null && name !== undefined && name !== '' && (names ?? []).length > 0;
    if (both) {
      throw new InvalidError(
        `the seccomp profile, syscalls.${index}: name and names: one of the two is expected`,
      );
    }
  }
  return profile;
}

/** The rules that hold on this machine, for a container with these capabilities. */
export function resolveSeccomp(profile: SeccompProfile, machine: SeccompMachine): ResolvedSeccomp {
  const architectures = architecturesOf(profile, machine.arch);
  const syscalls = (profile.syscalls ?? [])
    .filter(
      ({ includes, excludes }) => isIncluded(includes ?? {}, machine) && !isExcluded(excludes ?? {}, machine),
    )
    .map(({ name, names, action, errnoRet, args }) => ({
      names: names !== null && names !== undefined && names.length > 0 ? names : [name ?? ''],
      action,
      ...(errnoRet === null || errnoRet === undefined ? {} : { errnoRet }),
      ...(args === null || args === undefined || args.length === 0
        ? {}
        : { args: args.map(({ valueTwo, ...arg }) => ({ ...arg, valueTwo: valueTwo ?? 0 })) }),
    }));
  const { defaultAction, defaultErrnoRet } = profile;
  return {
    defaultAction,
    ...(defaultErrnoRet === null || defaultErrnoRet === undefined ? {} : { defaultErrnoRet }),
    ...(architectures.length === 0 ? {} : { architectures }),
    syscalls,
  };
}

/** libseccomp's name of what Go calls an architecture. */
const NATIVE: Readonly<Record<string, string>> = {
  amd64: 'SCMP_ARCH_X86_64',
  arm64: 'SCMP_ARCH_AARCH64',
  arm: 'SCMP_ARCH_ARM',
  '386': 'SCMP_ARCH_X86',
  ppc64le: 'SCMP_ARCH_PPC64LE',
  s390x: 'SCMP_ARCH_S390X',
  riscv64: 'SCMP_ARCH_RISCV64',
};

function architecturesOf({ architectures, archMap }: SeccompProfile, arch: string): string[] {
  if (architectures !== null && architectures !== undefined && architectures.length > 0) return architectures;
  const own = archMap?.find(({ architecture }) => architecture === NATIVE[arch]);
  return own === undefined ? [] : [own.architecture, ...(own.subArchitectures ?? [])];
}

/** Every condition that is given must hold. */
function isIncluded({ arches, caps, minKernel }: Condition, machine: SeccompMachine): boolean {
  if (arches !== null && arches !== undefined && arches.length > 0 && !arches.includes(machine.arch))
    return false;
  if (typeof minKernel === 'string' && !isAtLeast(machine.release, minKernel)) return false;
  return (caps ?? []).every((cap) => machine.capabilities.includes(cap));
}

/** One condition that holds is enough. */
function isExcluded({ arches, caps, minKernel }: Condition, machine: SeccompMachine): boolean {
  if ((arches ?? []).includes(machine.arch)) return true;
  if (typeof minKernel === 'string' && isAtLeast(machine.release, minKernel)) return true;
  return (caps ?? []).some((cap) => machine.capabilities.includes(cap));
}

function isAtLeast(release: string, wanted: string): boolean {
  const [major = 0, minor = 0] = release.split(/[.-]/).map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

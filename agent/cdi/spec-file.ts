/** PURE. One file of CDI, as its specification has it (0.3.0 to 1.1.0). Unknown fields are refused, as the specification asks. */
import { z } from 'zod';
import { isDeviceName, isKind } from '../../shared/lib/cdi.ts';

const words = z.array(z.string()).nullish();
const path = z.string().min(1);
const absolute = path.regex(/^\/[^\0]*$/, { error: 'an absolute path is expected' });
const variable = z.string().regex(/^[^=\0]+=[^\0]*$/, { error: 'NAME=VALUE is expected' });
const id = z.number().int().min(0).max(0xffff_fffe);

const deviceNode = z.strictObject({
  path: absolute,
  hostPath: z.union([z.literal(''), absolute]).nullish(),
  type: z.enum(['', 'b', 'c', 'u', 'p']).nullish(),
  major: z.number().int().min(0).nullish(),
  minor: z.number().int().min(0).nullish(),
  fileMode: z.number().int().min(0).nullish(),
  permissions: z
    .string()
    .regex(/^[rwm]{0,3}$/, { error: 'letters of rwm are expected' })
    .nullish(),
  uid: id.nullish(),
  gid: id.nullish(),
});

const mount = z.strictObject({
  hostPath: path,
  containerPath: absolute,
  options: words,
  type: z.string().nullish(),
});

const HOOKS = [
  'prestart',
  'createRuntime',
  'createContainer',
  'startContainer',
  'poststart',
  'poststop',
] as const;

const hook = z.strictObject({
  hookName: z.enum(HOOKS),
  path: absolute,
  args: words,
  env: z.array(variable).nullish(),
  timeout: z.number().int().positive().nullish(),
});

const edits = z.strictObject({
  env: z.array(variable).nullish(),
  deviceNodes: z.array(deviceNode).nullish(),
  netDevices: z.array(z.strictObject({ hostInterfaceName: z.string(), name: z.string() })).nullish(),
  mounts: z.array(mount).nullish(),
  hooks: z.array(hook).nullish(),
  intelRdt: z.looseObject({}).nullish(),
  additionalGids: z.array(id).nullish(),
});

const annotations = z.record(z.string(), z.string()).nullish();

const device = z.strictObject({
  name: z.string().refine(isDeviceName, { error: 'no name of a device' }),
  annotations,
  containerEdits: edits,
});

const file = z.strictObject({
  cdiVersion: z.string(),
  kind: z.string().refine(isKind, { error: 'such as vendor.com/class is expected' }),
  annotations,
  devices: z.array(device).min(1),
  containerEdits: edits.nullish(),
});

export type CdiFile = z.output<typeof file>;
export type CdiEdits = z.output<typeof edits>;
export type CdiDeviceNode = z.output<typeof deviceNode>;
type CdiHookName = z.output<typeof hook>['hookName'];

/** Each with what it brought: whoever says an older one must not use it. */
const VERSIONS = ['0.3.0', '0.4.0', '0.5.0', '0.6.0', '0.7.0', '0.8.0', '1.0.0', '1.1.0'];

/** Throws TypeError that names the first field that is wrong. */
export function parseCdiFile(value: unknown): CdiFile {
  const version = (value as { cdiVersion?: unknown } | null)?.cdiVersion;
  if (typeof version !== 'string' || !VERSIONS.includes(version.replace(/^v/, '')))
    throw new TypeError(`cdiVersion ${JSON.stringify(version)}: one of ${VERSIONS.join(', ')} is expected`);
  const parsed = file.safeParse(value);
  if (!parsed.success) throw new TypeError(issueText(parsed.error.issues[0]));
  const names = parsed.data.devices.map(({ name }) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new TypeError(`the device ${twice} is described twice`);
  const empty = parsed.data.devices.find(({ containerEdits }) => isEmpty(containerEdits));
  if (empty !== undefined) throw new TypeError(`the device ${empty.name} has no edits`);
  const [needed, what] = neededVersion(parsed.data);
  if (VERSIONS.indexOf(version.replace(/^v/, '')) < VERSIONS.indexOf(needed))
    throw new TypeError(`cdiVersion ${version}: ${what} needs ${needed}`);
  return parsed.data;
}

function issueText(issue: z.core.$ZodIssue | undefined): string {
  const at = issue?.path.join('.') ?? '';
  return `${at === '' ? '' : `${at}: `}${issue?.message ?? 'not valid'}`;
}

function isEmpty(one: CdiEdits): boolean {
  return Object.values(one).every(
    (part) => part === null || part === undefined || Object.keys(part).length === 0,
  );
}

const used = (list: readonly unknown[] | null | undefined): boolean => (list ?? []).length > 0;

/** The oldest version that has all that the file uses, and what of it that is. */
function neededVersion({
  kind,
  devices,
  annotations: notes,
  containerEdits,
}: CdiFile): readonly [string, string] {
  const all = [...devices.map((one) => one.containerEdits), ...(containerEdits ? [containerEdits] : [])];
  const some = (test: (one: CdiEdits) => boolean): boolean => all.some(test);
  if (some(({ netDevices }) => used(netDevices))) return ['1.1.0', 'netDevices'];
  if (some(({ intelRdt }) => intelRdt !== null && intelRdt !== undefined)) return ['0.7.0', 'intelRdt'];
  if (some(({ additionalGids }) => used(additionalGids))) return ['0.7.0', 'additionalGids'];
  if (notes || devices.some((one) => one.annotations)) return ['0.6.0', 'annotations'];
  if (kind.split('/')[1]?.includes('.') === true) return ['0.6.0', 'a dot in the class'];
  if (devices.some(({ name }) => /^\d/.test(name))) return ['0.5.0', 'a name that begins with a digit'];
  if (some(({ deviceNodes }) => (deviceNodes ?? []).some(({ hostPath }) => Boolean(hostPath))))
    return ['0.5.0', 'hostPath of a device'];
  if (some(({ mounts }) => (mounts ?? []).some(({ type }) => Boolean(type))))
    return ['0.4.0', 'type of a mount'];
  return ['0.3.0', ''];
}

const RUN = ['prestart', 'createRuntime', 'createContainer'] as const;

/** Whether such hooks are run for containers. */
export function isRun(name: CdiHookName): name is (typeof RUN)[number] {
  return RUN.some((one) => one === name);
}

/** What of it no container here can have; undefined: nothing. */
export function notDone({ netDevices, intelRdt, hooks }: CdiEdits): string | undefined {
  if (used(netDevices)) return 'netDevices are not supported';
  if (intelRdt !== null && intelRdt !== undefined) return 'intelRdt is not supported';
  const other = (hooks ?? []).find(({ hookName }) => !isRun(hookName));
  return other === undefined
    ? undefined
    : `hooks ${other.hookName} are not supported (${RUN.join(', ')} are)`;
}

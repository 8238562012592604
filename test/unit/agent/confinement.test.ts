import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { labelsFor, parseContexts } from '../../../agent/confinement/labels.ts';
import {
  checkConfinement,
  readConfinement,
  selinuxLabels,
  watchConfinement,
} from '../../../agent/confinement/security-modules.ts';
import { commandProcess, heldProcess } from '../../../agent/container/exec-process.ts';
import { runtimeSpec } from '../../../agent/container/runtime-spec.ts';
import type { ContainerSpec, NodeConfinement } from '../../../shared/model/index.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const SPEC: ContainerSpec = { image: 'x', labels: {}, command: ['sh'], args: [], env: [], mounts: [] };
const CONTEXTS = {
  process: 'system_u:system_r:container_t:s0',
  file: 'system_u:object_r:container_file_t:s0',
};

/** Files as the kernel and container-selinux have them. */
async function machine(t: ExecutionContext, files: Record<string, string>) {
  const root = await mkdtemp(join(tmpdir(), 'shoal-lsm-'));
  t.teardown(() => rm(root, { recursive: true }));
  const write = async (name: string, text: string): Promise<void> => {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), text);
  };
  for (const [name, text] of Object.entries(files)) await write(name, text);
  return { root, write };
}

const APPARMOR = {
  'sys/module/apparmor/parameters/enabled': 'Y\n',
  'sys/kernel/security/apparmor/profiles':
    'web (enforce)\n/usr/lib/Some Thing/x (complain)\ndocker-default (enforce)\nweb//hat (enforce)\n',
};
const SELINUX = {
  'sys/fs/selinux/enforce': '1',
  'etc/selinux/config': '# x\nSELINUX=enforcing\nSELINUXTYPE=targeted\n',
  'etc/selinux/targeted/contexts/lxc_contexts': `process = "${CONTEXTS.process}"\nfile = "${CONTEXTS.file}"\nro_file="system_u:object_r:container_ro_file_t:s0"\n`,
};

test('a node knows which modules are on, and which profiles are loaded', async (t) => {
  t.is(await readConfinement((await machine(t, {})).root), undefined);
  const off = await machine(t, { 'sys/module/apparmor/parameters/enabled': 'N\n' });
  t.is(await readConfinement(off.root), undefined);
  const both = await machine(t, { ...APPARMOR, ...SELINUX });
  t.deepEqual(await readConfinement(both.root), {
    appArmorProfiles: ['/usr/lib/Some Thing/x', 'docker-default', 'web', 'web//hat'],
    selinux: true,
  });
  // securityfs is not mounted
  const hidden = await machine(t, { 'sys/module/apparmor/parameters/enabled': 'Y\n' });
  t.deepEqual(await readConfinement(hidden.root), { appArmorProfiles: [] });
});

test('what it says changes with the profiles that are loaded', async (t) => {
  const { root, write } = await machine(t, {});
  const told: (NodeConfinement | undefined)[] = [];
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  await watchConfinement(silentLogger, (one) => told.push(one), stop.signal, { root, everyMs: 10 });
  t.deepEqual(told, []);
  for (const [name, text] of Object.entries(APPARMOR)) await write(name, text);
  for (let i = 0; told.at(-1)?.appArmorProfiles?.length !== 4; i += 1) {
    if (i > 1000) return t.fail(JSON.stringify(told));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const count = told.length;
  await write('sys/kernel/security/apparmor/profiles', 'other (enforce)\n');
  for (let i = 0; told.at(-1)?.appArmorProfiles?.[0] !== 'other'; i += 1) {
    if (i > 1000) return t.fail(JSON.stringify(told));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  t.true(told.length > count);
});

test('a container that a node can not confine is refused there, with what is missing', async (t) => {
  const { root } = await machine(t, APPARMOR);
  const bare = (await machine(t, {})).root;
  const profiled = (name: string): ContainerSpec => ({ ...SPEC, runtime: { appArmorProfile: name } });
  const labelled: ContainerSpec = { ...SPEC, selinux: { type: 'web_t' } };
  await checkConfinement(SPEC, bare);
  await checkConfinement(profiled('web'), root);
  await t.throwsAsync(checkConfinement(profiled('wob'), root), {
    message: /can not confine the container: AppArmor profile wob is not loaded$/,
  });
  await t.throwsAsync(checkConfinement(profiled('web'), bare), {
    message: /no AppArmor \(profile web is asked for\)$/,
  });
  await t.throwsAsync(checkConfinement(labelled, root), {
    message: /no SELinux \(label=type:web_t is asked for\)$/,
  });
  const withLabels = await machine(t, SELINUX);
  await checkConfinement(labelled, withLabels.root);
});

test("labels are the policy's for containers, with what is asked for and categories of the container's own", async (t) => {
  t.deepEqual(parseContexts(SELINUX['etc/selinux/targeted/contexts/lxc_contexts']), CONTEXTS);
  t.is(parseContexts('process = "a:b:c"\n'), undefined);
  const { root } = await machine(t, SELINUX);
  t.is(await selinuxLabels(SPEC, 'a', root), undefined);
  const typed = await selinuxLabels({ ...SPEC, selinux: { type: 'web_t' } }, 'a', root);
  const categories = /^system_u:system_r:web_t:s0:(c\d+,c\d+)$/.exec(typed?.selinuxLabel ?? '')?.[1];
  t.truthy(categories, typed?.selinuxLabel);
  t.is(typed?.mountLabel, `system_u:object_r:container_file_t:s0:${categories}`);
  t.deepEqual(await selinuxLabels({ ...SPEC, selinux: { type: 'web_t' } }, 'a', root), typed);
  const all = { user: 'u', role: 'r', type: 't', level: 's0:c1,c2' };
  t.deepEqual(labelsFor(all, CONTEXTS, 'a'), {
    selinuxLabel: 'u:r:t:s0:c1,c2',
    mountLabel: 'u:object_r:container_file_t:s0:c1,c2',
  });
  // a policy without levels gets none
  t.deepEqual(labelsFor({ type: 't' }, { process: 'a:b:c', file: 'd:e:f' }, 'a'), {
    selinuxLabel: 'a:b:t',
    mountLabel: 'd:e:f',
  });
  t.throws(() => labelsFor({ type: 't' }, undefined, 'a'), { message: /no labels for containers/ });
});

test('two categories, the lower first, never twice the same', (t) => {
  fc.assert(
    fc.property(fc.string(), (id) => {
      const { selinuxLabel } = labelsFor({ type: 't' }, CONTEXTS, id);
      const [, low, high] = /:s0:c(\d+),c(\d+)$/.exec(selinuxLabel) ?? [];
      return Number(low) < Number(high) && Number(high) < 1024;
    }),
  );
  t.pass();
});

test('the configuration of the runtime has them, and so has that of further commands', (t) => {
  const spec = { ...SPEC, runtime: { appArmorProfile: 'web' } };
  const labels = { selinuxLabel: 'a:b:c', mountLabel: 'd:e:f' };
  const image = { env: [], entrypoint: [], cmd: [], user: '', workingDir: '' };
  const user = { uid: 0, gid: 0, additionalGids: [], home: '/' };
  const common = { limits: {}, reservations: {}, image, user, hostname: 'h', cgroupsPath: '/x', binds: [] };
  const config = runtimeSpec({ ...common, spec, labels });
  t.like(config.process, { apparmorProfile: 'web', selinuxLabel: 'a:b:c' });
  t.is(config.linux.mountLabel, 'd:e:f');
  const held = heldProcess(config, ['sh']);
  t.like(held, { apparmorProfile: 'web', ...labels });
  const record = { ...held, uid: 0, gid: 0 } as unknown as Parameters<typeof commandProcess>[0];
  t.like(commandProcess(record, ['id']), { args: ['id'], apparmorProfile: 'web', selinuxLabel: 'a:b:c' });
  const plain = runtimeSpec({ ...common, spec: SPEC });
  t.false('apparmorProfile' in plain.process || 'selinuxLabel' in plain.process);
  t.false('mountLabel' in plain.linux);
});

/** What a container is made of by the options of its runtime: its node's network, or none; paths of the kernel. */
import { readFileSync } from 'node:fs';
import test from 'ava';
import { hostsFileOfNode } from '../../../agent/container/hosts-file.ts';
import { runtimeSpec } from '../../../agent/container/runtime-spec.ts';
import { resolvConfOfNode } from '../../../agent/network/resolv-conf.ts';
import type { RuntimeOptions } from '../../../shared/model/index.ts';

function config(runtime: RuntimeOptions | undefined) {
  return runtimeSpec({
    spec: {
      image: 'x',
      labels: {},
      command: ['/bin/true'],
      args: [],
      env: [],
      mounts: [],
      ...(runtime === undefined ? {} : { runtime }),
    },
    limits: {},
    reservations: {},
    image: { env: [], entrypoint: [], cmd: [], user: '', workingDir: '' },
    user: { uid: 0, gid: 0, additionalGids: [], home: '/root' },
    hostname: 'h',
    cgroupsPath: '/x',
    binds: [],
  });
}

test('with the node’s network there is no namespace for it, and none of its settings are touched', (t) => {
  const host = config({ network: 'host' }).linux;
  t.false(host.namespaces.some(({ type }) => type === 'network'));
  t.deepEqual(host.sysctl, {});
  for (const runtime of [undefined, { network: 'none' } as const]) {
    const own = config(runtime).linux;
    t.true(own.namespaces.some(({ type }) => type === 'network'));
    t.is(own.sysctl?.['net.ipv4.ip_unprivileged_port_start'], '0');
  }
});

test('its names are the node’s, and those that the service adds', (t) => {
  const text = '127.0.0.1\tlocalhost\n10.0.0.1\tnode';
  t.is(hostsFileOfNode(text, []), `${text}\n`);
  t.is(hostsFileOfNode(text, ['db:10.0.0.9']), `${text}\n10.0.0.9\tdb\n`);
  t.throws(() => hostsFileOfNode(text, ['nonsense']), { message: /is not "name:address"/ });
});

test('its name servers are the node’s, unless the service names others', (t) => {
  t.is(resolvConfOfNode(undefined), readFileSync('/etc/resolv.conf', 'utf8'));
  const own = resolvConfOfNode({ nameservers: ['192.0.2.53'], search: [], options: [] });
  t.regex(own, /^nameserver 192\.0\.2\.53$/m);
});

test('what is hidden and read-only is what was asked for, be it nothing; else the usual', (t) => {
  const usual = config(undefined).linux;
  t.true((usual.maskedPaths ?? []).length > 5 && (usual.readonlyPaths ?? []).length > 3);
  const bare = config({ maskedPaths: [], readOnlyPaths: ['/proc/x'] }).linux;
  t.deepEqual([bare.maskedPaths, bare.readonlyPaths], [[], ['/proc/x']]);
  const hidden = config({ privileged: true, maskedPaths: ['/proc/y'] }).linux;
  t.deepEqual([hidden.maskedPaths, hidden.readonlyPaths], [['/proc/y'], []]);
  const asked = config({ cpusetMems: '0', annotations: { a: 'b' } });
  t.is(asked.linux.resources?.cpu?.mems, '0');
  t.deepEqual(asked.annotations, { a: 'b' });
});

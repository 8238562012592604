/** What a container with its node's network, or none, is made of. */
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
  }).linux;
}

test('with the node’s network there is no namespace for it, and none of its settings are touched', (t) => {
  const host = config({ network: 'host' });
  t.false(host.namespaces.some(({ type }) => type === 'network'));
  t.deepEqual(host.sysctl, {});
  for (const runtime of [undefined, { network: 'none' } as const]) {
    const own = config(runtime);
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

import test from 'ava';
import { boundPorts, listedPorts } from '../../../manager/api/codec/port-addresses.ts';

const http = { protocol: 'tcp', targetPort: 80, publishedPort: 8080 };

test('a port is shown on the addresses where it answers, and on no other', (t) => {
  const shown = (hostIp: string | undefined, ipv6: boolean): unknown => {
    const ports = [hostIp === undefined ? http : { ...http, hostIp }];
    const listed = listedPorts(ports, ipv6).map((port) => (port as { IP: string }).IP);
    const bound = (boundPorts(ports, ipv6)['80/tcp'] ?? []).map(
      (port) => (port as { HostIp: string }).HostIp,
    );
    t.deepEqual(listed, bound);
    return listed;
  };
  t.deepEqual(shown(undefined, true), ['0.0.0.0', '::']);
  t.deepEqual(shown(undefined, false), ['0.0.0.0']);
  t.deepEqual(shown('0.0.0.0', true), ['0.0.0.0']);
  t.deepEqual(shown('::', true), ['::']);
  t.deepEqual(shown('::1', false), []);
  t.deepEqual(shown('127.0.0.1', true), ['127.0.0.1']);
});

test('several ports of a container are all there', (t) => {
  const ports = [
    http,
    { ...http, publishedPort: 8081, hostIp: '::1' },
    { ...http, publishedPort: 8081, hostIp: '127.0.0.1' },
    { ...http, targetPort: 443 },
  ];
  t.deepEqual(boundPorts(ports, true), {
    '80/tcp': [
      { HostIp: '0.0.0.0', HostPort: '8080' },
      { HostIp: '::', HostPort: '8080' },
      { HostIp: '::1', HostPort: '8081' },
      { HostIp: '127.0.0.1', HostPort: '8081' },
    ],
    '443/tcp': [
      { HostIp: '0.0.0.0', HostPort: '8080' },
      { HostIp: '::', HostPort: '8080' },
    ],
  });
});

import test from 'ava';
import { hostAddresses } from '../../../agent/network/host-addresses.ts';
import { prefixOf, uplinkName } from '../../../agent/network/names.ts';

test('what others can ask a machine by: each once, without localhost, link-local IPv6 and Shoal’s own devices', (t) => {
  const addresses = [
    { dev: 'lo', address: '127.0.0.1/8' },
    { dev: 'lo', address: '::1/128' },
    { dev: 'lo', address: '192.0.2.9/32' },
    { dev: 'eth0', address: '192.0.2.10/24' },
    { dev: 'eth0', address: '192.0.2.10/32' },
    { dev: 'eth0', address: 'fe80::1/64' },
    { dev: 'eth0', address: '2001:DB8:0::7/64' },
    { dev: uplinkName(prefixOf('other', 'n9'), 4097), address: '169.254.3.1/30' },
    { dev: 'tun0' },
  ];
  t.deepEqual(hostAddresses({ addresses }, 3), ['192.0.2.10', '192.0.2.9', '2001:db8::7']);
  t.is(hostAddresses({ addresses }, 2), undefined, 'a part of them would be taken for all');
});

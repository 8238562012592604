/** Whether a session's own address is still there. */
import { networkInterfaces } from 'node:os';
import test from 'ava';
import { isOwnAddress } from '../../../agent/session/own-address.ts';

test('what the machine has, and what can not be told, but no other', async (t) => {
  const all = Object.values(networkInterfaces()).flatMap((some) => some ?? []);
  const own = all.filter(({ scopeid }) => scopeid === undefined || scopeid === 0).map((one) => one.address);
  t.true(own.length > 0);
  for (const address of [...own, '127.0.0.1', '127.0.0.9', '::ffff:127.0.0.1', 'fe80::1'])
    t.true(await isOwnAddress(address), address);
  // of documentation, RFC 5737 and 3849: nobody's
  for (const address of ['192.0.2.1', '::ffff:192.0.2.1', '2001:db8::1'])
    t.false(await isOwnAddress(address), address);
});

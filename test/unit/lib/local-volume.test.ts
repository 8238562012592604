import test from 'ava';
import { serverOf, volumeBytes, volumeMount, withServer } from '../../../shared/lib/local-volume.ts';

test('no options: a directory of the node', (t) => {
  t.is(volumeMount({}), undefined);
  t.is(volumeMount({ size: '1g' }), undefined);
  t.is(volumeMount({ size: '0' }), undefined);
  t.deepEqual([{}, { size: '0' }, { size: '1.5G' }].map(volumeBytes), [undefined, undefined, 1.5 * 2 ** 30]);
});

test('words of o are flags of mount(2); what is none is the file system’s', (t) => {
  t.deepEqual(volumeMount({ type: 'tmpfs', device: 'tmpfs', o: 'ro,nosuid,size=1m,uid=7' }), {
    type: 'tmpfs',
    source: 'tmpfs',
    flags: 1 | 2,
    data: 'size=1m,uid=7',
  });
  t.deepEqual(volumeMount({ type: 'ext4', device: '/dev/sdb1', o: 'rw,bind' }), {
    type: 'none',
    source: '/dev/sdb1',
    flags: 4096,
    data: '',
  });
  t.like(volumeMount({ type: 'none', device: '/srv', o: 'rbind' }), { flags: 4096 | 16_384 });
});

test('the server of a network file system gives way to its address', (t) => {
  const mount = volumeMount({ type: 'nfs', device: ':/export', o: 'addr=files.example,rw,vers=4' });
  if (mount === undefined) throw new Error('nothing is mounted');
  t.is(serverOf(mount), 'files.example');
  t.deepEqual(withServer(mount, '10.0.0.9').data, 'addr=10.0.0.9,vers=4');
  t.is(serverOf({ ...mount, data: 'vers=4,clientaddr=1.2.3.4' }), undefined);
});

test('what can not work is refused by name', (t) => {
  const bad: [Record<string, string>, RegExp][] = [
    [{ colour: 'red' }, /invalid option: "colour"/],
    [{ size: 'much' }, /option "size": size 'much': such as 10G or 512m is expected/],
    [{ size: '5k' }, /option "size": at least 1048576 bytes/],
    [{ size: '1g', type: 'tmpfs', device: 'tmpfs' }, /not with type, device and o/],
    [{ size: '0', type: 'tmpfs' }, /missing required option: "device"/],
    [{ type: 'tmpfs' }, /missing required option: "device"/],
    [{ device: '/srv' }, /missing required option: "type"/],
    [{ o: 'bind' }, /missing required option/],
    [{ type: 'none', device: 'srv', o: 'bind' }, /"srv" is not an absolute path/],
    [{ type: 'none', device: '/srv' }, /none needs the option o=bind/],
    [{ type: 'none', device: '/srv', o: 'bind,shared' }, /shared is not supported/],
    [{ type: 'tmpfs', device: 'x', o: 'remount' }, /remount is not supported/],
  ];
  for (const [options, message] of bad)
    t.throws(() => volumeMount(options), { message }, JSON.stringify(options));
});

/** `blkio_config` of a service: shares of the node's block devices, and limits for some of them. */
import type { BlockIo, DeviceAmount } from '../../shared/model/index.ts';
import { defined, Section } from './section.ts';

export function readBlockIo(service: Section): BlockIo | undefined {
  const section = service.section('blkio_config');
  if (section === undefined) return undefined;
  const found = defined({
    weight: section.whole('weight') || undefined,
    weights: readAmounts(section, 'weight_device', 'weight'),
    readBps: readAmounts(section, 'device_read_bps', 'rate'),
    writeBps: readAmounts(section, 'device_write_bps', 'rate'),
    readIops: readAmounts(section, 'device_read_iops', 'rate'),
    writeIops: readAmounts(section, 'device_write_iops', 'rate'),
  }) as BlockIo;
  section.end();
  return Object.keys(found).length === 0 ? undefined : found;
}

/** A list of `{path, rate}`, or `{path, weight}`; rates of bytes may have a unit, as in 12mb. */
function readAmounts(
  section: Section,
  name: string,
  member: 'rate' | 'weight',
): readonly DeviceAmount[] | undefined {
  const items = section.list(name)?.items ?? [];
  const found = items.flatMap((item): DeviceAmount[] => {
    if (item.kind !== 'map') {
      section.problems.error(item, item.key, `a mapping of path and ${member} is expected`);
      return [];
    }
    const entry = new Section(item, section.problems);
    const path = entry.text('path');
    const amount = name.endsWith('bps') ? entry.bytes(member) : entry.whole(member);
    for (const needed of ['path', member])
      if (!entry.has(needed)) section.problems.error(item, item.key, `${needed} is missing`);
    entry.end();
    return path === undefined || amount === undefined ? [] : [{ path, amount }];
  });
  return found.length === 0 ? undefined : found;
}

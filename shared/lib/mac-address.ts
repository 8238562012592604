/** PURE. MAC addresses of devices, as people write them. */

const BYTES = /^[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}$/i;

/** In lower case and with colons; undefined for what is none that one device can have. */
export function parseMacAddress(text: string): string | undefined {
  if (!BYTES.test(text)) return undefined;
  const address = text.toLowerCase().replaceAll('-', ':');
  const isGroup = (Number.parseInt(address.slice(0, 2), 16) & 1) === 1;
  return isGroup || address === '00:00:00:00:00:00' ? undefined : address;
}

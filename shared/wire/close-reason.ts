/** What fits into the close frame of a WebSocket (RFC 6455, 5.5: 125 bytes with the code). Longer reasons make `ws` throw. */
const MOST_BYTES = 123;

/** As much of the text as fits, never half a character. */
export function closeReason(text: string): string {
  if (Buffer.byteLength(text) <= MOST_BYTES) return text;
  let bytes = 0;
  let kept = '';
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > MOST_BYTES) break;
    kept += character;
  }
  return kept;
}

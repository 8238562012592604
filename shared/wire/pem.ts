/** PEM texts (RFC 7468). Pure. */

/** The certificates of a text that holds one after the other; whatever is between them is left out. */
export function splitPem(text: string): string[] {
  return [...text.matchAll(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g)].map(
    ([pem]) => `${pem}\n`,
  );
}
